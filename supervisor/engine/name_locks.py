"""A lock for every name that somebody has in hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import trio


class NameLocks:
    """Locks by name, there as long as somebody has or wants them."""

    def __init__(self) -> None:
        self._locks: dict[str, trio.Lock] = {}
        self._wanted: Counter[str] = Counter()

    @asynccontextmanager
    async def held(self, names: Sequence[str]) -> AsyncIterator[None]:
        """Hold the locks of different names, given in order: no two then wait for each other."""
        self._wanted.update(names)
        try:
            async with AsyncExitStack() as stack:
                for name in names:
                    lock = self._locks.setdefault(name, trio.Lock())
                    await stack.enter_async_context(lock)
                yield
        finally:
            self._wanted.subtract(names)
            for name in names:
                if not self._wanted[name]:
                    del self._wanted[name]
                    self._locks.pop(name, None)
