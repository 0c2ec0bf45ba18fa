"""How long connections wait for their next request, told for all of them by one task.

All waits are equally long, so the first to begin is the first to be over. A deadline of its own
for each wait costs more than many an answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import trio

from supervisor.api import limits


class Waiting(Protocol):
    """A connection that waits; `waiting` ends that."""

    waiting: Callable[[], None] | None


class Patience:
    """Ends waits that have taken `limits.IDLE_SECONDS`, while `run` runs."""

    def __init__(self) -> None:
        self._due: dict[Waiting, float] = {}  # in the order in which they began
        self._sleep = trio.CancelScope(deadline=math.inf)

    def begin(self, connection: Waiting) -> None:
        """It waits from now on."""
        due = self._due[connection] = trio.current_time() + limits.IDLE_SECONDS
        if due < self._sleep.deadline:
            self._sleep.deadline = due

    def end(self, connection: Waiting) -> None:
        """It waits no more."""
        self._due.pop(connection, None)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            with self._sleep:
                await trio.sleep_forever()
            self._end_overdue()
            self._sleep = trio.CancelScope(deadline=next(iter(self._due.values()), math.inf))

    def _end_overdue(self) -> None:
        now = trio.current_time()
        for connection, due in list(self._due.items()):
            if due > now:
                return
            del self._due[connection]
            if connection.waiting is not None:
                connection.waiting()
