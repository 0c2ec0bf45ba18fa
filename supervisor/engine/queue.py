"""An unbounded queue in the event loop, with one taker.

A memory channel of trio's does more (bounds, clones, many takers) and costs several times as much;
every container and every shim has one.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

import trio

T = TypeVar("T")


class Closed(Exception):
    """Nothing is put into it any more, or all that was has been taken."""


class Queue(Generic[T]):
    """Items come out in the order in which they were put in."""

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._arrived: trio.Event | None = None  # of the taker that waits
        self._closed = False

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T) -> None:
        """Put one in; raises Closed."""
        if self._closed:
            raise Closed
        self._items.append(item)
        self._wake()

    async def take(self) -> T:
        """The next one; Closed where none is left and none will come. Returns at once if it can."""
        while not self._items:
            if self._closed:
                raise Closed
            self._arrived = trio.Event()
            try:
                await self._arrived.wait()
            finally:
                self._arrived = None
        return self._items.popleft()

    def close(self) -> None:
        """Let nothing more in; what is there can be taken."""
        self._closed = True
        self._wake()

    def drain(self) -> list[T]:
        """Take all that is there."""
        items = list(self._items)
        self._items.clear()
        return items

    def __aiter__(self) -> Queue[T]:
        return self

    async def __anext__(self) -> T:
        try:
            return await self.take()
        except Closed:
            raise StopAsyncIteration from None

    def _wake(self) -> None:
        if self._arrived is not None:
            self._arrived.set()
