"""Limits in plain words, of both versions of cgroups."""

from __future__ import annotations

from typing import Any

import pytest

from supervisor.docker.explain_limits import limits_json


def by_what(files: dict[str, str]) -> dict[str, dict[str, Any]]:
    return {row["what"]: row for row in limits_json(files)}


V2 = {
    "memory.max": "52428800",
    "memory.current": "1048576",
    "memory.peak": "2097152",
    "memory.swap.max": "52428800",
    "memory.low": "0",
    "cpu.max": "50000 100000",
    "cpu.weight": "100",
    "cpu.stat": "usage_usec 1500000\nuser_usec 1",
    "cpuset.cpus": "",
    "cpuset.cpus.effective": "0-1",
    "pids.max": "100",
    "pids.current": "3",
    "io.max": "8:0 rbps=1000\n8:16 wiops=5",
    "io.weight": "default 100",
}
V1 = {
    "memory.limit_in_bytes": "52428800",
    "memory.usage_in_bytes": "1048576",
    "memory.max_usage_in_bytes": "2097152",
    "memory.memsw.limit_in_bytes": "104857600",
    "memory.soft_limit_in_bytes": "9223372036854771712",
    "cpu.cfs_quota_us": "50000",
    "cpu.cfs_period_us": "100000",
    "cpu.shares": "512",
    "cpuacct.usage": "1500000000",
    "cpuset.cpus": "0-1",
    "cpuset.mems": "0",
    "pids.max": "100",
    "pids.current": "3",
    "blkio.throttle.read_bps_device": "8:0 1000",
    "blkio.weight": "500",
}


@pytest.mark.parametrize("files", [V1, V2])
def test_both_versions_say_the_same(files: dict[str, str]) -> None:
    found = by_what(files)
    assert found["memory"] == {
        "what": "memory",
        "limit": 50 << 20,
        "current": 1 << 20,
        "words": "at most 50MiB; uses 1MiB, at its peak 2MiB",
    }
    assert found["swap"]["limit"] == 50 << 20
    assert (found["cpu"]["limit"], found["cpu"]["current"]) == (0.5, 1_500_000_000)
    assert found["cpu"]["words"] == (
        "at most 0.5 CPUs (50000 µs in every 100000 µs); has used 1.5 s"
    )
    assert found["cpus"]["words"] == "may use 0-1"
    assert found["processes"]["words"] == "at most 100; 3 now (threads count)"
    assert "memory reservation" not in found
    assert found["block I/O weight"]["limit"] in (100, 500)


@pytest.mark.parametrize(
    "files",
    [
        {"memory.max": "max", "cpu.max": "max 100000", "pids.max": "max"},
        {
            "memory.limit_in_bytes": "9223372036854771712",
            "memory.memsw.limit_in_bytes": "9223372036854771712",
            "cpu.cfs_quota_us": "-1",
            "pids.max": "max",
        },
        {},
    ],
)
def test_no_limits(files: dict[str, str]) -> None:
    found = by_what(files)
    assert [found[what]["limit"] for what in ("memory", "cpu", "processes")] == [None] * 3
    assert found["memory"]["words"] == "no limit: it may take all"
    assert found["cpu"]["words"] == "no limit: as much as there is"
    assert "swap" not in found


def test_block_devices_one_by_one() -> None:
    found = [row["words"] for row in limits_json(V2) if row["what"] == "block I/O"]
    assert found == ["device 8:0 rbps=1000", "device 8:16 wiops=5"]
    (one,) = [row["words"] for row in limits_json(V1) if row["what"] == "block I/O"]
    assert one == "device 8:0: at most 1000 per second (read bps)"
