"""What Prometheus costs the supervisor when it scrapes hundreds of containers.

The groups are real and empty, the agent's side runs in this process, the scraper in one of
its own; the daemon is not asked.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any

import trio
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, UntypedMetricFamily
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics_latest

from metrics.parse import group
from metrics.render.families import CONTAINER, OWN, Family
from metrics.render.snapshot import Snapshot
from metrics.render.sources import Source, of_snapshot
from metrics.render.writer import Writer
from metrics.serve import Container, Interface, Metrics, Settings, listen
from metrics.serve.sampler import Sampler
from supervisor.kernel.cgroups import Hierarchy, detect
from tests.bench.figures import Figure, median
from tests.bench.rig import Rig, Sizes
from tests.support.places import random_name

ROUNDS = 10
SCRAPE_SECONDS = 15.0
WARM_UP = 2
LOOPBACK = 1
SCRAPER = """
import http.client, sys, time
port, rounds, accept = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
connection = http.client.HTTPConnection("127.0.0.1", port)
for _ in range(rounds):
    sys.stdin.readline()
    connection.request("GET", "/metrics", headers={"Accept": accept})
    print(len(connection.getresponse().read()), flush=True)
"""
FORMATS = {"text": "text/plain", "OpenMetrics": "application/openmetrics-text;version=1.0.0"}


def scrape(rig: Rig, sizes: Sizes) -> list[Figure]:
    """Sampling, rendering and whole scrapes of `sizes.growth` containers."""
    with _groups(sizes.growth) as hierarchy:
        measured = trio.run(_measure, hierarchy, sizes.growth)
        return [*measured, trio.run(_idle, hierarchy, sizes.growth)]


@contextmanager
def _groups(count: int) -> Iterator[Hierarchy]:
    hierarchy = Hierarchy(detect(), random_name())
    hierarchy.prepare()
    try:
        for number in range(count):
            hierarchy.create(f"c{number}")
        yield hierarchy
    finally:
        for name in hierarchy.names():
            hierarchy.open(name).remove()
        hierarchy.remove()


def _watching(hierarchy: Hierarchy, count: int, settings: Settings) -> Metrics:
    metrics = Metrics(settings)
    for number in range(count):
        container = _container(number)
        metrics.containers.add(container)
        paths = hierarchy.open(f"c{number}").paths
        # All have the loopback's counters: what they cost depends on their number alone.
        network = [Interface("eth0", LOOPBACK)]
        metrics.containers.started(container.id, paths, at=time.time(), interfaces=network)
    return metrics


async def _measure(hierarchy: Hierarchy, count: int) -> list[Figure]:
    settings = Settings(interval=0, share=0, container_labels=("service",))
    before = len(os.listdir("/proc/self/fd"))
    metrics = _watching(hierarchy, count, settings)
    rows: list[tuple[str, float, str, float | None, float | None]] = []
    async with trio.open_nursery() as nursery:
        await nursery.start(metrics.run)
        snapshot = await metrics._sampler.fresh()
        fds = len(os.listdir("/proc/self/fd")) - before
        rows += [("descriptors of a container", fds / count, "", None, None)]
        rows += await _sampling(metrics._sampler, count)
        rows += _rendering(snapshot)
        for name, accept in FORMATS.items():
            rows += await _scrapes(metrics, name, accept)
        nursery.cancel_scope.cancel()
    return [
        Figure(part="scrape", name=name, value=value, unit=unit, most=most, least=least)
        for name, value, unit, most, least in rows
    ]


async def _idle(hierarchy: Hierarchy, count: int) -> Figure:
    """What all of it takes of a CPU while nothing happens but a scrape each 15 s."""
    metrics = _watching(hierarchy, count, Settings(container_labels=("service",)))
    async with trio.open_nursery() as nursery:
        await nursery.start(metrics.run)
        listeners = await listen("127.0.0.1:0")
        await nursery.start(partial(metrics.serve, listeners))
        port = listeners[0].socket.getsockname()[1]
        command = [sys.executable, "-c", SCRAPER, str(port), "2", FORMATS["OpenMetrics"]]
        async with _scraper(command) as ask:
            await ask()  # opens the files
            while metrics.containers.new():  # whose first samples are closer together
                await trio.sleep(0.1)
            gc.collect()  # what measuring left before is not the agent's
            began = time.process_time()
            await trio.sleep(SCRAPE_SECONDS)
            await ask()
            used = time.process_time() - began
        nursery.cancel_scope.cancel()
    name = "CPU while idle, a scrape each 15 s"
    value = 100 * used / SCRAPE_SECONDS
    return Figure(part="scrape", name=name, value=value, unit="%", most=1)


def _container(number: int) -> Container:
    id = f"{number:064x}"
    return Container(
        id=id,
        name=f"shop-worker-{number}",
        image="registry.example.org/shop/worker:2024.11.3",
        cgroup=f"/orlop/{id}",
        labels={"service": "worker"},
    )


Rows = list[tuple[str, float, str, float | None, float | None]]


async def _sampling(sampler: Sampler, count: int) -> Rows:
    """CPU time for each container; nothing has changed since, or everything."""
    per_container = 1e6 / count
    glance = await _cpu(sampler._glance_at_all)
    idle = await _cpu(sampler.fresh)

    async def as_if_all_had_changed() -> None:
        for entry in sampler.containers.running():
            entry.decoder = group.Decoder()
        await sampler.fresh()

    busy = await _cpu(as_if_all_had_changed)
    return [
        ("background sample of a container, CPU", glance * per_container, "µs", 30, None),
        ("full sample of an idle container, CPU", idle * per_container, "µs", None, None),
        ("full sample of a busy container, CPU", busy * per_container, "µs", None, None),
    ]


async def _cpu(act: Callable[[], Awaitable[object]]) -> float:
    costs = []
    for _ in range(ROUNDS):
        began = time.process_time()
        await act()
        costs.append(time.process_time() - began)
    return median(costs)


def _rendering(snapshot: Snapshot) -> Rows:
    """Our writer beside prometheus_client's collector and encoder, for the same families.

    It is cheaper than those by what it writes of a host where everything has changed; where
    nothing but the time has, it is more.
    """
    rows: Rows = []
    for name in FORMATS:
        openmetrics = name == "OpenMetrics"
        kept = Writer()
        again = _best(partial(_by_ourselves, kept, snapshot, openmetrics=openmetrics))
        ours = _best(lambda om=openmetrics: _by_ourselves(Writer(), snapshot, openmetrics=om))  # type: ignore[misc]
        theirs = _best(partial(_by_prometheus_client, snapshot, openmetrics=openmetrics))
        rows += [
            (f"{name}, our writer, all new, CPU", 1000 * ours, "ms", None, None),
            (f"{name}, our writer, all idle, CPU", 1000 * again, "ms", None, None),
            (f"{name}, prometheus_client, CPU", 1000 * theirs, "ms", None, None),
            (f"{name}, times cheaper", theirs / ours, "", None, 5),
        ]
    return rows


def _best(act: Callable[[], object]) -> float:
    costs = []
    for _ in range(ROUNDS):
        gc.collect()
        began = time.process_time()
        act()
        costs.append(time.process_time() - began)
    return median(costs)


def _by_ourselves(writer: Writer, snapshot: Snapshot, *, openmetrics: bool) -> int:
    return sum(len(page) for page in writer.pages(snapshot, openmetrics=openmetrics))


class _Collector:
    """The snapshot's families as prometheus_client's users make them."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._sources: dict[str, list[Source]] = {}
        for source in of_snapshot(snapshot):
            self._sources.setdefault(source.part, []).append(source)
        self._labels = {
            source.block: _labels(source.block)
            for sources in self._sources.values()
            for source in sources
        }

    def collect(self) -> Iterator[Metric]:
        for family in (*CONTAINER, *OWN):
            yield self._metric(family)

    def _metric(self, family: Family) -> Metric:
        kinds: dict[str, type[Any]] = {
            "counter": CounterMetricFamily,
            "gauge": GaugeMetricFamily,
            "untyped": UntypedMetricFamily,
        }
        sources = self._sources.get(family.part, [])
        first = self._labels[sources[0].block] if sources else {}
        extra = _labels("{" + family.series[0][0].lstrip(","))
        metric: Metric = kinds[family.kind](family.name, family.help, labels=[*first, *extra])
        for suffix, get in family.series:
            more = list(_labels("{" + suffix.lstrip(",")).values())
            for _, block, about in sources:
                value = get(about)
                if value is not None:
                    metric.add_metric(  # type: ignore[attr-defined]
                        [*self._labels[block].values(), *more], value
                    )
        return metric


def _labels(block: str) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in block.lstrip("{").split(",") if pair)
    return {name: value.strip('"') for name, _, value in pairs}


def _by_prometheus_client(snapshot: Snapshot, *, openmetrics: bool) -> bytes:
    registry = CollectorRegistry()
    registry.register(_Collector(snapshot))
    if openmetrics:
        text: bytes = openmetrics_latest(registry)  # type: ignore[no-untyped-call]
        return text
    return generate_latest(registry)


@asynccontextmanager
async def _scraper(command: list[str]) -> AsyncIterator[Callable[[], Awaitable[int]]]:
    """A process that scrapes when it is asked to, and says how much it got."""
    process = await trio.lowlevel.open_process(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None

    async def ask() -> int:
        assert process.stdin is not None
        assert process.stdout is not None
        await process.stdin.send_all(b"\n")
        answer = b""
        while not answer.endswith(b"\n"):
            piece = await process.stdout.receive_some()
            assert piece, "the scraper failed"
            answer += piece
        return int(answer)

    try:
        yield ask
    finally:
        await process.stdin.aclose()
        await process.wait()
        await process.stdout.aclose()


class _Steps(trio.abc.Instrument):
    """The CPU time of the longest step of any task: the loop's lag on a machine of one's own."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._began = time.process_time()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """A task goes on."""
        self._began = time.process_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """It waits again."""
        self.longest = max(self.longest, time.process_time() - self._began)


async def _longest_step(ask: Callable[[], Awaitable[int]]) -> float:
    steps = _Steps()
    trio.lowlevel.add_instrument(steps)
    await ask()
    trio.lowlevel.remove_instrument(steps)
    return steps.longest


async def _worst_lag(ask: Callable[[], Awaitable[int]]) -> float:
    """How late the loop came to another task at most, while one scrape was answered."""
    worst = 0.0

    async def watch() -> None:
        nonlocal worst
        while True:
            due = trio.current_time() + 0.001
            await trio.sleep_until(due)
            worst = max(worst, trio.current_time() - due)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        await ask()
        nursery.cancel_scope.cancel()
    return worst


async def _scrapes(metrics: Metrics, name: str, accept: str) -> Rows:
    """Whole scrapes over HTTP, by a process of its own: CPU, then the loop's lag."""
    costs: list[float] = []
    lags: list[float] = []
    steps: list[float] = []
    size = 0
    async with trio.open_nursery() as nursery:
        listeners = await listen("127.0.0.1:0")
        await nursery.start(partial(metrics.serve, listeners))
        port = listeners[0].socket.getsockname()[1]
        rounds = WARM_UP + 3 * ROUNDS
        command = [sys.executable, "-c", SCRAPER, str(port), str(rounds), accept]
        async with _scraper(command) as ask:
            for number in range(WARM_UP + ROUNDS):
                began = time.process_time()
                size = await ask()
                if number >= WARM_UP:
                    costs.append(time.process_time() - began)
            lags = [await _worst_lag(ask) for _ in range(ROUNDS)]
            steps = [await _longest_step(ask) for _ in range(ROUNDS)]
        nursery.cancel_scope.cancel()
    return [
        (f"{name}, size of a scrape", size / 1e6, "MB", None, None),
        (f"{name}, whole scrape, all idle, CPU, p50", 1000 * median(costs), "ms", 60, None),
        (f"{name}, loop lag in a scrape, p50", 1000 * median(lags), "ms", 15, None),
        (f"{name}, loop lag in a scrape, max", 1000 * max(lags), "ms", None, None),
        (f"{name}, longest step in a scrape, CPU, p50", 1000 * median(steps), "ms", 15, None),
    ]
