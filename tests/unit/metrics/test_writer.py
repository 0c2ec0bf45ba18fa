"""The text that scrapers get, with prometheus_client as the judge of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import zip_longest
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import Metric, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics_text

from metrics.model import Limits
from metrics.parse.figures import DeviceIo, Figures, Memory
from metrics.render import writer
from metrics.render.families import CONTAINER, OWN, Family
from metrics.render.snapshot import Row, Snapshot
from metrics.render.sources import of_snapshot
from tests.unit.metrics import judge, snapshots

EVERY = (*CONTAINER, *OWN)


def text(snapshot: Snapshot) -> str:
    return b"".join(writer.pages(snapshot, openmetrics=False)).decode()


def openmetrics(snapshot: Snapshot) -> str:
    return b"".join(writer.pages(snapshot, openmetrics=True)).decode() + "# EOF\n"


def samples(snapshot: Snapshot) -> dict[str, float]:
    """Value by `name{labels}` in the order of the text, read by prometheus_client."""
    return {
        f"{s.name}{{{','.join(f'{k}={v}' for k, v in s.labels.items())}}}": s.value
        for family in judge.families(text(snapshot))
        for s in family.samples
    }


def of(snapshot: Snapshot, name: str, /, **labels: str) -> float:
    return judge.value(text(snapshot), name, **labels)


class Registry:
    """The same families by prometheus_client's own means."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._sources = list(of_snapshot(snapshot))

    def collect(self) -> Iterator[Metric]:
        for family in EVERY:
            metric = Metric(
                family.name.removesuffix("_total") if family.kind == "counter" else family.name,
                family.help,
                {"untyped": "unknown"}.get(family.kind, family.kind),
            )
            self._fill(metric, family)
            if metric.samples:
                yield metric

    def _fill(self, metric: Metric, family: Family) -> None:
        for suffix, get in family.series:
            for part, block, about in self._sources:
                if part == family.part and (value := get(about)) is not None:
                    metric.add_sample(family.name, labels_of(block, suffix), value)


def labels_of(block: str, suffix: str) -> dict[str, str]:
    if not block:
        return {}
    (family,) = judge.families(f"x{block}{suffix}}} 1\n")
    return dict(family.samples[0].labels)


def flat(families: Iterable[Metric]) -> list[object]:
    return [
        (f.name, f.documentation, f.type, s.name, tuple(sorted(s.labels.items())), s.value)
        for f in families
        for s in f.samples
    ]


FULL = snapshots.snapshot(
    {"web": snapshots.figures(), 'a "b" \\ c\nd': snapshots.figures(), "made": None}
)


# --- the formats ------------------------------------------------------------------------------


def test_the_text_means_what_prometheus_clients_text_means() -> None:
    ours = flat(judge.families(text(FULL)))
    theirs = flat(judge.families(generate_latest(Registry(FULL)).decode()))
    assert ours == theirs
    assert len(ours) > 150


def test_openmetrics_means_what_prometheus_clients_does() -> None:
    ours = flat(judge.openmetrics_families(openmetrics(FULL)))
    encoded: bytes = openmetrics_text(Registry(FULL))  # type: ignore[no-untyped-call]
    assert ours == flat(judge.openmetrics_families(encoded.decode()))


def test_no_series_is_there_twice() -> None:
    lines = [line.rpartition(" ")[0] for line in text(FULL).splitlines() if line[0] != "#"]
    assert len(lines) == len(set(lines))


def test_an_empty_host_is_valid() -> None:
    assert list(judge.openmetrics_families(openmetrics(Snapshot())))
    assert "container_" not in text(Snapshot())


@pytest.mark.parametrize("family", EVERY, ids=lambda family: family.name)
def test_every_family_has_a_sample_and_a_lawful_name(family: Family) -> None:
    found = text(FULL)
    page = found[found.index(f"# HELP {family.name} ") :]
    assert f"# TYPE {family.name} {family.kind}\n" in page
    assert (family.kind == "counter") == (
        family.name.endswith("_total") and family.name != "container_fs_inodes_total"
    )
    assert family.help.endswith((".", ")."))
    assert "\n" not in family.help
    assert "\\" not in family.help


def test_names_are_unique() -> None:
    names = [family.name for family in EVERY]
    assert len(names) == len(set(names))


# --- from one scrape to the next ---------------------------------------------------------------


def _others(row: Row) -> list[Row]:
    """The row as it may be at the next scrape, with one thing changed in each."""
    now = row.figures
    assert now is not None
    assert now.cpu is not None
    assert now.memory is not None
    less = {name: value for name, value in now.memory.stat.items() if name != "anon"}
    changed = [
        now._replace(cpu=now.cpu._replace(usage=99_000_000)),
        now._replace(memory=now.memory._replace(usage=99, oom_kills=77)),
        now._replace(memory=now.memory._replace(stat=less, peak=None)),
        now._replace(memory=None, pressure=None, tasks=None),
        now._replace(io={"8:0": DeviceIo(1, 2, 3, 4), "9:9": DeviceIo()}),
        now._replace(network={}),
        now._replace(network={"eth1": snapshots.LINK}),
    ]
    return [
        row,
        *(row._replace(figures=figures) for figures in changed),
        row._replace(figures=None),
        row._replace(figures=None, started=0),
        row._replace(seen=row.seen + 15),
        row._replace(started=5.0, oom_kills_before=1),
        row._replace(health=-1),
        row._replace(limits=Limits(memory=5)),
        row._replace(limits=None),
        row._replace(storage=()),
        row._replace(storage=(row.storage[0]._replace(usage=11, limit=None),)),
    ]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_what_was_remembered_is_what_would_be_written_anew(data: st.DataObject) -> None:
    """Whatever has changed, in whatever order, and whoever came or went."""
    names = ["a", 'b"%s\\', "c"]
    every = {n: _others(snapshots.row(snapshots.container(n), snapshots.figures())) for n in names}
    known = {n: snapshots.known(snapshots.container(n)) for n in names}
    kept = writer.Writer()
    for _ in range(data.draw(st.integers(2, 6))):
        there = data.draw(st.permutations(names))[: data.draw(st.integers(0, 3))]
        snapshot = FULL._replace(
            rows=tuple(data.draw(st.sampled_from(every[name])) for name in there),
            known=tuple(
                known[name]._replace(exit_code=data.draw(st.sampled_from([None, 0, 1])))
                for name in there
            ),
        )
        assert b"".join(kept.pages(snapshot, openmetrics=False)).decode() == text(snapshot)


@pytest.mark.parametrize("number", range(17))
def test_each_change_means_what_prometheus_clients_does(number: int) -> None:
    kept = writer.Writer()
    rows = _others(snapshots.row(snapshots.container(), snapshots.figures()))
    before, snapshot = (FULL._replace(rows=(FULL.rows[0], rows[n])) for n in (0, number))
    list(kept.pages(before, openmetrics=False))
    ours = b"".join(kept.pages(snapshot, openmetrics=False)).decode()
    theirs = generate_latest(Registry(snapshot)).decode()
    assert flat(judge.families(ours)) == flat(judge.families(theirs))


def test_those_are_all_changes() -> None:
    assert len(_others(snapshots.row(snapshots.container(), snapshots.figures()))) == 17


def test_two_scrapes_at_once_do_not_mix() -> None:
    kept = writer.Writer()
    one, other = FULL, FULL._replace(rows=FULL.rows[:2], known=FULL.known[1:])
    pages: tuple[list[bytes], list[bytes]] = ([], [])
    both = zip_longest(
        kept.pages(one, openmetrics=False), kept.pages(other, openmetrics=False), fillvalue=b""
    )
    for first, second in both:
        pages[0].append(first)
        pages[1].append(second)
    assert b"".join(pages[0]).decode() == text(one)
    assert b"".join(pages[1]).decode() == text(other)


def test_of_a_container_at_rest_nothing_is_written_again(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    cells = writer._cells

    def spy(part: str, about: object, labelled: bool) -> writer.Cells:
        made.append(part)
        return cells(part, about, labelled)

    monkeypatch.setattr(writer, "_cells", spy)
    kept = writer.Writer()
    list(kept.pages(FULL, openmetrics=False))
    assert made.count("memory") == 3  # the host and two containers
    made.clear()
    later = FULL._replace(rows=tuple(row._replace(seen=row.seen + 15) for row in FULL.rows))
    found = b"".join(kept.pages(later, openmetrics=False)).decode()
    assert judge.value(found, "container_last_seen", name="web") == 2015.25
    assert not {"memory", "cpu", "pressure", "limits", "network", "io", "names"} & set(made)


# --- what stands there --------------------------------------------------------------------------


def one(figures: Figures | None, **changes: Any) -> Snapshot:
    row = snapshots.row(snapshots.container(), figures)
    return Snapshot(rows=(row._replace(**changes),))


VALUES = {
    'container_cpu_usage_seconds_total{cpu="total"}': 1.5,
    "container_cpu_user_seconds_total": 0.9,
    "container_cpu_system_seconds_total": 0.6,
    "container_cpu_cfs_periods_total": 40,
    "container_cpu_cfs_throttled_periods_total": 4,
    "container_cpu_cfs_throttled_seconds_total": 0.25,
    "container_cpu_cfs_burst_periods_total": 2,
    "container_cpu_cfs_burst_seconds_total": 0.001,
    "container_memory_usage_bytes": 5000,
    "container_memory_working_set_bytes": 4700,
    "container_memory_rss": 1000,
    "container_memory_cache": 2000,
    "container_memory_mapped_file": 500,
    "container_memory_swap": 80,
    "container_memory_max_usage_bytes": 7000,
    "container_memory_failcnt": 3,
    'container_memory_failures_total{failure_type="pgfault",scope="hierarchy"}': 41,
    'container_memory_failures_total{failure_type="pgmajfault",scope="container"}': 42,
    "container_memory_events_high_total": 2,
    "container_memory_events_max_total": 3,
    "container_memory_total_active_file_bytes": 400,
    "container_memory_total_inactive_file_bytes": 300,
    "container_memory_file_dirty_bytes": 600,
    "container_memory_file_writeback_bytes": 700,
    "container_memory_pgscan_total": 31,
    "container_memory_pgsteal_total": 32,
    "container_memory_workingset_refault_anon_total": 21,
    "container_memory_workingset_refault_file_total": 22,
    "container_oom_events_total": 5,
    "container_pressure_cpu_waiting_seconds_total": 0.001001,
    "container_pressure_cpu_stalled_seconds_total": 0.001002,
    "container_pressure_memory_waiting_seconds_total": 0.001003,
    "container_pressure_memory_stalled_seconds_total": 0.001004,
    "container_pressure_io_waiting_seconds_total": 0.001005,
    "container_pressure_io_stalled_seconds_total": 0.001006,
    'container_fs_reads_bytes_total{device="8:0"}': 4096,
    'container_fs_writes_bytes_total{device="8:0"}': 8192,
    'container_fs_reads_total{device="253:0"}': 30,
    'container_fs_writes_total{device="253:0"}': 40,
    'container_fs_usage_bytes{device="/dev/sda"}': 10,
    'container_fs_limit_bytes{device="/dev/sda"}': 20,
    'container_fs_inodes_free{device="/dev/sda"}': 30,
    'container_fs_inodes_total{device="/dev/sda"}': 40,
    'container_network_receive_bytes_total{interface="eth0"}': 3,
    'container_network_receive_packets_total{interface="eth0"}': 1,
    'container_network_receive_errors_total{interface="eth0"}': 5,
    'container_network_receive_packets_dropped_total{interface="eth0"}': 7,
    'container_network_transmit_bytes_total{interface="eth0"}': 4,
    'container_network_transmit_packets_total{interface="eth0"}': 2,
    'container_network_transmit_errors_total{interface="eth0"}': 6,
    'container_network_transmit_packets_dropped_total{interface="eth0"}': 8,
    "container_processes": 3,
    "container_threads": 9,
    "container_threads_max": 100,
    "container_spec_memory_limit_bytes": 1 << 20,
    "container_spec_memory_reservation_limit_bytes": 0,
    "container_spec_memory_swap_limit_bytes": 0,
    "container_spec_cpu_quota": 50_000,
    "container_spec_cpu_period": 100_000,
    "container_spec_cpu_shares": 1024,
    "container_start_time_seconds": 1000.5,
    "container_last_seen": 2000.25,
    "container_health_state": 1,
}


@pytest.mark.parametrize("series", sorted(VALUES))
def test_each_value(series: str) -> None:
    name, _, rest = series.partition("{")
    pairs = [pair.partition("=") for pair in rest.rstrip("}").split(",") if pair]
    labels = {key: value.strip('"') for key, _, value in pairs}
    assert of(one(snapshots.figures()), name, **labels, name="web") == VALUES[series]


def test_every_container_family_is_in_that_list() -> None:
    machine = {"machine_cpu_cores", "machine_memory_bytes", "cadvisor_version_info"}
    listed = {series.partition("{")[0] for series in VALUES}
    assert listed == {family.name for family in CONTAINER} - machine


def test_quota_figures_only_where_there_is_a_quota() -> None:
    row = snapshots.row(snapshots.container(), snapshots.figures())
    unlimited = Snapshot(rows=(row._replace(limits=Limits()),))
    assert "container_cpu_cfs" not in text(unlimited)
    assert "container_cpu_usage" in text(unlimited)


def test_unlimited_is_zero() -> None:
    limits = Limits(memory_swap=-1, cpu_quota=-1)
    snapshot = one(snapshots.figures(), limits=limits)
    assert of(snapshot, "container_spec_memory_swap_limit_bytes") == 0
    assert of(snapshot, "container_spec_cpu_quota") == 0


def test_what_the_kernel_does_not_tell_is_absent_and_the_rest_is_there() -> None:
    figures = Figures(memory=Memory(1, 5, {"total_rss": 3}), io={"8:0": DeviceIo(1)})
    names = {s.partition("{")[0] for s in samples(one(figures)) if "memory" in s or "cpu" in s}
    assert names == {
        "container_memory_usage_bytes",
        "container_memory_working_set_bytes",
        "container_memory_rss",
        "container_memory_total_inactive_file_bytes",
        *(n.name for n in CONTAINER if "_spec_" in n.name and ("cpu" in n.name or "mem" in n.name)),
        "machine_cpu_cores",
        "machine_memory_bytes",
        *(n.name for n in OWN if "memory" in n.name or "cpu" in n.name if n.part == "totals"),
    }


def test_a_container_that_never_ran_counts_zero_ooms_and_nothing_else() -> None:
    made = one(None, started=0, storage=())
    assert [s for s in samples(made) if s.startswith("container_")] == [
        "container_oom_events_total{id=/orlop/web,image=docker.io/library/alpine:3.20,name=web}"
    ]
    ended = one(None, started=5, storage=())
    assert [s for s in samples(ended) if s.startswith("container_")] == []


def test_the_host_has_neither_name_nor_image_nor_limits() -> None:
    host = Snapshot(rows=(Row('{id="/"', snapshots.figures(), started=1, seen=2),))
    found = [s for s in samples(host) if s.startswith("container_")]
    assert found
    assert not any("name=" in s or "image=" in s or "_spec_" in s for s in found)
    assert of(host, "container_cpu_usage_seconds_total", id="/") == 1.5


def test_v1_and_v2_faults_by_scope() -> None:
    stat = {"pgfault": 1, "pgmajfault": 2, "total_pgfault": 3, "total_pgmajfault": 4}
    v1 = one(Figures(memory=Memory(1, 5, stat)))
    name = "container_memory_failures_total"
    assert of(v1, name, failure_type="pgfault", scope="container") == 1
    assert of(v1, name, failure_type="pgmajfault", scope="hierarchy") == 4
    # v2 counts with those below only; both scopes say that, as with cAdvisor.
    v2 = one(Figures(memory=Memory(2, 5, {"pgfault": 7})))
    assert of(v2, name, failure_type="pgfault", scope="container") == 7
    assert of(v2, name, failure_type="pgfault", scope="hierarchy") == 7


def test_an_exit_code_is_there_once_there_was_an_end() -> None:
    one = snapshots.container()
    before = Snapshot(known=(snapshots.known(one, exit_code=None),))
    after = Snapshot(known=(snapshots.known(one, exit_code=0),))
    assert "orlop_container_last_exit_code" not in text(before)
    assert of(after, "orlop_container_last_exit_code", name="web") == 0
