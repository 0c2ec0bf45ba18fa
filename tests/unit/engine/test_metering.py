"""What metrics are told, and that nobody suffers from them."""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import trio
from msgspec.structs import replace

from metrics.model import Container, End, Interface, Limits, Sample
from metrics.parse.figures import Figures, Link, Memory
from metrics.serve import Metrics
from netplumb.plan.ipam import Ledger
from supervisor.engine.agent_metering import address_pools
from supervisor.engine.events import EventBus
from supervisor.engine.metering import Metering, _encoded, exit_reason, interfaces, limits
from supervisor.errors import Conflict, NotModified, Unavailable
from supervisor.lifecycle.history import PastRun
from supervisor.lifecycle.machine import Exit, Exited, Phase, State
from supervisor.spec.networks import EndpointRun, NetworkRun
from supervisor.spec.types import CgroupPaths, Resources

RUNS = State(phase=Phase.RUNNING, live=True, pid=7)


@pytest.mark.parametrize(
    "before,end,reason",
    [
        (RUNS, Exit(0), "completed"),
        (RUNS, Exit(3), "error"),
        (RUNS, Exit(139, signal=11), "signal"),
        (RUNS, Exit(137, signal=9, oom_killed=True), "oom_killed"),
        (RUNS, Exit(137, signal=9, error="the shim was lost"), "lost"),
        (replace(RUNS, stop_requested=True), Exit(143, signal=15), "stopped"),
        (replace(RUNS, phase=Phase.STOPPING), Exit(0), "stopped"),
        (replace(RUNS, phase=Phase.REMOVING), Exit(137, signal=9), "stopped"),
    ],
)
def test_reasons(before: State, end: Exit, reason: str) -> None:
    assert exit_reason(before, end) == reason


@pytest.mark.parametrize(
    "asked,shown",
    [
        (Resources(), Limits()),
        (Resources(memory=1 << 30), Limits(memory=1 << 30, memory_swap=2 << 30)),
        (Resources(memory=1 << 30, memory_swap=-1), Limits(memory=1 << 30)),
        (Resources(nano_cpus=1_500_000_000), Limits(cpu_quota=150_000)),
        (
            Resources(cpu_quota=5000, cpu_period=10_000),
            Limits(cpu_quota=5000, cpu_period=10_000),
        ),
        (Resources(cpu_quota=-1, pids_limit=-1, cpu_shares=512), Limits(cpu_shares=512)),
        (Resources(pids_limit=9, memory_reservation=5), Limits(pids=9, memory_reservation=5)),
    ],
)
def test_limits(asked: Resources, shown: Limits) -> None:
    assert limits(asked) == shown


class Broken:
    """Metrics whose every part fails."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"no {name}")


def test_a_failure_is_logged_once_and_goes_no_further(caplog: pytest.LogCaptureFixture) -> None:
    nothing: Any = None
    metering = Metering(nothing)
    broken: Any = Broken()
    metering._metrics = broken
    with caplog.at_level(logging.ERROR):
        metering.removed("a")
        metering.removed("b")
    assert [record.message for record in caplog.records] == ["metrics: removed failed; said once"]


async def test_failing_metrics_do_not_end_the_daemon(caplog: pytest.LogCaptureFixture) -> None:
    nothing: Any = None
    metering = Metering(nothing)
    broken: Any = Broken()
    metering._metrics = broken
    async with trio.open_nursery() as nursery:
        await nursery.start(metering.run)
    assert "metrics have failed" in caplog.text
    with pytest.raises(Unavailable, match="metrics are off"):
        metering.stats("a")


# --- with metrics on --------------------------------------------------------------------------


class Watched:
    """Metering that is on, and what its metrics have counted."""

    def __init__(self, folder: Path) -> None:
        host: Any = SimpleNamespace(
            root=SimpleNamespace(bundle=lambda id: folder / id), bus=EventBus()
        )
        self.metering = Metering(host)
        self.metrics = self.metering._metrics = Metrics(refresh=self.metering.refresh)

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.agent.registry.get_sample_value(name, labels)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    made = Watched(tmp_path)
    yield made
    for container in list(made.metering._networked):
        made.metering._let_go(container)
    made.metrics._sampler.close()


def network_run(*ports: str) -> NetworkRun:
    return NetworkRun(
        endpoints=tuple(
            EndpointRun(network="n", endpoint_id="e", port=port, interface=f"eth{at}", mac="")
            for at, port in enumerate(ports)
        )
    )


def test_a_runs_interfaces_are_those_that_are_there() -> None:
    record: Any = SimpleNamespace(network=network_run("nosuch-link", "lo"))
    assert interfaces(record) == [Interface("eth1", socket.if_nametoindex("lo"))]
    record.network = None
    assert interfaces(record) == []


def test_stages_of_a_start(watched: Watched) -> None:
    container: Any = SimpleNamespace(stages={})
    watched.metering.stage("net", time.perf_counter() - 0.25, container)
    watched.metering.stages({"rootfs": 2_000_000, "exec": 3_000_000, "new": 1}, container)
    assert container.stages.pop("net") == pytest.approx(250_000_000, abs=100_000_000)
    assert container.stages == {"rootfs": 2_000_000, "exec": 3_000_000}
    sums = {
        stage: watched.value("orlop_container_stage_duration_seconds_sum", stage=stage)
        for stage in ("net", "rootfs", "exec", "cgroup")
    }
    assert sums.pop("net") == pytest.approx(0.25, abs=0.1)
    assert sums == {"rootfs": 0.002, "exec": 0.003, "cgroup": 0}


def test_operations_on_networks_are_timed(watched: Watched) -> None:
    count = "orlop_network_operation_duration_seconds_count"
    with watched.metering.operation("NetworkCreate"):
        pass
    with pytest.raises(Conflict), watched.metering.operation("NetworkCreate"):
        raise Conflict("taken")
    with watched.metering.operation("NetworkList"):
        pass
    assert watched.value(count, operation="create", outcome="ok") == 1
    assert watched.value(count, operation="create", outcome="error") == 1
    text = str(list(watched.metrics.agent.registry.collect()))
    assert "NetworkList" not in text


def test_an_operation_that_had_nothing_to_do_went_well(watched: Watched) -> None:
    with pytest.raises(NotModified), watched.metering.operation("ContainerStart"):
        raise NotModified("it runs")
    count = "orlop_container_operation_duration_seconds_count"
    assert watched.value(count, operation="start", outcome="ok") == 1


def test_answers_of_the_api_are_timed_by_their_routes(watched: Watched) -> None:
    watched.metering.answered("ContainerInspect", 404, time.perf_counter() - 0.2)
    watched.metering.answered("", 400, time.perf_counter())
    name = "orlop_api_request_duration_seconds"
    labels = {"method": "GET", "route": "/containers/{id}/json", "code": "404"}
    assert watched.value(f"{name}_sum", **labels) == pytest.approx(0.2, abs=0.1)
    assert watched.value(f"{name}_count", method="", route="other", code="400") == 1


def test_pulls_and_sizes(watched: Watched, tmp_path: Path) -> None:
    with watched.metering.pulling():
        pass
    with pytest.raises(Conflict), watched.metering.pulling():
        raise Conflict("no")
    for outcome in ("ok", "error"):
        count = "orlop_image_pull_duration_seconds_count"
        assert watched.value(count, outcome=outcome) == 1
    watched.metering.received(5)
    watched.metering.received(6)
    assert watched.value("orlop_image_pull_bytes_total") == 11
    watched.metering.image_bytes = lambda: 77
    watched.metering.refresh()
    assert watched.value("orlop_image_store_bytes") == 77
    watched.metrics.containers.add(Container(id="c", name="c", image="i", cgroup="/c"))
    watched.metering.written("c", str(tmp_path), 5)
    entry = watched.metrics.containers.get("c")
    assert entry is not None
    assert [one.usage for one in entry.storage] == [5]


def test_followers_that_were_too_slow_are_counted_once(watched: Watched) -> None:
    bus = watched.metering._host.bus
    for told, counted in ((2, 2), (2, 2), (5, 5)):
        bus.dropped_subscribers = told
        watched.metering.refresh()
        assert watched.value("orlop_events_dropped_total") == counted


def test_pools_are_as_they_are_now(watched: Watched) -> None:
    pools = [("bridge", 3, 250), ("mine", 0, 14)]
    watched.metering.pools = lambda: pools
    watched.metering.refresh()
    assert watched.value("orlop_ip_pool_addresses", network="bridge", state="used") == 3
    assert watched.value("orlop_ip_pool_addresses", network="mine", state="free") == 14
    pools[:] = [("bridge", 4, 249)]
    watched.metering.refresh()
    assert watched.value("orlop_ip_pool_addresses", network="bridge", state="used") == 4
    assert watched.value("orlop_ip_pool_addresses", network="mine", state="free") is None


def test_a_networks_pool_is_that_of_the_ip_version_that_runs_out_first() -> None:
    four, six = (Ledger.make(ip_network(text)) for text in ("10.0.0.0/29", "fd00::/64"))
    four = four.claim(four.allocate()[1])
    dual: Any = SimpleNamespace(name="dual", ledgers=(six, four))
    none: Any = SimpleNamespace(name="none", ledgers=())
    assert list(address_pools([dual, none])) == [("dual", 1, 4)]


def test_what_is_logged_is_counted_from_the_runs_beginning_to_its_end(
    watched: Watched, tmp_path: Path
) -> None:
    file = tmp_path / "c" / "container.log"
    file.parent.mkdir()
    file.write_bytes(bytes(100))
    watched.metering.log_begins("c")
    file.write_bytes(bytes(130))
    watched.metering.log_ends("c")
    file.write_bytes(bytes(160))
    watched.metering.log_ends("c")
    watched.metering.log_dropped(7)
    assert watched.value("orlop_log_bytes_total") == 30
    assert watched.value("orlop_log_dropped_bytes_total", reason="write_error") == 7


def test_a_restart_goes_on_counting_what_is_logged(watched: Watched, tmp_path: Path) -> None:
    """The end of one run and the decision on the next are one step."""
    file = tmp_path / "c" / "container.log"
    file.parent.mkdir()
    file.write_bytes(bytes(100))
    watched.metrics.containers.add(Container(id="c", name="c", image="i", cgroup="/c"))
    watched.metering.log_begins("c")
    file.write_bytes(bytes(130))
    before = replace(RUNS, phase=Phase.STOPPING, restart_requested=True, run=1)
    after = replace(before, phase=Phase.STARTING, run=2)
    container: Any = SimpleNamespace(
        id="c", state=after, last_exit=Exit(0), given_up=0, record=SimpleNamespace(history=())
    )
    watched.metering.stepped(container, Exited(1, Exit(0)), before)
    file.write_bytes(bytes(135))
    watched.metering.log_ends("c")
    assert watched.value("orlop_log_bytes_total") == 35


def test_how_the_last_run_ended_is_known_from_the_record(watched: Watched) -> None:
    container = Container(id="c", name="c", image="i", cgroup="/c")
    watched.metrics.containers.add(container)
    past = PastRun(run=2, reason="oom_killed", code=137, signal=9, finished_ns=2_500_000_000)
    record: Any = SimpleNamespace(id="c", history=(PastRun(run=1, reason="error", code=1), past))
    watched.metering._last_end(record)
    entry = watched.metrics.containers.get("c")
    assert entry is not None
    assert entry.live().end == End(137, "oom_killed", 9, 2.5)
    watched.metering._last_end(SimpleNamespace(id="c", history=()))  # type: ignore[arg-type]
    assert entry.last_end is not None


def test_a_network_namespace_is_held_for_as_long_as_the_run(watched: Watched) -> None:
    container: Any = SimpleNamespace(id="c", record=SimpleNamespace(network=network_run("lo")))
    before = os.listdir("/proc/self/fd")
    fd = os.open("/proc/self/ns/net", os.O_RDONLY)
    watched.metering.networked(container, fd)
    watched.metering.networked(container, fd)  # another run
    os.close(fd)
    assert len(os.listdir("/proc/self/fd")) == len(before) + 1
    watched.metering.removed("c")
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_a_short_run_has_its_interfaces_though_its_record_has_none_any_more(
    watched: Watched, tmp_path: Path
) -> None:
    record: Any = SimpleNamespace(network=network_run("lo"))
    container: Any = SimpleNamespace(id="c", record=record, state=SimpleNamespace(started_ns=1))
    watched.metrics.containers.add(Container(id="c", name="c", image="i", cgroup="/c"))
    with open("/proc/self/ns/net") as file:
        watched.metering.networked(container, file.fileno())
    record.network = None
    watched.metering._started(container, CgroupPaths(unified=str(tmp_path)))
    entry = watched.metrics.containers.get("c")
    assert entry is not None
    assert list(entry.interfaces.indexes) == [socket.if_nametoindex("lo")]
    watched.metering.networks_changed(container)
    assert list(entry.interfaces.indexes) == []
    watched.metrics.containers.removed("c")


def test_parts_of_the_figures_are_encoded_once(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = Figures(memory=Memory(2, 4096, {"anon": 17}))
    monkeypatch.setattr(watched.metrics, "sample", lambda _: Sample(0, 0, 1, figures))
    monkeypatch.setattr(watched.metrics, "_pack", _encoded)
    watched.metrics.containers.add(Container(id="c", name="c", image="i", cgroup="c"))
    answers = [watched.metering.stats("c")[0] for _ in range(2)]
    assert answers[0]["memory_stats"] is answers[1]["memory_stats"]
    memory = json.loads(msgspec.json.encode(answers[1]))["memory_stats"]
    assert (memory["usage"], memory["stats"]["anon"]) == (4096, 17)


def test_who_shares_anothers_network_is_shown_with_its_interfaces(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    eth0 = Link(1, 2, 3, 4, 5, 6, 7, 8)

    def sample(id: str) -> Sample | None:
        network = {"eth0": eth0} if id == "owner" else {}
        return None if id == "still" else Sample(0, 0, 1, Figures(network=network))

    monkeypatch.setattr(watched.metrics, "sample", sample)
    for id in ("owner", "guest", "guests-guest", "alone", "still"):
        watched.metrics.containers.add(Container(id=id, name=id, image="i", cgroup=id))
    watched.metering._shared = {"guest": "owner", "guests-guest": "guest", "alone": "alone"}
    for id in ("owner", "guest", "guests-guest"):
        networks = watched.metering.stats(id)[0]["networks"]
        assert networks["eth0"]["rx_bytes"] == 3
        assert networks["eth0"]["tx_packets"] == 2
    assert "networks" not in watched.metering.stats("alone")[0]
    assert "networks" not in watched.metering.stats("still")[0]
