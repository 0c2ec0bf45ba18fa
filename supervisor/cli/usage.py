"""What running containers use, from one answer of `GET /orlop/usage` and the one before. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

KEPT = 60
"""Samples that are kept of each container."""

Answer = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """One running container; None is what is not known (yet).

    cpu        CPUs in use, memory bytes in use; `…_limit` 0 = none
    …_wait     part of the time in which some of its processes waited for that (PSI)
    throttled  part of the periods of its CPU quota that it used up
    received … bytes a second
    past       the latest of received, transmitted, read, written and of each …_wait
    about      the container in the daemon's answer
    """

    name: str
    cpu: float | None = None
    cpu_limit: float = 0.0
    memory: int | None = None
    memory_limit: int = 0
    cpu_wait: float | None = None
    memory_wait: float | None = None
    io_wait: float | None = None
    received: float | None = None
    transmitted: float | None = None
    read: float | None = None
    written: float | None = None
    pids: int | None = None
    throttled: float | None = None
    cpu_past: tuple[float, ...] = field(default=(), repr=False)
    memory_past: tuple[float, ...] = field(default=(), repr=False)
    past: Mapping[str, Sequence[float]] = field(default_factory=dict, repr=False, compare=False)
    about: Answer = field(default_factory=dict, repr=False, compare=False)


class Watched:
    """Turns answers into rows; keeps what a row needs of those before."""

    def __init__(self) -> None:
        self._before: dict[str, tuple[float, Answer]] = {}
        self._cpu: dict[str, deque[float]] = {}
        self._memory: dict[str, deque[float]] = {}
        self._others: dict[str, dict[str, deque[float]]] = {}

    def look(self, answer: Answer) -> list[Usage]:
        """The running containers of one more answer."""
        running = [one for one in answer["containers"] if one["now"]]
        there = {one["id"]: one["started"] for one in running}
        for id in self._before.keys() - there.keys():
            del self._before[id], self._cpu[id], self._memory[id], self._others[id]
        return [self._usage(one, answer["at"]) for one in running]

    def _usage(self, one: Answer, at: float) -> Usage:
        id, now, limits = one["id"], one["now"], one["limits"]
        then, before = self._before.get(id, (at, one))
        if before["started"] != one["started"]:  # another run: it counts from 0 again
            then, before = at, one
            self._cpu.pop(id, None)
            self._memory.pop(id, None)
            self._others.pop(id, None)
        self._before[id] = (at, one)
        was = before["now"]
        waits = {key: _part(was["pressure"], now["pressure"], key, at - then) for key in _RESOURCES}
        cpu, memory = self._past(one)
        return Usage(
            name=one["name"],
            cpu=now.get("cpu"),
            cpu_limit=limits["cpus"],
            memory=now["memory"],
            memory_limit=limits["memory"],
            cpu_wait=waits["cpu"],
            memory_wait=waits["memory"],
            io_wait=waits["io"],
            received=now.get("received"),
            transmitted=now.get("transmitted"),
            read=now.get("read"),
            written=now.get("written"),
            pids=now["threads"],
            throttled=_throttled(was, now),
            cpu_past=cpu,
            memory_past=memory,
            past=self._past_of_others(one, {f"{key}_wait": part for key, part in waits.items()}),
            about=one,
        )

    def _past_of_others(
        self, one: Answer, waits: Mapping[str, float | None]
    ) -> Mapping[str, Sequence[float]]:
        past, history = self._others.setdefault(one["id"], {}), one.get("history") or {}
        rates = {key: one["now"].get(key) for key in _RATES}
        for key, value in {**rates, **waits}.items():
            values = past.setdefault(key, deque(history.get(key, ()), KEPT))
            if value is not None:
                values.append(value)
        return {key: tuple(values) for key, values in past.items()}

    def _past(self, one: Answer) -> tuple[tuple[float, ...], tuple[float, ...]]:
        id, history, now = one["id"], one.get("history") or {}, one["now"]
        if id not in self._cpu:
            self._cpu[id] = deque(history.get("cpu", ()), KEPT)
            self._memory[id] = deque(history.get("memory", ()), KEPT)
        if "cpu" in now:
            self._cpu[id].append(now["cpu"])
            self._memory[id].append(now["memory"] or 0)
        return tuple(self._cpu[id]), tuple(self._memory[id])


_RESOURCES = ("cpu", "memory", "io")
_RATES = ("received", "transmitted", "read", "written")


def _part(before: Answer, now: Answer, key: str, seconds: float) -> float | None:
    """How much of the time a counter of seconds went on."""
    if key not in before or key not in now or seconds <= 0:
        return None
    grown: float = now[key] - before[key]
    return min(1.0, max(0.0, grown / seconds))


def _throttled(before: Answer, now: Answer) -> float | None:
    if "periods" not in before or "periods" not in now:
        return None
    periods: int = now["periods"] - before["periods"]
    times: int = (now["throttled_periods"] or 0) - (before["throttled_periods"] or 0)
    return times / periods if periods > 0 else 0.0


SORTS = ("cpu", "memory", "name", "network", "pressure", "block", "pids")


def ordered(rows: Iterable[Usage], sort: str, *, reverse: bool = False) -> list[Usage]:
    """By what they use most of, or by name; what is not known comes last."""
    by_name = sorted(rows, key=lambda row: row.name)
    return sorted(by_name, key=lambda row: _key(row, sort), reverse=reverse)


def _key(row: Usage, sort: str) -> float | str:
    if sort == "name":
        return row.name
    parts = {
        "cpu": (row.cpu,),
        "memory": (row.memory,),
        "network": (row.received, row.transmitted),
        "pressure": (max(w or 0.0 for w in (row.cpu_wait, row.memory_wait, row.io_wait)),),
        "block": (row.read, row.written),
        "pids": (row.pids,),
    }[sort]
    known = [part for part in parts if part is not None]
    return -sum(known) if known else 1.0


def matching(rows: Iterable[Usage], text: str) -> list[Usage]:
    """Those whose name contains the text, in any case."""
    return [row for row in rows if text.lower() in row.name.lower()]
