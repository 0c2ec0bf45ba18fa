"""What of a snapshot is shown in which part: a label block, and the object it is told of.

A family (metrics.render.families) takes its values from the objects of one part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from metrics.parse.figures import Figures
from metrics.render import labels
from metrics.render.snapshot import Known, Row, Snapshot


class Source(NamedTuple):
    """An open label block ("" = no labels at all), and what the getters are applied to."""

    part: str
    block: str
    about: Any


ROW = ("cpu", "quota", "memory", "tasks", "pressure", "ooms", "life", "health", "limits")
"""The parts that a row has one object of, or none."""

_NO_FIGURES = Figures()


def of_row(row: Row) -> tuple[Any, ...]:
    """The objects for the parts ROW, None where there is none."""
    figures, limits = row.figures, row.limits
    if figures is None:
        # Before the first run, so that a first OOM is an increase.
        return (None,) * 5 + (None if row.started else 0,) + (None,) * 3
    cpu, memory, kills = figures.cpu, figures.memory, None
    if memory is not None and memory.oom_kills is not None:
        kills = row.oom_kills_before + memory.oom_kills
    return (
        cpu,
        cpu if limits is not None and limits.cpu_quota > 0 else None,
        memory,
        figures.tasks,
        figures.pressure,
        kills,
        row.started or None,  # else it is another agent's run that ended unseen
        None if limits is None else row.health,
        limits,
    )


def named(row: Row) -> list[tuple[str, str, Any]]:
    """The objects of which a row has one for each device or interface: part, label, object."""
    figures = row.figures or _NO_FIGURES
    return [
        *[("io", _label("device", device), io) for device, io in figures.io.items()],
        *[("network", _label("interface", name), link) for name, link in figures.network.items()],
        *[("storage", _label("device", device.device), device) for device in row.storage],
    ]


def is_seen(row: Row) -> bool:
    """Whether it is shown when its figures are of."""
    return row.figures is not None and bool(row.started)


def of_known(known: Known) -> Iterator[Source]:
    """A container in our own families."""
    yield Source("names", known.name, known)
    yield Source("infos", known.info, known)


def of_the_rest(snapshot: Snapshot) -> Iterator[Source]:
    """All but the rows and who is known."""
    machine = snapshot.machine
    yield from _by_label("states", "state", snapshot.states)
    yield from _by_label("collectors", "collector", snapshot.collectors)
    yield from _by_label("capped", "kind", snapshot.capped)
    yield Source("machine", "", machine)
    yield Source("totals", "", snapshot.totals)
    if snapshot.process:
        yield Source("process", "", snapshot.process)
    versions = (
        ("cadvisorRevision", ""),
        ("cadvisorVersion", ""),
        ("dockerVersion", ""),
        ("kernelVersion", machine.kernel),
        ("osVersion", machine.os),
    )
    yield Source("versions", labels.block(versions, Counter()), None)
    yield Source("build", labels.block([("version", machine.version)], Counter()), None)


def of_snapshot(snapshot: Snapshot) -> Iterator[Source]:
    """All of them."""
    for row in snapshot.rows:
        for part, about in zip(ROW, of_row(row), strict=True):
            if about is not None:
                yield Source(part, row.labels, about)
        for part, label, about in named(row):
            yield Source(part, row.labels + label, about)
        if is_seen(row):
            yield Source("seen", row.labels, row.seen)
    for known in snapshot.known:
        yield from of_known(known)
    yield from of_the_rest(snapshot)


def _by_label(part: str, name: str, values: Mapping[str, Any]) -> Iterator[Source]:
    for key, value in values.items():
        yield Source(part, labels.block([(name, key)], Counter()), value)


@lru_cache(maxsize=1024)
def _label(name: str, text: str) -> str:
    return labels.suffix(name, text, Counter())
