"""When a container's record goes to the database: at once, soon, or before anybody is told."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from supervisor.docker.create import CreateBody
from supervisor.engine.container import Container
from supervisor.engine.host import WRITE_SECONDS, Host
from supervisor.lifecycle import machine as m
from supervisor.lifecycle.machine import Phase, State
from supervisor.lifecycle.restart import RestartPolicy

ID = "a" * 64


class Database:
    """Takes operations; a write is durable when `finish` is called."""

    def __init__(self) -> None:
        self.submitted: list[tuple[Any, ...]] = []
        self.durable = trio.Event()

    def submit(self, operations: Any) -> Any:
        self.submitted.append(tuple(operations))
        return SimpleNamespace(wait=self.durable.wait)

    @property
    def documents(self) -> list[list[bytes]]:
        return [[op.doc for op in group] for group in self.submitted]


class FakeRecord(SimpleNamespace):
    """As much of a record as is looked at, and what is written of it."""

    def encode(self) -> bytes:
        return f"{self.id[0]}:{self.state.phase}".encode()


def make_host(database: Database) -> Host:
    host: Any = Host.__new__(Host)
    host.database, host._unwritten, host._write_wanted = database, {}, trio.Event()
    host.copies = SimpleNamespace(note=lambda _record: None)
    return cast(Host, host)


def make_record(state: State, id: str = ID) -> Any:
    return FakeRecord(id=id, name="one", body=CreateBody(image="x"), state=state)


@pytest.fixture
def database() -> Database:
    return Database()


@pytest.fixture
def host(database: Database) -> Host:
    return make_host(database)


def container(host: Host, nursery: trio.Nursery, state: State, *, recorded: bool) -> Container:
    made = Container(host, make_record(state), nursery)
    made.task = cast(Any, SimpleNamespace(recorded=recorded))
    return made


ALWAYS = RestartPolicy("always")


@pytest.mark.parametrize(
    "state, recorded, when",
    [
        (State(phase=Phase.STARTING), False, "at once"),
        (State(phase=Phase.RUNNING), False, "soon"),
        (State(phase=Phase.RUNNING, freezing=True), False, "at once"),
        (State(phase=Phase.PAUSED), False, "at once"),
        (State(phase=Phase.STOPPING), False, "at once"),
        (State(phase=Phase.REMOVING), True, "at once"),
        (State(phase=Phase.EXITED), True, "soon"),
        (State(phase=Phase.EXITED), False, "waited for"),
        (State(phase=Phase.EXITED, policy=ALWAYS), True, "waited for"),
        (State(phase=Phase.RESTARTING, policy=ALWAYS), True, "waited for"),
        (State(phase=Phase.DEAD), True, "waited for"),
    ],
)
async def test_what_nobody_else_tells_is_written_at_once(
    nursery: trio.Nursery, host: Host, database: Database, state: State, recorded: bool, when: str
) -> None:
    one = container(host, nursery, state, recorded=recorded)
    over = trio.Event()

    async def persist() -> None:
        await one._perform(m.Persist())
        over.set()

    nursery.start_soon(persist)
    await wait_all_tasks_blocked()
    assert over.is_set() is (when != "waited for")
    assert bool(database.submitted) is (when != "soon")
    assert host.waits(one.record) is (when == "soon")
    database.durable.set()
    await wait_all_tasks_blocked()
    assert over.is_set()


async def test_who_needs_the_record_does_not_wait_for_soon(
    nursery: trio.Nursery, host: Host, database: Database
) -> None:
    one = container(host, nursery, State(phase=Phase.RUNNING), recorded=False)
    await one._perform(m.Persist())
    assert database.submitted == []
    nursery.start_soon(one.saved)
    await wait_all_tasks_blocked()
    assert database.documents == [[b"a:running"]]
    assert not host.waits(one.record)


async def test_soon_is_within_a_time(
    nursery: trio.Nursery, host: Host, database: Database, autojump_clock: MockClock
) -> None:
    nursery.start_soon(host._write_waiting)
    record, other = make_record(State(phase=Phase.RUNNING)), make_record(State(), "b" * 64)
    host.save_soon(record)
    host.save_later(other)
    record.state = State(phase=Phase.EXITED)
    host.save_soon(record)
    await trio.sleep(WRITE_SECONDS * 1.5)
    assert database.documents == [[b"a:exited", b"b:created"]], "once, as it is by then"
    await trio.sleep(10 * WRITE_SECONDS)
    host.save_soon(record)
    await trio.sleep(WRITE_SECONDS * 1.5)
    assert len(database.submitted) == 2


async def test_it_goes_with_what_is_written_before(host: Host, database: Database) -> None:
    record, other = make_record(State(phase=Phase.RUNNING)), make_record(State(), "b" * 64)
    host.save_soon(record)
    host.save(other)
    assert database.documents == [[b"a:running", b"b:created"]]
    host.write_now()
    assert len(database.submitted) == 1


async def test_what_is_deleted_is_not_written_again(host: Host, database: Database) -> None:
    record = make_record(State(phase=Phase.EXITED))
    host.save_soon(record)
    host.delete(record)
    host.write_now()
    assert [[type(op).__name__ for op in group] for group in database.submitted] == [["Delete"]]
