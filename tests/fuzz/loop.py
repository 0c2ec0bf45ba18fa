"""Feeding a target: each input has its time, and the first that breaks it is told and kept."""

from __future__ import annotations

import gc
import itertools
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from tests.fuzz.mutation import inputs
from tests.fuzz.target import Target
from tests.support.pace import limit

PATIENCE = limit(20.0)
"""Seconds of a processor that one input may take."""
STANDSTILL = 30 * PATIENCE
"""Seconds that it may take in all: a machine may have no processor to spare for long."""
TOGETHER = 64
"""How many are fed at a time to a target that takes several."""
WARM = 10_000
"""Inputs after which all that is kept once and for all is there: what comes then is growth."""


class Hung(BaseException):
    """An input took too long; no `except Exception` of what is fuzzed holds it up."""


class Broke(AssertionError):
    """What inputs did to a target: one, or several that do it only together; the error is its
    cause."""

    def __init__(self, target: Target, *inputs: bytes) -> None:
        super().__init__(f"{target.name} breaks on {', '.join(repr(data) for data in inputs)}")
        self.data = inputs[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A run: how many inputs in how many seconds, and the longest that one took (of those that
    were fed together: all of them, and the first).

    `peak`: the most memory that the process had, `grown`: what it had at the end beyond that
    after `WARM` inputs; both in KiB.
    """

    inputs: int
    seconds: float
    slowest: float
    slowest_input: bytes
    peak: int
    grown: int


def feed(target: Target, data: bytes) -> None:
    """One input; raises Broke."""
    with _alarm():
        _feed(target, data)


def feed_all(target: Target, count: int, seed: int, seconds: float = float("inf")) -> Ran:
    """`count` inputs that follow from `seed`, or as many as there is time for; raises Broke."""
    begun = last = time.perf_counter()
    slowest, slowest_input, done, warm = 0.0, b"", 0, 0
    coming = itertools.islice(inputs(target, seed), count)
    at_once = 1 if target.run_many is None else TOGETHER
    with _alarm():
        while some := [*itertools.islice(coming, at_once)]:
            _feed_many(target, some)
            done += len(some)
            now = time.perf_counter()
            if now - last > slowest:
                slowest, slowest_input = now - last, some[0]
            last = now
            if not warm and done >= WARM:
                warm = memory("VmRSS")
                last = time.perf_counter()
            if now - begun > seconds:
                break
    return Ran(
        inputs=done,
        seconds=last - begun,
        slowest=slowest,
        slowest_input=slowest_input,
        peak=memory("VmHWM"),
        grown=max(0, memory("VmRSS") - warm) if warm else 0,
    )


def _feed(target: Target, data: bytes) -> None:
    _arm()
    try:
        target.run(data)
    except (Exception, Hung) as error:
        raise Broke(target, data) from error


def _feed_many(target: Target, many: Sequence[bytes]) -> None:
    """Together where the target can; then those that broke it are fed again, one by one."""
    if target.run_many is None:
        for data in many:
            _feed(target, data)
        return
    _arm()
    try:
        target.run_many(many)
    except (Exception, Hung) as error:
        for data in many:
            _feed(target, data)
        raise Broke(target, *many) from error


def _arm() -> None:
    signal.setitimer(signal.ITIMER_PROF, PATIENCE)
    signal.setitimer(signal.ITIMER_REAL, STANDSTILL)


@contextmanager
def _alarm() -> Iterator[None]:
    """Whoever arms the timers in the block is stopped by Hung when one rings."""
    before = {number: signal.signal(number, _ring) for number in (signal.SIGPROF, signal.SIGALRM)}
    try:
        yield
    finally:
        for timer in (signal.ITIMER_PROF, signal.ITIMER_REAL):
            signal.setitimer(timer, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def memory(what: str) -> int:
    """KiB of this process: VmRSS now, VmHWM at most so far (proc_pid_status(5)).

    ru_maxrss is no measure of it: it begins with what the process had before execve.
    """
    gc.collect()
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith(f"{what}:"))
    return int(line.split()[1])


def _ring(number: int, _frame: FrameType | None) -> None:
    seconds = PATIENCE if number == signal.SIGPROF else STANDSTILL
    raise Hung(f"it takes more than {seconds:.0f} s")
