"""The whole host's figures from /proc, in the form of a container's; and the agent's own."""

from __future__ import annotations

from typing import NamedTuple

from metrics.errors import Malformed
from metrics.parse.figures import Cpu, DeviceIo, Memory

_USER_HZ = 100
_TICK = 1_000_000 // _USER_HZ
_SECTOR = 512
"""Of /proc/diskstats, whatever the device's own (Documentation/admin-guide/iostats.rst)."""


class CpuTimes(NamedTuple):
    """`total` is what Docker calls the system's CPU usage: idle time included. µs."""

    total: int
    usage: int
    user: int
    system: int
    cpus: int
    boot: int


def cpu_times(data: bytes) -> CpuTimes:
    """/proc/stat: times of all CPUs, how many are online, and the wall-clock second of the boot."""
    try:
        first, _, rest = data.partition(b"\n")
        words = first.split()
        if words[0] != b"cpu":
            raise ValueError
        times = [int(word) * _TICK for word in words[1:8]]
        user, nice, system, idle, iowait, irq, softirq = times
        boot = int(rest.partition(b"\nbtime ")[2].split(None, 1)[0])
    except (ValueError, IndexError):
        raise Malformed(f"/proc/stat: {data[:80]!r}") from None
    busy = user + nice + system + irq + softirq
    cpus = sum(line[3:4].isdigit() for line in rest.split(b"\n") if line.startswith(b"cpu"))
    return CpuTimes(busy + idle + iowait, busy, user + nice, system + irq + softirq, cpus, boot)


def as_cpu(times: CpuTimes) -> Cpu:
    """The host as if it were a container."""
    return Cpu(times.usage, times.user, times.system)


def memory(data: bytes) -> tuple[Memory, int]:
    """/proc/meminfo as a container's figures in v2's names, and the host's memory in bytes."""
    values: dict[str, int] = {}
    try:
        for line in data.decode("ascii").splitlines():
            name, _, value = line.partition(":")
            number, *unit = value.split()
            values[name] = int(number) * (1024 if unit else 1)
        total = values["MemTotal"]
        used = total - values["MemFree"]
    except (ValueError, KeyError):
        raise Malformed(f"/proc/meminfo: {data[:80]!r}") from None
    stat = {ours: values[theirs] for ours, theirs in _MEMINFO.items() if theirs in values}
    swap = values.get("SwapTotal", 0) - values.get("SwapFree", 0)
    return Memory(2, used, stat, swap=swap), total


_MEMINFO = {
    "anon": "AnonPages",
    "file": "Cached",
    "file_mapped": "Mapped",
    "file_dirty": "Dirty",
    "file_writeback": "Writeback",
    "active_file": "Active(file)",
    "inactive_file": "Inactive(file)",
}


def disks(data: bytes, names: frozenset[str]) -> dict[str, DeviceIo]:
    """/proc/diskstats of the disks `names` (partitions would count twice), as /dev names them."""
    result: dict[str, DeviceIo] = {}
    try:
        for line in data.decode("ascii", "replace").splitlines():
            _, _, name, reads, _, sectors_read, _, writes, _, sectors_written, *_ = line.split()
            if name in names:
                result[f"/dev/{name}"] = DeviceIo(
                    int(sectors_read) * _SECTOR,
                    int(sectors_written) * _SECTOR,
                    int(reads),
                    int(writes),
                )
    except ValueError:
        raise Malformed(f"/proc/diskstats: {data[:80]!r}") from None
    return result


def threads(data: bytes) -> int:
    """/proc/loadavg: how many there are on the host (`1/345` is its fourth word)."""
    try:
        return int(data.split()[3].partition(b"/")[2])
    except (ValueError, IndexError):
        raise Malformed(f"/proc/loadavg: {data[:80]!r}") from None


class Process(NamedTuple):
    """The agent itself: CPU seconds, bytes, wall-clock seconds."""

    cpu_seconds: float
    resident: int
    virtual: int
    started: float
    open_fds: int = 0
    max_fds: int = 0


def process(data: bytes, boot: int, page: int) -> Process:
    """/proc/self/stat; `boot` as cpu_times has it, `page` the size of one in bytes."""
    try:
        fields = data.rpartition(b")")[2].split()
        user, system = int(fields[11]), int(fields[12])
        started, virtual, resident = int(fields[19]), int(fields[20]), int(fields[21])
    except (ValueError, IndexError):
        raise Malformed(f"/proc/self/stat: {data[:80]!r}") from None
    return Process((user + system) / _USER_HZ, resident * page, virtual, boot + started / _USER_HZ)
