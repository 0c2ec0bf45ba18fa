"""The families that our own writer renders: cAdvisor's, and the agent's for each container.

A family takes its values from a *part* of the snapshot: a list of label blocks, and one
object for each that the getters are applied to. None means that there is no such value.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any, NamedTuple

from metrics.parse.figures import Memory

Get = Callable[[Any], float | None]


class Family(NamedTuple):
    """`name` as samples have it; a counter's ends in _total. `kind` counter, gauge, untyped.

    `series`: what is added to each label block, and how its value is got.
    """

    name: str
    kind: str
    help: str
    part: str
    series: tuple[tuple[str, Get], ...]


def _one(name: str, kind: str, help: str, part: str, get: Get | str) -> Family:
    getter = attrgetter(get) if isinstance(get, str) else get
    return Family(name, kind, help, part, (("", getter),))


def _seconds(attribute: str) -> Get:
    """An attribute in µs."""
    microseconds = attrgetter(attribute)

    def get(source: object) -> float | None:
        value: int | None = microseconds(source)
        return None if value is None else value / 1_000_000

    return get


def _stat(v2: str, v1: str = "") -> Get:
    """A line of memory.stat, by its name in either version ("" = not in v1's)."""

    def get(memory: Memory) -> int | None:
        return memory.stat.get(v2 if memory.version == 2 else v1)

    return get


def _itself(source: float) -> float:
    return source


_C, _G = "counter", "gauge"

_CPU = (
    Family(
        "container_cpu_usage_seconds_total",
        _C,
        "CPU time used.",
        "cpu",
        ((',cpu="total"', _seconds("usage")),),
    ),
    _one("container_cpu_user_seconds_total", _C, "CPU time in user mode.", "cpu", _seconds("user")),
    _one(
        "container_cpu_system_seconds_total",
        _C,
        "CPU time in the kernel.",
        "cpu",
        _seconds("system"),
    ),
    _one(
        "container_cpu_cfs_periods_total",
        _C,
        "Periods in which the CPU quota was in force.",
        "quota",
        "periods",
    ),
    _one(
        "container_cpu_cfs_throttled_periods_total",
        _C,
        "Periods in which the CPU quota ran out.",
        "quota",
        "throttled_periods",
    ),
    _one(
        "container_cpu_cfs_throttled_seconds_total",
        _C,
        "Time that tasks stood still for want of CPU quota.",
        "quota",
        _seconds("throttled"),
    ),
    _one(
        "container_cpu_cfs_burst_periods_total",
        _C,
        "Periods in which more than the quota was used, from savings.",
        "quota",
        "bursts",
    ),
    _one(
        "container_cpu_cfs_burst_seconds_total",
        _C,
        "CPU time beyond the quota, from savings.",
        "quota",
        _seconds("burst"),
    ),
)

_MEMORY = (
    _one(
        "container_memory_usage_bytes", _G, "Memory in use, page cache included.", "memory", "usage"
    ),
    _one(
        "container_memory_working_set_bytes",
        _G,
        "Memory in use less page cache that goes first.",
        "memory",
        "working_set",
    ),
    _one(
        "container_memory_rss",
        _G,
        "Anonymous memory in bytes.",
        "memory",
        _stat("anon", "total_rss"),
    ),
    _one(
        "container_memory_cache",
        _G,
        "Page cache and shared memory in bytes.",
        "memory",
        _stat("file", "total_cache"),
    ),
    _one(
        "container_memory_mapped_file",
        _G,
        "Files mapped into memory in bytes.",
        "memory",
        _stat("file_mapped", "total_mapped_file"),
    ),
    _one("container_memory_swap", _G, "Swap in use in bytes.", "memory", "swap"),
    _one("container_memory_max_usage_bytes", _G, "Highest usage so far.", "memory", "peak"),
    _one(
        "container_memory_failcnt",
        "untyped",
        "How often usage hit the memory limit.",
        "memory",
        "failures",
    ),
    Family(
        "container_memory_failures_total",
        _C,
        "Page faults, of the group itself and with those below it.",
        "memory",
        tuple(
            (f',failure_type="{fault}",scope="{scope}"', _stat(fault, prefix + fault))
            for fault in ("pgfault", "pgmajfault")
            for scope, prefix in (("container", ""), ("hierarchy", "total_"))
        ),
    ),
    _one(
        "container_memory_events_high_total",
        _C,
        "How often tasks were slowed down at memory.high.",
        "memory",
        "high_events",
    ),
    _one(
        "container_memory_events_max_total",
        _C,
        "How often usage was about to exceed memory.max.",
        "memory",
        "max_events",
    ),
    _one(
        "container_memory_total_active_file_bytes",
        _G,
        "Page cache used recently.",
        "memory",
        _stat("active_file", "total_active_file"),
    ),
    _one(
        "container_memory_total_inactive_file_bytes",
        _G,
        "Page cache that goes first.",
        "memory",
        "inactive_file",
    ),
    _one(
        "container_memory_file_dirty_bytes",
        _G,
        "Page cache that must be written yet.",
        "memory",
        _stat("file_dirty", "total_dirty"),
    ),
    _one(
        "container_memory_file_writeback_bytes",
        _G,
        "Page cache that is being written.",
        "memory",
        _stat("file_writeback", "total_writeback"),
    ),
    _one(
        "container_memory_pgscan_total",
        _C,
        "Pages that reclaim looked at.",
        "memory",
        _stat("pgscan"),
    ),
    _one(
        "container_memory_pgsteal_total",
        _C,
        "Pages that reclaim took.",
        "memory",
        _stat("pgsteal"),
    ),
    _one(
        "container_memory_workingset_refault_anon_total",
        _C,
        "Anonymous pages that had to come back from swap.",
        "memory",
        _stat("workingset_refault_anon", "total_workingset_refault_anon"),
    ),
    _one(
        "container_memory_workingset_refault_file_total",
        _C,
        "File pages that had to be read again.",
        "memory",
        _stat("workingset_refault_file", "total_workingset_refault_file"),
    ),
    _one(
        "container_oom_events_total",
        _C,
        "Processes of this run killed for want of memory.",
        "ooms",
        _itself,
    ),
)

_PRESSURE = tuple(
    _one(
        f"container_pressure_{resource}_{theirs}_seconds_total",
        _C,
        f"Time that {who} for want of {of}.",
        "pressure",
        _seconds(f"{resource}_{ours}"),
    )
    for resource, of in (("cpu", "CPU"), ("memory", "memory"), ("io", "block I/O"))
    for theirs, ours, who in (
        ("waiting", "some", "a task stood still"),
        ("stalled", "full", "all tasks stood still"),
    )
)

_FS = (
    *(
        _one(f"container_fs_{what}_total", _C, f"{text} the device.", "io", attribute)
        for what, text, attribute in (
            ("reads_bytes", "Bytes read from", "read_bytes"),
            ("writes_bytes", "Bytes written to", "written_bytes"),
            ("reads", "Reads from", "reads"),
            ("writes", "Writes to", "writes"),
        )
    ),
    _one(
        "container_fs_usage_bytes",
        _G,
        "Disk space used by the container's own files.",
        "storage",
        "usage",
    ),
    _one("container_fs_limit_bytes", _G, "Disk space that can be used.", "storage", "limit"),
    _one("container_fs_inodes_free", _G, "Inodes free.", "storage", "inodes_free"),
    _one("container_fs_inodes_total", _G, "Inodes in all.", "storage", "inodes_total"),
)

_NETWORK = tuple(
    _one(
        f"container_network_{direction}_{what}_total",
        _C,
        f"{text} {verb}.",
        "network",
        f"{prefix}_{attribute}",
    )
    for direction, prefix, verb in (("receive", "rx", "received"), ("transmit", "tx", "sent"))
    for what, text, attribute in (
        ("bytes", "Bytes", "bytes"),
        ("packets", "Packets", "packets"),
        ("errors", "Packets lost to errors while being", "errors"),
        ("packets_dropped", "Packets dropped while being", "dropped"),
    )
)

_TASKS = (
    _one("container_processes", _G, "Processes, nested groups left out.", "tasks", "processes"),
    _one("container_threads", _G, "Threads.", "tasks", "threads"),
    _one("container_threads_max", _G, "Limit of threads, 0 = none.", "limits", "pids"),
)

_SPEC = (
    _one("container_spec_memory_limit_bytes", _G, "Memory limit, 0 = none.", "limits", "memory"),
    _one(
        "container_spec_memory_reservation_limit_bytes",
        _G,
        "Memory reservation, 0 = none.",
        "limits",
        "memory_reservation",
    ),
    _one(
        "container_spec_memory_swap_limit_bytes",
        _G,
        "Limit of memory and swap together, 0 = none.",
        "limits",
        lambda limits: max(0, limits.memory_swap),
    ),
    _one(
        "container_spec_cpu_quota",
        _G,
        "CPU time in µs for each period, 0 = unlimited.",
        "limits",
        lambda limits: max(0, limits.cpu_quota),
    ),
    _one("container_spec_cpu_period", _G, "The period in µs.", "limits", "cpu_period"),
    _one("container_spec_cpu_shares", _G, "Share of the CPU.", "limits", "cpu_shares"),
)

_LIFE = (
    _one("container_start_time_seconds", _G, "When it was started (Unix time).", "life", _itself),
    _one("container_last_seen", _G, "When the figures were taken (Unix time).", "seen", _itself),
    _one(
        "container_health_state",
        _G,
        "1 healthy, 0 starting or unhealthy, -1 no health check.",
        "health",
        _itself,
    ),
)

_MACHINE = (
    _one("machine_cpu_cores", _G, "CPUs online.", "machine", "cpus"),
    _one("machine_memory_bytes", _G, "Memory of the host.", "machine", "memory"),
    _one(
        "cadvisor_version_info",
        _G,
        "The host's versions, in cAdvisor's form.",
        "versions",
        lambda _: 1,
    ),
)

CONTAINER = (
    *_CPU,
    *_MEMORY,
    *_PRESSURE,
    *_FS,
    *_NETWORK,
    *_TASKS,
    *_SPEC,
    *_LIFE,
    *_MACHINE,
)
"""cAdvisor's names."""

OWN = (
    _one("orlop_build_info", _G, "The agent's version.", "build", lambda _: 1),
    _one("orlop_containers", _G, "Containers by state.", "states", _itself),
    _one("orlop_container_info", _G, "What a container is.", "infos", lambda _: 1),
    _one(
        "orlop_container_restarts_total",
        _C,
        "Restarts by the restart policy.",
        "names",
        "restarts",
    ),
    _one(
        "orlop_container_last_exit_code",
        _G,
        "How the last run ended, in Docker's codes.",
        "names",
        "exit_code",
    ),
    _one(
        "orlop_container_oom_kills_total",
        _C,
        "Processes killed for want of memory, in all runs.",
        "names",
        "oom_kills",
    ),
    *(
        _one(f"orlop_containers_{what}_total", _C, f"{text}, ended ones too.", "totals", get)
        for what, text, get in (
            ("cpu_usage_seconds", "CPU time of all containers", _seconds("cpu")),
            ("network_receive_bytes", "Bytes received by all containers", "received"),
            ("network_transmit_bytes", "Bytes sent by all containers", "transmitted"),
            ("fs_reads_bytes", "Bytes that all containers read", "read"),
            ("fs_writes_bytes", "Bytes that all containers wrote", "written"),
        )
    ),
    _one(
        "orlop_collector_duration_seconds",
        _G,
        "How long the last sampling took.",
        "collectors",
        "duration",
    ),
    _one(
        "orlop_collector_errors_total",
        _C,
        "Readings that failed.",
        "collectors",
        "errors",
    ),
    _one(
        "orlop_metrics_capped_total",
        _C,
        "Labels and series that were cut or left out.",
        "capped",
        _itself,
    ),
    _one("process_cpu_seconds_total", _C, "CPU time of the agent.", "process", "cpu_seconds"),
    _one("process_resident_memory_bytes", _G, "Memory of the agent.", "process", "resident"),
    _one("process_virtual_memory_bytes", _G, "Address space of the agent.", "process", "virtual"),
    _one("process_start_time_seconds", _G, "When the agent started.", "process", "started"),
    _one("process_open_fds", _G, "Descriptors the agent has open.", "process", "open_fds"),
    _one("process_max_fds", _G, "Descriptors the agent may open.", "process", "max_fds"),
)
"""The agent's own names, as far as they are of single containers or taken when sampling."""
