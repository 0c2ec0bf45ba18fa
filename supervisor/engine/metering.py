"""Metrics follow the containers: what the supervisor tells the package `metrics`, and asks it.

Off until `switch_on`, which alone imports `metrics.serve`: a daemon without metrics does not pay
for them. A failure in here is logged once and never reaches a container.
"""

from __future__ import annotations

import functools
import logging
import math
import os
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec
import trio

from metrics.errors import AddressError, ConfigError
from metrics.model import Container as Description
from metrics.model import End, Final, Interface, Limits, Settings
from metrics.render.negotiation import OPENMETRICS, TEXT, wants_openmetrics
from supervisor import __version__
from supervisor.engine import web_events
from supervisor.engine.agent_metering import AgentMetering, harmless
from supervisor.errors import InvalidArgument, NotFound, Unavailable
from supervisor.lifecycle import machine as m
from supervisor.lifecycle.state import State, docker_status

if TYPE_CHECKING:
    from metrics.model import Sample
    from metrics.serve import Metrics
    from metrics.serve.web import Web
    from supervisor.engine.container import Container
    from supervisor.engine.host import Host
    from supervisor.engine.record import Record
    from supervisor.spec.types import CgroupPaths, Resources

log = logging.getLogger("orlop.metrics")

DEFAULT_ADDRESS = "127.0.0.1:9323"
OFF = "off"
_SHARES = 1024
_PERIOD = 100_000
# Who scrapes over the API's socket, as the intervals of scrapers are told apart.
_SCRAPER = "api"
_CONTAINER = "container:"
_LONGEST_CHAIN = 8
_MINUTE = 60.0

Write = Callable[[bytes], Awaitable[None]]
Pieces = Callable[[Iterable[bytes], Write], Awaitable[None]]
ExitReason = Literal["completed", "error", "signal", "oom_killed", "stopped", "lost"]


class _Networked(NamedTuple):
    namespace: int  # an fd of ours
    interfaces: Sequence[Interface]


class Metering(AgentMetering):
    """Every method that tells something is cheap, never raises, and does nothing while off."""

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._shared: dict[str, str] = {}  # container → the one whose network it is in
        self._networked: dict[str, _Networked] = {}
        self._listeners: Sequence[trio.SocketListener] = ()
        self._web: Web | None = None
        self._pieces: Pieces

    # --- its life -------------------------------------------------------------------------

    async def switch_on(
        self,
        address: str,
        web_config: str,
        container_labels: Sequence[str] = (),
        interval: float = 1.0,
    ) -> None:
        """Begin to count and listen at `address` ("" = the default one, if it is free).

        Of the containers' labels metrics have those named in `container_labels`; `interval` is
        that of the background samples, in seconds.
        InvalidArgument for what is no address or no web-config file, Unavailable where the
        address cannot be listened at.
        """
        # TLS, HTTP and Prometheus' client: only for those who use them.
        from metrics.serve import Metrics, exposition, listen, load_web_config  # noqa: PLC0415

        try:
            self._web = load_web_config(web_config)
            self._listeners = await listen(address or DEFAULT_ADDRESS)
        except ConfigError as error:
            raise InvalidArgument(str(error)) from None
        except AddressError as error:
            if address:
                raise Unavailable(str(error)) from None
            log.warning("%s; GET /metrics on the API's socket has them", error)
        root = str(self._host.root.path)
        self._pieces = exposition.pieces
        settings = Settings(
            version=__version__,
            filesystems=(root,),
            container_labels=tuple(container_labels),
            interval=interval,
            history=math.ceil(_MINUTE / interval),
        )
        self._metrics = Metrics(settings, refresh=self.refresh, pack=_encoded)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Sample and answer scrapes until cancelled; returns at once while off."""
        if self._metrics is None:
            task_status.started()
            return
        running = False
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self._metrics.run)
                nursery.start_soon(self.watch_logs)
                if self._listeners:
                    events = functools.partial(web_events.stream, self._host.bus)
                    serve = functools.partial(self._metrics.serve, web=self._web, events=events)
                    await nursery.start(serve, list(self._listeners))
                for listener in self._listeners:
                    host, port = listener.socket.getsockname()[:2]
                    shown = f"[{host}]" if ":" in host else host
                    log.info("metrics at %s:%d", shown, port)
                running = True
                task_status.started()
        except Exception:  # containers go on without metrics
            log.exception("metrics have failed and are off until the daemon starts again")
            self._metrics = None
            if not running:
                task_status.started()

    # --- what happens to containers -------------------------------------------------------

    @harmless
    def added(self, record: Record) -> None:
        """It was created, or found at the start."""
        if self._metrics is not None:
            status = docker_status(record.state)
            if record.options.network.startswith(_CONTAINER):
                self._shared[record.id] = record.options.network.removeprefix(_CONTAINER)
            self._metrics.containers.add(self._description(record), state=status)
            self._last_end(record)

    @harmless
    def changed(self, record: Record) -> None:
        """It was renamed or updated."""
        if self._metrics is not None:
            self._metrics.containers.changed(self._description(record))

    @harmless
    def removed(self, container_id: str) -> None:
        """It is no more."""
        if self._metrics is not None:
            self._shared.pop(container_id, None)
            self._let_go(container_id)
            self._metrics.containers.removed(container_id)

    @harmless
    def adopted(self, container: Container, paths: CgroupPaths) -> None:
        """A previous supervisor started its run, which goes on."""
        if self._metrics is not None and container.state.pid:
            if container.record.network is not None:
                self._networked_before(container)
            self._started(container, paths)
            self.log_begins(container.id)

    @harmless
    def stepped(self, container: Container, fact: m.Fact | m.Request, before: State) -> None:
        """Its state has changed; at the end of a run its cgroup is still there."""
        metrics, after = self._metrics, container.state
        if metrics is None or after is before:
            return
        if isinstance(fact, m.TaskStarted):
            group = container.task.group if container.task else None
            group = group or self._host.hierarchy.open(container.id)
            self._started(container, group.paths)
        elif isinstance(fact, m.Exited) and before.live:
            self._ended(container, before, fact.exit.code)
            reason = exit_reason(before, container.last_exit or fact.exit)
            metrics.agent.exited("health" if container.given_up == before.run else reason)
            metrics.agent.reaped("container")
        elif isinstance(fact, m.StartFailed) and before.live:
            self._ended(container, before, fact.code)
            metrics.agent.exited("start_failed")
        if after.run != before.run:  # which one run's end may bring about at once
            self.log_begins(container.id)
        if after.exit is not None and after.exit is not before.exit:
            self._last_end(container.record)
        if after.restart_count > before.restart_count:
            metrics.containers.restarted(container.id)
        metrics.containers.state(container.id, docker_status(after))

    @harmless
    def networks_changed(self, container: Container) -> None:
        """It has joined or left a network; best told while the interface is still there."""
        if self._metrics is not None:
            self._metrics.containers.interfaces(container.id, interfaces(container.record))

    @harmless
    def networked(self, container: Container, namespace: int) -> None:
        """A run has its networks; the namespace stays the caller's.

        It is kept until the run's end is told: with its last process the interfaces would go,
        and with them what they counted.
        """
        if self._metrics is not None:
            self._let_go(container.id)
            found = interfaces(container.record)
            self._networked[container.id] = _Networked(os.dup(namespace), found)

    def _networked_before(self, container: Container) -> None:
        with suppress(OSError):  # it has just ended
            path = f"/proc/{container.state.pid}/ns/net"
            namespace = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            self._networked[container.id] = _Networked(namespace, interfaces(container.record))

    def _let_go(self, container_id: str) -> None:
        if had := self._networked.pop(container_id, None):
            os.close(had.namespace)

    def _started(self, container: Container, paths: CgroupPaths) -> None:
        assert self._metrics is not None
        at = container.state.started_ns / 1e9
        has = self._networked.get(container.id)  # a short run's record has none any more
        found = has.interfaces if has else ()
        self._metrics.containers.started(container.id, paths, at=at, interfaces=found)

    def _ended(self, container: Container, before: State, code: int) -> None:
        assert self._metrics is not None
        self.log_ends(container.id)
        final = Final(oom_kills=before.oom_kills)
        self._metrics.containers.ended(container.id, final, exit_code=code)
        self._let_go(container.id)

    def _last_end(self, record: Record) -> None:
        """How its latest run that is over has ended, which is remembered by now."""
        assert self._metrics is not None
        if record.history:
            past = record.history[-1]
            end = End(past.code, past.reason, past.signal, past.finished_ns / 1e9)
            self._metrics.containers.last_end(record.id, end)

    def _description(self, record: Record) -> Description:
        return Description(
            id=record.id,
            name=record.name,
            image=record.image_ref,
            cgroup=f"/{self._host.hierarchy.parent}/{record.id}",
            image_digest=record.image_id,
            network_mode=record.body.host_config.network_mode or "default",
            restart_policy=record.state.policy.name,
            labels=record.body.labels,
            limits=limits(record.options.resources),
        )

    # --- what the API asks ----------------------------------------------------------------

    async def scrape(self, accept: str) -> tuple[str, Callable[[Write], Awaitable[None]]]:
        """The content type of an exposition that suits `accept`, and what writes it."""
        openmetrics = wants_openmetrics(accept)
        pages = await self._asked().scrape(_SCRAPER, openmetrics)
        return OPENMETRICS if openmetrics else TEXT, functools.partial(self._pieces, pages)

    async def usage(self, *, history: bool) -> Callable[[Write], Awaitable[None]]:
        """What writes the JSON of all containers (docs/metrics.md, "The page")."""
        pages = await self._asked().live(history)
        return functools.partial(self._pieces, pages)

    def stats(
        self, container_id: str, before: Any = None, *, compare: bool = False
    ) -> tuple[dict[str, Any], Any]:
        """Docker's figures of a container now, and the sample that the next call compares with.

        Some of the figures are encoded already: they are for msgspec.

        `compare`: without `before`, with a background sample if there is one.
        """
        metrics = self._asked()
        now = self._with_shared_network(container_id, metrics.sample(container_id))
        if before is None and compare:
            before = metrics.earlier(container_id)
        try:
            return metrics.docker_stats(container_id, now, before), now
        except KeyError:
            raise NotFound(f"No such container: {container_id}") from None

    def _with_shared_network(self, container_id: str, now: Sample | None) -> Sample | None:
        """As docker: who is in another's network is shown with that one's interfaces."""
        if container_id not in self._shared:
            return now
        owner = container_id
        for _ in range(_LONGEST_CHAIN):
            owner = self._shared.get(owner, owner)
        if now is None or owner == container_id or (other := self._asked().sample(owner)) is None:
            return now
        return now._replace(figures=now.figures._replace(network=other.figures.network))

    def _asked(self) -> Metrics:
        if self._metrics is None:
            raise Unavailable(
                "metrics are off: the daemon runs with --metrics-addr off, or its log says why"
            )
        return self._metrics


def _encoded(part: Any) -> msgspec.Raw:
    """As JSON: the API copies it into its answers."""
    return msgspec.Raw(msgspec.json.encode(part))


def exit_reason(before: State, end: m.Exit) -> ExitReason:
    """Why a run ended, whose state was `before` until then."""
    if end.error:
        return "lost"
    if end.oom_killed:
        return "oom_killed"
    if before.stop_requested or before.phase in (m.Phase.STOPPING, m.Phase.REMOVING):
        return "stopped"
    if end.signal:
        return "signal"
    return "error" if end.code else "completed"


def interfaces(record: Record) -> list[Interface]:
    """The interfaces that a run has on the host; those that are gone by now are left out."""
    found = []
    for endpoint in record.network.endpoints if record.network else ():
        with suppress(OSError):
            index = socket.if_nametoindex(endpoint.port)
            found.append(Interface(endpoint.interface, index))
    return found


def limits(r: Resources) -> Limits:
    """A container's limits as they are shown: 0 is unlimited."""
    period = r.cpu_period or _PERIOD
    quota = max(r.cpu_quota or 0, 0)
    if r.nano_cpus:
        period, quota = _PERIOD, r.nano_cpus * _PERIOD // 1_000_000_000
    swap = r.memory_swap if r.memory_swap is not None else 2 * (r.memory or 0)
    return Limits(
        memory=r.memory or 0,
        memory_reservation=r.memory_reservation or 0,
        memory_swap=max(swap, 0),
        cpu_quota=quota,
        cpu_period=period,
        cpu_shares=r.cpu_shares or _SHARES,
        pids=max(r.pids_limit or 0, 0),
    )
