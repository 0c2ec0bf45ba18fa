"""Host ports: what a request may ask for, and the order in which free ones are tried."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import chain

import msgspec

from netplumb.errors import Invalid

_RANGE = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?", re.ASCII)
# net.ipv4.ip_local_port_range where it cannot be read.
DEFAULT_EPHEMERAL = (32768, 60999)


class PortRange(msgspec.Struct, frozen=True):
    """Host ports from `first` to `last`."""

    first: int
    last: int

    def __post_init__(self) -> None:
        if not 0 < self.first <= self.last < 65536:
            raise Invalid(f"invalid port range {self}: use FIRST-LAST within 1–65535")

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"

    def __len__(self) -> int:
        return self.last - self.first + 1


def parse_range(text: str) -> PortRange | None:
    """A host port from a request: "" and "0" are any (None), "8080", "8000-8010"; Invalid."""
    if text in ("", "0"):
        return None
    match = _RANGE.fullmatch(text)
    if match is None:
        raise Invalid(f"invalid port {text!r:.30}: use a number or FIRST-LAST")
    return PortRange(int(match[1]), int(match[2] or match[1]))


def parse_ephemeral(text: str) -> PortRange:
    """net.ipv4.ip_local_port_range; the kernel's default where it makes no sense."""
    try:
        first, last = (int(word) for word in text.split())
        return PortRange(first, last)
    except (ValueError, Invalid):
        return PortRange(*DEFAULT_EPHEMERAL)


def candidates(wanted: PortRange, after: int) -> Iterable[int]:
    """All ports of the range, from the one behind `after` on and around."""
    start = after + 1 if wanted.first <= after < wanted.last else wanted.first
    return chain(range(start, wanted.last + 1), range(wanted.first, start))
