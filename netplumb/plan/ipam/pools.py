"""Subnets for networks that ask for none: the first of a pool that nobody uses."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network

import msgspec

from netplumb.errors import Exhausted, Invalid, Taken
from netplumb.plan.model import Subnet


class Pool(msgspec.Struct, frozen=True):
    """`base`, to be cut into subnets of `length`."""

    base: Subnet
    length: int

    def __post_init__(self) -> None:
        if not self.base.prefixlen <= self.length <= self.base.max_prefixlen - 2:
            raise Invalid(f"the pool {self.base} cannot be cut into subnets of /{self.length}")

    @property
    def count(self) -> int:
        """How many subnets it has."""
        return 1 << (self.length - self.base.prefixlen)

    def subnet(self, number: int) -> Subnet:
        """The subnet with that number, from 0."""
        step = 1 << (self.base.max_prefixlen - self.length)
        address = int(self.base.network_address) + number * step
        kind = IPv4Network if self.base.version == 4 else IPv6Network
        return kind((address, self.length))


# As dockerd: 15 of /16, then 16 of /20.
DEFAULT_POOLS: tuple[Pool, ...] = (
    *(Pool(IPv4Network(f"172.{number}.0.0/16"), 16) for number in range(17, 32)),
    Pool(IPv4Network("192.168.0.0/16"), 20),
)


def unique_local_pool(seed: str) -> Pool:
    """The host's own pool of IPv6 subnets: RFC 4193, the global id from `seed` (a machine id)."""
    global_id = hashlib.sha256(f"orlop/{seed}".encode()).digest()[:5]
    base = int.from_bytes(b"\xfd" + global_id + bytes(10), "big")
    return Pool(IPv6Network((base, 48)), 64)


def choose_subnet(pools: Sequence[Pool], taken: Iterable[Subnet], version: int = 4) -> Subnet:
    """The first subnet of the pools that overlaps nothing in `taken`.

    `taken` are other networks' subnets and the host's routes; a default route there has no
    say. Raises Exhausted.
    """
    blocks = _blocks(taken, version)
    for pool in pools:
        if pool.base.version == version:
            found = _first_free(pool, blocks)
            if found is not None:
                return found
    raise Exhausted(
        "could not find an available, non-overlapping "
        f"IPv{version} address pool among the defaults to assign to the network"
    )


def check_subnet(subnet: Subnet, taken: Iterable[tuple[Subnet, str]]) -> None:
    """Taken if a subnet that was asked for overlaps one in use; each comes with whose it is."""
    for other, whose in taken:
        if other.version == subnet.version and other.prefixlen and subnet.overlaps(other):
            raise Taken(f"the subnet {subnet} overlaps {other} of {whose}")


def _blocks(taken: Iterable[Subnet], version: int) -> list[tuple[int, int]]:
    """First and last address of each, in order."""
    return sorted(
        (int(subnet.network_address), int(subnet.broadcast_address))
        for subnet in taken
        if subnet.version == version and subnet.prefixlen
    )


def _first_free(pool: Pool, blocks: Iterable[tuple[int, int]]) -> Subnet | None:
    """Walk past each block that is in the way: a pool may have 65536 subnets."""
    step = 1 << (pool.base.max_prefixlen - pool.length)
    base, number = int(pool.base.network_address), 0
    for first, last in blocks:
        start = base + number * step
        if last < start:
            continue
        if first > start + step - 1:
            break
        number = (last - base) // step + 1
        if number >= pool.count:
            return None
    return pool.subnet(number)
