"""One container's actor: a mailbox of facts, `machine.step`, and the effects it asks for.

Everything that happens to a container goes through its mailbox, one fact at a time; effects
start or poke things and report back as facts. So no two operations on a container race,
and none on different containers wait for each other. Only facts whose effects wait for the disk
are the actor's own task's; all others are dealt with where they are reported.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import trio

from supervisor import failpoints
from supervisor.docker.health import check_of
from supervisor.docker.views import ContainerView
from supervisor.engine.host import Host
from supervisor.engine.mailbox import Answer, Closed, Letter, Mailbox
from supervisor.engine.metering import exit_reason
from supervisor.engine.record import Record
from supervisor.engine.task import Task
from supervisor.engine.tree_use import TreeUse
from supervisor.errors import NotFound, OrlopError, Unavailable
from supervisor.lifecycle import machine as m
from supervisor.lifecycle.history import past_run
from supervisor.lifecycle.machine import Phase, State
from supervisor.spec.networks import CONTAINER_PREFIX
from supervisor.spec.types import Spec
from supervisor.store.database import Ticket

log = logging.getLogger("orlop.container")

# Phases whose entry is acknowledged to somebody: on disk before anybody hears of it.
SETTLED = frozenset({Phase.EXITED, Phase.RESTARTING, Phase.DEAD})
# A process in uninterruptible sleep dies when the kernel lets it.
UNKILLABLE_SECONDS = 20.0
# A shim that says nothing although all it had is killed: it writes to a disk, or never will speak.
SILENT_SECONDS = 15.0
_FAILED = "container %s: %s failed"
Predicate = Callable[[State], bool]


class Container:
    """The record, its state, and the task of the current run.

    `forgotten` is set when the container is gone for good. `task` is None between runs.
    """

    def __init__(self, host: Host, record: Record, nursery: trio.Nursery) -> None:
        self.host = host
        self.record = record
        self.nursery = nursery
        self.task: Task | None = None
        self.forgotten = trio.Event()
        self.check = check_of(record.body)
        # As it was made at the creation, and written, until it is used or an update outdates it.
        self.first_spec: Spec | None = None
        self.given_up = 0  # the latest run that is ended because it is unhealthy
        # What it was made from and the view itself: see `view.container_view`.
        self.view: tuple[tuple[object, ...], ContainerView] | None = None
        self.tree = TreeUse(lambda: self.record.name)
        self.exits = 0
        self.stops = 0  # those of the exits after which the policy started no other run
        self.last_exit = record.state.exit
        # Limit and peak of its memory at this run's latest OOM kill, bytes.
        self.oom_memory = (0, 0)
        # Why the last start failed before anything of it ran, if it is known better than "failed".
        self.refusal: OrlopError | None = None
        # How long each stage of the latest start took, ns; what this supervisor has seen of it.
        self.stages: Mapping[str, int] = {}
        self._saved: Ticket | None = None
        self._run_over = trio.Event()
        self._run_over.set()
        self._changed = trio.Event()
        self._mailbox = Mailbox(self._deal_at_once)
        # Sockets of clients that attached before the start: fd → attach fields.
        self.early_clients: dict[int, dict[str, Any]] = {}

    @property
    def id(self) -> str:
        """The full id."""
        return self.record.id

    @cached_property
    def bundle(self) -> Path:
        """Its folder in the data root."""
        return self.host.root.bundle(self.id)

    @property
    def state(self) -> State:
        """The machine's state now."""
        return self.record.state

    @property
    def shares_network(self) -> bool:
        """It is in another container's network, whose names and files it has."""
        return self.record.options.network.startswith(CONTAINER_PREFIX)

    @property
    def followed(self) -> bool:
        """Somebody sees a run to its end, or takes away what is left of it."""
        return self.task is not None or not self._run_over.is_set()

    async def rest(self) -> None:
        """Return when nothing is left of a run that is over."""
        if not self._run_over.is_set():
            await self._run_over.wait()

    # --- facts and requests -------------------------------------------------------------

    def post(self, fact: m.Fact) -> None:
        """Report an observation; never blocks."""
        # Once forgotten, observations of what is gone mean nothing.
        with suppress(Closed):
            self._mailbox.deliver(Letter(fact))

    async def ask(self, request: m.Request) -> None:
        """Make a request; returns when it is accepted, raises why it is not.

        Unavailable for starts while the daemon stops all containers, and for everything while
        the container has a shim that is not understood.
        """
        if self.host.closing and isinstance(request, m.StartRequested | m.RestartRequested):
            raise Unavailable("the daemon is stopping: it starts no container")
        self.check_understood()
        answer = Answer()
        try:
            self._mailbox.deliver(Letter(request, answer))
        except Closed:
            raise NotFound(f"No such container: {self.record.name}") from None
        await answer.wait()

    def check_understood(self) -> None:
        """Unavailable while it has a shim of a version that this daemon does not speak."""
        if self.task is not None and self.task.unspoken:
            raise Unavailable(self.task.unspoken)

    async def until(self, predicate: Predicate) -> None:
        """Wait until the state satisfies `predicate` or the container is forgotten."""
        while not predicate(self.state) and not self.forgotten.is_set():
            await self._changed.wait()

    async def run(self) -> None:
        """The actor's loop, until the container is forgotten."""
        while not self.forgotten.is_set():
            letter = await self._mailbox.take()
            effects = self._decide(letter) if letter.effects is None else letter.effects
            self._conclude(letter, await self._perform_all(effects))
        for letter in self._mailbox.close():
            if letter.answer is not None:
                letter.answer.refuse(NotFound(f"No such container: {self.record.name}"))

    def _deal_at_once(self, letter: Letter) -> Letter | None:
        effects = self._decide(letter)
        if any(self._takes_time(effect) for effect in effects):
            return letter._replace(effects=effects)
        self._conclude(letter, self._perform_all_now(effects))
        return None

    def _decide(self, letter: Letter) -> tuple[m.Effect, ...]:
        """The step that a fact makes: the state moves, and these effects are to be carried out."""
        fact = letter.fact
        try:
            state, effects = m.step(self.state, fact, trio.current_time())
        except OrlopError as error:
            if letter.answer is not None:
                letter.answer.refuse(_named(error, self.record.name))
            return ()
        before = self.record.state
        self.record.state = state
        if state.exit is not None and before.exit is not state.exit:
            self.exits += 1
            self.stops += state.phase is not Phase.RESTARTING
            self.last_exit = state.exit
            self._remember(before, state.exit)
        self.host.metering.stepped(self, fact, before)
        self.host.run_seen(self)
        return effects

    def _conclude(self, letter: Letter, failure: Exception | None) -> None:
        """Its effects are carried out: answer who asked, wake who waits for the state."""
        if letter.answer is not None and failure is not None:
            letter.answer.refuse(OrlopError(f"{type(letter.fact).__name__}: {failure}"))
        elif letter.answer is not None:
            letter.answer.accept()
        self._notify()

    def _remember(self, before: State, end: m.Exit) -> None:
        reason = "health" if self.given_up == before.run else exit_reason(before, end)
        past = past_run(before, self.state, reason, self.oom_memory)
        self.oom_memory = (0, 0)
        if past is not None:
            self.record.remember(past)

    def _notify(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()
        self.tree.changed()

    # --- effects ------------------------------------------------------------------------

    async def _perform_all(self, effects: tuple[m.Effect, ...]) -> Exception | None:
        """Carry out all effects, the rest also after one that fails; the first failure."""
        first: Exception | None = None
        for effect in effects:
            try:
                await self._perform(effect)
            except Exception as error:  # the actor must outlive a failing effect
                log.exception(_FAILED, self.id[:12], type(effect).__name__)
                first = first or error
                if isinstance(effect, m.Forget):  # its record is still there: so is it
                    self.post(m.CleanFailed(str(error)))
                    break
        return first

    def _perform_all_now(self, effects: tuple[m.Effect, ...]) -> Exception | None:
        """As `_perform_all`, where none takes time."""
        first: Exception | None = None
        for effect in effects:
            try:
                self._perform_now(effect)
            except Exception as error:  # as above
                log.exception(_FAILED, self.id[:12], type(effect).__name__)
                first = first or error
        return first

    def _takes_time(self, effect: m.Effect) -> bool:
        """The database has to be waited for: somebody is told that it is on disk."""
        if isinstance(effect, m.Persist):
            return self.state.phase in SETTLED and not self._is_known_otherwise()
        return isinstance(effect, m.Forget)

    async def _perform(self, effect: m.Effect) -> None:
        takes_time = self._takes_time(effect)
        if isinstance(effect, m.Forget):
            failpoints.hit("rm.forget")
            await self.host.delete(self.record).wait()
            failpoints.hit("rm.answer")
            self.host.forget(self)
            self.forgotten.set()
            return
        self._perform_now(effect)
        if takes_time:
            await self.saved()

    def _perform_now(self, effect: m.Effect) -> None:  # noqa: C901 - one case an effect
        match effect:
            case m.Persist():
                self._persist()
            case m.Spawn(run):
                self.nursery.start_soon(self._run_task, run)
            case m.Signal(signal):
                if self.task is not None:
                    self.nursery.start_soon(self.task.signal, signal)
            case m.KillCgroup():
                self.nursery.start_soon(self._kill)
            case m.Freeze():
                if self.task is not None:
                    self.nursery.start_soon(self.task.freeze, True)
            case m.Thaw():
                if self.task is not None:
                    self.nursery.start_soon(self.task.freeze, False)
            case m.StartGrace(run, seconds):
                self.nursery.start_soon(self._report_later, seconds, m.GraceOver(run))
            case m.StartBackoff(run, seconds):
                self.nursery.start_soon(self._report_later, seconds, m.BackoffOver(run))
            case m.Cleanup():
                self.nursery.start_soon(self._clean_up)
            case m.Emit(action, attributes):
                self.host.emit(self.record, action, dict(attributes))

    def _persist(self) -> None:
        """Put the record on disk: at once what was decided, soon what a shim or file tells too."""
        failpoints.hit("container.record")
        if self._is_known_otherwise():
            self.host.save_soon(self.record)
        else:
            self._saved = self.host.save(self.record)

    def _is_known_otherwise(self) -> bool:
        """After a crash now, start-up would find the same out again."""
        if self.state.phase is Phase.RUNNING:  # the shim tells; a pause is nobody else's wish
            return not self.state.freezing
        return self.state.phase is Phase.EXITED and self._known_by_record()

    def _known_by_record(self) -> bool:
        """A crash now would lose nothing: start-up reads the same end from the exit record.

        Not where a policy could make something else of it than was made now.
        """
        recorded = self.task is not None and self.task.recorded
        return recorded and self.state.policy.name == "no"

    async def saved(self) -> None:
        """Return once the record is on disk as it was when it last changed its state."""
        if self.host.waits(self.record):
            self._saved = self.host.save(self.record)
        if self._saved is not None:
            await self._saved.wait()

    def do(self, effect: m.Effect) -> None:
        """Carry out an effect from outside the mailbox: what a restarted supervisor resumes."""
        self.nursery.start_soon(self._perform_all, (effect,))

    async def _run_task(self, run: int) -> None:
        """One run, from cgroup to exit record; the previous one's remains are gone first."""
        await self.rest()
        self._run_over = trio.Event()
        await self.tree.begin_run()
        task = Task(self, run)
        await self._see_through(task, task.live)

    async def adopt(self, task: Task) -> None:
        """Take over a run that a previous supervisor started, and see it to its end."""
        self._run_over = trio.Event()
        await self.tree.begin_run()
        await self._see_through(task, task.follow)

    async def _see_through(self, task: Task, life: Callable[[], Awaitable[None]]) -> None:
        self.task = task
        try:
            await life()
        except Exception:
            # A defect here costs one container, not the supervisor and all of them.
            log.exception("container %s: run %d is given up", self.id[:12], task.run)
            task.give_up()
            if self.host.network_runs is not None:
                await self.host.network_runs.end(self)
        finally:
            self.task = None
            self.tree.end_run()
            self._run_over.set()

    async def _kill(self) -> None:
        """SIGKILL to all; a removal gives up after a while if a process will not die."""
        run = self.state.run
        if self.task is not None:
            self.task.kill()
        over: Predicate = lambda s: s.run != run or not s.live  # noqa: E731
        with trio.move_on_after(UNKILLABLE_SECONDS):
            with trio.move_on_after(SILENT_SECONDS):
                await self.until(over)
                return
            if self.task is not None and self.task.run == run:
                self.task.lose_silent_shim()
            await self.until(over)
            return
        self.post(m.CleanFailed("a process does not end although it was killed"))

    async def _report_later(self, seconds: float, fact: m.Fact) -> None:
        with trio.move_on_after(seconds):
            await self.forgotten.wait()
        if not self.forgotten.is_set():
            self.post(fact)

    async def _clean_up(self) -> None:
        await self.rest()
        await self.tree.close()
        self.drop_early_clients()
        try:
            failpoints.hit("rm.volumes")
            await self.host.let_go_volumes(self.record)
            failpoints.hit("rm.snapshot")
            await self.host.remove_resources(self.record)
        except (OSError, OrlopError) as error:
            self.post(m.CleanFailed(str(error)))
        else:
            self.post(m.Cleaned())

    # --- clients that attach before the start --------------------------------------------

    def keep_client(self, fd: int, fields: dict[str, Any]) -> None:
        """Hold an attached client's socket until the next start; owns `fd` from now on."""
        self.early_clients[fd] = fields
        self.host.watcher.add(fd, 0, lambda: self._drop_client(fd))

    def _drop_client(self, fd: int) -> None:
        if self.early_clients.pop(fd, None) is not None:
            self.host.watcher.remove(fd)
            os.close(fd)

    def drop_early_clients(self) -> None:
        """Hang up on everybody who waits for a start that will not come."""
        for fd in list(self.early_clients):
            self._drop_client(fd)

    def take_early_clients(self) -> dict[int, dict[str, Any]]:
        """Hand over the waiting sockets; the caller owns them."""
        clients, self.early_clients = self.early_clients, {}
        for fd in clients:
            self.host.watcher.remove(fd)
        return clients


def _named(error: OrlopError, name: str) -> OrlopError:
    return type(error)(error.message.replace("{name}", name))
