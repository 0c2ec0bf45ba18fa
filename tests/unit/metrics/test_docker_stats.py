"""Docker's stats JSON, field by field as dockerd 28.5 answers on either cgroup version."""

from __future__ import annotations

import json
from typing import Any

import pytest

from metrics.model import Limits, Sample
from metrics.parse.figures import Cpu, DeviceIo, Figures, Link, Memory, Pressure, Tasks
from metrics.render.docker_stats import Parts, docker_stats
from tests.unit.metrics import snapshots

MACHINE = 25276514304

# What dockerd 28.5.2 answered on a hybrid host, `percpu_usage` left out: neither dockerd on
# v2 nor Orlop has it, and clients go by online_cpus.
RECORDED = json.loads("""
{"name":"/web","id":"8d5a33c376e96fb0ffa4079b9f2b51962d51f047ee93db34064123eaa3e95446",
"read":"2026-11-21T03:29:58.370051653Z","preread":"2026-11-21T03:29:57.36569193Z",
"pids_stats":{"current":8},"blkio_stats":{"io_service_bytes_recursive":[],
"io_serviced_recursive":[],"io_queue_recursive":[],"io_service_time_recursive":[],
"io_wait_time_recursive":[],"io_merged_recursive":[],"io_time_recursive":[],
"sectors_recursive":[]},"num_procs":0,"storage_stats":{},
"cpu_stats":{"cpu_usage":{"total_usage":82137000,"usage_in_kernelmode":20000000,
"usage_in_usermode":50000000},"system_cpu_usage":13079080000000,"online_cpus":2,
"throttling_data":{"periods":0,"throttled_periods":0,"throttled_time":0}},
"precpu_stats":{"cpu_usage":{"total_usage":80237000,"usage_in_kernelmode":20000000,
"usage_in_usermode":50000000},"system_cpu_usage":13077090000000,"online_cpus":2,
"throttling_data":{"periods":0,"throttled_periods":0,"throttled_time":0}},
"memory_stats":{"usage":1077248,"max_usage":3801088,"stats":{"active_anon":8192,"active_file":0,
"cache":0,"dirty":0,"hierarchical_memory_limit":9223372036854771712,
"hierarchical_memsw_limit":9223372036854771712,"inactive_anon":331776,"inactive_file":0,
"mapped_file":0,"pgfault":3220,"pgmajfault":0,"pgpgin":2323,"pgpgout":2225,"rss":401408,
"rss_huge":0,"total_active_anon":8192,"total_active_file":0,"total_cache":0,"total_dirty":0,
"total_inactive_anon":331776,"total_inactive_file":0,"total_mapped_file":0,"total_pgfault":3220,
"total_pgmajfault":0,"total_pgpgin":2323,"total_pgpgout":2225,"total_rss":401408,
"total_rss_huge":0,"total_unevictable":0,"total_writeback":0,"unevictable":0,"writeback":0},
"limit":25276514304},"networks":{"eth0":{"rx_bytes":1086,"rx_packets":9,"rx_errors":0,
"rx_dropped":0,"tx_bytes":126,"tx_packets":3,"tx_errors":0,"tx_dropped":0}}}
""")

CONTAINER = snapshots.container("web", id=RECORDED["id"], limits=Limits())


def hybrid() -> Sample:
    # A newer kernel has more in memory.stat than dockerd tells.
    stat = {**RECORDED["memory_stats"]["stats"], "shmem": 1, "total_shmem": 2}
    memory = Memory(1, 1077248, stat, peak=3801088, failures=0)
    figures = Figures(
        cpu=Cpu(82137, 50000, 20000, 0, 0, 0),
        memory=memory,
        tasks=Tasks(threads=8),
        network={"eth0": Link(9, 3, 1086, 126, 0, 0, 0, 0)},
    )
    return Sample(1795231798370051653, 13079080000, 2, figures)


def before() -> Sample:
    return Sample(
        1795231797365691930, 13077090000, 2, Figures(cpu=Cpu(80237, 50000, 20000, 0, 0, 0))
    )


def stats(now: Sample | None, earlier: Sample | None, **changes: Any) -> dict[str, Any]:
    container = snapshots.container("web", **{"limits": Limits(), **changes})
    return docker_stats(container, now, earlier, MACHINE)


def test_a_hybrid_host_gives_what_dockerd_gave() -> None:
    assert docker_stats(CONTAINER, hybrid(), before(), MACHINE) == RECORDED


def test_the_first_answer_of_a_stream_has_nothing_before_it() -> None:
    answer = stats(hybrid(), None)
    assert answer["preread"] == "0001-01-01T00:00:00Z"
    assert answer["precpu_stats"] == {
        "cpu_usage": {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0},
        "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
    }


def test_a_container_that_does_not_run() -> None:
    answer = stats(None, before())
    assert answer["read"] == answer["preread"] == "0001-01-01T00:00:00Z"
    assert answer["memory_stats"] == answer["pids_stats"] == answer["storage_stats"] == {}
    assert set(answer["blkio_stats"].values()) == {None}
    assert answer["cpu_stats"] == answer["precpu_stats"]
    assert "system_cpu_usage" not in answer["cpu_stats"]
    assert "networks" not in answer


def v2(**changes: Any) -> Sample:
    stat = {"anon": 10, "file": 20, "inactive_file": 5, "unknown_to_docker": 9}
    memory = Memory(2, 100, stat, peak=200, failures=3, ooms=4)
    figures = Figures(
        cpu=Cpu(1500, 900, 600, 40, 4, 250),
        memory=memory,
        tasks=Tasks(threads=9, processes=3),
        io={"8:0": DeviceIo(1, 2, 3, 4), "253:1": DeviceIo(5, 6, 7, 8)},
    )
    return Sample(1_700_000_000_000_000_000, 5, 2, figures._replace(**changes))


def test_the_layout_of_v2() -> None:
    answer = stats(v2(), None)
    memory = answer["memory_stats"]
    assert memory["stats"]["anon"] == 10
    assert memory["stats"]["thp_fault_alloc"] == 0
    assert len(memory["stats"]) == 31
    assert "unknown_to_docker" not in memory["stats"]
    assert "max_usage" not in memory
    assert (memory["usage"], memory["limit"], memory["failcnt"]) == (100, MACHINE, 4)
    assert answer["pids_stats"] == {"current": 9, "limit": 2**64 - 1}
    assert answer["cpu_stats"]["throttling_data"] == {
        "periods": 40,
        "throttled_periods": 4,
        "throttled_time": 250_000,
    }
    assert answer["blkio_stats"].pop("io_service_bytes_recursive") == [
        {"major": 8, "minor": 0, "op": "read", "value": 1},
        {"major": 8, "minor": 0, "op": "write", "value": 2},
        {"major": 253, "minor": 1, "op": "read", "value": 5},
        {"major": 253, "minor": 1, "op": "write", "value": 6},
    ]
    assert set(answer["blkio_stats"].values()) == {None}
    assert answer["read"] == "2023-11-14T22:13:20Z"


def test_v2_without_io_has_null_where_v1_has_an_empty_list() -> None:
    assert stats(v2(io={}), None)["blkio_stats"]["io_service_bytes_recursive"] is None


def test_v1_has_operations_too() -> None:
    now = hybrid()
    figures = now.figures._replace(io={"8:0": DeviceIo(1, 2, 3, 4)})
    blkio = stats(now._replace(figures=figures), None)["blkio_stats"]
    assert [entry["value"] for entry in blkio["io_serviced_recursive"]] == [3, 4]
    assert blkio["io_queue_recursive"] == []


@pytest.mark.parametrize("limit, shown", [(0, MACHINE), (1 << 20, 1 << 20), (MACHINE + 1, MACHINE)])
def test_the_limit_is_never_more_than_the_machine_has(limit: int, shown: int) -> None:
    assert stats(v2(), None, limits=Limits(memory=limit))["memory_stats"]["limit"] == shown


def test_pressure_is_ours_to_tell() -> None:
    figures = hybrid().figures
    some = figures._replace(pressure=Pressure(cpu_some=7, io_full=0))
    answer = docker_stats(CONTAINER, hybrid()._replace(figures=some), None, MACHINE)
    assert answer["orlop_pressure"] == {"cpu_some": 7000, "io_full": 0}
    assert "orlop_pressure" not in docker_stats(CONTAINER, hybrid(), None, MACHINE)


def test_a_limit_of_tasks() -> None:
    assert stats(v2(), None, limits=Limits(pids=7))["pids_stats"] == {"current": 9, "limit": 7}


def test_what_is_not_known_is_left_out() -> None:
    answer = stats(Sample(1, 2, 1, Figures()), None)
    assert answer["memory_stats"] == answer["pids_stats"] == {}
    assert answer["cpu_stats"]["cpu_usage"]["total_usage"] == 0


def test_larger_parts_are_packed_once_for_what_they_are_made_of() -> None:
    packed: list[object] = []

    def pack(part: object) -> tuple[object]:
        packed.append(part)
        return (part,)

    parts, now, earlier = Parts(pack), hybrid(), before()
    plain = docker_stats(CONTAINER, now, earlier, MACHINE)
    answers = [docker_stats(CONTAINER, now, earlier, MACHINE, parts) for _ in range(3)]
    answer = answers[-1]
    names = [name for name in plain if answer[name] == (plain[name],)]
    assert names == ["precpu_stats", "blkio_stats", "memory_stats"]
    assert len(packed) == len(names)
    assert {name: answer[name] for name in plain.keys() - set(names)} == {
        name: plain[name] for name in plain.keys() - set(names)
    }
    later = earlier._replace(at_ns=earlier.at_ns + 10**9, system_cpu=earlier.system_cpu + 1)
    again = docker_stats(CONTAINER, now, later, MACHINE, parts)
    assert again["preread"] != answer["preread"]
    assert again["precpu_stats"] != answer["precpu_stats"]
    assert again["memory_stats"] is answer["memory_stats"]


def test_what_has_not_changed_is_made_once_and_what_has_changed_anew() -> None:
    parts = Parts()
    first = docker_stats(CONTAINER, hybrid(), before(), MACHINE, parts)
    now = hybrid()
    again = docker_stats(CONTAINER, now, before(), MACHINE, parts)
    assert again == first
    same = docker_stats(CONTAINER, now, before(), MACHINE, parts)
    assert same["memory_stats"] is again["memory_stats"]
    memory = now.figures.memory
    assert memory is not None
    changed = now._replace(figures=now.figures._replace(memory=memory._replace(usage=7)))
    figures = docker_stats(CONTAINER, changed, before(), MACHINE, parts)
    assert figures["memory_stats"]["usage"] == 7
    assert again["memory_stats"]["usage"] == first["memory_stats"]["usage"] != 7
    less = docker_stats(CONTAINER, changed, before(), MACHINE // 2, parts)
    assert less["memory_stats"]["limit"] == MACHINE // 2
