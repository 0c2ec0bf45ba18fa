"""Network features, tried in a new network namespace by netlink messages made by hand.

Formats: netlink(7), rtnetlink(7), linux/if_link.h, linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

import os
import socket
import struct

_NLMSG_ERROR = 2
_NLM_F_REQUEST, _NLM_F_ACK, _NLM_F_CREATE = 0x1, 0x4, 0x400
_NESTED = 0x8000
_SECONDS = 5.0

_RTM_NEWLINK = 16
_IFLA_IFNAME, _IFLA_LINKINFO, _IFLA_INFO_KIND = 3, 18, 1

_NETLINK_NETFILTER = 12
_NFT = 10 << 8  # NFNL_SUBSYS_NFTABLES
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_NEW_TABLE, _NEW_CHAIN = _NFT | 0, _NFT | 3
_NFPROTO_UNSPEC, _NFPROTO_INET = 0, 1
_POSTROUTING, _SOURCE_NAT_PRIORITY = 4, 100


def make_link(kind: str) -> None:
    """Make a link of that kind in this network namespace; OSError where there is none."""
    info = _attribute(_IFLA_INFO_KIND, kind.encode())
    name = _attribute(_IFLA_IFNAME, b"orlop0\0")
    body = bytes(16) + name + _attribute(_IFLA_LINKINFO | _NESTED, info)  # struct ifinfomsg
    message = _message(_RTM_NEWLINK, _NLM_F_REQUEST | _NLM_F_ACK | _NLM_F_CREATE, 1, body)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as route:
        _ask(route, message, acknowledgements=1)


def make_nat_chain() -> None:
    """Make an inet table with a source NAT chain; OSError where that is not possible."""
    table, chain = b"orlop\0", b"nat\0"
    hook = _attribute(1, struct.pack(">I", _POSTROUTING))  # NFTA_HOOK_HOOKNUM
    hook += _attribute(2, struct.pack(">i", _SOURCE_NAT_PRIORITY))  # NFTA_HOOK_PRIORITY
    chain_body = _attribute(1, table) + _attribute(3, chain)  # NFTA_CHAIN_TABLE, _NAME
    chain_body += _attribute(4 | _NESTED, hook) + _attribute(7, b"nat\0")  # _HOOK, _TYPE
    flags = _NLM_F_REQUEST | _NLM_F_ACK | _NLM_F_CREATE
    batch = (
        _message(_BATCH_BEGIN, _NLM_F_REQUEST, 1, _generic(_NFPROTO_UNSPEC)),
        _message(_NEW_TABLE, flags, 2, _generic(_NFPROTO_INET) + _attribute(1, table)),
        _message(_NEW_CHAIN, flags, 3, _generic(_NFPROTO_INET) + chain_body),
        _message(_BATCH_END, _NLM_F_REQUEST, 4, _generic(_NFPROTO_UNSPEC)),
    )
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as netfilter:
        _ask(netfilter, b"".join(batch), acknowledgements=2)


def _ask(connection: socket.socket, messages: bytes, acknowledgements: int) -> None:
    """Send; raise the first error among the answers."""
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
                    raise OSError(-number, os.strerror(-number))
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
