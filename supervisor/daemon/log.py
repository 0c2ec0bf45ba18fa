"""The daemon's log: a line per record, whatever the names and errors in it are made of.

Writing a line costs as much as a part of a container's start, and somebody waits for that. So the
lines that requests of the API cause are written a moment later, together with what came meanwhile.
"""

from __future__ import annotations

import logging
import threading
import time

import trio

FORMAT = "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s %(message)s"
_BEHIND = "    "
API = "orlop.api"
DELAY_SECONDS = 0.02
MOST_WAITING = 100


class Formatter(logging.Formatter):
    """Escapes what would begin another line or reach a terminal as a command.

    Containers, images and registries choose words that end up in errors. A traceback follows its
    record on indented lines, so that nothing in it looks like a record.
    """

    converter = staticmethod(time.gmtime)

    def __init__(self) -> None:
        super().__init__(FORMAT, "%Y-%m-%dT%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The record on one line."""
        return escaped(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        """That line, and the traceback behind it."""
        first, *behind = super().format(record).split("\n")
        return "\n".join([first, *(_BEHIND + escaped(line) for line in behind)])


def escaped(text: str) -> str:
    """With backslashes for all that is not printable."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class Handler(logging.StreamHandler):  # type: ignore[type-arg]
    """To standard error; while `run` runs, what the logger API says and is no warning within
    DELAY_SECONDS. The order stays. What still waits when the daemon is killed is lost.
    """

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(Formatter())
        self._waiting: list[logging.LogRecord] = []
        self._arrived: trio.Event | None = None  # while `run` runs
        self._thread = 0

    async def run(self) -> None:
        """Write what waits; until cancelled."""
        self._thread = threading.get_ident()
        try:
            while True:
                self._arrived = trio.Event()
                await self._arrived.wait()
                await trio.sleep(DELAY_SECONDS)
                self.flush()
        finally:
            self._arrived = None
            self.flush()

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, or keep it for `run`."""
        if self._arrived is None or not self._may_wait(record):
            self.flush()
            super().emit(record)
            return
        record.msg, record.args = record.getMessage(), None  # as its values are now
        self._waiting.append(record)
        self._arrived.set()

    def _may_wait(self, record: logging.LogRecord) -> bool:
        full = len(self._waiting) >= MOST_WAITING
        ours = threading.get_ident() == self._thread
        return record.name == API and record.levelno < logging.WARNING and ours and not full

    def flush(self) -> None:
        """Write what was kept."""
        self.acquire()
        try:
            waiting, self._waiting = self._waiting, []
            for record in waiting:
                super().emit(record)
        finally:
            self.release()
        super().flush()


async def write_kept() -> None:
    """Let the lines of requests wait a moment, until cancelled."""
    async with trio.open_nursery() as nursery:
        for handler in logging.getLogger().handlers:
            if isinstance(handler, Handler):
                nursery.start_soon(handler.run)


def set_up(level: str) -> None:
    """To standard error, what is of this level and above."""
    # What no line says need not be found out for each (Logging HOWTO, "Optimization").
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None
    logging.basicConfig(level=level.upper(), handlers=[Handler()])
