"""rtnetlink messages about links, addresses, routes and routing rules. rtnetlink(7).

Where a link is named instead of numbered, the kernel looks its name up itself: the second message
of a batch can speak of what the first one makes. What depends on little is kept (`lru_cache`).
"""

from __future__ import annotations

import socket
import struct
from functools import lru_cache

from netplumb.plan.model import Address, Interface, Subnet
from netplumb.plan.netlink import (
    NLM_F_ACK,
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    attribute,
    message,
    nested,
    text,
    u8,
    u32,
)

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_GETROUTE = 24, 26
RTM_NEWNEIGH = 28
RTM_NEWRULE, RTM_DELRULE, RTM_GETRULE = 32, 33, 34

IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_MASTER = 1, 3, 4, 10
IFLA_LINKINFO, IFLA_IFALIAS, IFLA_AF_SPEC, IFLA_GROUP = 18, 20, 26, 27
IFLA_NET_NS_FD, IFLA_EXT_MASK, IFLA_INET6_ADDR_GEN_MODE = 28, 29, 8
IFLA_NUM_TX_QUEUES, IFLA_NUM_RX_QUEUES = 31, 32
IFLA_INFO_KIND, IFLA_INFO_DATA, IFLA_INFO_SLAVE_KIND, IFLA_INFO_SLAVE_DATA = 1, 2, 4, 5
VETH_INFO_PEER = 1
IFLA_BRPORT_MODE, IFLA_BRPORT_ISOLATED = 4, 33
IFF_UP = 1
ADDR_GEN_NONE = 1  # IN6_ADDR_GEN_MODE_NONE: no link-local address of the kernel's making
_SKIP_STATISTICS = 8  # RTEXT_FILTER_SKIP_STATS

IFA_ADDRESS, IFA_LOCAL, IFA_FLAGS = 1, 2, 8
_IFA_F_NODAD = 2

NDA_DST, NDA_LLADDR = 1, 2
_NUD_PERMANENT = 0x80

RTA_DST, RTA_OIF, RTA_GATEWAY = 1, 4, 5
RT_TABLE_MAIN = 254
_RTPROT_STATIC, _RTN_UNICAST = 4, 1

FRA_IIFNAME, FRA_PRIORITY, FRA_FWMARK, FRA_FWMASK, FRA_PROTOCOL = 3, 6, 10, 16, 21
FR_ACT_PROHIBIT = 8
PROTOCOL = 79  # "O", the originator of our rules (/etc/iproute2/rt_protos has none of that number)

_LINK = struct.Struct("=BxHiII")  # struct ifinfomsg: family, type, index, flags, change
_ADDRESS = struct.Struct("=BBBBI")  # struct ifaddrmsg: family, length, flags, scope, index
_ROUTE = struct.Struct("=BBBBBBBBI")  # struct rtmsg
_RULE = struct.Struct("=BBBBBxxBI")  # struct fib_rule_hdr
_NEIGHBOUR = struct.Struct("=BxxxIHBB")  # struct ndmsg: family, index, state, flags, type
_CREATE = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL
_UNIVERSE, _LINK_SCOPE = 0, 253


# --- pairs ----------------------------------------------------------------------------------


def make_pair(
    *,
    port: str,
    bridge: int,
    group: int,
    mtu: int,
    interface: str,
    mac: bytes,
    namespace: int,
) -> bytes:
    """A veth pair: `port` up on the bridge with that index, its peer in the namespace (an fd).

    The peer cannot be up yet: veth_open() answers ENOTCONN before both ends are linked.
    """
    peer = _LINK_SAME + b"".join(
        (
            text(IFLA_IFNAME, interface),
            attribute(IFLA_ADDRESS, mac),
            u32(IFLA_MTU, mtu),
            _ONE_QUEUE,
            u32(IFLA_NET_NS_FD, namespace),
        )
    )
    return message(
        RTM_NEWLINK,
        _CREATE,
        _LINK_UP,
        text(IFLA_IFNAME, port),
        _pair_constants(bridge, group, mtu),
        nested(
            IFLA_LINKINFO,
            _KIND_VETH,
            nested(IFLA_INFO_DATA, attribute(VETH_INFO_PEER, peer)),
        ),
    )


_LINK_UP = _LINK.pack(0, 0, 0, IFF_UP, IFF_UP)
_LINK_SAME = _LINK.pack(0, 0, 0, 0, 0)
_KIND_VETH = text(IFLA_INFO_KIND, "veth")
# Unasked, the kernel makes a queue a CPU and then uses the first one only (veth_init_queues):
# giving up the others waits for RCU, at each end, and the lock of all links is held meanwhile.
_ONE_QUEUE = u32(IFLA_NUM_TX_QUEUES, 1) + u32(IFLA_NUM_RX_QUEUES, 1)


@lru_cache(maxsize=256)
def _pair_constants(bridge: int, group: int, mtu: int) -> bytes:
    return u32(IFLA_MASTER, bridge) + u32(IFLA_GROUP, group) + u32(IFLA_MTU, mtu) + _ONE_QUEUE


def mark_port(port: str, alias: str, *, isolated: bool) -> bytes:
    """Alias, bridge port options, no IPv6 address: what the creating message cannot set."""
    return _mark(port, alias, _port_constants(isolated))


@lru_cache(maxsize=2)
def _port_constants(isolated: bool) -> bytes:
    # Hairpin: with br_netfilter a container's connection to its own published port is
    # translated within the bridge, and leaves by the port that it came in by.
    options = u8(IFLA_BRPORT_MODE, 1) + u8(IFLA_BRPORT_ISOLATED, isolated)
    return _NO_LINK_LOCAL + nested(
        IFLA_LINKINFO,
        text(IFLA_INFO_SLAVE_KIND, "bridge"),
        nested(IFLA_INFO_SLAVE_DATA, options),
    )


_NO_LINK_LOCAL = nested(
    IFLA_AF_SPEC, nested(socket.AF_INET6, u8(IFLA_INET6_ADDR_GEN_MODE, ADDR_GEN_NONE))
)


# --- bridges and links in general -------------------------------------------------------------


def make_bridge(name: str, *, group: int, mtu: int, mac: bytes) -> bytes:
    """A bridge, down."""
    return message(
        RTM_NEWLINK,
        _CREATE,
        _LINK_SAME,
        text(IFLA_IFNAME, name),
        attribute(IFLA_ADDRESS, mac),
        u32(IFLA_GROUP, group),
        u32(IFLA_MTU, mtu),
        nested(IFLA_LINKINFO, text(IFLA_INFO_KIND, "bridge")),
    )


def mark_bridge(name: str, alias: str) -> bytes:
    """Alias, and no IPv6 address of the kernel's making."""
    return _mark(name, alias, _NO_LINK_LOCAL)


def set_alias(name: str, alias: str) -> bytes:
    """Only the alias."""
    return _mark(name, alias)


def _mark(name: str, alias: str, *more: bytes) -> bytes:
    header = text(IFLA_IFNAME, name), attribute(IFLA_IFALIAS, alias.encode())
    return message(RTM_NEWLINK, NLM_F_ACK, _LINK_SAME, *header, *more)


def set_mtu(index: int, mtu: int) -> bytes:
    """The link's MTU."""
    return message(RTM_NEWLINK, NLM_F_ACK, _LINK.pack(0, 0, index, 0, 0), u32(IFLA_MTU, mtu))


def set_master(index: int, bridge: int) -> bytes:
    """Put the link on the bridge with that index (0: on none)."""
    return message(RTM_NEWLINK, NLM_F_ACK, _LINK.pack(0, 0, index, 0, 0), u32(IFLA_MASTER, bridge))


def set_group(index: int, group: int) -> bytes:
    """Move the link to a group, and take it down."""
    header = _LINK.pack(0, 0, index, 0, IFF_UP)
    return message(RTM_NEWLINK, NLM_F_ACK, header, u32(IFLA_GROUP, group))


@lru_cache(maxsize=256)
def set_up(index: int) -> bytes:
    """Bring the link up."""
    return message(RTM_NEWLINK, NLM_F_ACK, _LINK.pack(0, 0, index, IFF_UP, IFF_UP))


@lru_cache(maxsize=64)
def no_link_local(index: int) -> bytes:
    """Let the kernel make no IPv6 address for the link, which must still be down."""
    return message(RTM_NEWLINK, NLM_F_ACK, _LINK.pack(0, 0, index, 0, 0), _NO_LINK_LOCAL)


def delete_link(index: int) -> bytes:
    """Delete one link. It takes about 30 ms: the kernel waits for RCU."""
    return message(RTM_DELLINK, NLM_F_ACK, _LINK.pack(0, 0, index, 0, 0))


def delete_group(group: int) -> bytes:
    """Delete all links of a group, for little more than the price of one."""
    return message(RTM_DELLINK, NLM_F_ACK, _LINK_SAME, u32(IFLA_GROUP, group))


# --- addresses, routes, rules -----------------------------------------------------------------


def add_address(index: int, address: Interface) -> bytes:
    """Give the link an address, usable at once (no duplicate address detection)."""
    return message(
        RTM_NEWADDR, _CREATE, _address_header(index, address), *_address_body(address, nodad=True)
    )


def remove_address(index: int, address: Interface) -> bytes:
    """Take an address from the link."""
    return message(RTM_DELADDR, NLM_F_ACK, _address_header(index, address), *_address_body(address))


def _address_header(index: int, address: Interface) -> bytes:
    scope = _LINK_SCOPE if address.is_link_local else _UNIVERSE
    return _ADDRESS.pack(_family(address), address.network.prefixlen, 0, scope, index)


def _address_body(address: Interface, *, nodad: bool = False) -> list[bytes]:
    packed = address.packed
    body = [attribute(IFA_LOCAL, packed), attribute(IFA_ADDRESS, packed)]
    if nodad and address.version == 6:
        body.append(u32(IFA_FLAGS, _IFA_F_NODAD))
    return body


@lru_cache(maxsize=256)
def default_route(gateway: Address, index: int) -> bytes:
    """The way to everywhere else, in place of any there is."""
    header = _ROUTE.pack(
        _family(gateway), 0, 0, 0, RT_TABLE_MAIN, _RTPROT_STATIC, _UNIVERSE, _RTN_UNICAST, 0
    )
    return message(
        RTM_NEWROUTE,
        NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE,
        header,
        attribute(RTA_GATEWAY, gateway.packed),
        u32(RTA_OIF, index),
    )


@lru_cache(maxsize=256)
def know_neighbour(address: Address, mac: bytes, index: int) -> bytes:
    """The MAC address of a neighbour, for good: nobody asks for it, and nobody else can tell."""
    return message(
        RTM_NEWNEIGH,
        NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE,
        _NEIGHBOUR.pack(_family(address), index, _NUD_PERMANENT, 0, 0),
        attribute(NDA_DST, address.packed),
        attribute(NDA_LLADDR, mac),
    )


def add_guard(version: int, bridge: str, mark: int, priority: int) -> bytes:
    """A routing rule: what comes from the bridge without the mark (a bit) is prohibited."""
    return message(RTM_NEWRULE, _CREATE, *_guard(version, bridge, mark, priority))


def remove_guard(version: int, bridge: str, mark: int, priority: int) -> bytes:
    """The rule goes."""
    return message(RTM_DELRULE, NLM_F_ACK, *_guard(version, bridge, mark, priority))


def _guard(version: int, bridge: str, mark: int, priority: int) -> tuple[bytes, ...]:
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    return (
        _RULE.pack(family, 0, 0, 0, 0, FR_ACT_PROHIBIT, 0),
        text(FRA_IIFNAME, bridge),
        u32(FRA_PRIORITY, priority),
        u32(FRA_FWMARK, 0),
        u32(FRA_FWMASK, mark),
        u8(FRA_PROTOCOL, PROTOCOL),
    )


# --- dumps ------------------------------------------------------------------------------------


def dump_links() -> bytes:
    """All links, without their counters."""
    return message(RTM_GETLINK, NLM_F_DUMP, _LINK_SAME, u32(IFLA_EXT_MASK, _SKIP_STATISTICS))


def get_link(name: str) -> bytes:
    """One link, which is answered like a dump of one."""
    return message(
        RTM_GETLINK, 0, _LINK_SAME, text(IFLA_IFNAME, name), u32(IFLA_EXT_MASK, _SKIP_STATISTICS)
    )


def dump_addresses() -> bytes:
    """All addresses of both IP versions."""
    return message(RTM_GETADDR, NLM_F_DUMP, _ADDRESS.pack(0, 0, 0, 0, 0))


def dump_routes() -> bytes:
    """All routes of both IP versions."""
    return message(RTM_GETROUTE, NLM_F_DUMP, _ROUTE.pack(0, 0, 0, 0, 0, 0, 0, 0, 0))


def dump_rules(version: int) -> bytes:
    """All routing rules of an IP version; refused where the kernel has none."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    return message(RTM_GETRULE, NLM_F_DUMP, _RULE.pack(family, 0, 0, 0, 0, 0, 0))


def _family(address: Interface | Address | Subnet) -> int:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6
