"""Health checks of the containers that run: one task each, for those alone that have a check.

`supervisor.lifecycle.health` decides; here its waits are waited, its probes are run, and what
it says is kept in the record, told as an event, and acted upon. A restarted daemon begins again
at "starting" with a run that it finds, as docker's does; the results so far are kept.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import trio

from supervisor.engine.container import Container
from supervisor.engine.health_probe import end_probes, probe
from supervisor.errors import OrlopError
from supervisor.lifecycle import health as h
from supervisor.lifecycle import machine as m

if TYPE_CHECKING:
    from supervisor.engine.engine import Engine

log = logging.getLogger("orlop.health")


class HealthChecks:
    """The checks of all containers of one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._runs: dict[str, int] = {}  # container → the run that is being checked

    def look(self, container: Container) -> None:
        """Begin with a run whose program runs by now, if it has a check; called at each step."""
        state = container.state
        if container.check is None or not state.pid or self._runs.get(container.id) == state.run:
            return
        self._runs[container.id] = state.run
        checks = RunChecks(self._engine, container, container.check)
        self._engine.nursery.start_soon(self._see_through, container, checks)

    async def _see_through(self, container: Container, checks: RunChecks) -> None:
        try:
            await checks.go()
        except Exception:  # a defect here costs one container's checks
            log.exception("container %s: its health is not checked any more", container.id[:12])
        finally:
            if self._runs.get(container.id) == checks.run:
                del self._runs[container.id]


class RunChecks:
    """The checks of one run, from its start to its end.

    The status is "starting" from here on: nobody is shown what the run before was.
    """

    def __init__(self, engine: Engine, container: Container, check: h.Check) -> None:
        self.run = container.state.run
        self._engine = engine
        self._container = container
        self._nursery: trio.Nursery | None = None
        self._doing = trio.CancelScope()  # the wait or the probe under way
        self._state = h.State(check=check, health=container.record.health or h.Health())
        age = max(0, time.time_ns() - container.state.started_ns) / 1e9
        self._first = self._step(h.Started(age))
        engine.metering.health(container.id, h.STARTING)

    async def go(self) -> None:
        """Check until the run is over."""
        container, paused = self._container, False
        async with trio.open_nursery() as self._nursery:
            self._perform(self._first)
            while not self._is_over():
                if self._is_paused() is not paused:
                    paused = not paused
                    self._take(h.Paused() if paused else h.Resumed())
                await container.until(self._has_news(paused))
            self._perform(self._step(h.Ended()))
        self._engine.metering.health(container.id, h.UNHEALTHY)

    def _is_over(self) -> bool:
        state = self._container.state
        gone = self._container.forgotten.is_set()
        return gone or state.run != self.run or not state.pid

    def _is_paused(self) -> bool:
        state = self._container.state
        return state.freezing or state.phase is m.Phase.PAUSED

    def _has_news(self, paused: bool) -> Callable[[m.State], bool]:
        return lambda _state: self._is_over() or self._is_paused() is not paused

    # --- facts and effects --------------------------------------------------------------

    def _take(self, fact: h.Fact) -> None:
        if not self._is_over():  # else its record may be gone
            self._perform(self._step(fact))

    def _step(self, fact: h.Fact) -> tuple[h.Effect, ...]:
        before, record = self._state.health, self._container.record
        self._state, effects = h.step(self._state, fact, trio.current_time())
        if self._state.health is not before:
            record.health = self._state.health
            host, turns = self._container.host, self._state.health.status is not before.status
            (host.save_soon if turns else host.save_later)(record)
        return effects

    def _perform(self, effects: tuple[h.Effect, ...]) -> None:
        for effect in effects:
            match effect:
                case h.Wait(number, seconds):
                    self._begin(functools.partial(self._wait, number, seconds))
                case h.Probe(number):
                    self._begin(functools.partial(self._probe, number))
                case h.Abandon():
                    self._abandon()
                case h.Announce(status):
                    self._announce(status)

    def _abandon(self) -> None:
        self._doing.cancel()
        task = self._container.task
        if task is not None and task.group is not None:
            end_probes(task.group)  # one that has not begun would do so when it is thawed

    def _begin(self, do: Callable[[], Awaitable[None]]) -> None:
        assert self._nursery is not None
        scope = self._doing = trio.CancelScope()

        async def within() -> None:
            with scope:
                await do()

        self._nursery.start_soon(within)

    async def _wait(self, number: int, seconds: float) -> None:
        await trio.sleep(seconds)
        self._take(h.Due(number))

    async def _probe(self, number: int) -> None:
        if self._is_over():  # its cgroup may be about to be removed
            return
        result, verdict = await probe(self._engine.execs, self._container, self._state.check)
        if not self._is_over() and not self._is_paused():
            self._engine.metering.probed(verdict.kind)
        self._take(h.Probed(number, result))

    # --- what comes of it ---------------------------------------------------------------

    def _announce(self, status: str) -> None:
        container = self._container
        container.host.emit(container.record, f"health_status: {status}", {})
        self._engine.metering.health(container.id, status)
        if status == h.UNHEALTHY and container.state.phase is m.Phase.RUNNING:
            action = container.record.body.host_config.orlop_on_unhealthy
            if action not in ("", "none"):
                log.warning("container %s is unhealthy: %s", container.id[:12], action)
                self._engine.nursery.start_soon(self._act, action)

    async def _act(self, action: str) -> None:
        """Do what is to be done about an unhealthy container; it was not asked for by a person."""
        engine, container = self._engine, self._container
        container.given_up = self.run
        try:
            match action:
                case "restart":
                    await engine.restart(container.id, None, None)
                case "stop":
                    await engine.stop(container.id, None, None)
                case "kill":  # no request to stop: its restart policy decides what follows
                    container.do(m.KillCgroup())
        except OrlopError as error:
            log.warning("container %s: %s: %s", container.id[:12], action, error)
