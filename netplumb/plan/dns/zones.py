"""The containers' names: which addresses a name has in a network, which name an address has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address

import msgspec

from netplumb.errors import Malformed
from netplumb.plan.dns import message as dns
from netplumb.plan.dns.message import Code, Query, Record
from netplumb.plan.model import Address, Endpoint, Network

TTL = 5  # seconds: an alias may move to another container any time
_IPV4_SUFFIX, _IPV6_SUFFIX = ".in-addr.arpa", ".ip6.arpa"


class Zone:
    """One network's names, in lower case. Each change costs as much as what is changed."""

    def __init__(self, network: Network, endpoints: Iterable[Endpoint] = ()) -> None:
        self.network = network
        self._suffix = f".{network.name.lower()}"
        self._by_name: dict[str, dict[str, tuple[Address, ...]]] = {}  # name → container → …
        self._by_address: dict[Address, str] = {}
        for endpoint in endpoints:
            self.add(endpoint)

    def add(self, endpoint: Endpoint) -> None:
        """The endpoint is in the network now."""
        addresses = tuple(address.ip for address in endpoint.addresses)
        for name in _names(endpoint):
            self._by_name.setdefault(name, {})[endpoint.container] = addresses
        if endpoint.names:
            self._by_address |= dict.fromkeys(addresses, endpoint.names[0])

    def remove(self, endpoint: Endpoint) -> None:
        """The endpoint, as it was added, is not in the network any more."""
        for name in _names(endpoint):
            having = self._by_name.get(name, {})
            having.pop(endpoint.container, None)
            if not having:
                self._by_name.pop(name, None)
        for address in endpoint.addresses:
            self._by_address.pop(address.ip, None)

    def addresses(self, name: str) -> tuple[Address, ...] | None:
        """The addresses of a name, with or without the network's name behind it."""
        found = self._by_name.get(name) or self._by_name.get(name.removesuffix(self._suffix))
        if found is None:
            return None
        return tuple(address for some in found.values() for address in some)

    def name(self, address: Address) -> str | None:
        """The name of whoever has the address."""
        return self._by_address.get(address)


def _names(endpoint: Endpoint) -> dict[str, None]:
    return dict.fromkeys(name.lower().rstrip(".") for name in endpoint.names)


class Outcome(msgspec.Struct, frozen=True):
    """What the zones know of a question."""

    code: Code
    records: tuple[Record, ...] = ()


def resolve(query: Query, zones: Sequence[Zone], turn: int = 0) -> Outcome | None:
    """Answer a question of a container in these networks; None if others must.

    A name in several networks has the first one's addresses. `turn` says which of several
    addresses comes first: clients take that.
    """
    if query.name.endswith((_IPV4_SUFFIX, _IPV6_SUFFIX)):
        return _reverse(query, zones)
    for zone in zones:
        addresses = zone.addresses(query.name)
        if addresses is not None:
            wanted = [a for a in addresses if _kind(a) == query.kind or query.kind == dns.ANY]
            start = turn % len(wanted) if wanted else 0
            return Outcome(
                Code.NO_ERROR,
                tuple(Record(_kind(a), TTL, a.packed) for a in wanted[start:] + wanted[:start]),
            )
    return None


def _kind(address: Address) -> int:
    return dns.A if address.version == 4 else dns.AAAA


def _reverse(query: Query, zones: Sequence[Zone]) -> Outcome | None:
    address = _address_of(query.name)
    if address is None:
        return None
    for zone in zones:
        name = zone.name(address)
        if name is not None:
            full = f"{name}.{zone.network.name}"
            return Outcome(Code.NO_ERROR, _pointer(full) if query.kind == dns.PTR else ())
    subnets = (subnet for zone in zones for subnet in zone.network.subnets)
    if any(address.version == subnet.version and address in subnet for subnet in subnets):
        return Outcome(Code.NAME_ERROR)  # nobody outside knows better
    return None


def _pointer(name: str) -> tuple[Record, ...]:
    try:
        return (Record(dns.PTR, TTL, dns.encode_name(name)),)
    except Malformed:
        return ()  # a container may have names that DNS has not


def _address_of(name: str) -> Address | None:
    """The address that a reverse name stands for."""
    try:
        if name.endswith(_IPV4_SUFFIX):
            parts = name.removesuffix(_IPV4_SUFFIX).split(".")
            return IPv4Address(".".join(reversed(parts))) if len(parts) == 4 else None
        nibbles = name.removesuffix(_IPV6_SUFFIX).split(".")
        if len(nibbles) != 32 or any(len(nibble) != 1 for nibble in nibbles):
            return None
        return IPv6Address(int("".join(reversed(nibbles)), 16))
    except ValueError:
        return None
