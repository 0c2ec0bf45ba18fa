"""Folders that look like a kernel's: a group on a v2 host, one on a hybrid host, /proc, /sys.

The texts are those of real kernels (6.18, hybrid; 7.0, v2), numbers changed so that no two
fields are alike.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

CPU_STAT = b"""usage_usec 1500000
user_usec 900000
system_usec 600000
nice_usec 7
nr_periods 40
nr_throttled 4
throttled_usec 250000
nr_bursts 2
burst_usec 1000
"""
MEMORY_STAT = b"""anon 1000
file 2000
kernel 3000
kernel_stack 3100
sock 8
shmem 9
file_mapped 500
file_dirty 600
file_writeback 700
inactive_anon 11
active_anon 12
inactive_file 300
active_file 400
unevictable 13
slab_reclaimable 14
slab_unreclaimable 15
slab 29
workingset_refault_anon 21
workingset_refault_file 22
pgscan 31
pgsteal 32
pgfault 41
pgmajfault 42
"""
MEMORY_EVENTS = b"low 1\nhigh 2\nmax 3\noom 4\noom_kill 5\noom_group_kill 6\n"
IO_STAT = b"""8:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=16 dios=3
253:0 rbytes=10 wbytes=20 rios=30 wios=40 dbytes=0 dios=0
"""
V2 = {
    "cpu.stat": CPU_STAT,
    "cgroup.procs": b"101\n102\n103\n",
    "cpu.pressure": b"some avg10=0.27 avg60=1.97 avg300=2.63 total=1001\n"
    b"full avg10=0.00 avg60=0.00 avg300=0.00 total=1002\n",
    "memory.pressure": b"some avg10=0.00 avg60=0.00 avg300=0.00 total=1003\n"
    b"full avg10=0.00 avg60=0.00 avg300=0.00 total=1004\n",
    "io.pressure": b"some avg10=0.00 avg60=0.00 avg300=0.00 total=1005\n"
    b"full avg10=0.00 avg60=0.00 avg300=0.00 total=1006\n",
    "memory.current": b"5000\n",
    "memory.stat": MEMORY_STAT,
    "memory.peak": b"7000\n",
    "memory.swap.current": b"80\n",
    "memory.events": MEMORY_EVENTS,
    "pids.current": b"9\n",
    "io.stat": IO_STAT,
}

HYBRID_UNIFIED = {
    "cpu.stat": b"usage_usec 1500000\nuser_usec 900000\nsystem_usec 600000\nnice_usec 7\n",
    "cgroup.procs": V2["cgroup.procs"],
    "cpu.pressure": V2["cpu.pressure"],
    "memory.pressure": V2["memory.pressure"],
    "io.pressure": V2["io.pressure"],
}
MEMORY_STAT_V1 = b"""cache 1
rss 2
rss_huge 3
shmem 4
mapped_file 5
dirty 6
writeback 7
workingset_refault_anon 8
workingset_refault_file 9
swap 10
pgpgin 11
pgpgout 12
pgfault 13
pgmajfault 14
inactive_anon 15
active_anon 16
inactive_file 17
active_file 18
unevictable 19
hierarchical_memory_limit 9223372036854771712
hierarchical_memsw_limit 9223372036854771712
total_cache 2000
total_rss 1000
total_mapped_file 500
total_dirty 600
total_writeback 700
total_workingset_refault_anon 21
total_workingset_refault_file 22
total_swap 80
total_pgfault 41
total_pgmajfault 42
total_inactive_file 300
total_active_file 400
"""
HYBRID_V1 = {
    "memory": {
        "memory.usage_in_bytes": b"5000\n",
        "memory.stat": MEMORY_STAT_V1,
        "memory.max_usage_in_bytes": b"7000\n",
        "memory.failcnt": b"3\n",
        "memory.oom_control": b"oom_kill_disable 0\nunder_oom 0\noom_kill 5\n",
    },
    "cpu": {
        "cpu.stat": b"nr_periods 40\nnr_throttled 4\nthrottled_time 250000000\nnr_bursts 2\n"
        b"burst_time 1000000\n"
    },
    "cpuacct": {"cpuacct.usage": b"1500000999\n", "cpuacct.stat": b"user 90\nsystem 60\n"},
    "pids": {"pids.current": b"9\n"},
    "blkio": {
        "blkio.throttle.io_service_bytes_recursive": b"8:0 Read 4096\n8:0 Write 8192\n"
        b"8:0 Sync 12288\n8:0 Async 0\n8:0 Discard 0\n8:0 Total 12288\n"
        b"253:0 Read 10\n253:0 Write 20\nTotal 12318\n",
        "blkio.throttle.io_serviced_recursive": b"8:0 Read 1\n8:0 Write 2\n8:0 Total 3\n"
        b"253:0 Read 30\n253:0 Write 40\nTotal 73\n",
    },
}

PROC = {
    "stat": b"cpu  100 20 300 4000 50 6 7 0 0 0\ncpu0 50 10 150 2000 25 3 3 0 0 0\n"
    b"cpu1 50 10 150 2000 25 3 4 0 0 0\nintr 1 2 3\nctxt 9\nbtime 1700000000\nprocesses 5\n",
    "meminfo": b"MemTotal:       1000 kB\nMemFree:         400 kB\nMemAvailable:    700 kB\n"
    b"Cached:          200 kB\nSwapTotal:        50 kB\nSwapFree:         20 kB\n"
    b"Dirty:             1 kB\nWriteback:         2 kB\nAnonPages:        90 kB\n"
    b"Mapped:           30 kB\nActive(file):     40 kB\nInactive(file):   60 kB\n"
    b"HugePages_Total:       3\n",
    "loadavg": b"0.50 0.40 0.30 2/345 6789\n",
    "diskstats": b"   8       0 sda 10 0 20 5 30 0 40 7 0 9 12 0 0 0 0 0 0\n"
    b"   8       1 sda1 9 0 18 5 29 0 39 7 0 9 12 0 0 0 0 0 0\n",
    "self/stat": b"42 (my) prog) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 1 0 "
    b"12345 1048576 100 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0\n",
    "pressure/cpu": V2["cpu.pressure"],
    "pressure/memory": V2["memory.pressure"],
    "pressure/io": V2["io.pressure"],
}


@dataclass(frozen=True, slots=True)
class Folders:
    """What the supervisor's CgroupPaths looks like."""

    unified: str = ""
    v1: dict[str, str] = field(default_factory=dict)


def fill(folder: Path, files: dict[str, bytes]) -> Path:
    """The folder with these files."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def v2(root: Path, files: dict[str, bytes] | None = None) -> Folders:
    """A group on a v2 host."""
    return Folders(str(fill(root / "v2", V2 if files is None else files)))


def hybrid(root: Path) -> Folders:
    """A group on a hybrid host."""
    folders = v1(root)
    return Folders(str(fill(root / "unified", HYBRID_UNIFIED)), folders.v1)


def v1(root: Path) -> Folders:
    """A group on a host without cgroup v2."""
    return Folders("", {c: str(fill(root / c, files)) for c, files in HYBRID_V1.items()})


def proc(root: Path) -> str:
    """A /proc; `self/fd` has three entries."""
    folder = fill(root / "proc", PROC)
    for number in range(3):
        fill(folder, {f"self/fd/{number}": b""})
    return str(folder)


def sys(root: Path) -> str:
    """A /sys with the disk sda (8:0)."""
    folder = root / "sys"
    (folder / "block/sda").mkdir(parents=True)
    (folder / "block/loop0").mkdir()
    (folder / "dev/block").mkdir(parents=True)
    (folder / "dev/block/8:0").symlink_to("../../devices/pci/block/sda")
    return str(folder)
