"""`GET /containers/{id}/stats` of Docker's Engine API 1.51, from two samples.

The layout is the one that dockerd has for the host's cgroup version (moby,
daemon/stats_unix.go); Docker's clients tell them apart by it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache, partial
from operator import is_
from typing import Any

from metrics.model import Container, Limits, Sample
from metrics.parse.figures import Cpu, DeviceIo, Figures, Link, Memory, Pressure, Tasks

_NEVER = "0001-01-01T00:00:00Z"
_UNLIMITED = (1 << 64) - 1
_KEYS_V1 = (
    "cache",
    "rss",
    "rss_huge",
    "mapped_file",
    "dirty",
    "writeback",
    "pgpgin",
    "pgpgout",
    "pgfault",
    "pgmajfault",
    "inactive_anon",
    "active_anon",
    "inactive_file",
    "active_file",
    "unevictable",
)
_KEYS_V2 = (
    "anon",
    "file",
    "kernel_stack",
    "slab",
    "sock",
    "shmem",
    "file_mapped",
    "file_dirty",
    "file_writeback",
    "anon_thp",
    "inactive_anon",
    "active_anon",
    "inactive_file",
    "active_file",
    "unevictable",
    "slab_reclaimable",
    "slab_unreclaimable",
    "pgfault",
    "pgmajfault",
    "workingset_refault",
    "workingset_activate",
    "workingset_nodereclaim",
    "pgrefill",
    "pgscan",
    "pgsteal",
    "pgactivate",
    "pgdeactivate",
    "pglazyfree",
    "pglazyfreed",
    "thp_fault_alloc",
    "thp_collapse_alloc",
)
_BLKIO = (
    "io_service_bytes_recursive",
    "io_serviced_recursive",
    "io_queue_recursive",
    "io_service_time_recursive",
    "io_wait_time_recursive",
    "io_merged_recursive",
    "io_time_recursive",
    "sectors_recursive",
)


def _as_is(part: Any) -> Any:
    return part


class Parts:
    """Parts of one container's last answer, each with the figures that it was made of.

    An idle container's figures are the very same objects as before (parse.group.Decoder). The
    larger parts are kept as what `pack` makes of them: whoever encodes the answers may have them
    encoded already.
    """

    __slots__ = ("_made", "_pack")

    def __init__(self, pack: Callable[[Any], Any] = _as_is) -> None:
        self._made: dict[str, tuple[tuple[object, ...], Any]] = {}
        self._pack = pack

    def packed(self, name: str, make: Callable[..., Any], *figures: Any) -> Any:
        """`make(*figures)`, packed, or what that was the last time."""
        return self.part(name, lambda *found: self._pack(make(*found)), *figures)

    def part(self, name: str, make: Callable[..., Any], *figures: Any) -> Any:
        """`make(*figures)`, or what that was the last time."""
        made = self._made.get(name)
        if made is not None and all(map(is_, made[0], figures)):
            return made[1]
        result = make(*figures)
        self._made[name] = (figures, result)
        return result


def docker_stats(
    container: Container,
    now: Sample | None,
    before: Sample | None,
    machine_memory: int,
    parts: Parts | None = None,
) -> dict[str, Any]:
    """The answer's JSON. `now` None: the container does not run; `before` None: the first one.

    Devices in `now` must have their numbers (`8:0`), not their names. With `parts`, what has
    not changed is shared with earlier answers.
    """
    name = f"/{container.name}"
    if now is None:
        head = {"name": name, "id": container.id, "read": _NEVER, "preread": _NEVER}
        empty = {"pids_stats": {}, "blkio_stats": dict.fromkeys(_BLKIO), "num_procs": 0}
        rest = {"storage_stats": {}, "cpu_stats": _cpu(None), "precpu_stats": _cpu(None)}
        return head | empty | rest | {"memory_stats": {}}
    parts = parts or Parts()
    return {
        "name": name,
        "id": container.id,
        "read": _time(now),
        "preread": parts.part("preread", _time, before),
        "cpu_stats": _cpu(now),
        "precpu_stats": parts.packed("precpu", _cpu, before),
        **parts.part("rest", partial(_rest, parts), now.figures, container.limits, machine_memory),
    }


def _rest(parts: Parts, figures: Figures, limits: Limits, machine_memory: int) -> dict[str, Any]:
    """All that neither the time nor an earlier sample has a say in."""
    packed, memory = parts.packed, figures.memory
    answer = {
        "pids_stats": _pids(figures, limits.pids),
        "blkio_stats": packed("blkio", _blkio, _is_v2(figures), figures.io),
        "num_procs": 0,
        "storage_stats": {},
        "memory_stats": packed("memory", _memory, memory, limits.memory, machine_memory),
    }
    if figures.pressure is not None:
        answer["orlop_pressure"] = packed("pressure", _pressure, figures.pressure)
    if figures.network:
        answer["networks"] = {name: _link(link) for name, link in figures.network.items()}
    return answer


def _time(sample: Sample | None) -> str:
    if sample is None:
        return _NEVER
    seconds, nanoseconds = divmod(sample.at_ns, 1_000_000_000)
    fraction = f".{nanoseconds:09d}".rstrip("0").rstrip(".")
    return f"{_second(seconds)}{fraction}Z"


@lru_cache(maxsize=16)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _cpu(sample: Sample | None) -> dict[str, Any]:
    cpu = (sample.figures.cpu if sample else None) or Cpu(0)
    answer: dict[str, Any] = {
        "cpu_usage": {
            "total_usage": cpu.usage * 1000,
            "usage_in_kernelmode": (cpu.system or 0) * 1000,
            "usage_in_usermode": (cpu.user or 0) * 1000,
        },
        "throttling_data": {
            "periods": cpu.periods or 0,
            "throttled_periods": cpu.throttled_periods or 0,
            "throttled_time": (cpu.throttled or 0) * 1000,
        },
    }
    if sample is not None:
        answer["system_cpu_usage"] = sample.system_cpu * 1000
        answer["online_cpus"] = sample.online_cpus
    return answer


def _memory(memory: Memory | None, limit: int, machine: int) -> dict[str, Any]:
    if memory is None:
        return {}
    most = min(limit, machine) if limit and machine else limit or machine
    answer: dict[str, Any] = {"usage": memory.usage, "limit": most}
    if memory.version == 2:
        answer["stats"] = {key: memory.stat.get(key, 0) for key in _KEYS_V2}
        failures = memory.ooms
    else:
        keys = [*_KEYS_V1, *(f"total_{key}" for key in _KEYS_V1)]
        keys += ["hierarchical_memory_limit", "hierarchical_memsw_limit"]
        answer["stats"] = {key: memory.stat.get(key, 0) for key in keys}
        answer["max_usage"] = memory.peak or 0
        failures = memory.failures
    if failures:
        answer["failcnt"] = failures
    return answer


def _pids(figures: Figures, limit: int) -> dict[str, int]:
    threads = (figures.tasks or Tasks()).threads
    if threads is None:
        return {}
    answer = {"current": threads}
    if limit > 0:
        answer["limit"] = limit
    elif _is_v2(figures):
        answer["limit"] = _UNLIMITED
    return answer


def _blkio(v2: bool, io: Mapping[str, DeviceIo]) -> dict[str, Any]:
    answer: dict[str, Any] = {key: None if v2 else [] for key in _BLKIO}
    answer[_BLKIO[0]] = _entries(io, 0, 1) or answer[_BLKIO[0]]
    if not v2:
        answer[_BLKIO[1]] = _entries(io, 2, 3)
    return answer


def _entries(devices: Mapping[str, DeviceIo], read: int, write: int) -> list[dict[str, Any]]:
    found = []
    for number, io in devices.items():
        major, _, minor = number.partition(":")
        for operation, value in (("read", io[read]), ("write", io[write])):
            entry = {"major": int(major), "minor": int(minor), "op": operation, "value": value}
            found.append(entry)
    return found


def _pressure(pressure: Pressure) -> dict[str, int]:
    """Nanoseconds that some or all of its tasks have waited; Docker's answer has none of it."""
    found = pressure._asdict().items()
    return {name: total * 1000 for name, total in found if total is not None}


def _link(link: Link) -> dict[str, int]:
    return {
        f"{direction}_{what}": getattr(link, f"{direction}_{what}")
        for direction in ("rx", "tx")
        for what in ("bytes", "packets", "errors", "dropped")
    }


def _is_v2(figures: Figures) -> bool:
    return figures.memory is None or figures.memory.version == 2
