"""All parts together, as the supervisor uses them, over folders that look like a kernel's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from trio.testing import MockClock

from metrics.serve import AddressError, ConfigError, Metrics, Roots, Settings, listen
from metrics.serve import load_web_config as load
from tests.unit.metrics import judge, snapshots, trees

CONTAINER = snapshots.container('a "b" \\ c\nd\udcff', labels={"team": "x"})
OPENMETRICS = {"Accept": "application/openmetrics-text;version=1.0.0"}
Make = Callable[..., Metrics]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    roots = Roots(proc=trees.proc(tmp_path), sys=trees.sys(tmp_path))

    def make(**settings: Any) -> Metrics:
        return Metrics(Settings(**settings), roots, clock=trio.current_time)

    return make


@asynccontextmanager
async def running(metrics: Metrics) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        await nursery.start(metrics.run)
        yield
        nursery.cancel_scope.cancel()


def start(metrics: Metrics, folder: Path) -> None:
    metrics.containers.add(CONTAINER)
    metrics.containers.started(CONTAINER.id, trees.v2(folder), at=5)


async def scraped(metrics: Metrics, *, openmetrics: bool = False) -> str:
    return b"".join(await metrics.scrape("test", openmetrics)).decode()


# --- scrapes ------------------------------------------------------------------------------------


async def test_what_only_asking_tells_is_asked_at_each_scrape(tmp_path: Path) -> None:
    sizes = iter((5, 7))
    roots = Roots(proc=trees.proc(tmp_path), sys=trees.sys(tmp_path))
    metrics = Metrics(roots=roots, refresh=lambda: metrics.agent.image_store(next(sizes)))
    async with running(metrics):
        for size in (5, 7):
            assert judge.value(await scraped(metrics), "orlop_image_store_bytes") == size


async def test_disk_use_that_was_measured_is_shown_with_its_device(
    make: Make, tmp_path: Path
) -> None:
    metrics = make()
    start(metrics, tmp_path / "group")
    metrics.storage(CONTAINER.id, str(tmp_path), 12)
    number = tmp_path.stat().st_dev
    device = f"{os.major(number)}:{os.minor(number)}"  # there is no name for it in this tree
    async with running(metrics):
        text = await scraped(metrics)
    (sample,) = judge.samples(text, "container_fs_usage_bytes", device=device)
    assert sample.value == 12


async def test_over_http_in_both_formats(make: Make, tmp_path: Path) -> None:
    metrics = make(container_labels=("team",), version="1.2")
    start(metrics, tmp_path)
    with metrics.agent.operation("start"):
        metrics.agent.stage("shim", 0.001)
    listeners = await listen("127.0.0.1:0")
    url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/metrics"
    async with running(metrics), trio.open_nursery() as nursery:
        await nursery.start(partial(metrics.serve, listeners))
        async with httpx.AsyncClient(trust_env=False) as client:
            text = (await client.get(url)).text
            openmetrics = (await client.get(url, headers=OPENMETRICS)).text
            live = (await client.get(url.replace("/metrics", "/containers"))).json()
        nursery.cancel_scope.cancel()
    (shown,) = live["containers"]
    assert shown["name"] == CONTAINER.name
    used = judge.samples(text, "container_memory_working_set_bytes")
    assert shown["now"]["memory"] in [sample.value for sample in used]
    families = judge.families(text)
    strict = judge.openmetrics_families(openmetrics)
    assert {f.name for f in families} == {f.name for f in strict}
    used = judge.samples(text, "container_cpu_usage_seconds_total", cpu="total")
    (ours,) = (s for s in used if s.labels["id"] != "/")
    assert ours.value == 1.5
    assert ours.labels["container_label_team"] == "x"
    assert ours.labels["name"].startswith('a "b" \\ c\nd\ufffd')
    took = "orlop_container_operation_duration_seconds_count"
    assert judge.value(text, took, operation="start", outcome="ok") == 1


async def test_nothing_stands_there_twice(
    make: Make, tmp_path: Path, autojump_clock: MockClock
) -> None:
    metrics = make()
    start(metrics, tmp_path)
    async with running(metrics):
        text = await scraped(metrics)
    headers = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(headers) == len(set(headers))
    series = [line.rpartition(" ")[0] for line in text.splitlines() if line[0] != "#"]
    assert len(series) == len(set(series))


async def test_a_family_a_page_so_that_others_get_their_turn(
    make: Make, autojump_clock: MockClock
) -> None:
    metrics = make()
    async with running(metrics):
        pages = list(await metrics.scrape("test", openmetrics=True))
    assert pages.pop() == b"# EOF\n"
    assert all(page.count(b"# TYPE ") == 1 for page in pages if page)
    assert b"# EOF" not in b"".join(pages)


async def test_rendering_does_not_touch_the_kernel(
    make: Make, tmp_path: Path, autojump_clock: MockClock
) -> None:
    metrics = make()
    start(metrics, tmp_path)
    async with running(metrics):
        pages = await metrics.scrape("test", openmetrics=False)
        events: list[str] = []
        watching = True

        def audit(event: str, arguments: tuple[object, ...]) -> None:
            if watching and event.partition(".")[0] in ("open", "os", "socket"):
                events.append(event)

        sys.addaudithook(audit)
        text = b"".join(pages)
        watching = False
    assert b"container_memory_usage_bytes" in text
    assert events == []


async def test_what_was_cut_is_counted(make: Make, autojump_clock: MockClock) -> None:
    metrics = make()
    metrics.containers.add(snapshots.container("web", image="x" * 1000))
    metrics.agent.leaked("y" * 1000, 1)
    async with running(metrics):
        text = await scraped(metrics)
    # The image stands in two blocks, and the leak's kind in one.
    assert judge.value(text, "orlop_metrics_capped_total", kind="label_value") == 3
    assert judge.value(text, "orlop_metrics_capped_total", kind="label_count") == 0


async def test_how_often_scrapers_come_is_learned(make: Make, autojump_clock: MockClock) -> None:
    metrics = make()
    async with running(metrics):
        for _ in range(3):
            await scraped(metrics)
            await trio.sleep(45)
    assert metrics.containers.cadence.interval == 45


async def test_the_loops_lag(make: Make) -> None:
    metrics = make(lag_interval=0.01)
    async with running(metrics):
        await trio.sleep(0.1)
        text = await scraped(metrics)
    assert judge.value(text, "orlop_event_loop_lag_seconds_count") >= 2
    assert judge.value(text, "orlop_event_loop_lag_seconds_sum") >= 0


# --- what the API asks ----------------------------------------------------------------------------


async def test_one_answer_and_a_stream_of_stats(
    make: Make, tmp_path: Path, autojump_clock: MockClock
) -> None:
    metrics = make()
    start(metrics, tmp_path)
    id = CONTAINER.id
    async with running(metrics):
        await trio.sleep(1.2)
        now = metrics.sample(id)
        first = metrics.docker_stats(id, now, None)
        assert first["preread"] == "0001-01-01T00:00:00Z"
        assert first["memory_stats"]["usage"] == 5000
        assert first["memory_stats"]["limit"] == 1024000
        assert first["blkio_stats"]["io_service_bytes_recursive"][0]["major"] == 8
        await trio.sleep(1.2)
        second = metrics.docker_stats(id, metrics.sample(id), now)
        assert second["precpu_stats"] == first["cpu_stats"]
        assert second["preread"] == first["read"]
        assert len(metrics.history(id)) == 2
        metrics.containers.ended(id)
        over = metrics.docker_stats(id, metrics.sample(id), now)
        assert over["memory_stats"] == {}


async def test_who_is_not_known(make: Make) -> None:
    metrics = make()
    assert metrics.sample("x") is None
    assert metrics.earlier("x") is None
    assert metrics.history("x") == []
    with pytest.raises(KeyError):
        metrics.docker_stats("x", None, None)


async def test_errors_of_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not HOST:PORT"):
        await listen("here")
    with pytest.raises(AddressError):
        await listen("192.0.2.1:1")
    with pytest.raises(ConfigError, match="No such file"):
        load(str(tmp_path / "missing.yml"))
    assert load("").context is None


def test_what_is_pure_loads_neither_trio_nor_prometheus_client() -> None:
    script = (
        "import sys, metrics.parse.group, metrics.parse.links, metrics.parse.host\n"
        "import metrics.render.writer, metrics.render.docker_stats, metrics.render.negotiation\n"
        "print({'trio', 'prometheus_client', 'socket', 'yaml'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert found.stdout.strip() == "set()", found.stderr


def test_serving_without_a_web_config_loads_neither_yaml_nor_bcrypt() -> None:
    script = "import sys, metrics.serve; print({'yaml', 'bcrypt'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert found.stdout.strip() == "set()", found.stderr
