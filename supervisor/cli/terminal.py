"""The user's terminal: its size, raw mode, and keeping a container's pty as large as it is.

Only interactive commands import this.
"""

from __future__ import annotations

import os
import signal
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from supervisor.cli.client import Client
from supervisor.cli.failures import Failure

STDIN = 0
STDOUT = 1
STDERR = 2


def size() -> tuple[int, int] | None:
    """Rows and columns of the terminal that stdout (else stdin) is, None without one."""
    for fd in (STDOUT, STDIN):
        with suppress(OSError):
            columns, rows = os.get_terminal_size(fd)
            return rows, columns
    return None


def require_terminal() -> None:
    """`-it` needs a terminal to put in raw mode; raises Failure in docker's words."""
    if not os.isatty(STDIN):
        raise Failure("the input device is not a TTY")


@contextmanager
def raw_mode(fd: int = STDIN) -> Iterator[None]:
    """The terminal passes every key through, unechoed, until the block ends, however it ends.

    SIGTERM and SIGHUP, where nobody else handles them, end the block too: their default
    would leave the shell with a terminal that shows nothing.
    """
    before = termios.tcgetattr(fd)
    # Not TCSAFLUSH: it would throw away what was typed ahead.
    tty.setraw(fd, termios.TCSADRAIN)
    handled = [s for s in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(s) is signal.SIG_DFL]
    for number in handled:
        signal.signal(number, _end)
    try:
        yield
    finally:
        for number in handled:
            signal.signal(number, signal.SIG_DFL)
        # The terminal may be gone by now (SIGHUP): there is nothing to restore then.
        with suppress(termios.error):
            termios.tcsetattr(fd, termios.TCSADRAIN, before)


class Window:
    """Tells the daemon the terminal's size: `path` is a container's or exec session's."""

    def __init__(self, address: str, path: str) -> None:
        self._address = address
        self._path = path

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Every change of size (SIGWINCH) is passed on within the block."""
        before = signal.signal(signal.SIGWINCH, self._changed)
        try:
            yield
        finally:
            signal.signal(signal.SIGWINCH, before)

    def tell(self, extra: int = 0) -> None:
        """Tell the size, plus `extra` rows and columns; failing is not worth a word.

        A connection of its own: a signal may arrive in the middle of another request.
        """
        if (now := size()) and all(now):
            rows, columns = now
            with suppress(Failure), Client(self._address) as client:
                query = {"h": rows + extra, "w": columns + extra}
                client.post(f"{self._path}/resize", query)

    def _changed(self, _number: int, _frame: FrameType | None) -> None:
        self.tell()


def _end(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
