"""When the kernel is read, for whom, and that others get their turn meanwhile."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from metrics.model import Roots, Settings
from metrics.parse.figures import DeviceIo
from metrics.render import writer
from metrics.render.snapshot import Snapshot
from metrics.serve import sampler as sampler_module
from metrics.serve.files import GroupFiles
from metrics.serve.sampler import Sampler
from tests.unit.metrics import judge, snapshots, trees

NOW_NS = 1_700_000_000_000_000_000

Make = Callable[..., Sampler]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    roots = Roots(proc=trees.proc(tmp_path), sys=trees.sys(tmp_path))

    def make(**settings: Any) -> Sampler:
        return Sampler(
            Settings(**settings),
            roots,
            clock=trio.current_time,
            wall_ns=lambda: NOW_NS + int(trio.current_time() * 1e9),
        )

    return make


@asynccontextmanager
async def running(sampler: Sampler) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        await nursery.start(sampler.run)
        yield
        nursery.cancel_scope.cancel()


def start(sampler: Sampler, folder: Path, name: str = "web") -> trees.Folders:
    container = snapshots.container(name)
    group = trees.v2(folder / name)
    sampler.containers.add(container)
    sampler.containers.started(container.id, group, at=NOW_NS / 1e9)
    return group


def usage(group: trees.Folders, seconds: int) -> None:
    text = f"usage_usec {seconds}000000\nuser_usec 0\nsystem_usec 0\n"
    Path(group.unified, "cpu.stat").write_text(text)


async def storage_seen(sampler: Sampler) -> Snapshot:
    """A snapshot after the file systems were looked at, which a thread does in real time."""
    with trio.fail_after(20):
        while True:
            snapshot = await sampler.fresh()
            if snapshot.collectors["storage"].duration:
                return snapshot
            await trio.sleep(0.01)


def text(snapshot: Snapshot) -> str:
    return b"".join(writer.pages(snapshot, openmetrics=False)).decode()


ID = snapshots.container("web").id
CPU = "container_cpu_usage_seconds_total"


# --- scrapes ------------------------------------------------------------------------------------


async def test_a_scrape_reads_now(make: Make, tmp_path: Path, autojump_clock: MockClock) -> None:
    sampler = make(interval=0)
    group = start(sampler, tmp_path)
    async with running(sampler):
        for seconds in (1, 5):
            usage(group, seconds)
            await trio.sleep(0.3)
            snapshot = await sampler.fresh()
            assert judge.value(text(snapshot), CPU, name="web") == seconds


async def test_scrapes_that_come_together_share_a_sampling(
    make: Make, tmp_path: Path, autojump_clock: MockClock
) -> None:
    sampler = make(interval=0)
    start(sampler, tmp_path)
    found: list[Snapshot] = []

    async def scrape() -> None:
        found.append(await sampler.fresh())

    async with running(sampler):
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(scrape)
        await trio.sleep(0.25)
        await scrape()
        assert len({id(snapshot) for snapshot in found}) == 1
        await trio.sleep(0.01)
        await scrape()
        assert found[-1] is not found[0]


async def test_who_asks_during_a_sampling_gets_it_too(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampler_module, "SLICE_SECONDS", 0)
    sampler = make(interval=0)
    for number in range(30):
        start(sampler, tmp_path, f"c{number}")
    found: list[Snapshot] = []

    async def scrape(turns: int) -> None:
        for _ in range(turns):
            await trio.lowlevel.checkpoint()
        found.append(await sampler.fresh())

    async with running(sampler), trio.open_nursery() as nursery:
        for turns in (0, 5, 15):
            nursery.start_soon(scrape, turns)
    assert len(found) == 3
    assert len({id(snapshot) for snapshot in found}) == 1


async def test_a_scraper_that_hangs_up_spoils_nothing(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampler_module, "SLICE_SECONDS", 0)
    sampler = make(interval=0)
    for number in range(30):
        start(sampler, tmp_path, f"c{number}")
    async with running(sampler), trio.open_nursery() as nursery:
        hung_up = trio.CancelScope()

        async def scrape() -> None:
            with hung_up:
                await sampler.fresh()

        nursery.start_soon(scrape)
        for _ in range(5):
            await trio.lowlevel.checkpoint()
        hung_up.cancel()
        snapshot = await sampler.fresh()
        assert len(snapshot.known) == 30


async def test_others_get_their_turn(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampler_module, "SLICE_SECONDS", 0)
    sampler = make(interval=0)
    for number in range(50):
        start(sampler, tmp_path, f"c{number}")
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with running(sampler), trio.open_nursery() as nursery:
        nursery.start_soon(other)
        await sampler.fresh()
        nursery.cancel_scope.cancel()
    assert turns >= 50


async def test_containers_may_end_while_others_have_their_turn(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampler_module, "SLICE_SECONDS", 0)
    sampler = make(interval=0)
    for number in range(20):
        start(sampler, tmp_path, f"c{number}")

    async def end_all() -> None:
        for number in range(19, -1, -1):
            id = snapshots.container(f"c{number}").id
            sampler.containers.ended(id)
            sampler.containers.removed(id)
            await trio.lowlevel.checkpoint()

    async with running(sampler), trio.open_nursery() as nursery:
        nursery.start_soon(end_all)
        snapshot = await sampler.fresh()
    assert "web" not in text(snapshot)
    assert sampler.containers.running() == []


async def test_a_defect_costs_fresh_figures_and_nothing_else(
    make: Make,
    tmp_path: Path,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    sampler = make(interval=0)
    start(sampler, tmp_path)
    async with running(sampler):
        good = await sampler.fresh()
        with monkeypatch.context() as patch:
            patch.setattr(sampler.containers, "states", lambda: 1 / 0)
            await trio.sleep(1)
            assert await sampler.fresh() is good
        await trio.sleep(1)
        after = await sampler.fresh()
    assert after.collectors["containers"].errors == 1
    assert "sampling failed" in caplog.text


# --- the background -----------------------------------------------------------------------------


async def test_each_second_a_few_figures(
    make: Make, tmp_path: Path, autojump_clock: MockClock
) -> None:
    sampler = make(history=3)
    group = start(sampler, tmp_path)
    async with running(sampler):
        sampler.attend()
        for seconds in range(1, 6):
            usage(group, seconds)
            await trio.sleep(1)
        entry = sampler.containers.get(ID)
        assert entry is not None
        points = entry.history.points()
    assert len(points) == 3
    assert [point.cpu for point in points] == sorted(point.cpu for point in points)
    assert points[1].at - points[0].at == pytest.approx(1, abs=1e-3)
    assert points[0].memory == 5000
    assert (points[0].read_bytes, points[0].written_bytes) == (4106, 8212)
    # Page cache is known from the first full sample on, not before.
    assert points[0].working_set == 5000


async def test_fewer_while_nobody_looks(
    make: Make, tmp_path: Path, autojump_clock: MockClock
) -> None:
    sampler = make()
    start(sampler, tmp_path)
    entry = sampler.containers.get(ID)
    assert entry is not None

    async def taken(seconds: float) -> int:
        before = max((point.at for point in entry.history.points()), default=0)
        await trio.sleep(seconds)
        return sum(point.at > before for point in entry.history.points())

    async with running(sampler):
        assert await taken(2.5) == 2  # so that a new one can be compared with itself
        assert await taken(20) == 2
        sampler.attend()
        assert await taken(0.1) == 1  # whoever comes sees no old figures
        assert await taken(10) == 10
        await trio.sleep(60)
        assert await taken(20) == 2


async def test_no_background_when_it_is_off(
    make: Make, tmp_path: Path, autojump_clock: MockClock
) -> None:
    sampler = make(interval=0)
    start(sampler, tmp_path)
    async with running(sampler):
        await trio.sleep(100)
        entry = sampler.containers.get(ID)
    assert entry is not None
    assert entry.history.points() == []


async def test_the_background_reads_only_a_few_files(
    make: Make,
    tmp_path: Path,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[bool] = []
    read = GroupFiles.read

    def spy(files: GroupFiles, *, glance: bool, thorough: bool = False) -> Mapping[str, bytes]:
        asked.append(glance)
        return read(files, glance=glance, thorough=thorough)

    monkeypatch.setattr(GroupFiles, "read", spy)
    sampler = make()
    start(sampler, tmp_path)
    async with running(sampler):
        await trio.sleep(2.5)
        assert asked == [True, True]
        await sampler.fresh()
        assert asked == [True, True, False]


async def test_one_at_rest_is_read_in_part_when_asked_for_and_wholly_at_its_end(
    make: Make, tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    read = GroupFiles.read

    def spy(files: GroupFiles, *, glance: bool, thorough: bool = False) -> Mapping[str, bytes]:
        asked.append(thorough)
        return read(files, glance=glance, thorough=thorough)

    monkeypatch.setattr(GroupFiles, "read", spy)
    sampler = make()
    start(sampler, tmp_path)
    assert sampler.sample(ID) is not None
    assert asked == [False]
    sampler.containers.ended(ID)
    assert asked == [False, True]
    sampler.close()


async def test_an_earlier_sample_is_half_an_interval_old(
    make: Make, tmp_path: Path, autojump_clock: MockClock
) -> None:
    sampler = make()
    group = start(sampler, tmp_path)
    assert sampler.earlier(ID) is None
    assert sampler.earlier("unknown") is None
    async with running(sampler):
        usage(group, 1)
        await trio.sleep(1.2)
        usage(group, 2)
        assert sampler.earlier(ID) is None
        now = sampler.sample(ID)
        await trio.sleep(0.5)
        earlier = sampler.earlier(ID)
    assert earlier is not None
    assert now is not None
    assert earlier.figures.cpu is not None
    assert now.figures.cpu is not None
    assert (earlier.figures.cpu.usage, now.figures.cpu.usage) == (1_000_000, 2_000_000)
    assert (earlier.online_cpus, earlier.system_cpu) == (2, 44_830_000)


async def test_a_sample_at_once(make: Make, tmp_path: Path) -> None:
    sampler = make()
    assert sampler.sample("unknown") is None
    start(sampler, tmp_path)
    try:
        sample = sampler.sample(ID)
        assert sample is not None
        assert sample.figures.memory is not None
        assert sample.figures.memory.usage == 5000
        # By number, as Docker's API has devices.
        assert sample.figures.io["8:0"] == DeviceIo(4096, 8192, 1, 2)
        sampler.containers.ended(ID)
        assert sampler.sample(ID) is None
    finally:
        sampler.close()


async def test_samples_that_come_together_share_the_hosts_times(
    make: Make, tmp_path: Path, autojump_clock: MockClock
) -> None:
    sampler = make()
    start(sampler, tmp_path)
    try:
        first = sampler.sample(ID)
        stat = Path(trees.proc(tmp_path), "stat")
        stat.write_text(stat.read_text().replace("cpu  ", "cpu  1", 1))
        again = sampler.sample(ID)
        assert first is not None
        assert again is not None
        assert again.system_cpu == first.system_cpu
        await trio.sleep(2 * sampler_module.CPU_SECONDS)
        later = sampler.sample(ID)
        assert later is not None
        assert later.system_cpu > first.system_cpu
    finally:
        sampler.close()


# --- the host -----------------------------------------------------------------------------------


async def test_the_host_is_a_row_of_its_own(make: Make, tmp_path: Path) -> None:
    sampler = make(interval=0, share=0, filesystems=(str(tmp_path),), version="9.9")
    async with running(sampler):
        snapshot = await storage_seen(sampler)
    found = text(snapshot)
    assert judge.value(found, CPU, id="/") == 4.33
    assert judge.value(found, "container_memory_working_set_bytes", id="/") == 614400 - 61440
    assert judge.value(found, "container_threads", id="/") == 345
    assert judge.value(found, "container_pressure_io_stalled_seconds_total", id="/") == 0.001006
    reads = judge.value(found, "container_fs_reads_bytes_total", id="/", device="/dev/sda")
    assert reads == 20 * 512
    space = os.statvfs(tmp_path)
    limit = judge.value(found, "container_fs_limit_bytes", id="/")
    assert limit == space.f_blocks * space.f_frsize
    assert judge.value(found, "machine_cpu_cores") == 2
    assert judge.value(found, "machine_memory_bytes") == 1024000
    assert judge.value(found, "orlop_build_info", version="9.9") == 1
    assert judge.value(found, "process_cpu_seconds_total") == 3
    assert judge.value(found, "process_start_time_seconds") == 1700000123.45
    fds = judge.value(found, "process_open_fds")
    # An ordinary folder's size is not its number of entries, as that of a kernel's is.
    assert fds == os.stat(tmp_path / "proc/self/fd").st_size
    assert [collector.errors for collector in snapshot.collectors.values()] == [0, 0, 0, 0]


async def test_devices_have_their_names(
    make: Make, tmp_path: Path, autojump_clock: MockClock
) -> None:
    sampler = make(interval=0)
    start(sampler, tmp_path)
    async with running(sampler):
        found = text(await sampler.fresh())
    assert judge.value(found, "container_fs_reads_total", name="web", device="/dev/sda") == 1
    # No disk of that number is here.
    assert judge.value(found, "container_fs_reads_total", name="web", device="253:0") == 30


@pytest.mark.parametrize("lacking", ["pressure/io", "meminfo", "stat", "diskstats", "self/stat"])
async def test_what_proc_lacks_costs_what_is_in_it(
    tmp_path: Path, make: Make, autojump_clock: MockClock, lacking: str
) -> None:
    (tmp_path / "proc" / lacking).unlink()
    sampler = make(interval=0)
    start(sampler, tmp_path)
    async with running(sampler):
        snapshot = await sampler.fresh()
    assert judge.value(text(snapshot), CPU, name="web") == 1.5
    errors = snapshot.collectors["host"].errors
    # A kernel need not have pressure.
    assert errors == (0 if lacking == "pressure/io" else 1)


async def test_a_file_system_that_is_not_there_is_an_error_of_its_own(make: Make) -> None:
    sampler = make(interval=0, share=0, filesystems=("/no/such/folder",))
    async with running(sampler):
        snapshot = await storage_seen(sampler)
    assert snapshot.collectors["storage"].errors == 1
    assert snapshot.collectors["host"].errors == 0


async def test_everything_is_closed_at_the_end(make: Make, tmp_path: Path) -> None:
    sampler = make()
    start(sampler, tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    async with running(sampler):
        await sampler.fresh()
        assert len(os.listdir("/proc/self/fd")) > before
    assert len(os.listdir("/proc/self/fd")) == before
