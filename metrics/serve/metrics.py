"""All of it together: what the supervisor makes one of, tells, and asks."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import trio

from metrics.history import Point
from metrics.model import Roots, Sample, Settings, Storage
from metrics.render import live
from metrics.render.docker_stats import Parts, docker_stats
from metrics.render.writer import Writer
from metrics.serve import address, exposition
from metrics.serve.agent import Agent
from metrics.serve.containers import Containers
from metrics.serve.sampler import Sampler
from metrics.serve.server import Server
from metrics.serve.watching import Events
from metrics.serve.web import Web

_CAPPED = ("device", "ended_container", "label_count", "label_name", "label_value", "series")


class Metrics:
    """`agent` and `containers` are told what happens; `run` samples, `serve` answers scrapes."""

    def __init__(
        self,
        settings: Settings | None = None,
        roots: Roots | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_ns: Callable[[], int] = time.time_ns,
        refresh: Callable[[], None] = lambda: None,
        pack: Callable[[Any], Any] = lambda part: part,
    ) -> None:
        """Nothing is opened yet. `clock` gives monotonic seconds.

        `refresh` is called at each scrape, to set gauges of `agent` that nobody else sets.
        `pack` makes of parts of `docker_stats` what is in the answers in their place, and kept
        for the next ones.
        """
        self._pack = pack
        self._settings = settings or Settings()
        self._clock = clock
        self._wall_ns = wall_ns
        self._refresh = refresh
        self._sampler = Sampler(self._settings, roots or Roots(), clock=clock, wall_ns=wall_ns)
        self._writer = Writer()
        self.agent = Agent()

    @property
    def containers(self) -> Containers:
        """Where the supervisor tells of containers."""
        return self._sampler.containers

    # --- what the API asks -----------------------------------------------------------------------

    def sample(self, id: str) -> Sample | None:
        """All figures of a container now, read at once; None when it does not run."""
        return self._sampler.sample(id)

    def earlier(self, id: str) -> Sample | None:
        """A background sample (CPU only) to compare with; None right after the start."""
        self._sampler.attend()
        return self._sampler.earlier(id)

    def docker_stats(self, id: str, now: Sample | None, before: Sample | None) -> dict[str, Any]:
        """The JSON of Docker's `GET /containers/{id}/stats`; KeyError for an unknown id.

        One answer: `now = sample(id)`, `before = earlier(id)` (None for one-shot). A stream:
        each time the last one's `now` is the next one's `before`.
        """
        entry = self.containers.get(id)
        if entry is None:
            raise KeyError(id)
        if entry.parts is None:
            entry.parts = Parts(self._pack)
        memory = self._sampler.machine_memory()
        return docker_stats(entry.container, now, before, memory, entry.parts)

    def history(self, id: str) -> list[Point]:
        """The background samples of the last minute, the oldest first."""
        self._sampler.attend()
        entry = self.containers.get(id)
        return entry.history.points() if entry else []

    def storage(self, id: str, folder: str, usage: int) -> None:
        """What the container's own files take was measured, in bytes; they are in `folder`."""
        self.containers.storage(id, [Storage(self._sampler.device_of(folder), usage)])

    # --- tasks -----------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Sample, and watch the event loop's lag, until cancelled."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._sampler.run)
            nursery.start_soon(self._watch_lag)
            task_status.started()

    async def serve(
        self,
        listeners: list[trio.SocketListener],
        *,
        web: Web | None = None,
        events: Events | None = None,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Answer scrapes, and people, until cancelled; `run` must be running.

        `events` tells people what happens (metrics.serve.watching).
        """
        server = Server(self.scrape, web or Web(clock=self._clock), live=self.live, events=events)
        await server.serve(listeners, task_status=task_status)

    async def scrape(self, scraper: str, openmetrics: bool) -> Iterator[bytes]:
        """Fresh figures as text, a family at a time; `scraper` tells who asks how often."""
        self.containers.cadence.scraped(scraper, self._clock())
        snapshot = await self._sampler.fresh()
        self._refresh()
        capped = Counter(dict.fromkeys(_CAPPED, 0))
        capped.update(snapshot.capped)
        capped.update(self.agent.capped)
        snapshot = snapshot._replace(capped=capped)
        registry, writer = self.agent.registry, self._writer
        return exposition.pages(snapshot, registry, writer, openmetrics=openmetrics)

    async def live(self, history: bool) -> Iterator[bytes]:
        """All containers now as JSON, in pieces; with `history` the last minute of each."""
        self._sampler.attend()
        snapshot = await self._sampler.fresh()
        containers = (entry.live() for entry in self.containers.present())
        at = self._wall_ns() / 1e9
        return live.pages(containers, snapshot.machine, at=at, history=history)

    async def _watch_lag(self) -> None:
        interval = self._settings.lag_interval
        while True:
            due = trio.current_time() + interval
            await trio.sleep_until(due)
            self.agent.lag(max(0.0, trio.current_time() - due))


async def listen(text: str) -> list[trio.SocketListener]:
    """Listen at `127.0.0.1:9323` or the like. ConfigError, AddressError."""
    return await address.listen(address.parse(text))


def load_web_config(path: str) -> Web:
    """Read a web-config file ("" = none: plain HTTP for all). ConfigError."""
    return Web(path, clock=time.monotonic)
