"""What the daemon itself does, in figures: operations, stages of starts, logs, networks."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, ParamSpec, cast

import trio

from supervisor.docker.routes import ROUTES
from supervisor.engine.log_growth import LogGrowth
from supervisor.engine.logs import FILE_NAME
from supervisor.errors import NotModified

if TYPE_CHECKING:
    from metrics.serve import Metrics
    from metrics.serve.agent import (
        HealthResult,
        LeftoverKind,
        Operation,
        Outcome,
        ReapedKind,
        Stage,
    )
    from supervisor.engine.container import Container
    from supervisor.engine.host import Host
    from supervisor.engine.network_records import Network

log = logging.getLogger("orlop.metrics")

_OPERATIONS: Mapping[str, Operation] = {
    "ContainerCreate": "create",
    "ContainerStart": "start",
    "ContainerStop": "stop",
    "ContainerKill": "kill",
    "ContainerRestart": "restart",
    "ContainerPause": "pause",
    "ContainerUnpause": "unpause",
    "ContainerUpdate": "update",
    "ContainerDelete": "remove",
    "ExecStart": "exec",
}
_OF_NETWORKS: Mapping[str, str] = {
    "NetworkCreate": "create",
    "NetworkDelete": "remove",
    "NetworkConnect": "connect",
    "NetworkDisconnect": "disconnect",
    "NetworkPrune": "prune",
}
_UNTOLD: AbstractContextManager[None] = nullcontext()
_LOG_SECONDS = 15.0
# The last where the network belongs to the container's user namespace, and was not ready.
_OF_THE_SHIM: tuple[Stage, ...] = ("rootfs", "exec", "netns")

P = ParamSpec("P")
Pools = Callable[[], Iterable[tuple[str, int, int]]]
"""The networks' names, with how many addresses are in use and how many are free."""


def harmless(tell: Callable[P, None]) -> Callable[P, None]:
    """A failure of `tell` is logged, the first time, and goes no further."""
    said = False

    @functools.wraps(tell)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        nonlocal said
        try:
            tell(*args, **kwargs)
        except Exception:  # whatever it is, no container may suffer from it
            if not said:
                said = True
                log.exception("metrics: %s failed; said once", tell.__name__)

    return guarded


@contextmanager
def _timed(tell: Callable[[Outcome, float], None]) -> Iterator[None]:
    begun, outcome = time.perf_counter(), "cancelled"
    try:
        yield
        outcome = "ok"
    except Exception:
        outcome = "error"
        raise
    finally:
        tell(cast("Outcome", outcome), time.perf_counter() - begun)


@functools.cache
def _routes() -> Mapping[str, tuple[str, str]]:
    """Method and path of each operation of the API; ids and names are `{id}`."""
    pairs = [(operation, key.partition(" ")) for key, operation in ROUTES.items()]
    return {o: (method, path.replace("*", "{id}")) for o, (method, _, path) in reversed(pairs)}


def address_pools(networks: Iterable[Network]) -> Iterator[tuple[str, int, int]]:
    """As `Pools` has them: of each network the IP version that runs out first."""
    for network in networks:
        if network.ledgers:
            ledger = min(network.ledgers, key=lambda one: one.free)
            yield network.name, ledger.in_use, ledger.free


class AgentMetering:
    """Every method is cheap, never raises, and does nothing while metrics are off.

    `pools` and `image_bytes`, the size of all layers, are asked at each scrape.
    """

    def __init__(self, host: Host) -> None:
        self.pools: Pools = tuple
        self.image_bytes: Callable[[], int] = int
        self._host = host
        self._metrics: Metrics | None = None
        self._pools_shown: frozenset[str] = frozenset()
        self._logs = LogGrowth()
        self._dropped_told = 0

    def operation(self, operation: str) -> AbstractContextManager[None]:
        """Around an operation of the API: how long it took, and whether it failed."""
        if self._metrics is not None:
            if (name := _OPERATIONS.get(operation)) is not None:
                return self._container_operation(self._metrics, name)
            if (network := _OF_NETWORKS.get(operation)) is not None:
                return self.network_operation(network)
        return _UNTOLD

    @contextmanager
    def _container_operation(self, metrics: Metrics, name: Operation) -> Iterator[None]:
        as_it_was: NotModified | None = None
        with metrics.agent.operation(name):
            try:
                yield
            except NotModified as error:  # an answer, and no failure
                as_it_was = error
        if as_it_was is not None:
            raise as_it_was

    @harmless
    def answered(self, operation: str, status: int, begun: float) -> None:
        """The API has an answer to what came at `time.perf_counter()` `begun`."""
        if self._metrics is not None:
            method, route = _routes().get(operation, ("", "other"))
            took = time.perf_counter() - begun
            self._metrics.agent.request(method, route, status, took)

    @contextmanager
    def network_operation(self, operation: str) -> Iterator[None]:
        """Around a change of the host's network; "" is none."""
        metrics = self._metrics
        if metrics is None or not operation:
            yield
            return
        with _timed(functools.partial(metrics.agent.network_operation, operation)):
            yield

    @contextmanager
    def pulling(self) -> Iterator[None]:
        """Around a pull."""
        if self._metrics is None:
            yield
            return
        with _timed(self._metrics.agent.pulled):
            yield

    @harmless
    def received(self, size: int) -> None:
        """So many bytes have come from a registry."""
        if self._metrics is not None:
            self._metrics.agent.pull_received(size)

    @harmless
    def stage(self, stage: Stage, begun: float, container: Container) -> None:
        """A stage of a start is over that began at `time.perf_counter()` `begun`.

        The container remembers it, metrics or not.
        """
        took = time.perf_counter() - begun
        container.stages = {**container.stages, stage: round(took * 1e9)}
        if self._metrics is not None:
            self._metrics.agent.stage(stage, took)

    @harmless
    def stages(self, told: Mapping[str, Any], container: Container) -> None:
        """What the shim tells of its part of a start, in ns."""
        for stage in (stage for stage in _OF_THE_SHIM if stage in told):
            container.stages = {**container.stages, stage: told[stage]}
            if self._metrics is not None:
                self._metrics.agent.stage(stage, told[stage] / 1e9)

    @harmless
    def reaped(self, kind: ReapedKind) -> None:
        """A process was reaped; containers' own are counted with their ends."""
        if self._metrics is not None:
            self._metrics.agent.reaped(kind)

    @harmless
    def leftover_removed(self, kind: LeftoverKind) -> None:
        """Something that belonged to no container was removed."""
        if self._metrics is not None:
            self._metrics.agent.leftover_removed(kind)

    @harmless
    def leftovers_stay(self, counts: Mapping[LeftoverKind, int]) -> None:
        """How many of each kind could not be removed at this look."""
        if self._metrics is not None:
            for kind, count in counts.items():
                self._metrics.agent.leaked(kind, count)

    @property
    def on(self) -> bool:
        """What costs something to find out is worth it."""
        return self._metrics is not None

    @harmless
    def shim_memory(self, size: int) -> None:
        """The shims have so many bytes of their own now."""
        if self._metrics is not None:
            self._metrics.agent.shim_memory(size)

    @harmless
    def probed(self, result: HealthResult) -> None:
        """A health check was done."""
        if self._metrics is not None:
            self._metrics.agent.health_check(result)

    @harmless
    def health(self, container_id: str, status: str) -> None:
        """What a container's health checks say of it now, in docker's words."""
        if self._metrics is not None:
            self._metrics.containers.health(container_id, status)

    @harmless
    def written(self, container_id: str, folder: str, size: int) -> None:
        """Its writable layer, somewhere below `folder`, was measured: bytes."""
        if self._metrics is not None:
            self._metrics.storage(container_id, folder, size)

    @harmless
    def log_dropped(self, size: int) -> None:
        """A run is over, and so many bytes of its log could not be written."""
        if self._metrics is not None and size:
            self._metrics.agent.log_dropped("write_error", size)

    @harmless
    def log_begins(self, container_id: str) -> None:
        """A run is about to begin: what the log has by now was counted, or was not ours."""
        if self._metrics is not None:
            self._logs.begin(container_id, self._log(container_id))

    @harmless
    def log_ends(self, container_id: str) -> None:
        """The run is over."""
        if self._metrics is not None:
            self._count_log(container_id)
            self._logs.end(container_id)

    async def watch_logs(self) -> None:
        """Count now and then what was logged; until cancelled."""
        while True:
            await trio.sleep(_LOG_SECONDS)
            for container in self._logs.containers():
                self._count_log(container)
                await trio.lowlevel.checkpoint()

    @harmless
    def _count_log(self, container_id: str) -> None:
        assert self._metrics is not None
        self._metrics.agent.logged(self._logs.grown(container_id, self._log(container_id)))

    def _log(self, container_id: str) -> str:
        return str(self._host.root.bundle(container_id) / FILE_NAME)

    @harmless
    def refresh(self) -> None:
        """A scrape is to show what only asking tells."""
        assert self._metrics is not None
        agent, shown = self._metrics.agent, set()
        agent.image_store(self.image_bytes())
        dropped = self._host.bus.dropped_subscribers
        agent.events_dropped(dropped - self._dropped_told)
        self._dropped_told = dropped
        for network, used, free in self.pools():
            agent.ip_pool(network, used=used, free=free)
            shown.add(network)
        for network in self._pools_shown - shown:
            agent.network_removed(network)
        self._pools_shown = frozenset(shown)
