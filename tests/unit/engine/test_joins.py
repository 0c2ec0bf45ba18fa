"""Descriptors of other containers' namespaces, and what happens when those end meanwhile."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from subprocess import Popen
from types import SimpleNamespace
from typing import Any, cast

import pytest

from supervisor.engine import joins
from supervisor.engine.container import Container
from supervisor.engine.joins import check_donors, is_watched, join_fds
from supervisor.errors import Conflict, InvalidArgument, NotFound, OrlopError
from supervisor.lifecycle.machine import Phase
from supervisor.spec.options import ContainerOptions

DONOR = "d" * 64
SHARED = f"container:{DONOR}"
CHOSEN = ContainerOptions(userns="private:100000:65536", userns_chosen=True)

OF_CHOSEN = {"userns": CHOSEN.userns, "userns_chosen": True}


@dataclass
class FakeShim:
    """Answers `signal`; `before` runs first, as other tasks do while a request waits."""

    before: Callable[[], None] = lambda: None
    asked: list[dict[str, Any]] = field(default_factory=list)

    async def request(self, op: str, **fields: Any) -> dict[str, Any]:
        self.before()
        self.asked.append({"op": op, **fields})
        return {}


class EndedShim(FakeShim):
    async def request(self, op: str, **fields: Any) -> dict[str, Any]:
        raise Conflict("shim: the container has ended")


@dataclass
class World:
    """One donor, which runs as this process unless told otherwise."""

    pid: int = field(default_factory=os.getpid)
    phase: Phase = Phase.RUNNING
    shim: FakeShim | None = field(default_factory=FakeShim)
    options: ContainerOptions = field(default_factory=lambda: ContainerOptions(ipc="shareable"))

    def __post_init__(self) -> None:
        self.donor = SimpleNamespace(
            id=DONOR,
            record=SimpleNamespace(name="web", options=self.options),
            state=SimpleNamespace(pid=self.pid, phase=self.phase),
            task=SimpleNamespace(shim=self.shim),
        )

    def find(self, ref: str) -> Container:
        if ref != DONOR:
            raise NotFound(f"No such container: {ref}")
        return cast(Container, self.donor)

    async def join(self, **modes: Any) -> dict[str, int]:
        asking = SimpleNamespace(record=SimpleNamespace(options=ContainerOptions(**modes)))
        return await join_fds(self.find, cast(Container, asking))


@contextmanager
def nothing_stays_open() -> Iterator[None]:
    before = os.listdir("/proc/self/fd")
    yield
    assert os.listdir("/proc/self/fd") == before


async def test_nothing_is_joined_without_being_asked_for() -> None:
    assert await World().join() == {}
    assert await World().join(network="bridge", pid="host", ipc="shareable") == {}


async def test_a_descriptor_of_each_kind() -> None:
    world = World()
    with nothing_stays_open():
        fds = await world.join(network=SHARED, pid=SHARED, ipc=SHARED)
        found = {kind: os.readlink(f"/proc/self/fd/{fd}") for kind, fd in fds.items()}
        assert not any(os.get_inheritable(fd) for fd in fds.values())
        for fd in fds.values():
            os.close(fd)
    names = {"network": "net", "pid": "pid", "ipc": "ipc", "mount": "mnt"}
    assert found == {kind: os.readlink(f"/proc/self/ns/{name}") for kind, name in names.items()}


async def test_the_mounts_come_with_ipc_alone() -> None:
    for kind in ("network", "pid"):
        fds = await World().join(**{kind: SHARED})
        assert list(fds) == [kind]
        os.close(fds[kind])


async def test_its_init_is_asked_for_after_everything_is_open() -> None:
    count = len(os.listdir("/proc/self/fd"))
    opened: list[int] = []
    shim = FakeShim(lambda: opened.append(len(os.listdir("/proc/self/fd")) - count))
    fds = await World(shim=shim).join(pid=SHARED, ipc=SHARED)
    for fd in fds.values():
        os.close(fd)
    assert opened == [3, 3]
    assert shim.asked == [{"op": "signal", "signal": 0}] * 2


async def test_one_that_ends_meanwhile() -> None:
    world = World(shim=EndedShim())
    with nothing_stays_open(), pytest.raises(Conflict, match=f"network of a non .*: {DONOR}"):
        await world.join(network=SHARED, ipc=SHARED)


async def test_a_run_that_follows_does_not_vouch_for_the_one_before() -> None:
    """The pid was read while the first ran: only that one's shim knows whose it was."""
    world = World(shim=EndedShim())
    first = FakeShim(lambda: setattr(world.donor.task, "shim", FakeShim()))
    other = World(shim=first)
    other.donor.id = "e" * 64
    asking = ContainerOptions(network=f"container:{other.donor.id}", pid=SHARED)
    found = {DONOR: world.donor, other.donor.id: other.donor}
    container = cast(Container, SimpleNamespace(record=SimpleNamespace(options=asking)))
    with nothing_stays_open(), pytest.raises(Conflict, match="cannot join PID of a non running"):
        await join_fds(lambda ref: cast(Container, found[ref]), container)


async def test_a_process_that_is_gone() -> None:
    with Popen(["true"]) as process:
        pass
    with nothing_stays_open(), pytest.raises(Conflict, match="cannot join IPC of a non running"):
        await World(pid=process.pid).join(ipc=SHARED)


@pytest.mark.parametrize(
    "world, kind, error, message",
    [
        (World(pid=0, phase=Phase.EXITED), "network", Conflict, "network of a non running"),
        (World(pid=0, phase=Phase.STARTING), "pid", Conflict, "PID of a non running"),
        (World(pid=0, phase=Phase.RESTARTING), "ipc", Conflict, "is restarting, wait until"),
        (World(shim=None), "pid", Conflict, "PID of a non running"),
        (World(options=ContainerOptions()), "ipc", InvalidArgument, "non-shareable IPC"),
        (World(options=ContainerOptions(ipc="none")), "ipc", InvalidArgument, "non-shareable"),
        (
            World(options=ContainerOptions(ipc="shareable", userns="private:100000:65536")),
            "network",
            InvalidArgument,
            "cannot join network of container web: it has a user namespace of its own",
        ),
        (
            World(options=replace(CHOSEN, ipc="shareable")),
            "ipc",
            InvalidArgument,
            "cannot join IPC of container web: it has a user namespace of its own",
        ),
    ],
)
async def test_one_that_cannot_be_joined(
    world: World, kind: str, error: type[OrlopError], message: str
) -> None:
    with nothing_stays_open(), pytest.raises(error, match=message):
        await world.join(**{kind: SHARED})


def test_ids_that_the_daemon_chose_keep_nobody_apart() -> None:
    world = World(options=CHOSEN)
    asked = ContainerOptions(network=SHARED, pid=SHARED)
    asking = SimpleNamespace(record=SimpleNamespace(options=asked))
    found = check_donors(world.find, cast(Container, asking))
    assert found == {"network": world.donor, "pid": world.donor}


async def test_who_has_the_same_ids_joins_the_user_namespace_too() -> None:
    world = World(options=replace(CHOSEN, ipc="shareable"))
    fds = await world.join(network=SHARED, pid=SHARED, ipc=SHARED, **OF_CHOSEN)
    try:
        assert set(fds) == {"network", "pid", "ipc", "mount", "user"}
        assert os.path.samestat(os.fstat(fds["user"]), os.stat("/proc/self/ns/user"))
    finally:
        for fd in fds.values():
            os.close(fd)


@pytest.mark.parametrize(
    "donor", [ContainerOptions(), replace(CHOSEN, userns="private:200000:65536")]
)
async def test_who_has_other_ids_is_refused(donor: ContainerOptions) -> None:
    with nothing_stays_open(), pytest.raises(InvalidArgument, match="web: it has other user ids"):
        await World(options=donor).join(network=SHARED, **OF_CHOSEN)


@pytest.mark.parametrize("ipc", ["host", "shareable", f"container:{'f' * 64}"])
def test_ipc_that_is_shared_already(ipc: str) -> None:
    world = World(options=ContainerOptions(ipc=ipc))
    asking = SimpleNamespace(record=SimpleNamespace(options=ContainerOptions(ipc=SHARED)))
    assert check_donors(world.find, cast(Container, asking)) == {"ipc": world.donor}


async def test_one_that_is_not_there_any_more() -> None:
    with pytest.raises(Conflict, match=r"joining pid namespace of container: No such container: x"):
        await World().join(pid="container:x")


def _container(init: int, **options: Any) -> Container:
    record = SimpleNamespace(name="web", options=ContainerOptions(**options))
    return cast(Container, SimpleNamespace(record=record, state=SimpleNamespace(pid=init)))


def test_who_has_joined_the_processes_watches() -> None:
    own = _container(os.getpid())
    joined = _container(os.getpid(), pid="container:web")
    chain = _container(os.getpid(), pid="container:another")  # which joined it in its turn
    assert is_watched(own, [own, joined])
    assert is_watched(own, [chain, own])
    # Neither who has joined something else, nor who does not run, nor who is gone.
    assert not is_watched(own, [own, _container(os.getpid())])
    assert not is_watched(own, [own, _container(os.getpid(), ipc="container:web")])
    assert not is_watched(own, [own, _container(0, pid="container:web")])
    assert not is_watched(own, [own, _container(1 << 22, pid="container:web")])
    # Of one that is gone nothing can be said.
    assert is_watched(_container(1 << 22), [joined])


def test_who_has_joined_other_processes_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    inodes = {1: 10, 2: 20, 3: 10}
    monkeypatch.setattr(joins, "namespace_inode", lambda pid, kind: inodes[pid])
    assert not is_watched(_container(1), [_container(2, pid="container:other")])
    assert is_watched(_container(1), [_container(3, pid="container:other")])
