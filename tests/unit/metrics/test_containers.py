"""What the supervisor tells of containers, and what scrapes show of it."""

from __future__ import annotations

import gc
import os
import shutil
import tracemalloc
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from metrics.model import Container, Final, Interface, Limits, Settings, Storage
from metrics.parse.figures import Figures, Link
from metrics.render import writer
from metrics.render.snapshot import Snapshot
from metrics.serve import containers as containers_module
from metrics.serve.containers import Containers
from metrics.serve.entry import Entry
from tests.unit.metrics import judge, snapshots, trees

AGENT_STARTED = 1_700_000_000.0
BEFORE, AFTER = AGENT_STARTED - 10, AGENT_STARTED + 10


class Rig:
    """Containers whose groups are plain folders, and whose time is told by the test."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.now = 1000.0
        self.links: dict[int, Link] = {}
        self.links_now = self.links  # `links` may be older
        self.containers = Containers(
            Settings(**settings),
            clock=lambda: self.now,
            wall_ns=lambda: int(AGENT_STARTED * 1e9),
            links=lambda: self.links,
            links_of=self._links_of,
        )

    def _links_of(self, indexes: Collection[int]) -> Mapping[int, Link]:
        return {index: self.links_now[index] for index in indexes if index in self.links_now}

    def add(self, name: str = "web", **changes: Any) -> str:
        container = snapshots.container(name, **changes)
        self.containers.add(container)
        return container.id

    def start(self, id: str, *, at: float = AFTER, run: int = 1, **more: Any) -> trees.Folders:
        group = trees.v2(self.folder / f"{id}.{run}")
        self.containers.started(id, group, at=at, **more)
        return group

    def change(self, group: trees.Folders, **files: str) -> None:
        """Change files; `memory_events` is memory.events."""
        named = {name.replace("_", ".", 1): text.encode() for name, text in files.items()}
        trees.fill(Path(group.unified), named)

    def sample(self) -> None:
        for entry in self.containers.running():
            self.containers.read(entry, int(self.now * 1e9))
        self.containers.forget()

    def text(self) -> str:
        """What a scrape shows now."""
        snapshot = Snapshot(
            rows=tuple(
                self.containers.row(entry, lambda figures: figures)
                for entry in self.containers.everybody()
            ),
            known=self.containers.known(),
            states=self.containers.states(),
            totals=self.containers.totals(),
        )
        return b"".join(writer.pages(snapshot, openmetrics=False)).decode()

    def scrape(self) -> str:
        self.sample()
        return self.text()

    def value(self, name: str, /, **labels: str) -> float:
        return judge.value(self.text(), name, **labels)

    def names(self, prefix: str) -> set[str]:
        """The names of containers that have a series of that prefix."""
        found = set()
        for family in judge.families(self.text()):
            for sample in family.samples:
                if sample.name.startswith(prefix) and "name" in sample.labels:
                    found.add(sample.labels["name"])
        return found


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.containers.close()


CPU = "container_cpu_usage_seconds_total"


# --- a life -------------------------------------------------------------------------------------


def test_counters_are_there_before_the_container_ran(rig: Rig) -> None:
    rig.add()
    assert rig.value("container_oom_events_total", name="web") == 0
    assert rig.value("orlop_container_oom_kills_total", name="web") == 0
    assert rig.value("orlop_container_restarts_total", name="web") == 0
    assert rig.value("orlop_containers", state="created") == 1
    assert judge.samples(rig.text(), CPU) == []
    assert judge.samples(rig.text(), "orlop_container_last_exit_code") == []


def test_a_running_container(rig: Rig) -> None:
    id = rig.add()
    rig.containers.state(id, "running")
    rig.start(id)
    rig.sample()
    assert rig.value(CPU, name="web", id="/orlop/web") == 1.5
    assert rig.value("container_start_time_seconds") == AFTER
    assert rig.value("container_last_seen") == 1000
    assert rig.value("orlop_containers", state="running") == 1
    assert rig.value("orlop_containers", state="created") == 0


def test_last_values_stay_for_two_scrapes(rig: Rig) -> None:
    id = rig.add()
    group = rig.start(id)
    for _ in range(3):
        rig.containers.cadence.scraped("prometheus", rig.now)
        rig.scrape()
        rig.now += 10
    rig.change(group, memory_events="oom_kill 1\n")
    rig.containers.ended(id, exit_code=137)
    shutil.rmtree(group.unified)
    for _ in range(2):
        assert judge.value(rig.scrape(), "container_oom_events_total", name="web") == 1
        rig.now += 10
    rig.now += 2
    text = rig.scrape()
    assert judge.samples(text, "container_oom_events_total") == []
    assert judge.samples(text, CPU) == []
    # What is known by name stays as long as the container.
    assert judge.value(text, "orlop_container_last_exit_code", name="web") == 137
    assert judge.value(text, "orlop_container_oom_kills_total", name="web") == 1


def test_a_removed_container_goes_after_two_scrapes_too(rig: Rig) -> None:
    id = rig.add()
    rig.start(id)
    rig.scrape()
    rig.containers.removed(id)
    assert rig.names("") == {"web"}
    rig.now += 2 * rig.containers.cadence.interval
    assert "web" in rig.scrape()
    rig.now += 2
    assert "web" not in rig.scrape()


def test_a_container_that_never_ran_goes_at_once(rig: Rig) -> None:
    rig.containers.removed(rig.add())
    assert rig.names("") == set()


def test_a_life_of_50_ms_between_two_samples_is_not_lost(rig: Rig) -> None:
    id = rig.add()
    rig.start(id)
    rig.containers.ended(id, exit_code=0)
    rig.containers.removed(id)
    text = rig.scrape()
    assert judge.value(text, CPU, name="web") == 1.5
    assert judge.value(text, "orlop_containers_cpu_usage_seconds_total") == 1.5
    rig.now += 100
    text = rig.scrape()
    assert judge.samples(text, CPU) == []
    assert judge.value(text, "orlop_containers_cpu_usage_seconds_total") == 1.5


def test_final_figures_correct_what_was_read(rig: Rig) -> None:
    id = rig.add()
    group = rig.start(id)
    rig.sample()
    shutil.rmtree(group.unified)  # the group was removed first
    final = Final(cpu_usage=9_000_000, memory_peak=8000, oom_kills=6)
    rig.containers.ended(id, final, exit_code=1)
    assert rig.value(CPU, name="web") == 9
    assert rig.value("container_memory_max_usage_bytes", name="web") == 8000
    assert rig.value("container_oom_events_total", name="web") == 6
    assert rig.value("orlop_container_oom_kills_total", name="web") == 6


def test_final_figures_alone(rig: Rig) -> None:
    id = rig.add()
    rig.containers.ended(id, Final(cpu_usage=2_000_000, oom_kills=1), exit_code=137)
    assert rig.value(CPU, name="web") == 2
    assert rig.value("orlop_container_oom_kills_total", name="web") == 1
    assert rig.value("orlop_containers_cpu_usage_seconds_total") == 2


def test_a_start_that_failed_has_no_series_and_counts_nothing_twice(rig: Rig) -> None:
    """`oom_kills` is of the run that was to be: none."""
    first = rig.add()
    rig.containers.ended(first, Final(oom_kills=0), exit_code=127)
    text = rig.scrape()
    assert judge.samples(text, "container_start_time_seconds") == []
    assert judge.samples(text, CPU) == []
    assert judge.value(text, "orlop_container_last_exit_code", name="web") == 127
    rig.start(first)
    rig.containers.ended(first, Final(oom_kills=0), exit_code=0)
    for _ in range(2):  # while the figures of the run before are still on show
        rig.containers.ended(first, Final(oom_kills=0), exit_code=127)
    text = rig.scrape()
    assert judge.value(text, CPU, name="web") == 1.5
    assert judge.value(text, "orlop_containers_cpu_usage_seconds_total") == 1.5
    assert judge.value(text, "orlop_container_oom_kills_total", name="web") == 5


def test_what_is_known_of_a_run_that_nobody_saw_has_no_start(rig: Rig) -> None:
    rig.containers.ended(rig.add(), Final(oom_kills=1), exit_code=137)
    text = rig.scrape()
    assert judge.value(text, "container_oom_events_total", name="web") == 1
    assert judge.samples(text, "container_start_time_seconds") == []


def test_final_figures_that_are_older_change_nothing(rig: Rig) -> None:
    id = rig.add()
    rig.start(id)
    rig.containers.ended(id, Final(cpu_usage=1, memory_peak=1, oom_kills=0))
    assert rig.value(CPU, name="web") == 1.5
    assert rig.value("container_memory_max_usage_bytes", name="web") == 7000
    assert rig.value("container_oom_events_total", name="web") == 5


# --- again and again ----------------------------------------------------------------------------


def test_ooms_of_all_runs(rig: Rig) -> None:
    id = rig.add()
    for run, kills in ((1, 2), (2, 0), (3, 1)):
        group = rig.start(id, run=run)
        rig.change(group, memory_events=f"oom_kill {kills}\n")
        rig.sample()
        before = {1: 0, 2: 2, 3: 2}[run]
        assert rig.value("container_oom_events_total", name="web") == before + kills
        assert rig.value("orlop_container_oom_kills_total", name="web") == before + kills
        rig.containers.ended(id, exit_code=1)
        for name in ("orlop_container_oom_kills_total", "container_oom_events_total"):
            assert rig.value(name, name="web") == before + kills
        rig.containers.restarted(id)
    assert rig.value("orlop_container_restarts_total", name="web") == 3


def test_a_start_that_was_not_preceded_by_an_end(rig: Rig) -> None:
    id = rig.add()
    rig.start(id, run=1)
    rig.start(id, run=2)
    rig.sample()
    assert rig.value(CPU, name="web") == 1.5
    assert rig.value("orlop_containers_cpu_usage_seconds_total") == 3
    assert len(rig.containers.running()) == 1


def test_totals_never_go_down(rig: Rig) -> None:
    totals = []
    for number in range(4):
        id = rig.add(f"c{number}")
        group = rig.start(id)
        for usage in (1, 3, 4):
            rig.change(group, cpu_stat=f"usage_usec {usage}000000\nuser_usec 0\nsystem_usec 0\n")
            rig.sample()
            totals.append(rig.value("orlop_containers_cpu_usage_seconds_total"))
        rig.containers.ended(id)
        totals.append(rig.value("orlop_containers_cpu_usage_seconds_total"))
        rig.containers.removed(id)
        totals.append(rig.value("orlop_containers_cpu_usage_seconds_total"))
    assert totals == sorted(totals)
    assert totals[-1] == 16


def test_what_an_adopted_container_used_before_is_not_counted(rig: Rig) -> None:
    id = rig.add()
    group = rig.start(id, at=BEFORE)
    rig.sample()
    assert rig.value(CPU, name="web") == 1.5
    assert rig.value("orlop_containers_cpu_usage_seconds_total") == 0
    rig.change(group, cpu_stat="usage_usec 2500000\nuser_usec 0\nsystem_usec 0\n")
    rig.sample()
    assert rig.value("orlop_containers_cpu_usage_seconds_total") == 1
    rig.containers.ended(id)
    assert rig.value("orlop_containers_cpu_usage_seconds_total") == 1


def test_a_name_that_is_used_again_is_there_once(rig: Rig) -> None:
    old = rig.add("web", id="a" * 64, cgroup="/orlop/a")
    rig.start(old)
    rig.sample()
    rig.containers.removed(old)
    rig.add("web", id="b" * 64, cgroup="/orlop/b")
    text = rig.text()
    assert judge.value(text, "orlop_container_restarts_total", name="web") == 0
    lines = [line.rpartition(" ")[0] for line in text.splitlines() if line[0] != "#"]
    assert len(lines) == len(set(lines))
    assert judge.value(text, CPU, id="/orlop/a") == 1.5


# --- what else is told --------------------------------------------------------------------------


def test_a_rename_and_new_limits(rig: Rig) -> None:
    id = rig.add("old")
    rig.start(id)
    rig.sample()
    limits = Limits(memory=77)
    rig.containers.changed(
        Container(id=id, name="new", image="i", cgroup="/orlop/x", limits=limits)
    )
    assert rig.names("") == {"new"}
    assert rig.value("container_spec_memory_limit_bytes", name="new") == 77


@pytest.mark.parametrize(
    "status, value", [("healthy", 1), ("unhealthy", 0), ("starting", 0), ("none", -1), ("", -1)]
)
def test_health(rig: Rig, status: str, value: int) -> None:
    id = rig.add()
    rig.start(id)
    rig.sample()
    rig.containers.health(id, status)
    assert rig.value("container_health_state", name="web") == value


def test_interfaces_show_the_other_end_and_outlive_it(rig: Rig) -> None:
    id = rig.add()
    rig.links[7] = Link(1, 2, 30, 40, 5, 6, 7, 8)
    rig.start(id, interfaces=[Interface("eth0", 7), Interface("eth1", 99)])
    rig.sample()
    received = "container_network_receive_bytes_total"
    assert rig.value(received, interface="eth0") == 40
    assert rig.value("orlop_containers_network_transmit_bytes_total") == 30
    assert judge.samples(rig.text(), received, interface="eth1") == []
    rig.links.clear()  # a veth goes before its container does
    rig.containers.ended(id)
    assert rig.value(received, interface="eth0") == 40
    assert rig.value("orlop_containers_network_receive_bytes_total") == 40


def test_adding_a_known_one_again_changes_it_and_loses_nothing(rig: Rig) -> None:
    id = rig.add("old")
    rig.start(id)
    before = open_fds()
    rig.sample()
    rig.containers.add(snapshots.container("new", id=id), state="running")
    assert rig.names("") == {"new"}
    assert rig.value(CPU, name="new") == 1.5
    rig.containers.ended(id)
    assert open_fds() == before


def test_throttling_is_read_where_there_is_a_quota(rig: Rig) -> None:
    id = rig.add(limits=Limits())
    rig.containers.started(id, trees.hybrid(rig.folder), at=AFTER)
    rig.sample()
    periods = "container_cpu_cfs_periods_total"
    assert judge.samples(rig.text(), periods) == []
    rig.containers.changed(snapshots.container(limits=Limits(cpu_quota=10_000)))
    rig.sample()
    assert rig.value(periods, name="web") == 40


def test_a_network_that_is_connected_later(rig: Rig) -> None:
    id = rig.add()
    rig.start(id)
    rig.links[7] = Link(1, 2, 30, 40, 5, 6, 7, 8)
    rig.containers.interfaces(id, [Interface("eth0", 7)])
    rig.sample()
    assert rig.value("container_network_receive_bytes_total", interface="eth0") == 40


def test_the_last_bytes_of_a_short_life_are_counted(rig: Rig) -> None:
    """What all containers share was read before it began."""
    id = rig.add()
    rig.links_now = {7: Link(1, 2, 30, 40, 5, 6, 7, 8)}
    rig.start(id, interfaces=[Interface("eth0", 7)])
    rig.containers.ended(id)
    assert rig.value("container_network_receive_bytes_total", interface="eth0") == 40
    assert rig.value("orlop_containers_network_transmit_bytes_total") == 30


def test_networks_that_come_and_go_never_count_backwards(rig: Rig) -> None:
    id = rig.add()
    rig.links[7] = Link(0, 0, 10, 100, 0, 0, 0, 0)
    rig.start(id, interfaces=[Interface("eth0", 7)])
    rig.sample()
    rig.links_now = {7: Link(0, 0, 11, 150, 0, 0, 0, 0)}
    rig.containers.interfaces(id, [])  # disconnected, and its last bytes seen
    rig.links_now = rig.links
    del rig.links[7]
    received = "container_network_receive_bytes_total"
    rig.sample()
    assert rig.value(received, interface="eth0") == 150
    rig.links[9] = Link(0, 0, 1, 5, 0, 0, 0, 0)
    rig.containers.interfaces(id, [Interface("eth0", 9)])
    rig.sample()
    assert rig.value(received, interface="eth0") == 155
    assert rig.value("container_network_transmit_bytes_total", interface="eth0") == 12
    assert rig.value("orlop_containers_network_receive_bytes_total") == 155
    rig.containers.ended(id)
    rig.start(id, run=2, interfaces=[Interface("eth0", 9)])
    rig.sample()
    assert rig.value(received, interface="eth0") == 5


def test_disk_use_is_shown_while_the_container_exists(rig: Rig) -> None:
    id = rig.add()
    rig.containers.storage(id, [Storage("/dev/sda", 10, 20)])
    assert rig.value("container_fs_usage_bytes", name="web", device="/dev/sda") == 10
    assert rig.value("container_fs_limit_bytes", name="web") == 20
    assert judge.samples(rig.text(), "container_fs_inodes_free") == []


def test_unknown_ids_are_ignored(rig: Rig) -> None:
    c = rig.containers
    c.state("x", "running")
    c.health("x", "healthy")
    c.storage("x", [])
    c.interfaces("x", [])
    c.restarted("x")
    c.started("x", trees.Folders(), at=1)
    c.ended("x")
    c.removed("x")
    c.changed(snapshots.container("x"))
    assert rig.names("") == set()


# --- bounds -------------------------------------------------------------------------------------


def open_fds() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_descriptors_are_given_back(rig: Rig) -> None:
    before = open_fds()
    id = rig.add()
    group = rig.start(id)
    assert open_fds() == before
    rig.sample()
    assert open_fds() == before + len(trees.V2)
    rig.containers.ended(id)
    assert open_fds() == before
    shutil.rmtree(group.unified)


@pytest.mark.parametrize("budget", [1, 5, 17, 30])
def test_past_the_budget_files_are_opened_each_time(tmp_path: Path, budget: int) -> None:
    rig = Rig(tmp_path, max_fds=budget)
    before = open_fds()
    groups = {name: rig.start(rig.add(name)) for name in ("a", "b", "c")}
    for usage in (1, 2):
        for group in groups.values():
            rig.change(group, cpu_stat=f"usage_usec {usage}000000\nuser_usec 0\nsystem_usec 0\n")
        rig.sample()
        assert open_fds() == before + budget
        for name in groups:
            assert rig.value(CPU, name=name) == usage
            assert rig.value("container_threads", name=name) == 9
    rig.containers.close()
    assert open_fds() == before


def test_the_files_of_each_second_are_kept_open_first(tmp_path: Path) -> None:
    rig = Rig(tmp_path, max_fds=3)
    id = rig.add()
    rig.start(id)
    (entry,) = rig.containers.running()
    assert entry.files is not None
    before = open_fds()
    entry.files.read(glance=False)
    assert open_fds() == before + 3
    paths = [os.readlink(f"/proc/self/fd/{fd}") for _, fd in entry.files._kept]
    kept = {path.rpartition("/")[2] for path in paths}
    assert kept == {"cpu.stat", "memory.current", "io.stat"}
    rig.containers.close()


def test_a_group_that_is_gone_keeps_its_last_figures(tmp_path: Path) -> None:
    # Plain files do not go while they are open, as those of a group do: kept closed here.
    rig = Rig(tmp_path, max_fds=1)
    first = rig.start(rig.add("gone"))
    rig.start(rig.add("other"))
    rig.sample()
    shutil.rmtree(first.unified)
    rig.sample()
    assert rig.value(CPU, name="gone") == 1.5
    assert rig.value("container_memory_usage_bytes", name="gone") == 5000
    assert rig.value(CPU, name="other") == 1.5
    rig.containers.close()


def test_removed_containers_on_show_are_bounded(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers_module, "MAX_LINGERING", 5)
    for number in range(8):
        id = rig.add(f"c{number}")
        rig.containers.ended(id, Final(cpu_usage=1))
        rig.containers.removed(id)
    assert rig.names("container_cpu") == {f"c{number}" for number in range(3, 8)}
    assert rig.containers.capped["ended_container"] == 3


def test_memory_stays_flat(rig: Rig) -> None:
    group = trees.v2(rig.folder)

    def lives(count: int) -> None:
        for number in range(count):
            id = rig.add(f"c{number}", id=f"{number:064}")
            rig.containers.started(id, group, at=AFTER)
            rig.sample()
            rig.containers.ended(id)
            rig.containers.removed(id)
            rig.now += 1

    lives(200)
    rig.text()
    tracemalloc.start()
    try:
        lives(50)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        lives(300)
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert after - before < 20_000


def test_a_malformed_file_costs_its_part_and_is_named(rig: Rig) -> None:
    group = rig.start(rig.add())
    rig.change(group, io_stat="8:0 rbytes=many\n")
    rig.sample()
    assert judge.samples(rig.text(), "container_fs_reads_total") == []
    assert rig.value(CPU, name="web") == 1.5
    assert any("rbytes=many" in sentence for sentence in rig.containers.wrong)


def test_an_unreadable_file_is_named(rig: Rig) -> None:
    group = rig.start(rig.add())
    stat = Path(group.unified, "memory.stat")
    stat.unlink()
    stat.mkdir()  # reading a folder fails with EISDIR, for root too
    rig.sample()
    assert rig.value("container_memory_usage_bytes", name="web") == 5000
    assert any("memory.stat" in sentence for sentence in rig.containers.wrong)


def test_a_list_longer_than_a_page_is_read_to_its_end(rig: Rig) -> None:
    group = rig.start(rig.add())
    rig.change(group, cgroup_procs="".join(f"{pid}\n" for pid in range(10_000, 20_000)))
    rig.sample()
    assert rig.value("container_processes", name="web") == 10_000


def test_an_entry_says_nothing_of_what_it_has_not_read() -> None:
    entry = Entry(snapshots.container(), 4)
    assert entry.used() == (0, 0, 0, 0, 0)
    entry.finish(5.0, Final())
    assert entry.row(lambda figures: figures).figures == Figures()
