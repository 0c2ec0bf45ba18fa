"""What is taken for a leftover, and when; that nothing in the making ever is."""

from __future__ import annotations

import logging
import socket
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast, get_args

import pytest
import trio
from trio.testing import MockClock

from metrics.serve.agent import LeftoverKind
from supervisor.engine import reconcile, remains
from supervisor.engine.engine import Engine
from supervisor.engine.reconcile import INTERVAL, Owner, Reconciler, Sightings
from supervisor.engine.remains import Mount, ShimProcess
from supervisor.errors import KernelError
from supervisor.kernel import mounts, process
from supervisor.lifecycle.machine import Phase, State
from supervisor.store.layout import DataRoot
from supervisor.wire import shim_protocol

LIVES, RESTS, MADE, UNREAD, NOBODYS = (letter * 64 for letter in "abcde")


@dataclass
class FakeGroup:
    """`busy`: how often its removal is refused, once it was killed."""

    world: World
    name: str
    paths: Any = field(default_factory=lambda: SimpleNamespace(unified="/"))

    def kill(self) -> None:
        self.world.killed.append(self.name)

    def remove(self) -> None:
        if self.world.busy.get(self.name, 0):
            self.world.busy[self.name] -= 1
            raise KernelError("rmdir", self.name, 16)
        self.world.groups.discard(self.name)


class World:
    """An engine with a container that runs and one that rests; a host's remains."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.groups: set[str] = set()
        self.busy: dict[str, int] = {}
        self.killed: list[str] = []
        self.shims: list[ShimProcess] = []
        self.mounts: list[Mount] = []
        self.removed: list[str] = []
        self.stay: dict[str, int] = {}
        self.memory: list[int] = []
        self.settled: list[str] = []
        root = DataRoot(folder)
        root.prepare()
        self.bundles = root.containers
        hierarchy = SimpleNamespace(
            names=lambda: sorted(self.groups), open=lambda name: FakeGroup(self, name)
        )
        self.host = SimpleNamespace(root=root, hierarchy=hierarchy, empty_trash_soon=lambda: None)
        self.containers = {
            LIVES: container(LIVES, State(phase=Phase.RUNNING, live=True, run=1, pid=9)),
            RESTS: container(RESTS, State(phase=Phase.EXITED, run=1)),
        }
        self.names = {"one": LIVES, "two": RESTS, "three": MADE}
        self.engine = SimpleNamespace(
            host=self.host,
            containers=self.containers,
            names=self.names,
            metering=SimpleNamespace(
                on=True,
                leftover_removed=self.removed.append,
                leftovers_stay=self.stay.update,
                shim_memory=self.memory.append,
            ),
            settle=lambda one: self.settled.append(one.id),
        )
        self.reconciler = Reconciler(cast(Engine, self.engine))
        self.reconciler.unreadable = frozenset({UNREAD})
        monkeypatch.setattr(remains, "shims", lambda _root: list(self.shims))
        monkeypatch.setattr(remains, "own_memory", lambda shims: 1000 * len(shims))
        monkeypatch.setattr(remains, "mounted", lambda _root: list(self.mounts))

    async def look(self, *, first: bool = False) -> None:
        await self.reconciler.look(first=first)


def container(name: str, state: State) -> Any:
    lives = state.live
    shim = SimpleNamespace(shim_pid=77, gone=False)
    lost: list[bool] = []
    task = SimpleNamespace(run=1, shim=shim, lost=lost, lose_shim=lambda: lost.append(True))
    return SimpleNamespace(id=name, state=state, followed=lives, task=task if lives else None)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(tmp_path / "data", monkeypatch)
    world.shims = [ShimProcess(77, 1, LIVES)]
    return world


async def test_the_memory_of_shims_is_measured_where_metrics_are_on(world: World) -> None:
    await world.look(first=True)
    await world.look()
    assert world.memory == [1000, 1000]
    world.engine.metering.on = False
    await world.look()
    assert world.memory == [1000, 1000]


def test_only_what_was_seen_twice_in_a_row() -> None:
    seen = Sightings()
    assert seen.confirm(["a", "b"]) == []
    assert seen.confirm(["b", "c"]) == ["b"]
    assert seen.confirm(["a", "b"]) == ["b"]
    assert seen.confirm([]) == []
    assert seen.confirm(["b"]) == []


@pytest.mark.parametrize(
    "name, owner",
    [
        (LIVES, Owner.BUSY),
        (RESTS, Owner.AT_REST),
        (MADE, Owner.BUSY),
        (UNREAD, Owner.BUSY),
        (NOBODYS, Owner.NOBODY),
        ("", Owner.NOBODY),
    ],
)
def test_whose_it_is(world: World, name: str, owner: Owner) -> None:
    assert world.reconciler.owner(name) is owner


@pytest.mark.parametrize("live, followed", [(True, False), (False, True), (True, True)])
def test_a_run_that_begins_or_is_tidied_up_is_not_at_rest(
    world: World, live: bool, followed: bool
) -> None:
    world.containers[RESTS].state = State(phase=Phase.STARTING, run=2, live=live)
    world.containers[RESTS].followed = followed
    assert world.reconciler.owner(RESTS) is Owner.BUSY


async def test_groups_of_no_run_go_at_the_second_look(world: World) -> None:
    world.groups = {LIVES, RESTS, MADE, UNREAD, NOBODYS, "somebody-else"}
    await world.look()
    assert world.killed == []
    await world.look()
    assert sorted(world.killed) == [RESTS, NOBODYS]
    assert world.groups == {LIVES, MADE, UNREAD, "somebody-else"}
    assert world.removed == ["cgroup", "cgroup"]


async def test_the_first_look_of_all_need_not_wait(world: World) -> None:
    world.groups = {LIVES, NOBODYS}
    await world.look(first=True)
    assert world.groups == {LIVES}


async def test_one_that_came_to_life_between_two_looks_is_left(world: World) -> None:
    world.groups = {RESTS}
    await world.look()
    world.containers[RESTS].state = State(phase=Phase.STARTING, run=2, live=True)
    await world.look()
    assert world.groups == {RESTS}
    assert world.killed == []


async def test_one_that_comes_to_life_while_it_is_removed_is_left(
    world: World, autojump_clock: MockClock
) -> None:
    world.groups, world.busy = {RESTS}, {RESTS: 9}
    await world.look()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.look)
        while not world.killed:
            await trio.lowlevel.checkpoint()
            await trio.sleep(0.001)
        world.containers[RESTS].state = State(phase=Phase.STARTING, run=2, live=True)
    assert world.groups == {RESTS}
    assert world.killed.count(RESTS) == 1


async def test_processes_have_a_moment_to_end(world: World, autojump_clock: MockClock) -> None:
    world.groups, world.busy = {NOBODYS}, {NOBODYS: 3}
    await world.look(first=True)
    assert world.groups == set()
    assert world.removed == ["cgroup"]


async def test_what_cannot_be_removed_is_told_once_and_counted(
    world: World, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    world.groups, world.busy = {NOBODYS}, {NOBODYS: 1000}
    refusal = KernelError("rmdir", NOBODYS, 16)
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            await world.look()
    assert [r.getMessage() for r in caplog.records] == [
        f"cgroup {NOBODYS} belongs to no container and cannot be removed: {refusal}"
    ]
    assert world.stay == {"cgroup": 1, "shim": 0, "socket": 0, "mount": 0, "bundle": 0}
    world.busy.clear()
    await world.look()
    assert world.groups == set()
    assert world.stay["cgroup"] == 0


async def test_bundles_and_sockets(world: World) -> None:
    for name in (LIVES, RESTS, MADE, UNREAD, NOBODYS, "lost+found"):
        (world.bundles / name).mkdir()
        (world.bundles / name / "shim.sock").touch()
    await world.look()
    assert len(list(world.bundles.glob("*/shim.sock"))) == 6
    await world.look()
    left = {path.parent.name for path in world.bundles.glob("*/shim.sock")}
    assert left == {LIVES, MADE, UNREAD, "lost+found"}
    assert (world.bundles / RESTS).exists()
    assert not (world.bundles / NOBODYS).exists()
    assert sorted(world.removed) == ["bundle", "socket", "socket"]


async def test_mounts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    gone: list[tuple[str, int]] = []
    monkeypatch.setattr(mounts, "umount", lambda *args: gone.append(args))
    world.mounts = [Mount(f"/{name}", name) for name in (LIVES, RESTS, MADE, "", NOBODYS)]
    await world.look()
    assert gone == []
    await world.look()
    assert [target for target, _ in gone] == [f"/{RESTS}", "/", f"/{NOBODYS}"]
    assert {flags for _, flags in gone} == {reconcile.MNT_DETACH}


class Signals:
    """pidfds of what exists; what was killed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, started: dict[int, int]) -> None:
        self.killed: list[int] = []
        self._pidfds: dict[int, int] = {}
        self._started = started
        monkeypatch.setattr(process, "pidfd_open", self._open)
        monkeypatch.setattr(process, "pidfd_send_signal", self._send)
        monkeypatch.setattr(remains, "still", lambda shim, _root: started[shim.pid] == shim.started)

    def _open(self, pid: int) -> int:
        if pid not in self._started:
            raise KernelError("pidfd_open", str(pid), 3)
        end, other = socket.socketpair()
        other.close()
        self._pidfds[end.fileno()] = pid
        return end.detach()

    def _send(self, pidfd: int, _signal: int) -> None:
        self.killed.append(self._pidfds[pidfd])


async def test_shims_that_cannot_be_asked(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    signals = Signals(monkeypatch, {1: 10, 2: 20, 3: 31, 77: 1})
    world.shims += [
        ShimProcess(1, 10, NOBODYS),
        ShimProcess(2, 20, ""),  # its bundle was thrown away
        ShimProcess(3, 30, NOBODYS),  # ended; its pid is another's now
        ShimProcess(4, 40, RESTS),  # ended
    ]
    await world.look()
    assert signals.killed == []
    await world.look()
    assert signals.killed == [1, 2]
    assert world.removed == ["shim", "shim"]


async def serve_shim(path: Path, pid: int, heard: list[str]) -> None:
    """A shim whose run is over."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.setblocking(False)
        await trio.lowlevel.wait_readable(listener)
        connection, _ = listener.accept()
        with connection:
            hello = {"event": "hello", "version": shim_protocol.VERSION, "shim_pid": pid}
            connection.send(shim_protocol.encode(hello))
            await trio.lowlevel.wait_readable(connection)
            if packet := connection.recv(65536):
                request = shim_protocol.decode(packet)
                heard.append(request["op"])
                connection.send(shim_protocol.encode({"id": request["id"], "ok": {}}))


@pytest.mark.parametrize("answers", [5, 6])
async def test_a_shim_that_waits_is_told_to_leave(
    world: World, monkeypatch: pytest.MonkeyPatch, answers: int
) -> None:
    signals = Signals(monkeypatch, {5: 50})
    monkeypatch.chdir(world.bundles)  # a socket's path must be short
    (world.bundles / RESTS).mkdir()
    shim = ShimProcess(5, 50, RESTS)
    world.shims.append(shim)
    heard: list[str] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_shim, Path(RESTS, "shim.sock"), answers, heard)
        await trio.testing.wait_all_tasks_blocked()
        await world.look(first=True)
        nursery.cancel_scope.cancel()
    if answers == shim.pid:
        assert (heard, signals.killed) == (["acknowledge"], [])
        await world.look()
        await world.look()
        assert world.removed == ["shim"]  # it may take its time
    else:  # a later shim of the same bundle
        assert (heard, signals.killed) == ([], [5])


async def test_a_run_whose_shim_is_gone_unheard(world: World) -> None:
    lost = world.containers[LIVES].task.lost
    await world.look()
    await world.look()
    assert lost == []
    world.shims = []
    await world.look()
    assert lost == []
    await world.look()
    assert lost == [True]


async def test_a_run_that_nobody_follows(world: World) -> None:
    world.containers[LIVES].task, world.containers[LIVES].followed = None, False
    await world.look()
    assert world.settled == []
    await world.look()
    assert world.settled == [LIVES]


async def test_it_looks_again_and_again_whatever_fails(
    world: World, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[float] = []

    async def look() -> None:
        looks.append(trio.current_time())
        raise OSError("no descriptors")

    monkeypatch.setattr(world.reconciler, "look", look)
    begun = trio.current_time()
    with trio.move_on_after(3.5 * INTERVAL):
        await world.reconciler.run()
    assert [round(at - begun) for at in looks] == [30, 60, 90]


def test_kinds_are_counted_by_the_metrics() -> None:
    assert get_args(LeftoverKind) == get_args(reconcile.Kind)
