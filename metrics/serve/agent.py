"""What the agent itself does, in figures: prometheus_client's histograms and counters.

Counters exist from the beginning, at 0, wherever their labels are known beforehand, so that
the first event is an increase.
"""

from __future__ import annotations

import time
from collections import Counter as Count
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, TypeVar, get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)

from metrics.render import labels

Operation = Literal[
    "create", "start", "stop", "kill", "restart", "pause", "unpause", "update", "exec", "remove"
]
Stage = Literal["rootfs", "cgroup", "netns", "shim", "exec", "net"]
ExitReason = Literal[
    "completed", "error", "signal", "oom_killed", "stopped", "health", "start_failed", "lost"
]
ReapedKind = Literal["container", "exec", "shim"]
HealthResult = Literal["healthy", "unhealthy", "timeout", "error"]
LeftoverKind = Literal["cgroup", "shim", "socket", "mount", "bundle"]
LogLoss = Literal["write_error"]
Outcome = Literal["ok", "error", "cancelled"]

SLOW = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
FAST = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)
LONG = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)

MAX_CHILDREN = 1000
"""Series of one family; what comes on top goes to "other"."""

Family = TypeVar("Family", Counter, Gauge, Histogram)


class Agent:
    """Every method takes microseconds and never fails. Durations are in seconds."""

    def __init__(self) -> None:
        # `…_created` doubles the series, and Prometheus does not need it.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry(auto_describe=False)
        self.capped: Count[str] = Count()
        self._children: dict[tuple[object, ...], object] = {}
        self._sizes: Count[object] = Count()
        self._describe_containers()
        self._describe_rest()
        self._begin_at_zero()

    def _describe_containers(self) -> None:
        self._operations = self._histogram(
            "orlop_container_operation_duration_seconds",
            "How long operations on containers took.",
            ("operation", "outcome"),
            SLOW,
        )
        self._stages = self._histogram(
            "orlop_container_stage_duration_seconds",
            "How long the stages of starts took.",
            ("stage",),
            FAST,
        )
        self._in_flight = self._gauge(
            "orlop_container_operations_in_flight", "Operations on containers under way."
        )
        self._exits = self._counter("orlop_container_exits_total", "Ends of runs.", "reason")
        self._reaped = self._counter("orlop_reaped_processes_total", "Processes reaped.", "kind")
        self._shim_memory = self._gauge(
            "orlop_shim_memory_bytes", "Memory of all shims that nothing else shares."
        )
        self._health_checks = self._counter(
            "orlop_health_checks_total", "Health checks done.", "result"
        )
        self._log_bytes = self._counter("orlop_log_bytes_total", "Output written to logs.")
        self._log_dropped = self._counter(
            "orlop_log_dropped_bytes_total", "Output that did not get into a log.", "reason"
        )

    def _describe_rest(self) -> None:
        self._lag = self._histogram(
            "orlop_event_loop_lag_seconds", "How late the event loop got to a task.", (), FAST
        )
        self._requests = self._histogram(
            "orlop_api_request_duration_seconds",
            "Time to the answer's head.",
            ("method", "route", "code"),
            SLOW,
        )
        self._events_dropped = self._counter(
            "orlop_events_dropped_total", "Followers of events that were too slow and cut off."
        )
        self._pulls = self._histogram(
            "orlop_image_pull_duration_seconds", "How long pulls took.", ("outcome",), LONG
        )
        self._pull_bytes = self._counter(
            "orlop_image_pull_bytes_total", "Bytes received from registries."
        )
        self._store = self._gauge("orlop_image_store_bytes", "Disk space of images and layers.")
        self._network = self._histogram(
            "orlop_network_operation_duration_seconds",
            "How long changes of the host's network took.",
            ("operation", "outcome"),
            SLOW,
        )
        self._pools = self._gauge(
            "orlop_ip_pool_addresses", "Addresses of networks.", "network", "state"
        )
        self._leaks = self._gauge(
            "orlop_leaked_resources", "What belongs to no container and stays.", "kind"
        )

        self._leftovers = self._counter(
            "orlop_leftovers_removed_total",
            "What belonged to no container and was removed.",
            "kind",
        )

    def _begin_at_zero(self) -> None:
        for reason in get_args(ExitReason):
            self._child(self._exits, reason)
        for kind in get_args(ReapedKind):
            self._child(self._reaped, kind)
        for result in get_args(HealthResult):
            self._child(self._health_checks, result)
        for kind in get_args(LeftoverKind):
            self._child(self._leftovers, kind)
        for stage in get_args(Stage):
            self._child(self._stages, stage)
        for cause in get_args(LogLoss):
            self._child(self._log_dropped, cause)

    # --- containers --------------------------------------------------------------------------

    @contextmanager
    def operation(self, name: Operation) -> Iterator[None]:
        """Around an operation: it is in flight, and its end is "ok", "error" or "cancelled"."""
        begun = time.perf_counter()
        self._in_flight.inc()
        outcome: Outcome = "cancelled"
        try:
            yield
            outcome = "ok"
        except Exception:
            outcome = "error"
            raise
        finally:
            self._in_flight.dec()
            took = time.perf_counter() - begun
            self._child(self._operations, name, outcome).observe(took)

    def stage(self, stage: Stage, seconds: float) -> None:
        """A stage of a start took so long."""
        self._child(self._stages, stage).observe(seconds)

    def exited(self, reason: ExitReason) -> None:
        """A run ended."""
        self._child(self._exits, reason).inc()

    def reaped(self, kind: ReapedKind, count: int = 1) -> None:
        """Processes were reaped."""
        self._child(self._reaped, kind).inc(count)

    def shim_memory(self, size: int) -> None:
        """The shims' memory in bytes is now."""
        self._shim_memory.set(size)

    def health_check(self, result: HealthResult) -> None:
        """A health check was done."""
        self._child(self._health_checks, result).inc()

    def logged(self, size: int) -> None:
        """So many bytes of output were logged."""
        self._log_bytes.inc(size)

    def log_dropped(self, reason: LogLoss, size: int) -> None:
        """So many bytes of output were not."""
        self._child(self._log_dropped, reason).inc(size)

    # --- the rest ------------------------------------------------------------------------------

    def lag(self, seconds: float) -> None:
        """The event loop was late by so much."""
        self._lag.observe(seconds)

    def request(self, method: str, route: str, code: int, seconds: float) -> None:
        """The API answered. `route` is the template (`/containers/{id}/start`), never a path."""
        self._child(self._requests, method, route, str(code)).observe(seconds)

    def events_dropped(self, count: int) -> None:
        """So many followers of events were too slow."""
        self._events_dropped.inc(count)

    def pulled(self, outcome: Outcome, seconds: float) -> None:
        """A pull ended."""
        self._child(self._pulls, outcome).observe(seconds)

    def pull_received(self, size: int) -> None:
        """Bytes came from a registry."""
        self._pull_bytes.inc(size)

    def image_store(self, size: int) -> None:
        """The image store has so many bytes now."""
        self._store.set(size)

    def network_operation(self, operation: str, outcome: Outcome, seconds: float) -> None:
        """A change of the host's network took so long."""
        self._child(self._network, operation, outcome).observe(seconds)

    def ip_pool(self, network: str, *, used: int, free: int) -> None:
        """A network's addresses now."""
        self._child(self._pools, network, "used").set(used)
        self._child(self._pools, network, "free").set(free)

    def network_removed(self, network: str) -> None:
        """A network is no more."""
        for state in ("used", "free"):
            if self._children.pop((self._pools, network, state), None) is not None:
                self._pools.remove(labels.clean(network, self.capped), state)
                self._sizes[self._pools] -= 1

    def leftover_removed(self, kind: LeftoverKind) -> None:
        """Something that belonged to no container was removed."""
        self._child(self._leftovers, kind).inc()

    def leaked(self, kind: str, count: int) -> None:
        """So many of the kind could not be removed at the last look."""
        self._child(self._leaks, kind).set(count)

    # --- families ------------------------------------------------------------------------------

    def _child(self, family: Family, *values: str) -> Family:
        # Kept by ourselves: `labels()` takes a lock and turns every value into a string.
        key = (family, *values)
        child = self._children.get(key)
        if child is None:
            clean = [labels.clean(value, self.capped) for value in values]
            if self._sizes[family] >= MAX_CHILDREN:
                self.capped["series"] += 1
                return family.labels(*["other"] * len(clean))
            self._sizes[family] += 1
            child = self._children[key] = family.labels(*clean)
        return child  # type: ignore[return-value]

    def _counter(self, name: str, help: str, *label_names: str) -> Counter:
        return Counter(name, help, label_names, registry=self.registry)

    def _gauge(self, name: str, help: str, *label_names: str) -> Gauge:
        return Gauge(name, help, label_names, registry=self.registry)

    def _histogram(
        self, name: str, help: str, label_names: tuple[str, ...], buckets: tuple[float, ...]
    ) -> Histogram:
        return Histogram(name, help, label_names, buckets=buckets, registry=self.registry)
