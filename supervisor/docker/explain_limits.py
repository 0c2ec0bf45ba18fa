"""A container's limits in plain words, from the cgroup files of either version.

`files` maps a file's name to its text, as read from the group, or as it will be written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from supervisor.spec.units import format_size

V1_UNLIMITED = 1 << 62
"""No limit reads as the largest count of whole pages there; nothing above this is one."""

READ = (
    *("memory.max", "memory.current", "memory.swap.max", "memory.low", "memory.peak"),
    *("memory.limit_in_bytes", "memory.usage_in_bytes", "memory.memsw.limit_in_bytes"),
    *("memory.soft_limit_in_bytes", "memory.max_usage_in_bytes"),
    *("cpu.max", "cpu.weight", "cpu.stat"),
    *("cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.shares", "cpuacct.usage"),
    *("cpuset.cpus", "cpuset.mems", "cpuset.cpus.effective", "cpuset.effective_cpus"),
    *("pids.max", "pids.current", "io.max", "io.weight", "io.bfq.weight"),
    *("blkio.weight", "blkio.bfq.weight", "blkio.throttle.read_bps_device"),
    *("blkio.throttle.write_bps_device", "blkio.throttle.read_iops_device"),
    *("blkio.throttle.write_iops_device",),
)
"""The files that are of interest, of both versions."""

Files = Mapping[str, str]


def limits_json(files: Files) -> list[dict[str, Any]]:
    """One object a limit: `what`, `limit` and `current` (numbers or null), `words`."""
    return [*_memory(files), *_cpu(files), *_cpuset(files), *_pids(files), *_io(files)]


def _row(what: str, limit: Any, current: Any, words: str) -> dict[str, Any]:
    return {"what": what, "limit": limit, "current": current, "words": words}


def _size(count: int) -> str:
    return format_size(count, binary=True)


def _number(files: Files, *names: str) -> int | None:
    """The first of the files that is there; None for none, "max", -1 or v1's huge number."""
    for name in names:
        text = files.get(name, "").strip()
        if text and (text.isdecimal() or text == "-1"):
            value = int(text)
            return value if 0 <= value < V1_UNLIMITED else None
    return None


def _memory(files: Files) -> Iterator[dict[str, Any]]:
    limit = _number(files, "memory.max", "memory.limit_in_bytes")
    current = _number(files, "memory.current", "memory.usage_in_bytes")
    peak = _number(files, "memory.peak", "memory.max_usage_in_bytes")
    words = f"at most {_size(limit)}" if limit is not None else "no limit: it may take all"
    if current is not None:
        words += f"; uses {_size(current)}"
    if peak is not None:
        words += f", at its peak {_size(peak)}"
    yield _row("memory", limit, current, words)
    swap = _number(files, "memory.swap.max")
    both = _number(files, "memory.memsw.limit_in_bytes")
    if swap is None and both is not None and limit is not None:
        swap = both - limit
    if swap is not None:
        yield _row("swap", swap, None, f"at most {_size(swap)} beyond its memory")
    low = _number(files, "memory.low", "memory.soft_limit_in_bytes")
    if low:
        yield _row("memory reservation", low, None, f"{_size(low)} are left to it when others want")


def _cpu(files: Files) -> Iterator[dict[str, Any]]:
    used = _cpu_used(files)
    spent = f"; has used {used / 1e9:.3g} s" if used is not None else ""
    quota, period = _quota(files)
    if quota is None:
        yield _row("cpu", None, used, f"no limit: as much as there is{spent}")
    else:
        cpus = quota / period
        words = f"at most {cpus:.4g} CPUs ({quota} µs in every {period} µs){spent}"
        yield _row("cpu", cpus, used, words)
    weight = _number(files, "cpu.weight")
    if weight is not None:
        yield _row("cpu weight", weight, None, _weight(weight, 100))
    shares = _number(files, "cpu.shares")
    if shares is not None:
        yield _row("cpu shares", shares, None, _weight(shares, 1024))


def _weight(value: int, default: int) -> str:
    beside = "as much as any other" if value == default else f"others count {default} by default"
    return f"counts {value} where CPUs are short, {beside}"


def _cpu_used(files: Files) -> int | None:
    """Nanoseconds."""
    for line in files.get("cpu.stat", "").splitlines():
        name, _, value = line.partition(" ")
        if name == "usage_usec":
            return int(value) * 1000
    return _number(files, "cpuacct.usage")


def _quota(files: Files) -> tuple[int | None, int]:
    """µs in every period of µs; None without a limit."""
    if "cpu.max" in files:
        amount, _, rest = files["cpu.max"].partition(" ")
        return (None if amount == "max" else int(amount)), int(rest or "100000")
    period = _number(files, "cpu.cfs_period_us") or 100_000
    return _number(files, "cpu.cfs_quota_us"), period


def _cpuset(files: Files) -> Iterator[dict[str, Any]]:
    for what, names in (
        ("cpus", ("cpuset.cpus.effective", "cpuset.effective_cpus", "cpuset.cpus")),
        ("memory nodes", ("cpuset.mems",)),
    ):
        value = next((files[name].strip() for name in names if files.get(name, "").strip()), "")
        if value:
            yield _row(what, value, None, f"may use {value}")


def _pids(files: Files) -> Iterator[dict[str, Any]]:
    limit, current = _number(files, "pids.max"), _number(files, "pids.current")
    words = f"at most {limit}" if limit is not None else "no limit"
    if current is not None:
        words += f"; {current} now (threads count)"
    yield _row("processes", limit, current, words)


def _io(files: Files) -> Iterator[dict[str, Any]]:
    for line in files.get("io.max", "").splitlines():
        yield _row("block I/O", line, None, f"device {line}")
    for name, text in sorted(files.items()):
        if name.startswith("blkio.throttle."):
            what = name.removeprefix("blkio.throttle.").removesuffix("_device").replace("_", " ")
            for line in text.splitlines():
                device, _, rate = line.partition(" ")
                words = f"device {device}: at most {rate} per second ({what})"
                yield _row("block I/O", line, None, words)
    for name in ("io.weight", "io.bfq.weight", "blkio.weight", "blkio.bfq.weight"):
        number = files.get(name, "").split()[-1:]
        if number and number[0].isdecimal():
            words = f"counts {number[0]} where disks are busy"
            yield _row("block I/O weight", int(number[0]), None, words)
