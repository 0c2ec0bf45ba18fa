"""Sets of small numbers as bitmaps, and as texts of ranges.

A bitmap is one int: adding to that of a /16 copies 8 KiB, whatever is in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from netplumb.errors import Invalid

_RANGE = re.compile(r"(\d{1,20})(?:-(\d{1,20}))?", re.ASCII)


def first_free(bitmap: int, start: int, end: int) -> int | None:
    """The first number from `start` to below `end` that is not in the bitmap."""
    free = ~(bitmap >> start)
    number = start + (free & -free).bit_length() - 1
    return number if number < end else None


def ranges(bitmap: int) -> Iterator[tuple[int, int]]:
    """First and last number of each run."""
    digits = bin(bitmap)[:1:-1]  # searched by memchr(3); to shift an int copies all of it
    start = digits.find("1")
    while start >= 0:
        end = digits.find("0", start)
        end = len(digits) if end < 0 else end
        yield start, end - 1
        start = digits.find("1", end)


def to_text(bitmap: int) -> str:
    """As "2-5,9"."""
    return ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in ranges(bitmap))


def from_text(text: str, limit: int) -> int:
    """The inverse; Invalid for anything else, and for numbers from `limit` on."""
    bitmap = 0
    for piece in text.split(",") if text else ():
        match = _RANGE.fullmatch(piece)
        if match is None:
            raise Invalid(f"{piece!r:.60} is no range of numbers")
        first = int(match[1])
        last = int(match[2] or first)
        if not first <= last < limit:
            raise Invalid(f"the range {piece} is not within 0–{limit - 1}")
        bitmap |= ((1 << (last - first + 1)) - 1) << first
    return bitmap
