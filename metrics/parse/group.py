"""Which files tell of a group, and all of them together to its figures.

v2       cpu.stat, memory.*, pids.current, io.stat, *.pressure of one folder
hybrid   memory, cpu, pids, blkio of v1; CPU time (cpu.stat) and pressure of v2, which has
         them without any controller
v1       as hybrid, with CPU time from cpuacct, and no pressure
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from metrics.errors import Malformed
from metrics.parse import cpu, io, memory
from metrics.parse.figures import (
    NO_LINKS,
    Cpu,
    DeviceIo,
    Figures,
    Glance,
    Link,
    Memory,
    Pressure,
    Tasks,
)
from metrics.parse.pressure import stall
from metrics.parse.text import integer

Readings = Mapping[str, bytes]
"""The contents of files by their key below; what could not be read is missing."""


class CgroupFolders(Protocol):
    """Where a group is: `unified` on v2 ("" = nowhere), `v1` controller → folder."""

    @property
    def unified(self) -> str: ...

    @property
    def v1(self) -> Mapping[str, str]: ...


class When(enum.Enum):
    """When a file is worth reading.

    ACTIVE: for a scrape, if a file of GLANCE reads otherwise than when this one was read. Its
    content changes only with what the group's own tasks do, and for that they need CPU time.
    What others do to a group at rest (reclaim its memory, write back its pages, kill) stands in
    files of SCRAPE.
    """

    GLANCE = "in every background sample, and for a scrape"
    SCRAPE = "for a scrape"
    ACTIVE = "for a scrape of a group that was not at rest"


class File(NamedTuple):
    """A file to read."""

    key: str
    path: str
    when: When = When.SCRAPE


_GLANCE, _SCRAPE, _ACTIVE = When
_UNIFIED = (
    ("cpu", "cpu.stat", _GLANCE),
    ("procs", "cgroup.procs", _ACTIVE),
    ("cpu_pressure", "cpu.pressure", _SCRAPE),
    ("memory_pressure", "memory.pressure", _SCRAPE),
    ("io_pressure", "io.pressure", _SCRAPE),
)
# By the controller of v1 that stands in for it where v2 lacks it.
_UNIFIED_CONTROLLERS = (
    ("memory", "memory", "memory.current", _GLANCE),
    ("memory", "memory_stat", "memory.stat", _SCRAPE),
    ("memory", "memory_peak", "memory.peak", _ACTIVE),
    ("memory", "memory_swap", "memory.swap.current", _SCRAPE),
    ("memory", "memory_events", "memory.events", _SCRAPE),
    ("pids", "pids", "pids.current", _ACTIVE),
    ("blkio", "io", "io.stat", _GLANCE),
)
_V1 = (
    ("memory", "memory_v1", "memory.usage_in_bytes", _GLANCE),
    ("memory", "memory_stat", "memory.stat", _SCRAPE),
    ("memory", "memory_peak", "memory.max_usage_in_bytes", _ACTIVE),
    ("memory", "memory_failures", "memory.failcnt", _ACTIVE),
    ("memory", "memory_oom", "memory.oom_control", _SCRAPE),
    ("cpu", "throttling", "cpu.stat", _SCRAPE),
    ("pids", "pids", "pids.current", _ACTIVE),
    ("blkio", "io_v1", "blkio.throttle.io_service_bytes_recursive", _GLANCE),
    ("blkio", "io_operations", "blkio.throttle.io_serviced_recursive", _ACTIVE),
)
_V1_CPU = (
    ("cpuacct", "cpu_v1", "cpuacct.usage", _GLANCE),
    ("cpuacct", "cpu_times", "cpuacct.stat", _ACTIVE),
)


def files(folders: CgroupFolders) -> tuple[File, ...]:
    """The files of a group; those that this kernel lacks are among them."""
    result: list[File] = []
    if unified := folders.unified:
        result += [File(key, f"{unified}/{name}", when) for key, name, when in _UNIFIED]
        result += [
            File(key, f"{unified}/{name}", when)
            for controller, key, name, when in _UNIFIED_CONTROLLERS
            if controller not in folders.v1
        ]
    result += [
        File(key, f"{folders.v1[controller]}/{name}", when)
        for controller, key, name, when in (_V1 if unified else (*_V1, *_V1_CPU))
        if controller in folders.v1
    ]
    return tuple(result)


class Decoder:
    """Decodes one group's files, and again only what has changed since the last time.

    Most groups of a host are idle most of the time; their files then read as before.
    """

    __slots__ = ("_figures", "_glance", "_glanced", "_readings", "_results", "_seen")

    def __init__(self) -> None:
        self._figures = Figures()
        self._glance: Glance | None = None
        self._glanced: Readings = {}
        self._readings: Readings = {}
        self._seen: dict[str, tuple[bytes | None, ...]] = {}
        self._results: dict[str, Any] = {}

    def figures(
        self, readings: Readings, network: Mapping[str, Link] = NO_LINKS
    ) -> tuple[Figures, tuple[str, ...]]:
        """All figures, and a sentence for each part that was malformed and is missing for it.

        `network` is what was read elsewhere. What has not changed is the same object as the last
        time, the figures as a whole if nothing has.
        """
        wrong: list[str] = []
        if readings is self._readings:
            if network is self._figures.network:
                return self._figures, ()
        elif readings != self._readings:
            for name, keys, decode in _PARTS:
                data = tuple(map(readings.get, keys))
                if data != self._seen.get(name):
                    self._decode(name, decode, readings, data, wrong)
            self._readings = {} if wrong else readings
        self._figures = Figures(**self._results, network=network)
        return self._figures, tuple(wrong)

    def glance(self, readings: Readings) -> Glance:
        """The few figures of a background sample; Malformed."""
        if self._glance is None or (readings is not self._glanced and readings != self._glanced):
            self._glance = None
            self._glance, self._glanced = glance(readings), readings
        return self._glance

    def _decode(
        self,
        name: str,
        decode: Callable[[Readings], object],
        readings: Readings,
        data: tuple[bytes | None, ...],
        wrong: list[str],
    ) -> None:
        try:
            self._results[name] = decode(readings)
            self._seen[name] = data
        except Malformed as error:
            wrong.append(str(error))
            self._results.pop(name, None)
            self._seen.pop(name, None)


def glance(readings: Readings) -> Glance:
    """The few figures of a background sample; Malformed."""
    used = readings.get("memory") or readings.get("memory_v1")
    read, written = io.totals(_io(readings))
    return Glance(
        _cpu(readings) or Cpu(0),
        memory.size(used) if used else 0,
        read,
        written,
    )


def _cpu(readings: Readings) -> Cpu | None:
    if "cpu" in readings:
        return cpu.unified(readings["cpu"], readings.get("throttling"))
    if "cpu_v1" in readings:
        return cpu.v1(readings["cpu_v1"], readings.get("cpu_times"), readings.get("throttling"))
    return None


def _memory(readings: Readings) -> Memory | None:
    get = readings.get
    if "memory" in readings:
        return memory.unified(
            readings["memory"],
            get("memory_stat"),
            peak=get("memory_peak"),
            swap=get("memory_swap"),
            events=get("memory_events"),
        )
    if "memory_v1" in readings:
        return memory.v1(
            readings["memory_v1"],
            get("memory_stat"),
            peak=get("memory_peak"),
            failures=get("memory_failures"),
            oom_control=get("memory_oom"),
        )
    return None


def _tasks(readings: Readings) -> Tasks:
    pids, procs = readings.get("pids"), readings.get("procs")
    return Tasks(
        None if pids is None else integer(pids),
        None if procs is None else procs.count(b"\n"),
    )


def _pressure(readings: Readings) -> Pressure | None:
    stalls = [stall(readings.get(key)) for key in _STALLS]
    if stalls[0].some is stalls[1].some is stalls[2].some is None:
        return None
    return Pressure(*stalls[0], *stalls[1], *stalls[2])


def _io(readings: Readings) -> dict[str, DeviceIo]:
    if "io" in readings:
        return io.unified(readings["io"])
    if "io_v1" in readings:
        return io.v1(readings["io_v1"], readings.get("io_operations"))
    return {}


_STALLS = ("cpu_pressure", "memory_pressure", "io_pressure")
_MEMORY = ("memory", "memory_v1", "memory_stat", "memory_peak", "memory_swap")
_MEMORY_EVENTS = ("memory_events", "memory_failures", "memory_oom")
_PARTS = (
    ("cpu", ("cpu", "cpu_v1", "cpu_times", "throttling"), _cpu),
    ("memory", (*_MEMORY, *_MEMORY_EVENTS), _memory),
    ("tasks", ("pids", "procs"), _tasks),
    ("pressure", _STALLS, _pressure),
    ("io", ("io", "io_v1", "io_operations"), _io),
)
