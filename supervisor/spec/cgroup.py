"""Limits as cgroup files: what a container's resources mean to either version's controllers.

File formats: the kernel's Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/*.rst. The
conversions from v1's scales (which Docker's API keeps) are those of the OCI runtimes:
crun.1.md, section "cgroup v2", and opencontainers/cgroups (ConvertCPUSharesToCgroupV2Value,
ConvertBlkIOToIOWeightValue). `supervisor.spec.limits` judges the values beforehand.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from supervisor.spec.limits import discarded, missing, validate
from supervisor.spec.types import BlockLimit, Resources

__all__ = [
    "CPU_PERIOD",
    "NO_IO_WEIGHT",
    "NO_IO_WEIGHT_DEVICE",
    "NO_QUOTA",
    "NO_SWAP_LIMIT",
    "Write",
    "missing",
    "order_for_update",
    "shares_to_weight",
    "validate",
    "weight_to_io_weight",
    "writes_v1",
    "writes_v2",
]

CPU_PERIOD = 100_000
"""The scheduler's period in µs where none is asked for: the kernel's own default."""

NO_SWAP_LIMIT = (
    "Your kernel does not support swap limit capabilities or the cgroup is not mounted. "
    "Memory limited without swap."
)
NO_QUOTA = discarded("CPU CFS scheduler", "CPU period/quota")
NO_IO_WEIGHT = discarded("Block I/O weight", "Weight")
NO_IO_WEIGHT_DEVICE = discarded("Block I/O weight_device", "Weight-device")

_MEMORY_LIMIT_V1 = "memory.limit_in_bytes"
_MEMSW_LIMIT_V1 = "memory.memsw.limit_in_bytes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """`value` into the group's `file`, a file of `controller` (v2's or v1's name for it).

    Some files depend on how the kernel was built or booted. Where `file` is missing, the
    write `otherwise` takes its place; without one, `if_missing` is the sentence that says
    what was left undone ("" = a missing file is an error).
    """

    controller: str
    file: str
    value: str
    otherwise: Write | None = None
    if_missing: str = ""


def writes_v2(r: Resources, available: frozenset[str]) -> tuple[Write, ...]:
    """The writes for a cgroup v2 folder, for the controllers in `available` (v2's names)."""
    writes = [*_memory_v2(r), *_cpu_v2(r), *_cpuset(r), *_pids(r), *_io_v2(r)]
    return tuple(write for write in writes if write.controller in available)


def writes_v1(r: Resources, available: frozenset[str]) -> tuple[Write, ...]:
    """The writes for v1 folders, for the controllers in `available` (v1's names).

    In the right order for a new group; see `order_for_update` for one that has limits.
    """
    writes = [*_memory_v1(r), *_cpu_v1(r), *_cpuset(r), *_pids(r), *_blkio_v1(r)]
    return tuple(write for write in writes if write.controller in available)


def order_for_update(writes: Sequence[Write], memsw_limit: int) -> tuple[Write, ...]:
    """`writes` so that each step is valid on a live v1 group whose memsw limit is in bytes.

    The kernel refuses (EINVAL) a memory limit above the memory+swap limit at any moment
    (mm/memcontrol-v1.c, mem_cgroup_resize_max). So memory goes first, as in `writes_v1`,
    unless it is to rise above the present memory+swap limit. v2 has no such rule.
    """
    memory = next((w for w in writes if w.file == _MEMORY_LIMIT_V1), None)
    memsw = next((w for w in writes if w.file == _MEMSW_LIMIT_V1), None)
    if memory is None or memsw is None or int(memory.value) <= memsw_limit:
        return tuple(writes)
    rest = [w for w in writes if w is not memory and w is not memsw]
    return (memsw, memory, *rest)


def shares_to_weight(shares: int) -> int:
    """cpu.shares (2–262144, default 1024) as cpu.weight (1–10000, default 100).

    The quadratic through these three points in log space that crun and runc use; values
    outside are taken as the nearest end, as v1's kernel takes them.
    """
    if shares <= 2:
        return 1
    if shares >= 262_144:
        return 10_000
    log = math.log2(shares)
    exact = 10 ** ((log * log + 125 * log) / 612 - 7 / 34)
    return math.ceil(exact - 1e-9)  # 1024 is exactly 100, whatever the float says


def weight_to_io_weight(weight: int) -> int:
    """blkio.weight (10–1000) as io.weight (1–10000), linear as the OCI runtimes have it."""
    return 1 + (weight - 10) * 9999 // 990


# --- memory -------------------------------------------------------------------------------


def _swap_total(r: Resources) -> int | None:
    """Memory + swap: as asked for, else Docker's default of as much swap as memory."""
    if r.memory_swap is None and r.memory is not None:
        return 2 * r.memory
    return r.memory_swap


def _memory_v2(r: Resources) -> Iterable[Write]:
    if r.memory is not None:
        yield Write(controller="memory", file="memory.max", value=str(r.memory))
    total = _swap_total(r)
    if total is not None:
        swap = "max" if total < 0 else str(total - (r.memory or 0))
        yield Write(
            controller="memory", file="memory.swap.max", value=swap, if_missing=NO_SWAP_LIMIT
        )
    if r.memory_reservation is not None:
        yield Write(controller="memory", file="memory.low", value=str(r.memory_reservation))
    if r.oom_group:
        yield Write(controller="memory", file="memory.oom.group", value="1")


def _memory_v1(r: Resources) -> Iterable[Write]:
    if r.memory is not None:
        yield Write(controller="memory", file=_MEMORY_LIMIT_V1, value=str(r.memory))
    total = _swap_total(r)
    if total is not None:
        yield Write(
            controller="memory", file=_MEMSW_LIMIT_V1, value=str(total), if_missing=NO_SWAP_LIMIT
        )
    if r.memory_reservation is not None:
        value = str(r.memory_reservation)
        yield Write(controller="memory", file="memory.soft_limit_in_bytes", value=value)
    if r.oom_kill_disable:
        yield Write(controller="memory", file="memory.oom_control", value="1")


# --- cpu ----------------------------------------------------------------------------------


def _quota_and_period(r: Resources) -> tuple[int | None, int | None]:
    """In µs; quota -1 is unlimited."""
    if r.nano_cpus is not None:
        return r.nano_cpus * CPU_PERIOD // 1_000_000_000, CPU_PERIOD
    quota = None if r.cpu_quota is None else max(r.cpu_quota, -1)
    return quota, r.cpu_period


def _cpu_v2(r: Resources) -> Iterable[Write]:
    if r.cpu_shares is not None:
        weight = str(shares_to_weight(r.cpu_shares))
        yield Write(controller="cpu", file="cpu.weight", value=weight)
    quota, period = _quota_and_period(r)
    if quota is not None or period is not None:
        amount = "max" if quota is None or quota < 0 else str(quota)
        value = f"{amount} {period or CPU_PERIOD}"
        yield Write(controller="cpu", file="cpu.max", value=value, if_missing=NO_QUOTA)


def _cpu_v1(r: Resources) -> Iterable[Write]:
    if r.cpu_shares is not None:
        yield Write(controller="cpu", file="cpu.shares", value=str(r.cpu_shares))
    quota, period = _quota_and_period(r)
    if period is not None:
        value = str(period)
        yield Write(controller="cpu", file="cpu.cfs_period_us", value=value, if_missing=NO_QUOTA)
    if quota is not None:
        value = str(quota)
        yield Write(controller="cpu", file="cpu.cfs_quota_us", value=value, if_missing=NO_QUOTA)


# --- the same in both versions ------------------------------------------------------------


def _cpuset(r: Resources) -> Iterable[Write]:
    if r.cpuset_cpus:
        yield Write(controller="cpuset", file="cpuset.cpus", value=r.cpuset_cpus)
    if r.cpuset_mems:
        yield Write(controller="cpuset", file="cpuset.mems", value=r.cpuset_mems)


def _pids(r: Resources) -> Iterable[Write]:
    if r.pids_limit is not None:
        value = "max" if r.pids_limit <= 0 else str(r.pids_limit)
        yield Write(controller="pids", file="pids.max", value=value)


# --- block I/O ----------------------------------------------------------------------------


def _io_v2(r: Resources) -> Iterable[Write]:
    # io.weight comes with CONFIG_BLK_CGROUP_IOCOST, io.bfq.weight (v1's scale) with BFQ.
    if r.blkio_weight is not None:
        yield _io_weight("default", r.blkio_weight, NO_IO_WEIGHT)
    for device in r.blkio_weight_device:
        yield _io_weight(f"{device.major}:{device.minor}", device.weight, NO_IO_WEIGHT_DEVICE)
    for (_, key, what), limit in _throttles(r):
        yield Write(
            controller="io",
            file="io.max",
            value=f"{limit.major}:{limit.minor} {key}={limit.rate or 'max'}",
            if_missing=discarded(f"{what} limit", f"{what} limit"),
        )


def _io_weight(of: str, weight: int, if_missing: str) -> Write:
    bfq = Write(
        controller="io", file="io.bfq.weight", value=f"{of} {weight}", if_missing=if_missing
    )
    value = f"{of} {weight_to_io_weight(weight)}"
    return Write(controller="io", file="io.weight", value=value, otherwise=bfq)


def _blkio_v1(r: Resources) -> Iterable[Write]:
    # blkio.weight was CFQ's, gone with Linux 5.0; BFQ has its own file on the same scale.
    if r.blkio_weight is not None:
        value = str(r.blkio_weight)
        bfq = Write(
            controller="blkio", file="blkio.bfq.weight", value=value, if_missing=NO_IO_WEIGHT
        )
        yield Write(controller="blkio", file="blkio.weight", value=value, otherwise=bfq)
    for device in r.blkio_weight_device:
        value = f"{device.major}:{device.minor} {device.weight}"
        bfq = Write(
            controller="blkio",
            file="blkio.bfq.weight_device",
            value=value,
            if_missing=NO_IO_WEIGHT_DEVICE,
        )
        yield Write(controller="blkio", file="blkio.weight_device", value=value, otherwise=bfq)
    for (key, _, what), limit in _throttles(r):
        yield Write(
            controller="blkio",
            file=f"blkio.throttle.{key}_device",
            value=f"{limit.major}:{limit.minor} {limit.rate}",
            if_missing=discarded(f"{what} limit", f"{what} limit"),
        )


def _throttles(r: Resources) -> Iterable[tuple[tuple[str, str, str], BlockLimit]]:
    """Each throttle as ((v1's name, v2's key, in words), limit)."""
    kinds = (
        (("read_bps", "rbps", "Block I/O BPS read"), r.blkio_read_bps),
        (("write_bps", "wbps", "Block I/O BPS write"), r.blkio_write_bps),
        (("read_iops", "riops", "Block I/O IOPS read"), r.blkio_read_iops),
        (("write_iops", "wiops", "Block I/O IOPS write"), r.blkio_write_iops),
    )
    return ((kind, limit) for kind, limits in kinds for limit in limits)
