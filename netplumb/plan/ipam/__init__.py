"""Which subnet a network gets, and which address a container: values in, values out.

    pools.py     choosing subnets for networks
    ledger.py    the addresses of one subnet: who may have which, and what is in use
    ranges.py    sets of numbers as ranges, which is how a ledger is stored

Nothing here is stored: a change returns a new value, which the caller keeps.
"""

from __future__ import annotations

from netplumb.plan.ipam.ledger import Ledger
from netplumb.plan.ipam.pools import DEFAULT_POOLS, Pool, choose_subnet, unique_local_pool

__all__ = ["DEFAULT_POOLS", "Ledger", "Pool", "choose_subnet", "unique_local_pool"]
