"""What is fuzzed: a function that takes any bytes, and inputs to begin with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

LONGEST = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """`run` returns for every input of up to `longest` bytes, or it has found a defect.

    `seeds` are inputs of the real kind, `words` what the format is made of. `cost`: how many
    times dearer than usual an input is; it gets so many times fewer in the suite. `run_many`
    does what `run` does for several at a time, where that is cheaper.
    """

    name: str
    run: Callable[[bytes], None]
    seeds: tuple[bytes, ...]
    words: tuple[bytes, ...] = ()
    longest: int = LONGEST
    cost: int = 1
    run_many: Callable[[Sequence[bytes]], None] | None = None


def pieces(data: bytes) -> list[bytes]:
    """The rest of `data` in pieces, as its first byte says: its bits are where to cut."""
    if not data:
        return []
    how, rest = data[0], data[1:]
    if not how:
        return [rest]
    if how < 8:  # pieces of one size
        return [rest[at : at + how] for at in range(0, len(rest), how)]
    places = sorted({len(rest) * (bit + 1) // 9 for bit in range(8) if how >> bit & 1})
    return [rest[a:b] for a, b in zip([0, *places], [*places, len(rest)], strict=True)]


def whole(*seeds: bytes) -> tuple[bytes, ...]:
    """Seeds for a target that cuts: in one piece, and in several."""
    return tuple(how + seed for seed in seeds for how in (b"\0", b"\x5a"))
