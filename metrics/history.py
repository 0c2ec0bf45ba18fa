"""The last background samples of one container, in a buffer that never grows."""

from __future__ import annotations

from array import array
from struct import Struct
from typing import NamedTuple


class Point(NamedTuple):
    """One background sample: wall-clock seconds, µs, bytes.

    `system_cpu` is the whole host's time at that moment; `working_set` is as exact as the last
    full sample was recent.
    """

    at: float
    system_cpu: float
    cpu: float
    memory: float
    working_set: float
    read_bytes: float
    written_bytes: float
    received_bytes: float
    transmitted_bytes: float


SHOWN_SECONDS = 60.0
_COLUMNS = len(Point._fields)
_LAYOUT = Struct(f"{_COLUMNS}d")


class History:
    """A ring of `capacity` points, 72 bytes each: doubles hold integers exactly up to 2^53."""

    __slots__ = ("_count", "_next", "_ring", "capacity")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._ring = array("d")
        self._next = 0
        self._count = 0

    def push(self, point: Point) -> None:
        """Keep the point, in the place of the oldest when full."""
        if self.capacity == 0:
            return
        if not self._ring:
            self._ring = array("d", bytes(8 * _COLUMNS * self.capacity))
        _LAYOUT.pack_into(self._ring, self._next * _LAYOUT.size, *point)
        self._next = (self._next + 1) % self.capacity
        self._count = min(self._count + 1, self.capacity)

    def points(self) -> list[Point]:
        """The last minute of what is kept, the oldest first."""
        first = (self._next - self._count) % self.capacity if self.capacity else 0
        places = ((first + number) % self.capacity for number in range(self._count))
        points = [Point(*self._ring[p * _COLUMNS : (p + 1) * _COLUMNS]) for p in places]
        return [point for point in points if point.at > points[-1].at - SHOWN_SECONDS]

    def clear(self) -> None:
        """Forget all: another run's figures begin at 0."""
        self._count = 0
