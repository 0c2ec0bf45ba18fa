"""What this kernel can do, tried in a network namespace of its own: for a KernelThread."""

from __future__ import annotations

import errno

from netplumb.apply.namespace import fresh
from netplumb.apply.netlink import ROUTE, Netlink
from netplumb.errors import Refused, Unsupported
from netplumb.plan import qdisc
from netplumb.plan.model import Limits
from netplumb.plan.operation import Operation

_LOOPBACK = 1


def try_limits(limits: Limits) -> None:
    """Unsupported where the kernel lacks what the limits need."""
    wanted = []
    if limits.down or limits.up:
        rate = limits.down or limits.up
        wanted.append(("limit bandwidth", "TBF", qdisc.tbf(_LOOPBACK, rate)))
    if limits.impairs:
        impairing = qdisc.netem(_LOOPBACK, limits, below_tbf=False)
        wanted.append(("delay or lose packets", "NETEM", impairing))
    with fresh(), Netlink(ROUTE) as route:
        for what, option, message in wanted:
            try:
                route.execute([Operation(what, message)])
            except Refused as error:
                raise lacking(error, option) from error


def lacking(error: Refused, option: str) -> Refused | Unsupported:
    """The error for a queueing discipline, which is ENOENT if the kernel does not know it."""
    if error.errno != errno.ENOENT:
        return error
    return Unsupported(
        f"cannot {error.operation}: this kernel lacks CONFIG_NET_SCH_{option} "
        f"(module sch_{option.lower()})"
    )
