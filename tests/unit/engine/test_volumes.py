"""The engine's volumes: who has one, who may remove it, and what stays when making one fails."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing

from supervisor.docker.volumes import ANONYMOUS_LABEL, VolumeBody
from supervisor.engine.events import EventBus
from supervisor.engine.volume_runs import VolumeRuns
from supervisor.engine.volume_taking import fill, taking
from supervisor.engine.volumes import Volumes
from supervisor.errors import Conflict, InvalidArgument, NotFound
from supervisor.spec.mount_points import MountPoint, volume_names
from supervisor.store.database import Database
from supervisor.store.folder_sizes import FolderSizes
from supervisor.store.layout import DataRoot
from supervisor.store.volumes import KIND

NAMED = MountPoint(type="volume", destination="/v", name="v1", copy_up=True)
NAMELESS = MountPoint(type="volume", destination="/a", anonymous=True, copy_up=True)


@dataclass
class Surroundings:
    """What the volumes ask of the host, with a data root and a database of their own."""

    root: DataRoot
    database: Database
    bus: EventBus = field(default_factory=EventBus)
    sizes: FolderSizes = field(default_factory=FolderSizes)

    def empty_trash_soon(self) -> None:
        """Nobody empties it here."""


@dataclass
class Container:
    id: str
    record: Any
    state: Any = field(default_factory=lambda: SimpleNamespace(live=False))


class World:
    def __init__(self, host: Surroundings) -> None:
        self.host = host
        self.containers: list[Container] = []
        self.volumes = self.reload()

    def reload(self) -> Volumes:
        containers: Any = self.containers
        host: Any = self.host
        self.volumes = Volumes(host, lambda: containers)
        self.runs = VolumeRuns(self.volumes)
        return self.volumes

    def add(
        self, id: str, *points: MountPoint, take: bool = False, live: bool = False
    ) -> Container:
        record = SimpleNamespace(
            id=id,
            mounts=points,
            volumes=volume_names(points),
            anonymous_volumes=tuple(p.name for p in points if p.anonymous),
            take_volumes=take,
            options=SimpleNamespace(auto_remove=False),
        )
        self.containers.append(Container(id, record, SimpleNamespace(live=live)))
        return self.containers[-1]

    async def rows(self) -> list[str]:
        return [key for key, _ in await self.host.database.all(KIND)]

    def folders(self) -> list[str]:
        return sorted(path.name for path in self.host.root.volumes.iterdir())

    async def create(self, name: str, **options: str) -> None:
        await self.volumes.create(VolumeBody(name=name, driver_opts=options))

    async def events(self) -> list[tuple[str, str]]:
        return [(e.action, e.id) async for e in self.host.bus.stream(0, 0)] or [
            (e.action, e.id) for e in self.host.bus._memory
        ]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    root = DataRoot(tmp_path / "root")
    root.prepare()
    database = await Database.open(root.db)
    yield World(Surroundings(root, database))
    await database.close()
    root.release()


async def test_create_is_idempotent(world: World) -> None:
    first = await world.volumes.create(VolumeBody(name="v1", labels={"k": "v"}))
    again = await world.volumes.create(VolumeBody(name="v1", labels={"other": ""}))
    assert again is first
    assert await world.rows() == world.folders() == ["v1"]
    assert await world.events() == [("create", "v1")]


async def test_create_without_a_name(world: World) -> None:
    volume = await world.volumes.create(VolumeBody(labels={"k": "v"}))
    assert len(volume.name) == 64
    assert volume.labels == {"k": "v", ANONYMOUS_LABEL: ""}


async def test_many_creates_at_once_make_one(world: World) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(world.create, "v1")
    assert await world.events() == [("create", "v1")]


async def test_bad_options_make_nothing(world: World) -> None:
    with pytest.raises(InvalidArgument, match="missing required option"):
        await world.create("v1", type="nfs")
    assert world.folders() == []


async def test_remove(world: World) -> None:
    await world.create("v1")
    await world.volumes.remove("v1", force=False)
    assert world.volumes.list() == []
    assert (await world.rows(), world.folders()) == ([], [])
    with pytest.raises(NotFound, match=r"^get v1: no such volume$"):
        await world.volumes.remove("v1", force=False)
    await world.volumes.remove("v1", force=True)


@pytest.mark.parametrize("force", [False, True])
async def test_what_a_container_has_is_not_removed(world: World, force: bool) -> None:
    await world.create("v1")
    world.add("c1", NAMED)
    world.add("c2", NAMED)
    with pytest.raises(Conflict, match=r"^remove v1: volume is in use - \[c1, c2\]$"):
        await world.volumes.remove("v1", force=force)
    assert world.volumes.used() == {"v1"}


async def test_what_is_being_taken_is_not_removed(world: World) -> None:
    await world.create("v1")
    refused = []

    async def remove() -> None:
        try:
            await world.volumes.remove("v1", force=True)
        except Conflict as error:
            refused.append(error.message)

    async with trio.open_nursery() as nursery, taking(world.volumes, [NAMED]):
        nursery.start_soon(remove)
        await trio.testing.wait_all_tasks_blocked()
        world.add("c1", NAMED)
    assert refused == ["remove v1: volume is in use - [c1]"]


async def test_it_survives_a_restart(world: World) -> None:
    await world.create("v1", type="tmpfs", device="tmpfs", o="size=1m")
    before = world.volumes.list()
    world.reload()
    await world.volumes.load()
    assert world.volumes.list() == before


async def take(world: World, *points: MountPoint) -> tuple[MountPoint, ...]:
    """As the engine does: rows with the container's, then the folders."""
    async with taking(world.volumes, points) as taken:
        await world.host.database.apply(taken.rows)
        await fill(world.volumes, taken, [])
        world.add(f"c{len(world.containers)}", *taken.points)
        return taken.points


async def test_taking_makes_what_is_missing(world: World) -> None:
    named, nameless = await take(world, NAMED, NAMELESS)
    assert (named.name, named.source) == ("v1", f"{world.host.root.volumes}/v1/_data")
    assert len(nameless.name) == 64
    assert world.volumes.get(nameless.name).anonymous
    assert not world.volumes.get("v1").anonymous
    assert await world.rows() == world.folders() == sorted(["v1", nameless.name])


async def test_taking_finds_what_is_there(world: World) -> None:
    await world.create("v1")
    await take(world, NAMED)
    await take(world, NAMED)
    assert await world.events() == [("create", "v1")]


@pytest.mark.parametrize("made", [False, True])
async def test_nothing_stays_of_a_container_that_was_not_made(world: World, made: bool) -> None:
    await world.create("old")
    old = MountPoint(type="volume", destination="/old", name="old")

    async def fail() -> None:
        async with taking(world.volumes, [NAMED, NAMELESS, old]) as taken:
            await world.host.database.apply(taken.rows)
            if made:
                await fill(world.volumes, taken, [])
            raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        await fail()
    assert await world.rows() == world.folders() == ["old"]
    await world.volumes.remove("old", force=False)  # and nothing is held


async def test_a_cancelled_container_leaves_nothing(world: World) -> None:
    with trio.move_on_after(0.05):
        async with taking(world.volumes, [NAMED, NAMELESS]) as taken:
            await world.host.database.apply(taken.rows)
            await fill(world.volumes, taken, [])
            await trio.sleep_forever()
    assert await world.rows() == world.folders() == []


async def test_two_containers_take_turns_with_one_volume(world: World) -> None:
    inside = 0

    async def one() -> None:
        nonlocal inside
        async with taking(world.volumes, [NAMED]):
            inside += 1
            assert inside == 1
            await trio.testing.wait_all_tasks_blocked()
            inside -= 1

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(one)


async def test_volumes_in_another_order_are_no_deadlock(world: World) -> None:
    other = MountPoint(type="volume", destination="/w", name="v2")
    async with trio.open_nursery() as nursery:
        for points in [(NAMED, other), (other, NAMED)] * 5:
            nursery.start_soon(take, world, *points)
    assert world.folders() == ["v1", "v2"]


@pytest.mark.parametrize("take_volumes", [False, True])
async def test_anonymous_volumes_go_with_their_container(world: World, take_volumes: bool) -> None:
    points = await take(world, NAMED, NAMELESS)
    container = world.containers[0]
    container.record.take_volumes = take_volumes
    await world.volumes.let_go(container.record)
    assert world.folders() == sorted(["v1"] if take_volumes else ["v1", points[1].name])


async def test_anonymous_volumes_stay_with_whoever_has_them_too(world: World) -> None:
    points = await take(world, NAMELESS)
    first = world.containers[0]
    second = world.add("second", *points, take=True)
    first.record.take_volumes = True
    await world.volumes.let_go(first.record)
    assert world.folders() == [points[0].name]
    world.containers.remove(first)
    await world.volumes.let_go(second.record)
    assert world.folders() == []


async def test_memory_belongs_to_one_running_container(world: World) -> None:
    await world.create("v1", type="tmpfs", device="tmpfs")
    one, two = world.add("c1", NAMED), world.add("c2", NAMED)
    world.runs.prepare(one)  # type: ignore[arg-type]
    one.state.live = True
    world.runs.prepare(one)  # type: ignore[arg-type]
    with pytest.raises(Conflict, match="in use by container c1"):
        world.runs.prepare(two)  # type: ignore[arg-type]


async def test_missing_sources_of_binds_are_made(world: World, tmp_path: Path) -> None:
    source = tmp_path / "a" / "b"
    point = MountPoint(type="bind", destination="/x", source=str(source), make_source=True)
    world.runs.prepare(world.add("c1", point))  # type: ignore[arg-type]
    assert source.stat().st_mode & 0o7777 == 0o755
    world.runs.prepare(world.containers[0])  # type: ignore[arg-type]


async def test_sources_that_cannot_be_made(world: World, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    source = tmp_path / "file/a/b"
    point = MountPoint(type="bind", destination="/x", source=str(source), make_source=True)
    with pytest.raises(InvalidArgument, match=f"mount source path '{source}': mkdir .*/file/a: "):
        world.runs.prepare(world.add("c1", point))  # type: ignore[arg-type]


async def test_prune(world: World) -> None:
    for name in ("v1", "used", "kept"):
        await world.create(name)
    world.add("c1", MountPoint(type="volume", destination="/x", name="used"))
    names, reclaimed = await world.volumes.prune(lambda volume: volume.name != "kept")
    assert (names, world.folders()) == (["v1"], ["kept", "used"])
    assert reclaimed >= 0
    assert (await world.events())[-1] == ("prune", "")


async def test_mount_and_unmount_are_told(world: World) -> None:
    record = world.add("c1", NAMED).record
    world.runs.tell(record, "start")
    world.runs.tell(record, "exec_start")
    world.runs.tell(record, "die")
    mount, unmount = world.host.bus._memory
    assert mount.attributes == {
        "container": "c1",
        "destination": "/v",
        "driver": "local",
        "propagation": "",
        "read/write": "true",
    }
    assert (unmount.action, unmount.attributes) == (
        "unmount",
        {"container": "c1", "driver": "local"},
    )
