"""The event loop goes round, or the process ends: nothing needs an orderly end here.

systemd's watchdog is the same from outside, and sooner. This one is for daemons that were started
by something else, which notices at least that a process has ended. Turns are counted, not
time: a process that is stopped and continued, or sleeps with its machine, has missed none.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress

import trio

log = logging.getLogger("orlop.pulse")

BEAT_SECONDS = 5.0
TICK_SECONDS = 10.0
MOST_MISSED = 6
SAY_SECONDS = 2.0
EXIT_STALLED = 70


class Pulse:
    """Turns of the loop, counted by itself, and a thread that looks whether they go on.

    It looks from the first turn on until it is told that the loop is over: one that breaks, and
    then waits in vain for what it has begun, turns no more.
    """

    def __init__(self, end: Callable[[], None] | None = None) -> None:
        self.turns = 0
        self._end = end or _end
        self._over = threading.Event()

    async def beat(self) -> None:
        """Count turns until cancelled; `over` has to follow."""
        token = trio.lowlevel.current_trio_token()
        threading.Thread(target=self._watch, name="orlop-pulse", daemon=True).start()
        while True:
            self.turns += 1
            # What a thread has to say whose own call to wake the loop failed is heard now.
            with suppress(OSError):
                token.run_sync_soon(_nothing, idempotent=True)
            await trio.sleep(BEAT_SECONDS)

    def over(self) -> None:
        """The loop has ended: there are no turns to look for."""
        self._over.set()

    def _watch(self) -> None:
        looks = Looks()
        while not self._over.wait(TICK_SECONDS):
            if looks.missed(self.turns) >= MOST_MISSED:
                self._end()
                return


class Looks:
    """Looks at the number of turns, one after the other."""

    def __init__(self) -> None:
        self._seen = 0
        self._missed = 0

    def missed(self, turns: int) -> int:
        """How many of them in a row, with this one, saw no turn since the look before."""
        self._missed = 0 if turns != self._seen else self._missed + 1
        self._seen = turns
        return self._missed


def _end() -> None:
    """Say why and where every thread is, and exit: also where saying it is what takes so long."""
    saying = threading.Thread(target=_say, daemon=True)
    saying.start()
    saying.join(SAY_SECONDS)
    os._exit(EXIT_STALLED)


def _say() -> None:
    log.critical(
        "the event loop has not gone round for %.0f s, or is broken: this daemon ends, and wants "
        "to be started again; containers live on",
        MOST_MISSED * TICK_SECONDS,
    )
    faulthandler.dump_traceback(all_threads=True)


def _nothing() -> None:
    pass
