"""What goes on in the background: deleting what is out of use, repairing what others removed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from netplumb.apply.thread import KernelThread
from netplumb.apply.wiring import Wiring
from netplumb.errors import NetworkError
from netplumb.plan.reconcile import Aim, Conflict

# Pairs that go within this time are deleted together; removals of one kind come in swarms.
_GATHER_SECONDS = 0.05

Report = Callable[[str], None]


class Sweeper:
    """Deletes pairs that are out of use, all at once: 30 ms, no matter how many.

    In a thread of its own, so that no start of a container waits for it.
    """

    def __init__(self, aim: Aim) -> None:
        self._thread = KernelThread("netplumb-sweeper")
        self._wiring = Wiring(aim)
        self._due = trio.Event()
        self._swept = trio.Event()

    def soon(self) -> None:
        """There is something to delete."""
        self._due.set()

    async def sweep(self) -> None:
        """There is something to delete: wait until it is gone, or could not be deleted."""
        self.soon()
        await self._swept.wait()

    async def run(self, report: Report) -> None:
        """Until cancelled."""
        try:
            while True:
                await self._due.wait()
                await trio.sleep(_GATHER_SECONDS)
                await self._sweep(report)
        finally:
            self._swept.set()

    async def _sweep(self, report: Report) -> None:
        # What is added from here on may come too late for this time.
        self._due, swept, self._swept = trio.Event(), self._swept, trio.Event()
        try:
            await self._thread.run(self._wiring.empty_trash)
        except NetworkError as error:
            report(f"pairs that are out of use are still there: {error}")
        finally:
            swept.set()

    async def close(self) -> None:
        """Delete what is left, and end the thread."""
        if self._due.is_set():
            await self._thread.run(self._wiring.empty_trash)
        await self._thread.run(self._wiring.close)
        await trio.to_thread.run_sync(self._thread.close)


class Repairs:
    """Makes bridges, addresses and routing rules again that somebody else removed."""

    def __init__(self) -> None:
        self._disturbed = trio.Event()

    def soon(self) -> None:
        """Something was removed."""
        self._disturbed.set()

    async def run(
        self, reconcile: Callable[[], Awaitable[tuple[Conflict, ...]]], report: Report
    ) -> None:
        """Until cancelled."""
        while True:
            await self._disturbed.wait()
            await trio.sleep(_GATHER_SECONDS)
            self._disturbed = trio.Event()
            try:
                for conflict in await reconcile():
                    report(str(conflict))
            except NetworkError as error:
                report(f"the bridges could not be restored: {error}")
