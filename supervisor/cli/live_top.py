"""The screen of `orlop top`: a table that is drawn again each second, and keys.

`View` is pure: keys in, what to show out. The screen is the terminal's other one, so that what
was there before is there after; the terminal is restored however this ends.
"""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from supervisor.cli import terminal
from supervisor.cli.session import write_all
from supervisor.cli.usage import Answer, Usage, Watched, matching, ordered
from supervisor.cli.usage_table import table

SECONDS = 1.0
KEYS = {
    "c": "cpu",
    "m": "memory",
    "p": "pressure",
    "n": "network",
    "b": "block",
    "i": "pids",
    "a": "name",
}
HELP = "c CPU  m memory  p waiting  n network  b block  i PIDs  a name  r reverse  / filter  q quit"
_ENTER, _LEAVE = b"\x1b[?1049h\x1b[?25l", b"\x1b[?25h\x1b[?1049l"
_HOME, _CLEAR_LINE, _CLEAR_REST = "\x1b[H", "\x1b[K", "\x1b[J"
_ESCAPE, _INTERRUPT, _BACK = "\x1b", "\x03", "\x08\x7f"
_AROUND = 4
WORDS = {"pressure": "waiting", "block": "block I/O", "cpu": "CPU", "pids": "PIDs"}


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """How the table is looked at; `typing` while the filter is being written."""

    sort: str = "cpu"
    reverse: bool = False
    filter: str = ""
    typing: bool = False
    first: int = 0
    over: bool = False

    def press(self, keys: str) -> View:
        """The view after these keys; KeyboardInterrupt for Ctrl-C."""
        view = self
        while keys:
            if keys.startswith((f"{_ESCAPE}[", f"{_ESCAPE}O")) and len(keys) > 2:
                view, keys = view._arrow(keys[2]), _after_sequence(keys)
            else:
                view, keys = view._type(keys[0]) if view.typing else view._key(keys[0]), keys[1:]
        return view

    def _key(self, key: str) -> View:
        if key == _INTERRUPT:
            raise KeyboardInterrupt
        if key in KEYS:
            return replace(self, sort=KEYS[key], reverse=False, first=0)
        return {
            "q": lambda: replace(self, over=True),
            "r": lambda: replace(self, reverse=not self.reverse),
            "/": lambda: replace(self, typing=True, filter="", first=0),
            _ESCAPE: lambda: replace(self, filter="", first=0),
            "j": lambda: self._arrow("B"),
            "k": lambda: self._arrow("A"),
        }.get(key, lambda: self)()

    def _type(self, key: str) -> View:
        if key == _INTERRUPT:
            raise KeyboardInterrupt
        if key in "\r\n":
            return replace(self, typing=False)
        if key == _ESCAPE:
            return replace(self, typing=False, filter="")
        if key in _BACK:
            return replace(self, filter=self.filter[:-1])
        return replace(self, filter=self.filter + key) if key.isprintable() else self

    def _arrow(self, letter: str) -> View:
        step = {"A": -1, "B": 1}.get(letter, 0)
        return replace(self, first=max(0, self.first + step))


def _after_sequence(keys: str) -> str:
    """Behind a control sequence (ECMA-48): parameters, then one letter or tilde."""
    at = 2
    while at < len(keys) - 1 and not ("@" <= keys[at] <= "~"):
        at += 1
    return keys[at + 1 :]


def screen(
    rows: Sequence[Usage],
    answer: Answer,
    view: View,
    size: tuple[int, int],
    paint: Callable[..., str],
) -> list[str]:
    """The lines of the screen, `size` is its rows and columns."""
    height, width = size
    found = ordered(matching(rows, view.filter), view.sort, reverse=view.reverse)
    room = max(1, height - _AROUND)
    first = min(view.first, max(0, len(found) - room))
    used = sum(row.cpu or 0.0 for row in rows)
    order = WORDS.get(view.sort, view.sort) + (", reversed" if view.reverse else "")
    title = (
        f"orlop top: {len(rows)} running, {100 * used:.0f}% of {answer['cpus']} CPUs, by {order}"
    )
    filter = f"filter: {view.filter}" + ("_" if view.typing else "") if _filtered(view) else ""
    left = len(found) - first - room
    more = f"  {left} more below" if left > 0 else ""
    lines = table(
        found[first : first + room],
        width,
        paint,
        with_bars=bars_can_be_shown(),
        machine_memory=answer["memory"],
    )
    return [
        title[:width],
        paint((filter + more)[:width], "dim"),
        *lines,
        *[""] * (room + 1 - len(lines)),
        paint(HELP[:width], "dim"),
    ]


def _filtered(view: View) -> bool:
    return view.typing or bool(view.filter)


def bars_can_be_shown() -> bool:
    """Standard output's encoding has the characters."""
    try:
        "▁█".encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def run(ask: Callable[[bool], Answer], view: View, paint: Callable[..., str]) -> None:
    """Show until `q`. `ask(history)` has what all containers use now."""
    watched = Watched()
    answer = ask(True)
    rows = watched.look(answer)
    with _other_screen():
        due = time.monotonic() + SECONDS
        while not view.over:
            _draw(screen(rows, answer, view, terminal.size() or (24, 80), paint))
            if keys := _pressed(max(0.0, due - time.monotonic())):
                view = view.press(keys)
            if time.monotonic() >= due:
                answer = ask(False)
                rows = watched.look(answer)
                due = time.monotonic() + SECONDS


@contextmanager
def _other_screen() -> Iterator[None]:
    with terminal.raw_mode():
        write_all(terminal.STDOUT, _ENTER)
        try:
            yield
        finally:
            write_all(terminal.STDOUT, _LEAVE)


def _draw(lines: Sequence[str]) -> None:
    text = f"{_CLEAR_LINE}\r\n".join(lines)
    write_all(terminal.STDOUT, f"{_HOME}{text}{_CLEAR_REST}".encode())


def _pressed(seconds: float) -> str:
    """What is typed within so many seconds, "" for nothing; the terminal's end is Ctrl-C."""
    poll = select.poll()
    poll.register(terminal.STDIN, select.POLLIN)
    if not poll.poll(seconds * 1000):
        return ""
    try:
        data = os.read(terminal.STDIN, 1024)
    except OSError:  # it hung up
        data = b""
    return data.decode(errors="ignore") if data else _INTERRUPT
