"""Network features, tried in a new network namespace by netlink messages made by hand.

Formats: netlink(7), rtnetlink(7), linux/if_link.h, linux/pkt_sched.h,
linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

import socket
import struct

from supervisor.errors import KernelError

_NLMSG_ERROR = 2
_NLM_F_REQUEST, _NLM_F_ACK, _NLM_F_CREATE = 0x1, 0x4, 0x400
_NESTED = 0x8000
_SECONDS = 5.0

_RTM_NEWLINK = 16
_IFLA_IFNAME, _IFLA_LINKINFO, _IFLA_INFO_KIND = 3, 18, 1

_RTM_NEWQDISC = 36
_TCA_KIND, _TCA_OPTIONS = 1, 2
_LOOPBACK, _ROOT = 1, 0xFFFFFFFF
_TC_LINKLAYER_ETHERNET = 1
_TCA_TBF_PARMS, _TCA_TBF_BURST = 1, 6

_NETLINK_NETFILTER = 12
_NFT = 10 << 8  # NFNL_SUBSYS_NFTABLES
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_NEW_TABLE, _NEW_CHAIN = _NFT | 0, _NFT | 3
_NFPROTO_UNSPEC, _NFPROTO_INET, _NFPROTO_BRIDGE = 0, 1, 7
_PREROUTING, _POSTROUTING = 0, 4
_FILTER_PRIORITY, _SOURCE_NAT_PRIORITY = 0, 100


def make_link(kind: str) -> None:
    """Make a link of that kind in this network namespace; OSError where there is none."""
    info = _attribute(_IFLA_INFO_KIND, kind.encode())
    name = _attribute(_IFLA_IFNAME, b"orlop0\0")
    body = bytes(16) + name + _attribute(_IFLA_LINKINFO | _NESTED, info)  # struct ifinfomsg
    message = _message(_RTM_NEWLINK, _NLM_F_REQUEST | _NLM_F_ACK | _NLM_F_CREATE, 1, body)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as route:
        _ask(route, message, f"a link of kind {kind}", acknowledgements=1)


def limit_rate() -> None:
    """Queue what leaves the loopback by a token bucket; OSError where the kernel has none."""
    rate = struct.pack("=BBHhHI", 0, _TC_LINKLAYER_ETHERNET, 0, -1, 0, 1_000_000)
    limit, buffer = 1 << 20, 0  # the burst is given apart
    parameters = rate + bytes(len(rate)) + struct.pack("=III", limit, buffer, 0)
    options = _attribute(_TCA_TBF_PARMS, parameters)
    options += _attribute(_TCA_TBF_BURST, struct.pack("=I", 1 << 16))
    _make_qdisc("tbf", options)


def delay() -> None:
    """Queue what leaves the loopback for 1 ms; OSError where the kernel cannot."""
    ticks, packets = 15_625, 1000  # of 64 ns
    _make_qdisc("netem", struct.pack("=IIIIII", ticks, packets, 0, 0, 0, 0))


def _make_qdisc(kind: str, options: bytes) -> None:
    body = struct.pack("=BxHiIII", 0, 0, _LOOPBACK, 0x10000, _ROOT, 0)  # struct tcmsg
    body += _attribute(_TCA_KIND, kind.encode() + b"\0") + _attribute(_TCA_OPTIONS, options)
    flags = _NLM_F_REQUEST | _NLM_F_ACK | _NLM_F_CREATE
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as route:
        message = _message(_RTM_NEWQDISC, flags, 1, body)
        _ask(route, message, f"a queue of kind {kind}", acknowledgements=1)


def make_nat_chain() -> None:
    """Make an inet table with a source NAT chain; OSError where that is not possible."""
    _make_chain(_NFPROTO_INET, b"nat\0", _POSTROUTING, _SOURCE_NAT_PRIORITY)


def make_bridge_chain() -> None:
    """Make a bridge table with a filter chain; OSError where that is not possible."""
    _make_chain(_NFPROTO_BRIDGE, b"filter\0", _PREROUTING, _FILTER_PRIORITY)


def _make_chain(family: int, kind: bytes, hook_number: int, priority: int) -> None:
    table = b"orlop\0"
    hook = _attribute(1, struct.pack(">I", hook_number))  # NFTA_HOOK_HOOKNUM
    hook += _attribute(2, struct.pack(">i", priority))  # NFTA_HOOK_PRIORITY
    chain = _attribute(1, table) + _attribute(3, b"chain\0")  # NFTA_CHAIN_TABLE, _NAME
    chain += _attribute(4 | _NESTED, hook) + _attribute(7, kind)  # _HOOK, _TYPE
    flags = _NLM_F_REQUEST | _NLM_F_ACK | _NLM_F_CREATE
    batch = (
        _message(_BATCH_BEGIN, _NLM_F_REQUEST, 1, _generic(_NFPROTO_UNSPEC)),
        _message(_NEW_TABLE, flags, 2, _generic(family) + _attribute(1, table)),
        _message(_NEW_CHAIN, flags, 3, _generic(family) + chain),
        _message(_BATCH_END, _NLM_F_REQUEST, 4, _generic(_NFPROTO_UNSPEC)),
    )
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as netfilter:
        _ask(netfilter, b"".join(batch), "a table and chain", acknowledgements=2)


def _ask(connection: socket.socket, messages: bytes, what: str, acknowledgements: int) -> None:
    """Send; raise the first error among the answers, of making `what`."""
    connection.settimeout(_SECONDS)
    connection.bind((0, 0))
    connection.send(messages)
    while acknowledgements:
        data = connection.recv(65536)
        while data:
            length, kind = struct.unpack_from("=IH", data)
            if kind == _NLMSG_ERROR:
                (number,) = struct.unpack_from("=i", data, 16)  # after struct nlmsghdr
                if number:
                    raise KernelError("make", what, -number)
                acknowledgements -= 1
            data = data[_aligned(length) :]


def _message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, flags, sequence, 0) + body


def _generic(family: int) -> bytes:
    """struct nfgenmsg."""
    return struct.pack(">BBH", family, 0, _NFT >> 8)


def _attribute(kind: int, value: bytes) -> bytes:
    padding = bytes(_aligned(len(value)) - len(value))
    return struct.pack("=HH", 4 + len(value), kind) + value + padding


def _aligned(length: int) -> int:
    return length + 3 & ~3
