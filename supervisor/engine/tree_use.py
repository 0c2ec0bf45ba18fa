"""Who has a container's writable layer mounted: its run, or copies made of it at rest.

The kernel promises nothing for an upper that is in two overlays while one of them writes. So:

    a run     alone, but for copies that look into it
    inside    copies that look into a running container; they may outlast the run
    reader    copies at rest, any number at once: their overlay cannot write to the upper
    writer    a copy at rest into the container, alone

A run does not wait long: after START_PATIENCE seconds copies in its way are cut off. So are
they at once when the container is removed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import StrEnum

import trio

from supervisor.errors import Conflict

# Less than a removal waits for the end of a run that has not begun (UNKILLABLE_SECONDS).
START_PATIENCE = 10.0
COPY_PATIENCE = 60.0


class Use(StrEnum):
    """How a copy uses the tree."""

    INSIDE = "inside"
    READER = "reader"
    WRITER = "writer"


class TreeUse:
    """Of one container, whose name `name()` tells."""

    def __init__(self, name: Callable[[], str]) -> None:
        self._name = name
        self._running = False
        self._copies: dict[trio.CancelScope, Use] = {}
        self._closed = False
        self._changed = trio.Event()

    # --- the run ------------------------------------------------------------------------

    async def begin_run(self) -> None:
        """Take the tree for a run; copies of it as it was are over when this returns."""
        self._running = True  # from now on no copy at rest begins
        if not self._copies:
            return
        with trio.move_on_after(START_PATIENCE):
            await self._until(lambda: not self._copies)
        self._cut_off()
        await self._until(lambda: not self._copies)

    def end_run(self) -> None:
        """The run is over, and nothing of it has the tree mounted any more."""
        self._running = False
        self._notify()

    async def close(self) -> None:
        """Cut off all copies and let no more begin: the container is being removed."""
        self._closed = True
        self._cut_off()
        await self._until(lambda: not self._copies)

    # --- copies -------------------------------------------------------------------------

    @asynccontextmanager
    async def copy(self, choose: Callable[[], Use | None]) -> AsyncIterator[Use]:
        """Use the tree as `choose` says now; while it says None, wait for a change.

        Raises Conflict where the tree does not become free in time, and where the copy is
        cut off.
        """
        scope = trio.CancelScope()
        use = await self._enter(choose, scope)
        try:
            with scope:
                yield use
        finally:
            del self._copies[scope]
            self._notify()
        if scope.cancelled_caught:
            why = "is being removed" if self._closed else "was started"
            raise Conflict(f"container {self._name()} {why}: the copy was cut off")

    async def _enter(self, choose: Callable[[], Use | None], scope: trio.CancelScope) -> Use:
        with trio.move_on_after(COPY_PATIENCE):
            while True:
                if self._closed:
                    raise Conflict(f"removal of container {self._name()} is already in progress")
                use = choose()
                if use is not None and self._has_room(use):
                    self._copies[scope] = use
                    return use
                await self._changed.wait()
        raise Conflict(
            f"container {self._name()} is starting, stopping, or being copied into: try again"
        )

    def _has_room(self, use: Use) -> bool:
        if use is Use.INSIDE:
            return self._running
        if self._running:
            return False
        return all(other is Use.READER is use for other in self._copies.values())

    def changed(self) -> None:
        """What `choose` looks at may have changed."""
        self._notify()

    # --- waiting ------------------------------------------------------------------------

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self._changed.wait()

    def _notify(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    def _cut_off(self) -> None:
        for scope in self._copies:
            scope.cancel()
