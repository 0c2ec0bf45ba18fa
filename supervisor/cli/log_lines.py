"""Lines of several logs on one output: each behind its container's name, none torn by another.

`Lines` is pure: bytes as they come in, whole lines out. `Printer` writes them, `merged` puts logs
that are complete in order of time, `follow` prints those that go on as they come, with a thread for
each: one that stops in the middle of a chunk holds up nobody.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import merge
from itertools import islice
from typing import NamedTuple

from supervisor.cli.client import Call, is_framed
from supervisor.cli.failures import Failure
from supervisor.cli.session import write_all
from supervisor.wire.stdcopy import STDERR, STDOUT, Decoder

MAX_LINE = 256 * 1024
"""Bytes of a line that are waited for; a longer one is printed as several."""

_COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)
_AT_ONCE = 500
_FDS = {STDOUT: 1, STDERR: 2}


class Line(NamedTuple):
    """A line without its end. `at` is the daemon's time stamp, b"" where none was asked for."""

    at: bytes
    stream: int
    text: bytes


class Lines:
    """The lines of one log; `stamped` where each begins with a time and a space."""

    def __init__(self, *, framed: bool, stamped: bool) -> None:
        self._decoder = Decoder() if framed else None
        self._stamped = stamped
        self._rest: dict[int, bytes] = {}
        self._goes_on: dict[int, bytes] = {}  # stream → the stamp of a line that was cut

    def feed(self, data: bytes) -> Iterator[Line]:
        """The lines that `data` completes; ProtocolError for what is no frame."""
        pieces = self._decoder.feed(data) if self._decoder else [(STDOUT, data)]
        for number, piece in pieces:
            stream = STDERR if number > STDOUT else STDOUT
            *whole, rest = (self._rest.pop(stream, b"") + piece).split(b"\n")
            for text in whole:
                yield self._line(stream, text)
                self._goes_on.pop(stream, None)
            if len(rest) > MAX_LINE:
                cut = self._line(stream, rest)
                self._goes_on[stream] = cut.at
                yield cut
            elif rest:
                self._rest[stream] = rest

    def close(self) -> Iterator[Line]:
        """The log is over: what it has left without an end of line."""
        for stream, text in sorted(self._rest.items()):
            yield self._line(stream, text)
        self._rest = {}

    def _line(self, stream: int, text: bytes) -> Line:
        if not self._stamped:
            return Line(b"", stream, text)
        if stream in self._goes_on:
            return Line(self._goes_on[stream], stream, text)
        at, _, text = text.partition(b" ")
        return Line(at, stream, text)


class Printer:
    """Writes lines of the named logs, what is for stderr to stderr."""

    def __init__(self, names: Sequence[str], *, prefix: bool, colour: bool, times: bool) -> None:
        self._times = times
        width = max(map(len, names), default=0)
        colour = colour and "NO_COLOR" not in os.environ
        self._before: dict[tuple[str, int], bytes] = {}
        for at, name in enumerate(names):
            code = _COLOURS[at % len(_COLOURS)]
            for stream, fd in _FDS.items():
                text = f"{name:<{width}} |" if prefix else ""
                if text and colour and os.isatty(fd):
                    text = f"\x1b[{code}m{text}\x1b[0m"
                self._before[name, stream] = (text + " " if text else "").encode()

    def write(self, lines: Iterable[tuple[str, Line]]) -> None:
        """Write whole lines of the logs so named; those of one stream in one go."""
        runs: list[tuple[int, list[bytes]]] = []
        for name, line in lines:
            if not runs or runs[-1][0] != line.stream:
                runs.append((line.stream, []))
            stamp = line.at + b" " if self._times and line.at else b""
            runs[-1][1].append(self._before[name, line.stream] + stamp + line.text + b"\n")
        for stream, texts in runs:
            write_all(_FDS[stream], b"".join(texts))


def merged(calls: Mapping[str, Call], printer: Printer) -> None:
    """Print logs that are complete, and have times, in order of time."""

    def named(name: str, call: Call) -> Iterator[tuple[str, Line]]:
        with call:
            for lines in _batches(call, stamped=True):
                for line in lines:
                    yield name, line

    logs = [named(name, call) for name, call in calls.items()]
    ordered = merge(*logs, key=lambda one: one[1].at)
    while some := list(islice(ordered, _AT_ONCE)):
        printer.write(some)


def follow(calls: Mapping[str, Call], printer: Printer, *, stamped: bool) -> list[Failure]:
    """Print logs as they come until all have ended; what some of them failed with.

    OSError where nobody takes the output any more.
    """
    from queue import SimpleQueue
    from threading import Lock, Thread

    ends: SimpleQueue[BaseException | None] = SimpleQueue()
    lock = Lock()

    def copy(name: str, call: Call) -> None:
        try:
            with call:
                for lines in _batches(call, stamped=stamped):
                    with lock:
                        printer.write((name, line) for line in lines)
        except BaseException as error:  # noqa: BLE001 - for the main thread, which raises it
            ends.put(error)
        else:
            ends.put(None)

    # Of no concern to a main thread that is interrupted, which may then end.
    threads = [Thread(target=copy, args=one, daemon=True) for one in calls.items()]
    for thread in threads:
        thread.start()
    failures: list[Failure] = []
    for _ in threads:
        error = ends.get()
        if isinstance(error, Failure):
            failures.append(error)
        elif error is not None:
            raise error
    return failures


def _batches(call: Call, *, stamped: bool) -> Iterator[list[Line]]:
    lines = Lines(framed=is_framed(call.response()), stamped=stamped)
    for piece in call.pieces():
        yield list(lines.feed(piece))
    yield list(lines.close())
