"""What the page for people is made of: one JSON object of all containers as they are now.

Text is escaped so that it is plain ASCII without `<`, whatever names contain.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from metrics.history import Point
from metrics.model import Container, End
from metrics.parse.figures import Figures
from metrics.render.snapshot import Machine

RATE_SECONDS = 2.0
"""Rates of now are those of at least so long, if there are samples of it."""

_MILLION = 1_000_000


class Live(NamedTuple):
    """One container. Without `figures` it does not run; `points` are its last minute.

    `health` is 1 healthy, 0 not, -1 without a check; `started` wall-clock seconds, 0 = never.
    """

    container: Container
    state: str
    health: int
    started: float
    restarts: int
    oom_kills: int
    end: End | None
    figures: Figures | None
    points: Sequence[Point]


def pages(
    containers: Iterable[Live], machine: Machine, *, at: float, history: bool
) -> Iterator[bytes]:
    """The object, a container at a time; with `history` the series of the last minute."""
    head = {"at": at, "version": machine.version, "cpus": machine.cpus, "memory": machine.memory}
    yield _text(head)[:-1] + b',"containers":['
    comma = b""
    for one in containers:
        yield comma + _text(_container(one, history=history))
        comma = b","
    yield b"]}\n"


def _text(value: dict[str, Any]) -> bytes:
    text = json.dumps(value, separators=(",", ":"))
    # In JSON `<` stands in strings only: what takes this for HTML finds no tag.
    return text.replace("<", "\\u003c").encode()


def _container(one: Live, *, history: bool) -> dict[str, Any]:
    limits = one.container.limits
    answer: dict[str, Any] = {
        "id": one.container.id,
        "name": one.container.name,
        "image": one.container.image,
        "state": one.state,
        "healthy": None if one.health < 0 else one.health == 1,
        "started": one.started or None,
        "restarts": one.restarts,
        "oom_kills": one.oom_kills,
        "end": one.end._asdict() if one.end else None,
        "limits": {
            "memory": limits.memory,
            "cpus": limits.cpu_quota / limits.cpu_period if limits.cpu_quota else 0,
            "pids": limits.pids,
        },
        "now": _now(one.figures, one.points, quota=limits.cpu_quota) if one.figures else None,
    }
    if history:
        answer["history"] = series(one.points)
    return answer


def _now(figures: Figures, points: Sequence[Point], *, quota: int) -> dict[str, Any]:
    """CPUs in use, bytes, bytes a second; pressure in seconds of waiting since the start."""
    pressure, cpu = figures.pressure, figures.cpu
    waited = (pressure.cpu_some, pressure.memory_some, pressure.io_some) if pressure else ()
    names = ("cpu", "memory", "io")
    answer: dict[str, Any] = {
        "memory": figures.memory.working_set if figures.memory else None,
        "threads": figures.tasks.threads if figures.tasks else None,
        "pressure": {n: w / _MILLION for n, w in zip(names, waited, strict=False) if w is not None},
    }
    if quota and cpu is not None and cpu.periods is not None:  # else cgroup v2 counts none
        answer["periods"], answer["throttled_periods"] = cpu.periods, cpu.throttled_periods
    return answer | rates(points)


def rates(points: Sequence[Point]) -> dict[str, float]:
    """CPUs in use and bytes a second over the last two seconds; {} after a first sample."""
    if len(points) < 2:
        return {}
    last = points[-1]
    before = next((p for p in reversed(points) if last.at - p.at >= RATE_SECONDS), points[0])
    return _between(before, last)


def series(points: Sequence[Point]) -> dict[str, list[float]]:
    """By name what was in use at each sample but the first, the oldest first."""
    found: dict[str, list[float]] = {"at": [], "memory": []}
    for before, after in pairwise(points):
        found["at"].append(round(after.at, 2))
        found["memory"].append(after.working_set)
        for name, rate in _between(before, after).items():
            found.setdefault(name, []).append(rate)
    return found


def _between(before: Point, after: Point) -> dict[str, float]:
    seconds = after.at - before.at
    if seconds <= 0:  # the clock was set back
        return dict.fromkeys(("cpu", "received", "transmitted", "read", "written"), 0.0)
    return {
        "cpu": round(max(0.0, after.cpu - before.cpu) / _MILLION / seconds, 4),
        "received": _rate(before.received_bytes, after.received_bytes, seconds),
        "transmitted": _rate(before.transmitted_bytes, after.transmitted_bytes, seconds),
        "read": _rate(before.read_bytes, after.read_bytes, seconds),
        "written": _rate(before.written_bytes, after.written_bytes, seconds),
    }


def _rate(before: float, after: float, seconds: float) -> float:
    return round(max(0.0, after - before) / seconds)
