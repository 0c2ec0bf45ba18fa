"""What the kernel's dumps say: links, addresses, routing rules, routes. rtnetlink(7).

Answers come from the kernel, but what does not follow the format is still an error
(`Malformed`), never a crash.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)

import msgspec

from netplumb.errors import Malformed
from netplumb.plan import links
from netplumb.plan.model import Address, Interface, Subnet
from netplumb.plan.netlink import Message, attribute_list, attributes, read_text, read_u32

_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBi")
_ROUTE = struct.Struct("=BBBBBBBBI")
_RULE = struct.Struct("=BBBBBxxBI")
_LOCAL_TABLE = 255


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """An interface. `kind` is "" for one without (lo), `master` 0 for one on no bridge."""

    index: int
    name: str
    kind: str = ""
    alias: str = ""
    group: int = 0
    master: int = 0
    mtu: int = 0
    mac: str = ""
    up: bool = False
    isolated: bool = False


class LinkAddress(msgspec.Struct, frozen=True):
    """An address of the link with that index."""

    index: int
    address: Interface


class Guard(msgspec.Struct, frozen=True):
    """One of our routing rules."""

    version: int
    bridge: str
    mark: int
    priority: int


class Route(msgspec.Struct, frozen=True):
    """A way to a subnet, out of the link with that index (0: none)."""

    subnet: Subnet
    index: int


class Observed(msgspec.Struct, frozen=True):
    """All of it. `guardable` are the IP versions that have routing rules here."""

    links: tuple[Link, ...] = ()
    addresses: tuple[LinkAddress, ...] = ()
    guards: tuple[Guard, ...] = ()
    guardable: frozenset[int] = frozenset((4, 6))

    def link(self, name: str) -> Link | None:
        """The link with that name."""
        return next((link for link in self.links if link.name == name), None)


def read_links(messages: Iterable[Message]) -> tuple[Link, ...]:
    """The links of an RTM_GETLINK dump."""
    return tuple(read_link(m) for m in messages if m.kind == links.RTM_NEWLINK)


def read_link(message: Message) -> Link:
    """The link of an RTM_NEWLINK or RTM_DELLINK message."""
    family, _, index, flags, _ = _unpack(_LINK, message)
    found = attributes(message.body[_LINK.size :])
    info = {} if family else attributes(found.get(links.IFLA_LINKINFO, b""))
    port = attributes(info.get(links.IFLA_INFO_SLAVE_DATA, b""))
    return Link(
        index=index,
        name=read_text(found.get(links.IFLA_IFNAME)),
        kind=read_text(info.get(links.IFLA_INFO_KIND)),
        alias=read_text(found.get(links.IFLA_IFALIAS)),
        group=read_u32(found.get(links.IFLA_GROUP)),
        master=read_u32(found.get(links.IFLA_MASTER)),
        mtu=read_u32(found.get(links.IFLA_MTU)),
        mac=found.get(links.IFLA_ADDRESS, b"").hex(":") if links.IFLA_ADDRESS in found else "",
        up=bool(flags & links.IFF_UP),
        isolated=port.get(links.IFLA_BRPORT_ISOLATED, b"\0") != b"\0",
    )


def read_link_name(message: Message) -> str:
    """The name alone: the kernel puts it first, so all else need not be read."""
    _unpack(_LINK, message)
    for kind, value in attribute_list(message.body[_LINK.size :]):
        if kind == links.IFLA_IFNAME:
            return read_text(value)
    return ""


def read_addresses(messages: Iterable[Message]) -> tuple[LinkAddress, ...]:
    """The IP addresses of an RTM_GETADDR dump; others are left out."""
    found = (read_address(m) for m in messages if m.kind == links.RTM_NEWADDR)
    return tuple(address for address in found if address is not None)


def read_address(message: Message) -> LinkAddress | None:
    """The address of an RTM_NEWADDR or RTM_DELADDR message; None when it is not an IP address."""
    family, length, _, _, index = _unpack(_ADDRESS, message)
    found = attributes(message.body[_ADDRESS.size :])
    # A point-to-point link has the other side's address as IFA_ADDRESS.
    packed = found.get(links.IFA_LOCAL) or found.get(links.IFA_ADDRESS)
    if packed is None or family not in (socket.AF_INET, socket.AF_INET6):
        return None
    return LinkAddress(index, _interface(family, packed, length))


def read_guards(messages: Iterable[Message]) -> tuple[Guard, ...]:
    """Our own rules in an RTM_GETRULE dump."""
    found = (_read_guard(m) for m in messages if m.kind == links.RTM_NEWRULE)
    return tuple(guard for guard in found if guard is not None)


def guarded(message: Message) -> str:
    """The bridge that a message about a routing rule is about, "" for a rule that is not ours."""
    guard = _read_guard(message)
    return guard.bridge if guard is not None else ""


def _read_guard(message: Message) -> Guard | None:
    family, _, _, _, _, action, _ = _unpack(_RULE, message)
    found = attributes(message.body[_RULE.size :])
    if found.get(links.FRA_PROTOCOL) != bytes((links.PROTOCOL,)):
        return None
    if action != links.FR_ACT_PROHIBIT or links.FRA_IIFNAME not in found:
        return None
    return Guard(
        version=6 if family == socket.AF_INET6 else 4,
        bridge=read_text(found[links.FRA_IIFNAME]),
        mark=read_u32(found.get(links.FRA_FWMASK)),
        priority=read_u32(found.get(links.FRA_PRIORITY)),
    )


def read_routes(messages: Iterable[Message]) -> tuple[Route, ...]:
    """The routes of an RTM_GETROUTE dump that lead to a subnet: not the default, not our own
    addresses, not multicast.
    """
    found = (_read_route(m) for m in messages if m.kind == links.RTM_NEWROUTE)
    return tuple(route for route in found if route is not None)


def _read_route(message: Message) -> Route | None:
    family, length, _, _, table, _, _, kind, _ = _unpack(_ROUTE, message)
    found = attributes(message.body[_ROUTE.size :])
    packed = found.get(links.RTA_DST)
    if packed is None or not length or table == _LOCAL_TABLE or kind != 1:  # RTN_UNICAST
        return None
    if family not in (socket.AF_INET, socket.AF_INET6):
        return None
    return Route(_interface(family, packed, length).network, read_u32(found.get(links.RTA_OIF)))


def _interface(family: int, packed: bytes, length: int) -> Interface:
    ip: Address
    try:
        if family == socket.AF_INET:
            ip = IPv4Address(packed)
            return IPv4Interface((ip, length))
        ip = IPv6Address(packed)
        return IPv6Interface((ip, length))
    except ValueError as error:
        raise Malformed(f"no address: {packed.hex()}/{length}") from error


def _unpack(form: struct.Struct, message: Message) -> tuple[int, ...]:
    if len(message.body) < form.size:
        raise Malformed(f"a message of type {message.kind} with {len(message.body)} bytes")
    return form.unpack_from(message.body)


def host_subnets(routes: Iterable[Route], own: Iterable[int] = ()) -> tuple[Subnet, ...]:
    """The subnets in use on the host but for those behind the links `own` (indexes)."""
    left_out = frozenset(own)
    return tuple(route.subnet for route in routes if route.index not in left_out)


def subnet(text: str) -> Subnet:
    """A subnet from its text, IPv4 or IPv6; ValueError."""
    return IPv6Network(text) if ":" in text else IPv4Network(text)
