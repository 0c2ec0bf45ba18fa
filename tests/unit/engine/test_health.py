"""The task that checks one run: when it probes, what it keeps, tells and does; one probe."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock

from supervisor.docker.exec import ExecBody
from supervisor.engine.container import Container
from supervisor.engine.engine import Engine
from supervisor.engine.exec_session import ExecSession, ExecSessions
from supervisor.engine.health import HealthChecks
from supervisor.engine.health_probe import GROUP_PREFIX, probe
from supervisor.errors import InvalidArgument, KernelError
from supervisor.lifecycle import machine as m
from supervisor.lifecycle.effects import KillCgroup
from supervisor.lifecycle.health import Check, Health

CHECK = Check(command=("/probe",), interval=10.0, timeout=3.0, retries=2)
FOREVER = 1e9


@dataclass
class FakeGroup:
    """A cgroup and those in it; `busy`: it cannot be removed."""

    name: str = "own"
    above: FakeGroup | None = None
    below: list[FakeGroup] = field(default_factory=list)
    busy: bool = False
    killed: bool = False

    def make_child(self, name: str) -> FakeGroup:
        self.below.append(FakeGroup(name, self))
        return self.below[-1]

    def children(self, prefix: str) -> list[FakeGroup]:
        return [g for g in self.below if g.name.startswith(prefix)]

    def kill(self) -> None:
        self.killed, self.busy = True, False

    def populated(self) -> bool:
        return self.busy

    def take_over(self, child: FakeGroup) -> None:
        child.busy, self.busy = False, True

    def remove(self) -> None:
        if self.busy:
            raise KernelError("rmdir", self.name, 16)
        if self.above is not None and self in self.above.below:
            self.above.below.remove(self)


@dataclass
class FakeExecs:
    """Sessions whose program writes `output` and ends with `code` after `lasts` seconds."""

    code: int = 0
    lasts: float = 0.0
    output: bytes = b""
    error: Exception | None = None
    leaves: bool = False
    sessions: list[ExecSession] = field(default_factory=list)
    groups: list[FakeGroup] = field(default_factory=list)

    def open(self, container: Container, body: ExecBody, *, cgroup: str, kept: bool) -> ExecSession:
        assert not kept
        self.sessions.append(ExecSession("e1", container, body, cgroup=cgroup, kept=kept))
        return self.sessions[-1]

    async def start(self, exec_id: str, *, detached: bool, framed: bool, fd: int) -> None:
        assert (exec_id, detached, framed) == ("e1", False, False)
        if self.error is not None:
            os.close(fd)
            raise self.error
        session = self.sessions[-1]
        own = cast("Any", session.container.task).group
        group = next(g for g in own.below if g.name == session.cgroup)
        group.busy = True
        self.groups.append(group)
        trio.lowlevel.spawn_system_task(self._run, session, group, fd)

    async def _run(self, session: ExecSession, group: FakeGroup, fd: int) -> None:
        os.write(fd, self.output)
        until = trio.current_time() + self.lasts
        while trio.current_time() < until and not group.killed:
            await trio.sleep(min(0.25, until - trio.current_time()))
        session.exit_code = 137 if group.killed else self.code
        group.busy = self.leaves and not group.killed
        os.close(fd)

    async def inspect(self, exec_id: str) -> None:
        raise AssertionError(f"{exec_id}: its end was told")

    def drop(self, session: ExecSession) -> None:
        self.sessions.remove(session)


class FakeContainer:
    """A container that runs, as far as its checks look at it."""

    def __init__(self, world: World, check: Check | None, action: str) -> None:
        self.id = "c" * 64
        self.check = check
        self.given_up = 0
        self.state = m.State(
            phase=m.Phase.RUNNING, run=1, live=True, pid=7, started_ns=time.time_ns()
        )
        self.forgotten = trio.Event()
        self.task = SimpleNamespace(group=FakeGroup())
        host_config = SimpleNamespace(orlop_on_unhealthy=action)
        self.record = SimpleNamespace(
            health=None, body=SimpleNamespace(host_config=host_config), name="c"
        )
        self.host = SimpleNamespace(emit=world.emit, save_later=world.save, save_soon=world.save)
        self.done: list[object] = []
        self._changed = trio.Event()

    def become(self, **changes: Any) -> None:
        self.state = replace(self.state, **changes)
        self._changed.set()
        self._changed = trio.Event()

    async def until(self, predicate: Callable[[m.State], bool]) -> None:
        while not predicate(self.state):
            await self._changed.wait()

    def do(self, effect: object) -> None:
        self.done.append(effect)


class World:
    """An engine with one container; what it told, and how often it saved."""

    def __init__(self, check: Check | None = CHECK, action: str = "") -> None:
        self.execs = FakeExecs()
        self.told: list[str] = []
        self.asked: list[tuple[str, str]] = []
        self.shown: list[str] = []
        self.kinds: list[str] = []
        self.saved = 0
        self.metering = SimpleNamespace(
            health=lambda _id, status: self.shown.append(status), probed=self.kinds.append
        )
        self.nursery: trio.Nursery | None = None
        self.container = FakeContainer(self, check, action)
        self.checks = HealthChecks(cast("Engine", self))

    def emit(self, _record: object, action: str, _attributes: dict[str, str]) -> None:
        self.told.append(action)

    def save(self, _record: object) -> None:
        self.saved += 1

    async def restart(self, ref: str, _timeout: object, _signal: object) -> None:
        self.asked.append(("restart", ref))

    async def stop(self, ref: str, _timeout: object, _signal: object) -> None:
        self.asked.append(("stop", ref))

    def look(self) -> None:
        self.checks.look(cast("Container", self.container))

    @property
    def health(self) -> Health:
        return cast("Health", self.container.record.health)

    @asynccontextmanager
    async def checking(self) -> AsyncIterator[None]:
        async with trio.open_nursery() as self.nursery:
            self.look()
            yield
            self.nursery.cancel_scope.cancel()


@pytest.fixture
def autojump_clock() -> MockClock:
    return MockClock(autojump_threshold=0)


async def test_without_a_check_there_is_no_task(autojump_clock: MockClock) -> None:
    world = World(check=None)
    async with world.checking():
        assert world.nursery is not None
        assert world.nursery.child_tasks == frozenset()
    assert world.container.record.health is None
    assert (world.saved, world.shown) == (0, [])


async def test_a_run_from_starting_to_unhealthy_and_back(autojump_clock: MockClock) -> None:
    world = World()
    async with world.checking():
        world.look()  # at each step: it is one task all the same
        assert world.health.status == "starting"
        await trio.sleep(10.5)
        assert (world.health.status, len(world.health.log)) == ("healthy", 1)
        world.execs.code = 1
        await trio.sleep(21)
        assert (world.health.status, world.health.failing_streak) == ("unhealthy", 2)
        world.execs.code = 0
        await trio.sleep(10)
    assert world.told == [f"health_status: {s}" for s in ("healthy", "unhealthy", "healthy")]
    assert world.kinds == ["healthy", "unhealthy", "unhealthy", "healthy"]
    assert world.shown[0] == "starting"
    assert world.saved == 5
    assert world.container.task.group.below == []


async def test_the_end_of_the_run_is_the_end_of_the_checks(autojump_clock: MockClock) -> None:
    world = World()
    world.execs.lasts = FOREVER
    async with world.checking():
        await trio.sleep(11)  # in the midst of a probe
        world.container.become(pid=0, live=False, phase=m.Phase.EXITED)
        await trio.sleep(0.1)
        assert world.nursery is not None
        assert world.nursery.child_tasks == frozenset()
        assert world.execs.groups[0].killed
        assert world.shown == ["starting", "unhealthy"]
        saved = world.saved
        await trio.sleep(100)
        assert (world.saved, world.told) == (saved, [])
        world.execs.lasts = 0
        world.container.become(pid=8, live=True, phase=m.Phase.RUNNING, run=2)
        world.look()
        await trio.sleep(11)
        assert world.health.status == "healthy"


@pytest.mark.parametrize("change", [{"phase": m.Phase.PAUSED}, {"freezing": True}])
async def test_a_pause_kills_the_probe_and_holds_the_next(
    autojump_clock: MockClock, change: dict[str, Any]
) -> None:
    world = World()
    world.execs.lasts = FOREVER
    async with world.checking():
        await trio.sleep(11)
        world.container.become(**change)
        await trio.sleep(100)
        assert [g.killed for g in world.execs.groups] == [True]
        assert world.health.log == ()
        world.execs.lasts = 0
        world.container.become(phase=m.Phase.RUNNING, freezing=False)
        await trio.sleep(9)
        assert world.health.log == ()
        await trio.sleep(2)
        assert world.health.status == "healthy"
    assert world.kinds == ["healthy"]


@pytest.mark.parametrize(
    "action, asked, done",
    [
        ("", [], []),
        ("none", [], []),
        ("restart", [("restart", "c" * 64)], []),
        ("stop", [("stop", "c" * 64)], []),
        ("kill", [], [KillCgroup()]),
    ],
)
async def test_what_is_done(
    autojump_clock: MockClock, action: str, asked: list[tuple[str, str]], done: list[object]
) -> None:
    world = World(action=action)
    world.execs.code = 1
    async with world.checking():
        await trio.sleep(100)
    assert (world.asked, world.container.done) == (asked, done)
    assert world.container.given_up == (1 if asked or done else 0)


async def test_nothing_is_done_to_one_that_is_being_stopped(autojump_clock: MockClock) -> None:
    world = World(action="restart")
    world.execs.code = 1
    async with world.checking():
        world.container.become(phase=m.Phase.STOPPING)
        await trio.sleep(100)
    assert world.told == ["health_status: unhealthy"]
    assert world.asked == []


# --- one probe --------------------------------------------------------------------------------


async def probed(world: World, check: Check = CHECK) -> tuple[int, str, str]:
    container, execs = cast("Container", world.container), cast("ExecSessions", world.execs)
    result, verdict = await probe(execs, container, check)
    assert (result.exit_code, result.output) == (verdict.exit_code, verdict.output)
    assert result.start_ns <= result.end_ns
    return verdict.exit_code, verdict.output, verdict.kind


async def test_output_and_code(autojump_clock: MockClock) -> None:
    world = World()
    world.execs.output, world.execs.code = b"a\xffb", 4
    assert await probed(world) == (4, "a\ufffdb", "unhealthy")
    assert world.execs.sessions[-1].body.cmd == ("/probe",)
    assert world.execs.sessions[-1].cgroup.startswith(GROUP_PREFIX)
    world.execs.output, world.execs.code = b"x" * 4096, 0
    assert await probed(world) == (0, "x" * 4096, "healthy")
    world.execs.output = b"x" * 4097
    assert (await probed(world))[1] == "x" * 4096 + "..."
    assert not any(group.killed for group in world.execs.groups)


async def test_the_timeout(autojump_clock: MockClock) -> None:
    world = World()
    world.execs.lasts, world.execs.leaves = FOREVER, True
    began = trio.current_time()
    assert await probed(world) == (-1, "Health check exceeded timeout (3s)", "timeout")
    assert 3 <= trio.current_time() - began < 4
    world.execs.output = b"so far"
    words = "Health check exceeded timeout (1.5s): so far"
    assert await probed(world, replace(CHECK, timeout=1.5)) == (-1, words, "timeout")
    assert all(group.killed for group in world.execs.groups)
    assert world.container.task.group.below == []


async def test_one_that_cannot_start(autojump_clock: MockClock) -> None:
    world = World()
    world.execs.error = InvalidArgument("exec failed: no such file")
    assert await probed(world) == (-1, "exec failed: no such file", "error")
    assert world.execs.sessions == []
    assert world.container.task.group.below == []


async def test_what_it_leaves_is_the_containers(autojump_clock: MockClock) -> None:
    world = World()
    world.execs.leaves = True
    own = world.container.task.group
    assert (await probed(world))[0] == 0
    assert (own.busy, own.below, world.execs.groups[0].killed) == (True, [], False)


async def test_remains_of_probes_before_are_killed_first(autojump_clock: MockClock) -> None:
    world = World()
    own = world.container.task.group
    old = own.make_child(GROUP_PREFIX + "old")
    other = own.make_child("of-the-container")
    old.busy = other.busy = True
    await probed(world)
    assert (old.killed, other.killed) == (True, False)
    assert own.below == [other]
