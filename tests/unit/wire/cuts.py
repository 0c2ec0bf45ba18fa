"""Byte strings cut anywhere, as a stream may hand them over."""

from __future__ import annotations

from hypothesis import strategies as st

cuts = st.lists(st.integers(0, 1 << 16), max_size=30)


def cut(data: bytes, at: list[int]) -> list[bytes]:
    """`data` in pieces, cut at the positions in `at` (modulo its length)."""
    places = sorted({position % (len(data) + 1) for position in at} | {0, len(data)})
    return [data[a:b] for a, b in zip(places, [*places[1:], len(data)], strict=True)]
