"""Limits as cgroup files of both versions, and which limits are refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.errors import InvalidArgument
from supervisor.spec.cgroup import (
    Write,
    missing,
    order_for_update,
    shares_to_weight,
    validate,
    weight_to_io_weight,
    writes_v1,
    writes_v2,
)
from supervisor.spec.types import BlockLimit, BlockWeight, Resources

V2 = frozenset({"cpu", "cpuset", "io", "memory", "pids"})
V1 = frozenset({"blkio", "cpu", "cpuacct", "cpuset", "memory", "pids"})
MIB = 1 << 20
SDA = BlockLimit(major=8, minor=0, rate=1000)


def pairs(writes: tuple[Write, ...]) -> list[tuple[str, str]]:
    return [(write.file, write.value) for write in writes]


@pytest.mark.parametrize(
    "asked, v2, v1",
    [
        (Resources(), [], []),
        (
            Resources(memory=16 * MIB),  # swap: docker's default of as much again
            [("memory.max", "16777216"), ("memory.swap.max", "16777216")],
            [("memory.limit_in_bytes", "16777216"), ("memory.memsw.limit_in_bytes", "33554432")],
        ),
        (
            Resources(memory=16 * MIB, memory_swap=16 * MIB),
            [("memory.max", "16777216"), ("memory.swap.max", "0")],
            [("memory.limit_in_bytes", "16777216"), ("memory.memsw.limit_in_bytes", "16777216")],
        ),
        (
            Resources(memory=16 * MIB, memory_swap=-1),
            [("memory.max", "16777216"), ("memory.swap.max", "max")],
            [("memory.limit_in_bytes", "16777216"), ("memory.memsw.limit_in_bytes", "-1")],
        ),
        (
            Resources(memory_reservation=8 * MIB),
            [("memory.low", "8388608")],
            [("memory.soft_limit_in_bytes", "8388608")],
        ),
        (Resources(oom_group=True), [("memory.oom.group", "1")], []),
        (Resources(oom_kill_disable=True), [], [("memory.oom_control", "1")]),
        (
            Resources(nano_cpus=1_500_000_000),
            [("cpu.max", "150000 100000")],
            [("cpu.cfs_period_us", "100000"), ("cpu.cfs_quota_us", "150000")],
        ),
        (
            Resources(cpu_quota=20_000, cpu_period=50_000),
            [("cpu.max", "20000 50000")],
            [("cpu.cfs_period_us", "50000"), ("cpu.cfs_quota_us", "20000")],
        ),
        (
            Resources(cpu_quota=20_000),
            [("cpu.max", "20000 100000")],
            [("cpu.cfs_quota_us", "20000")],
        ),
        (
            Resources(cpu_period=50_000),
            [("cpu.max", "max 50000")],
            [("cpu.cfs_period_us", "50000")],
        ),
        (
            Resources(cpu_quota=-7),
            [("cpu.max", "max 100000")],
            [("cpu.cfs_quota_us", "-1")],
        ),
        (Resources(cpu_shares=512), [("cpu.weight", "59")], [("cpu.shares", "512")]),
        (
            Resources(cpuset_cpus="0-1", cpuset_mems="0"),
            [("cpuset.cpus", "0-1"), ("cpuset.mems", "0")],
            [("cpuset.cpus", "0-1"), ("cpuset.mems", "0")],
        ),
        (Resources(pids_limit=64), [("pids.max", "64")], [("pids.max", "64")]),
        (Resources(pids_limit=-1), [("pids.max", "max")], [("pids.max", "max")]),
        (Resources(blkio_weight=10), [("io.weight", "default 1")], [("blkio.weight", "10")]),
        (
            Resources(blkio_weight_device=(BlockWeight(major=8, minor=16, weight=1000),)),
            [("io.weight", "8:16 10000")],
            [("blkio.weight_device", "8:16 1000")],
        ),
        (
            Resources(blkio_read_bps=(SDA,), blkio_write_iops=(replace(SDA, rate=0),)),
            [("io.max", "8:0 rbps=1000"), ("io.max", "8:0 wiops=max")],
            [
                ("blkio.throttle.read_bps_device", "8:0 1000"),
                ("blkio.throttle.write_iops_device", "8:0 0"),
            ],
        ),
        (
            Resources(blkio_write_bps=(SDA,), blkio_read_iops=(SDA,)),
            [("io.max", "8:0 wbps=1000"), ("io.max", "8:0 riops=1000")],
            [
                ("blkio.throttle.write_bps_device", "8:0 1000"),
                ("blkio.throttle.read_iops_device", "8:0 1000"),
            ],
        ),
    ],
)
def test_writes(asked: Resources, v2: list[tuple[str, str]], v1: list[tuple[str, str]]) -> None:
    assert pairs(writes_v2(asked, V2)) == v2
    assert pairs(writes_v1(asked, V1)) == v1


def test_only_available_controllers_are_written() -> None:
    asked = Resources(memory=16 * MIB, pids_limit=5, cpu_shares=2, blkio_weight=500)
    assert {w.controller for w in writes_v2(asked, frozenset({"pids"}))} == {"pids"}
    assert {w.controller for w in writes_v1(asked, frozenset({"pids", "io"}))} == {"pids"}
    assert writes_v2(asked, frozenset()) == writes_v1(asked, frozenset()) == ()


def test_what_depends_on_the_kernels_build_has_an_alternative_or_a_sentence() -> None:
    asked = Resources(memory=16 * MIB, blkio_weight=500)
    for writes, bfq in ((writes_v2(asked, V2), "io"), (writes_v1(asked, V1), "blkio")):
        limit, swap, weight = writes
        assert not limit.if_missing
        assert "Memory limited without swap." in swap.if_missing
        assert weight.otherwise is not None
        assert weight.otherwise.file == f"{bfq}.bfq.weight"
        assert weight.otherwise.value.endswith("500")
        assert "Weight discarded." in weight.otherwise.if_missing


@pytest.mark.parametrize(
    "shares, weight",
    [
        (0, 1),
        (2, 1),
        (3, 2),
        (512, 59),
        (1024, 100),
        (2048, 174),
        (262_144, 10_000),
        (1 << 30, 10_000),
    ],
)
def test_shares_to_weight(shares: int, weight: int) -> None:
    assert shares_to_weight(shares) == weight


@given(st.integers(2, 262_143))
def test_more_shares_never_mean_less_weight(shares: int) -> None:
    assert 1 <= shares_to_weight(shares) <= shares_to_weight(shares + 1) <= 10_000


@pytest.mark.parametrize("weight, io", [(10, 1), (100, 910), (500, 4950), (1000, 10_000)])
def test_weight_to_io_weight(weight: int, io: int) -> None:
    assert weight_to_io_weight(weight) == io


# --- updates ------------------------------------------------------------------------------

UNLIMITED_V1 = 9223372036854771712


def apply_v1(writes: tuple[Write, ...], memory: int, memsw: int) -> tuple[int, int]:
    """What the kernel does: a memory limit above memory+swap is EINVAL at any moment."""
    for write in writes:
        value = UNLIMITED_V1 if write.value == "-1" else int(write.value)
        if write.file == "memory.limit_in_bytes":
            memory = value
        elif write.file == "memory.memsw.limit_in_bytes":
            memsw = value
        assert memory <= memsw
    return memory, memsw


@given(st.data())
def test_an_update_is_valid_at_each_step(data: st.DataObject) -> None:
    sizes = st.integers(6 * MIB, 1 << 40)
    old_memory, memory = data.draw(sizes), data.draw(sizes)
    old_swap = data.draw(st.integers(old_memory, 1 << 41) | st.just(UNLIMITED_V1))
    swap = data.draw(st.integers(memory, 1 << 41) | st.sampled_from([-1, None]))
    asked = Resources(memory=memory, memory_swap=swap, pids_limit=3)
    writes = order_for_update(writes_v1(asked, V1), old_swap)
    assert sorted(pairs(writes)) == sorted(pairs(writes_v1(asked, V1)))
    expected = {-1: UNLIMITED_V1, None: 2 * memory}.get(swap, swap)
    assert apply_v1(writes, old_memory, old_swap) == (memory, expected)


def test_an_update_without_memory_keeps_its_order() -> None:
    writes = writes_v1(Resources(pids_limit=3, cpu_shares=5), V1)
    assert order_for_update(writes, 0) == writes


# --- validation ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad, words",
    [
        (Resources(memory=6 * MIB - 1), "Minimum memory limit allowed is 6MB"),
        (Resources(memory=-1), "Minimum memory limit"),
        (Resources(memory=1 << 63), "more than there can be"),
        (Resources(memory_reservation=MIB), "Minimum memory reservation allowed is 6MB"),
        (
            Resources(memory=8 * MIB, memory_reservation=9 * MIB),
            "can not be less than memory reservation",
        ),
        (Resources(memory=16 * MIB, memory_swap=15 * MIB), "Minimum memoryswap limit"),
        (Resources(memory_swap=16 * MIB), "You should always set the Memory limit"),
        (Resources(memory=16 * MIB, memory_swap=-2), "Minimum memoryswap limit"),
        (Resources(nano_cpus=10**9, cpu_period=10**5), "Nano CPUs and CPU Period"),
        (Resources(nano_cpus=10**9, cpu_quota=10**5), "Nano CPUs and CPU Quota"),
        (Resources(nano_cpus=-1), "range of CPUs"),
        (Resources(nano_cpus=9_999_999), "range of CPUs is from 0.01"),
        (Resources(cpu_period=999), "CPU cfs period"),
        (Resources(cpu_period=1_000_001), "CPU cfs period"),
        (Resources(cpu_quota=999), "CPU cfs quota"),
        (Resources(cpu_shares=-1), r"invalid CPU shares \(-1\)"),
        (Resources(blkio_weight=9), "from 10 to 1000"),
        (Resources(blkio_weight=1001), "from 10 to 1000"),
        (
            Resources(blkio_weight_device=(BlockWeight(major=8, minor=0, weight=5),)),
            "from 10 to 1000: 8:0",
        ),
        (Resources(blkio_read_bps=(replace(SDA, rate=-1),)), "invalid rate -1 for device 8:0"),
        *(
            (Resources(cpuset_cpus=text), "Invalid value .* for cpuset cpus")
            for text in ("a", "1-", "-1", "1,,2", "2-1", "1-2-3", "8192", "0-99999", "\uff11", " 1")
        ),
        (Resources(cpuset_mems="x"), "Invalid value x for cpuset mems"),
    ],
)
def test_invalid(bad: Resources, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        validate(bad)


@pytest.mark.parametrize(
    "good",
    [
        Resources(),
        Resources(memory=6 * MIB),
        Resources(memory=1 << 50, nano_cpus=500 * 10**9),  # above any host: allowed
        Resources(memory=16 * MIB, memory_swap=16 * MIB),
        Resources(memory_swap=-1),
        Resources(nano_cpus=10_000_000),
        Resources(cpu_quota=-1),
        Resources(cpu_shares=1),
        Resources(cpuset_cpus="0,2-3,7", cpuset_mems="0"),
        Resources(pids_limit=-1),
    ],
)
def test_valid(good: Resources) -> None:
    validate(good)


def test_what_the_host_has_not_is_refused_when_it_is_known() -> None:
    validate(Resources(cpuset_cpus="1", cpuset_mems="0"), cpus="0-1", mems="0")
    with pytest.raises(InvalidArgument, match="Requested CPUs are not available - requested 1-2"):
        validate(Resources(cpuset_cpus="1-2"), cpus="0-1")
    with pytest.raises(InvalidArgument, match="Requested memory nodes are not available"):
        validate(Resources(cpuset_mems="1"), mems="0")


@given(st.sets(st.integers(0, 8191), min_size=1, max_size=20))
def test_every_list_of_cpus_is_read(cpus: set[int]) -> None:
    text = ",".join(map(str, sorted(cpus)))
    validate(Resources(cpuset_cpus=text), cpus="0-8191")
    with pytest.raises(InvalidArgument, match="not available"):
        validate(Resources(cpuset_cpus=f"0-8191,{text}"), cpus="0-8190")


# --- what the host cannot do --------------------------------------------------------------

EVERYTHING = Resources(
    memory=16 * MIB,
    memory_reservation=8 * MIB,
    oom_group=True,
    oom_kill_disable=True,
    nano_cpus=10**9,
    cpu_shares=5,
    cpuset_cpus="0",
    pids_limit=5,
    blkio_weight=500,
    blkio_weight_device=(BlockWeight(major=8, minor=0, weight=50),),
    blkio_read_bps=(SDA,),
    blkio_write_bps=(SDA,),
    blkio_read_iops=(SDA,),
    blkio_write_iops=(SDA,),
)


def test_each_limit_that_cannot_be_kept_is_named() -> None:
    sentences = missing(EVERYTHING, frozenset(), unified=True)
    assert len(sentences) == len(set(sentences)) == 14
    assert all(s.endswith("discarded.") for s in sentences)
    assert missing(Resources(pids_limit=-1), frozenset(), unified=True) == ()


def test_only_the_oom_rules_differ_where_all_controllers_are_there() -> None:
    assert missing(EVERYTHING, V2, unified=True) == (
        "Your kernel does not support OomKillDisable. OomKillDisable discarded.",
    )
    (sentence,) = missing(EVERYTHING, V1, unified=False)
    assert "OOM group discarded" in sentence
    (sentence,) = missing(Resources(oom_kill_disable=True), V1, unified=False)
    assert "no memory limit is set" in sentence


def test_v1_and_v2_have_their_own_names_for_block_io() -> None:
    asked = Resources(blkio_weight=500)
    assert missing(asked, frozenset({"io"}), unified=True) == ()
    assert missing(asked, frozenset({"blkio"}), unified=False) == ()
    assert len(missing(asked, frozenset({"blkio"}), unified=True)) == 1
