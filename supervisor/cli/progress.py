"""What the daemon tells of a pull, push or load, shown: bars on a terminal, else plain lines.

On a terminal each layer keeps its line, which is written anew (ECMA-48 cursor movements); a
terminal lower than there are layers gets the plain lines, as a pipe does.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from typing import Any, TextIO

from supervisor.cli.failures import StreamFailed
from supervisor.errors import ProtocolError
from supervisor.spec.units import format_size

_BAR = 25
_UP, _DOWN, _CLEAR = "\x1b[{}A", "\x1b[{}B", "\r\x1b[2K"

Message = dict[str, Any]


def follow(lines: Iterable[bytes], out: TextIO | None = None) -> None:
    """Show the daemon's `lines` as they come, on stdout or `out`; None of it if that is None.

    What is no progress but a result (`stream`) is shown in any case.
    Raises StreamFailed with the daemon's words where it failed in the middle.
    """
    screen = _screen(out) if out is not None else None
    for line in lines:
        try:
            message = json.loads(line)
        except ValueError:
            raise ProtocolError(f"not JSON: {line!r:.80}") from None
        failure = message.get("errorDetail") or message.get("error")
        if failure:
            words = failure.get("message") if isinstance(failure, dict) else failure
            raise StreamFailed(_clean(str(words)))
        if message.get("stream"):
            said = {"status": str(message["stream"]).rstrip("\n")}
            (screen or Plain(sys.stdout)).show(said)
        elif screen is not None and message.get("status"):
            screen.show(message)


class Plain:
    """One line for each step; bars are left out."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def show(self, message: Message) -> None:
        """Print it, unless it only moves a bar."""
        if not message.get("progressDetail"):
            self._out.write(_text(message) + "\n")
            self._out.flush()


class Terminal:
    """Lines by id, the last of which is just above the cursor."""

    def __init__(self, out: TextIO, rows: int, columns: int) -> None:
        self._out = out
        self._rows = rows
        self._columns = columns
        self._lines: dict[str, int] = {}

    def show(self, message: Message) -> None:
        """Print it, in place of what was said before about the same thing."""
        name = str(message.get("id", ""))
        text = _text(message, bar=True)[: self._columns - 1]
        if not name or "progressDetail" not in message:
            self._lines.clear()  # what stands above stays as it is from now on
            self._out.write(text + "\n")
        elif name not in self._lines:
            self._lines[name] = len(self._lines)
            self._out.write(text + "\n")
        else:
            up = len(self._lines) - self._lines[name]
            if up < self._rows:  # else it has left the screen
                self._out.write(_UP.format(up) + _CLEAR + text + _DOWN.format(up) + "\r")
        self._out.flush()


def _screen(out: TextIO) -> Plain | Terminal:
    if not out.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        return Plain(out)
    try:
        columns, rows = os.get_terminal_size(out.fileno())
    except OSError:
        return Plain(out)
    return Terminal(out, rows or 24, columns or 80)


def _text(message: Message, *, bar: bool = False) -> str:
    name, status = str(message.get("id", "")), str(message["status"])
    detail = message.get("progressDetail") or {}
    shown = f" {_bar(detail)}" if bar and detail.get("total") else ""
    return _clean(f"{name}: {status}" if name else status) + shown


def _bar(detail: Message) -> str:
    current, total = int(detail.get("current", 0)), int(detail["total"])
    filled = min(_BAR, current * _BAR // total)
    head = "=" * filled + ">" * (filled < _BAR)
    return f"[{head:<{_BAR}}] {format_size(current)}/{format_size(total)}"


def _clean(text: str) -> str:
    """Without what would move a terminal's cursor: names come from registries."""
    return "".join(c if c.isprintable() else " " for c in text)


def stdout(*, quiet: bool) -> TextIO | None:
    """Where `follow` shows what there is for who asked for that, or for nothing."""
    return None if quiet else sys.stdout
