"""Who has a port: /proc/net/tcp and its like. proc_pid_net(5)."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

import msgspec

from netplumb.plan.model import Address

_LINE = re.compile(
    r" *\d+: ([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4}) [0-9A-F]+:[0-9A-F]{4} ([0-9A-F]{2})"
    r" \S+ \S+ \S+ +\d+ +\d+ (\d{1,20})\b",
    re.ASCII,
)
_LISTEN = 0x0A  # TCP_LISTEN; UDP has 07 for all that are bound


class Socket(msgspec.Struct, frozen=True):
    """A bound socket and the inode by which /proc/PID/fd names it."""

    address: Address
    port: int
    inode: int


def parse(text: str, *, listening: bool) -> Iterator[Socket]:
    """The sockets of a table; with `listening` those only. Lines of another form are skipped."""
    for line in text.splitlines():
        match = _LINE.match(line)
        if match is None or (listening and int(match[3], 16) != _LISTEN):
            continue
        inode = int(match[4])
        if inode:  # 0 for one that no process has any more
            yield Socket(_address(match[1]), int(match[2], 16), inode)


def _address(text: str) -> Address:
    """Each 32-bit word is printed as a number of the host's byte order."""
    raw = bytes.fromhex(text)
    words = struct.unpack(f">{len(raw) // 4}I", raw)
    packed = struct.pack(f"={len(words)}I", *words)
    return IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed)


def in_the_way(sockets: Iterator[Socket], address: Address, port: int) -> Socket | None:
    """The one that keeps others from binding the address and port."""
    for found in sockets:
        same = found.address.version == address.version
        if found.port == port and (
            (same and (found.address == address or address.is_unspecified))
            or (found.address.is_unspecified and (same or found.address.version == 6))
        ):
            return found
    return None
