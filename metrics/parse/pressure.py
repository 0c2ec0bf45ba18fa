"""Pressure stall information: `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, and `full`."""

from __future__ import annotations

from typing import NamedTuple

from metrics.errors import Malformed


class Stall(NamedTuple):
    """Time in µs that some, or all, tasks waited; None where the kernel does not say."""

    some: int | None = None
    full: int | None = None


NOTHING = Stall()


def stall(data: bytes | None) -> Stall:
    """A pressure file. `full` of the CPU is missing before Linux 5.13."""
    if data is None:
        return NOTHING
    words = data.split()
    try:
        if words[0] != b"some" or (len(words) > 5 and words[5] != b"full"):
            raise ValueError
        return Stall(_total(words[4]), _total(words[9]) if len(words) > 5 else None)
    except (ValueError, IndexError):
        raise Malformed(f"pressure: {data[:80]!r}") from None


def _total(word: bytes) -> int:
    if word[:6] != b"total=":
        raise ValueError
    return int(word[6:])
