"""The kernel's files to figures, for each cgroup layout, and nonsense to Malformed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from metrics.errors import Malformed
from metrics.parse import cpu, group, host, io, memory, text
from metrics.parse.figures import Cpu, DeviceIo, Figures, Glance, Memory, Pressure, Tasks
from metrics.parse.pressure import Stall, stall
from tests.unit.metrics import trees

NAMES = st.from_regex(r"[a-z][a-z_]{0,20}", fullmatch=True)
COUNTS = st.integers(0, 2**64 - 1)
DEVICES = st.builds("{}:{}".format, st.integers(0, 4095), st.integers(0, 2**20 - 1))


def read(folders: trees.Folders) -> dict[str, bytes]:
    files = group.files(folders)
    return {f.key: Path(f.path).read_bytes() for f in files if Path(f.path).exists()}


def decode(folders: trees.Folders) -> Figures:
    figures, wrong = group.Decoder().figures(read(folders))
    assert wrong == ()
    return figures


# --- whole groups ---------------------------------------------------------------------------

IO = {"8:0": DeviceIo(4096, 8192, 1, 2), "253:0": DeviceIo(10, 20, 30, 40)}
PRESSURE = Pressure(1001, 1002, 1003, 1004, 1005, 1006)


def test_a_group_of_v2(tmp_path: Path) -> None:
    figures = decode(trees.v2(tmp_path))
    assert figures.cpu == Cpu(1500000, 900000, 600000, 40, 4, 250000, 2, 1000)
    assert figures.tasks == Tasks(threads=9, processes=3)
    assert figures.pressure == PRESSURE
    assert figures.io == IO
    memory = figures.memory
    assert memory is not None
    assert memory._replace(stat={}) == Memory(2, 5000, {}, 7000, 80, 3, 2, 3, 4, 5)
    assert (memory.stat["anon"], memory.stat["pgmajfault"]) == (1000, 42)
    assert memory.working_set == 5000 - 300


def test_a_group_of_a_hybrid_host_tells_the_same(tmp_path: Path) -> None:
    unified, hybrid = decode(trees.v2(tmp_path)), decode(trees.hybrid(tmp_path))
    assert hybrid._replace(memory=None) == unified._replace(memory=None)
    memory = hybrid.memory
    assert memory is not None
    # v1 has no memory.high, and does not count reclaims that failed.
    assert memory._replace(stat={}) == Memory(1, 5000, {}, 7000, 80, 3, None, None, None, 5)
    assert memory.working_set == 5000 - 300


def test_a_group_without_any_v2_has_no_pressure_and_coarse_times(tmp_path: Path) -> None:
    figures = decode(trees.v1(tmp_path))
    assert figures.cpu == Cpu(1500000, 900000, 600000, 40, 4, 250000, 2, 1000)
    assert figures.pressure is None
    assert figures.tasks == Tasks(threads=9, processes=None)
    assert figures.io == IO


@pytest.mark.parametrize("lacking", sorted(trees.V2))
def test_whatever_file_a_kernel_lacks_the_rest_is_there(tmp_path: Path, lacking: str) -> None:
    whole = decode(trees.v2(tmp_path / "whole"))
    files = {name: data for name, data in trees.V2.items() if name != lacking}
    figures = decode(trees.v2(tmp_path, files))
    prefix = lacking.partition(".")[0]
    part = {"cgroup": "tasks", "pids": "tasks"}.get(prefix, prefix)
    part = "pressure" if lacking.endswith(".pressure") else part
    assert figures != whole
    assert figures._replace(**{part: getattr(whole, part)}) == whole


def test_a_glance_is_the_few_figures_of_the_whole(tmp_path: Path) -> None:
    for folders in (trees.v2(tmp_path), trees.hybrid(tmp_path), trees.v1(tmp_path / "1")):
        keys = {file.key for file in group.files(folders) if file.when is group.When.GLANCE}
        few = {key: data for key, data in read(folders).items() if key in keys}
        seen = group.glance(few)
        assert seen._replace(cpu=Cpu(0)) == Glance(Cpu(0), 5000, 4106, 8212)
        assert seen.cpu.usage == 1500000
    assert group.glance({}) == Glance(Cpu(0), 0, 0, 0)


def test_what_has_not_changed_is_not_decoded_again(tmp_path: Path) -> None:
    decoder = group.Decoder()
    readings = read(trees.v2(tmp_path))
    first, _ = decoder.figures(readings)
    second, _ = decoder.figures({**readings, "pids": b"10\n"})
    assert second.memory is first.memory
    assert second == first._replace(tasks=Tasks(10, 3))


def test_a_malformed_part_is_missing_and_comes_back(tmp_path: Path) -> None:
    decoder = group.Decoder()
    readings = read(trees.v2(tmp_path))
    whole, _ = decoder.figures(readings)
    figures, wrong = decoder.figures({**readings, "io": b"8:0 rbytes=x\n"})
    assert figures == whole._replace(io={})
    assert len(wrong) == 1
    assert "rbytes=x" in wrong[0]
    assert decoder.figures(readings) == (whole, ())


def test_a_controller_that_v2_has_on_a_hybrid_host_is_read_there(tmp_path: Path) -> None:
    folders = trees.hybrid(tmp_path)
    del folders.v1["memory"]
    trees.fill(Path(folders.unified), trees.V2)
    figures = decode(folders)
    assert figures.memory is not None
    assert figures.memory.version == 2


# --- single files -----------------------------------------------------------------------------


@given(st.dictionaries(NAMES, COUNTS))
def test_flat_files(values: dict[str, int]) -> None:
    data = "".join(f"{name} {value}\n" for name, value in values.items()).encode()
    assert text.Flat()(data) == values


def test_names_are_shared_between_groups() -> None:
    decode = text.Flat()
    one, two = decode(b"anon 1\nfile 2\n"), decode(b"anon 3\nfile 4\n")
    assert [id(name) for name in one] == [id(name) for name in two]
    assert decode(b"other 5\n") == {"other": 5}
    # What was decoded before keeps its own names.
    assert (one["file"], one.get("other"), one.get("other", 7)) == (2, None, 7)
    assert len(two) == 2


@pytest.mark.parametrize("data", [b"", b"\n", b"x", b"1 2", b"0x1", b"MAX"])
def test_what_is_no_number(data: bytes) -> None:
    with pytest.raises(Malformed):
        text.integer(data)


def test_numbers() -> None:
    assert text.integer(b"0\n") == 0
    assert text.integer(b"18446744073709551615\n") == 2**64 - 1
    assert text.integer(b"max\n") is None


def test_cpu_max() -> None:
    assert cpu.limit(b"max 100000\n") == (0, 100000)
    assert cpu.limit(b"50000 100000\n") == (50000, 100000)
    with pytest.raises(Malformed):
        cpu.limit(b"50000\n")


def test_cpu_stat_without_a_total_is_malformed() -> None:
    with pytest.raises(Malformed, match="usage_usec"):
        cpu.unified(b"user_usec 1\nsystem_usec 2\n")


def test_memory_of_an_old_kernel() -> None:
    assert memory.unified(b"5\n", None) == Memory(2, 5, {})
    assert memory.v1(b"5\n", None) == Memory(1, 5, {})
    # More inactive page cache than memory in use: the two are read one after the other.
    assert memory.unified(b"5\n", b"inactive_file 9\n").working_set == 0


@given(COUNTS, COUNTS)
def test_pressure(some: int, full: int) -> None:
    line = "{} avg10=0.00 avg60=12.34 avg300=99.99 total={}\n"
    both = (line.format("some", some) + line.format("full", full)).encode()
    assert stall(both) == Stall(some, full)
    assert stall(line.format("some", some).encode()) == Stall(some, None)


def test_no_pressure() -> None:
    assert stall(None) == Stall(None, None)


@given(st.dictionaries(DEVICES, st.tuples(COUNTS, COUNTS, COUNTS, COUNTS), max_size=4))
def test_io(devices: dict[str, tuple[int, int, int, int]]) -> None:
    v2 = "".join(
        f"{d} rbytes={r} wbytes={w} rios={ro} wios={wo} dbytes=1 dios=2\n"
        for d, (r, w, ro, wo) in devices.items()
    )
    sizes = "".join(f"{d} Read {v[0]}\n{d} Write {v[1]}\n{d} Sync 9\n" for d, v in devices.items())
    counts = "".join(f"{d} Read {v[2]}\n{d} Write {v[3]}\n" for d, v in devices.items())
    expected = {device: DeviceIo(*values) for device, values in devices.items()}
    assert io.unified(v2.encode()) == expected
    assert io.v1(f"{sizes}Total 1\n".encode(), f"{counts}Total 2\n".encode()) == expected
    totals = sum(v[0] for v in devices.values()), sum(v[1] for v in devices.values())
    assert io.totals(expected) == totals


def test_odd_lines_of_io_stat() -> None:
    assert io.unified(b"8:0 \n") == {"8:0": DeviceIo()}
    run_together = b"8:0 8:16 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n"
    assert io.unified(run_together) == {"8:16": DeviceIo(1, 2, 3, 4)}
    more = b"8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0 cost.usage=7\n"
    assert io.unified(more) == {"8:0": DeviceIo(1, 2, 3, 4)}
    assert io.v1(b"8:0 Read 5\nTotal 5\n", None) == {"8:0": DeviceIo(5, 0, 0, 0)}


# --- the host -----------------------------------------------------------------------------------


def test_the_host() -> None:
    times = host.cpu_times(trees.PROC["stat"])
    total = (100 + 20 + 300 + 4000 + 50 + 6 + 7) * 10_000
    assert times == host.CpuTimes(total, 4330000, 1200000, 3130000, 2, 1700000000)
    assert host.as_cpu(times) == Cpu(4330000, 1200000, 3130000)
    memory, size = host.memory(trees.PROC["meminfo"])
    assert size == 1000 * 1024
    assert (memory.usage, memory.swap, memory.working_set) == (614400, 30720, 614400 - 61440)
    assert memory.stat["anon"] == 90 * 1024
    assert host.threads(trees.PROC["loadavg"]) == 345
    disks = host.disks(trees.PROC["diskstats"], frozenset({"sda"}))
    assert disks == {"/dev/sda": DeviceIo(20 * 512, 40 * 512, 10, 30)}


def test_the_agent_itself() -> None:
    # The program's name has a parenthesis and a blank in it.
    process = host.process(trees.PROC["self/stat"], 1700000000, 4096)
    assert process == host.Process(3.0, 409600, 1048576, 1700000123.45)


# --- nonsense ---------------------------------------------------------------------------------

DECODERS: dict[str, Callable[[bytes], object]] = {
    "integer": text.integer,
    "flat": text.Flat(),
    "cpu": cpu.unified,
    "cpu and throttling": lambda data: cpu.unified(trees.CPU_STAT, data),
    "cpu of v1": lambda data: cpu.v1(data, data, data),
    "cpu.max": cpu.limit,
    "memory": lambda data: memory.unified(b"1\n", data, peak=b"1\n", swap=b"1\n", events=data),
    "memory of v1": lambda data: memory.v1(data, data, peak=data, failures=data),
    "io": io.unified,
    "io of v1": lambda data: io.v1(data, data),
    "pressure": stall,
    "/proc/stat": host.cpu_times,
    "/proc/meminfo": host.memory,
    "/proc/diskstats": lambda data: host.disks(data, frozenset({"sda"})),
    "/proc/loadavg": host.threads,
    "/proc/self/stat": lambda data: host.process(data, 0, 4096),
}
REAL = [
    *trees.V2.values(),
    *trees.PROC.values(),
    *(data for files in trees.HYBRID_V1.values() for data in files.values()),
]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A real file, cut off or with something strange in it."""
    real = draw(st.sampled_from(REAL))
    at = draw(st.integers(0, len(real)))
    return draw(st.sampled_from([real[:at], real[at:], real[:at] + b"\x00x " + real[at:]]))


@pytest.mark.parametrize("name", sorted(DECODERS))
@given(st.one_of(st.binary(max_size=200), damaged()))
@example(b"")
@example(b"\xff\xfe 1\n")
@example(b"1_0 \xd9\xa1\n")
def test_nonsense_is_malformed_and_nothing_else(name: str, data: bytes) -> None:
    with suppress(Malformed):
        DECODERS[name](data)
