"""What the daemon tells of a pull, push or load, shown: bars on a terminal, else plain lines.

On a terminal each layer keeps its line, which is written anew (ECMA-48 cursor movements), with its
speed and how long it still takes; a terminal lower than there are layers gets the plain lines, as a
pipe does.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, TextIO

from supervisor.cli.failures import StreamFailed
from supervisor.errors import ProtocolError
from supervisor.spec.units import format_size

_BAR = 20
_SPAN, _LEAST = 5.0, 0.5
_HOUR, _MINUTE = 3600, 60
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


class Speed:
    """How fast one layer's bar moves, over the last five seconds."""

    def __init__(self) -> None:
        self._status = ""
        self._seen: deque[tuple[float, int]] = deque()

    def at(self, status: str, current: int, total: int, now: float) -> str:
        """After half a second the rate, and the time that the rest takes at it; "" before."""
        if status != self._status or (self._seen and current < self._seen[-1][1]):
            self._status = status  # another stage, or it begins anew
            self._seen.clear()
        while len(self._seen) > 1 and self._seen[1][0] <= now - _SPAN:
            self._seen.popleft()
        self._seen.append((now, current))
        then, before = self._seen[0]
        if now - then < _LEAST or current <= before:
            return ""
        rate = (current - before) / (now - then)
        rest = max(0, total - current) / rate
        return f" {format_size(rate, precision=2)}/s {_duration(rest)}"


class Terminal:
    """Lines by id, the last of which is just above the cursor."""

    def __init__(
        self,
        out: TextIO,
        rows: int,
        columns: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._out = out
        self._clock = clock
        self._speeds: dict[str, Speed] = {}
        self._rows = rows
        self._columns = columns
        self._lines: dict[str, int] = {}

    def show(self, message: Message) -> None:
        """Print it, in place of what was said before about the same thing."""
        name = str(message.get("id", ""))
        text = (_text(message, bar=True) + self._speed(name, message))[: self._columns - 1]
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

    def _speed(self, name: str, message: Message) -> str:
        detail = message.get("progressDetail") or {}
        if not detail.get("total"):
            return ""
        speed = self._speeds.setdefault(name, Speed())
        done, total = int(detail.get("current", 0)), int(detail["total"])
        return speed.at(str(message["status"]), done, total, self._clock())


def _duration(seconds: float) -> str:
    """As "8s", "3m20s", "2h10m"."""
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole}s"
    if whole < _HOUR:
        return f"{whole // _MINUTE}m{whole % _MINUTE:02}s"
    return f"{whole // _HOUR}h{whole % _HOUR // _MINUTE:02}m"


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
