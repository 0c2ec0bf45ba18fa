"""When records are copied into their bundles: behind what is going on, and only where it counts."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from msgspec.structs import replace
from trio.testing import wait_all_tasks_blocked

from supervisor.engine import copies
from supervisor.engine.copies import Copies
from supervisor.engine.record import Record, decode
from supervisor.lifecycle.machine import Phase
from supervisor.store import record_copies
from supervisor.store.layout import DataRoot
from tests.unit.engine.test_record import record

ONE, TWO = "a" * 64, "b" * 64


class World:
    """Copies that run for a test, of containers with a bundle each."""

    def __init__(self, folder: Path) -> None:
        self.root = DataRoot(folder)
        self.root.prepare()
        self.copies = Copies(self.root)

    def add(self, key: str) -> Record:
        self.root.bundle(key).mkdir()
        return record(id=key)

    def copy(self, key: str) -> Record | None:
        document = record_copies.latest(self.root.bundle(key))
        return decode(document) if document else None


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(copies, "AFTER_SECONDS", 0.01)
    return World(tmp_path)


async def until_copied(world: World, key: str, run: int) -> None:
    """Written by a thread, that is; the whole run's time limit ends this."""
    while (copy := world.copy(key)) is None or copy.state.run != run:
        await trio.sleep(0.01)


async def test_a_copy_is_of_the_latest(world: World, nursery: trio.Nursery) -> None:
    nursery.start_soon(world.copies.run)
    one = world.add(ONE)
    for run in range(3):
        one.state = replace(one.state, run=run)
        world.copies.note(one)
    assert world.copy(ONE) is None, "nobody waits for it"
    await until_copied(world, ONE, 2)
    one.state = replace(one.state, run=7)
    world.copies.note(one)
    await until_copied(world, ONE, 7)


async def test_those_that_have_none(world: World, nursery: trio.Nursery) -> None:
    """Still being created, being removed, gone already."""
    nursery.start_soon(world.copies.run)
    made, being_made, going = world.add(ONE), world.add(TWO), world.add("c" * 64)
    gone = record(id="d" * 64)
    going.state = replace(going.state, phase=Phase.REMOVING)
    world.copies.is_made = {ONE, "c" * 64, "d" * 64}.__contains__
    for one in (gone, being_made, going, made):
        world.copies.note(one)
    await until_copied(world, ONE, 0)
    assert {path.parent.name for path in world.root.containers.glob("*/*")} == {ONE}


async def test_what_is_left_is_written_at_the_end(world: World) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.copies.run)
        await wait_all_tasks_blocked()
        world.copies.note(world.add(ONE))
        nursery.cancel_scope.cancel()
    assert world.copy(ONE) is not None


async def test_a_disk_that_takes_nothing_is_said_once(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in (ONE, TWO):
        world.copies.note(world.add(key))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(record_copies, "add", full)
        world.copies._write(world.copies._take())
    assert caplog.text.count("no copy of its record") == 1
    world.copies.note(record(id=ONE))
    world.copies._write(world.copies._take())
    assert world.copy(ONE) is not None
