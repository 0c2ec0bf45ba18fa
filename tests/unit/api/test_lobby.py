"""What needs no waiting is answered without a task, and whatever else comes gets one."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing

from supervisor.api import handlers, lobby, plain_heads
from supervisor.api.arrival import Disconnected
from supervisor.api.connection import Connection
from supervisor.api.hangups import HangUps
from supervisor.api.lobby import Lobby
from supervisor.api.patience import Patience
from supervisor.api.read_only import SERVED
from supervisor.api.server import Server
from supervisor.errors import Conflict
from tests.unit.api.conftest import Api, Client

HEADERS = b" HTTP/1.1\r\nHost: x\r\nUser-Agent: Docker-Client/28.2.2 (linux)\r\n\r\n"
PING = b"GET /_ping" + HEADERS
STATS = b"GET /v1.50/containers/web/stats?stream=0" + HEADERS


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch) -> list[Connection]:
    """Connections that got a task of their own."""
    served: list[Connection] = []
    serve = Server._serve_connection

    async def spy(self: Server, connection: Connection) -> bool:
        served.append(connection)
        return await serve(self, connection)

    monkeypatch.setattr(Server, "_serve_connection", spy)
    return served


@pytest.fixture
async def known(api: Api, tasks: list[Connection], monkeypatch: pytest.MonkeyPatch) -> None:
    """The headers were read once."""
    monkeypatch.setattr(plain_heads, "_known", {})
    client = await api.client()
    await client.send(PING)
    assert (await client.reply()).body == b"OK"
    assert len(tasks) == 1  # h11 may have to wait for the rest of a head
    tasks.clear()


async def ask(client: Client, request: bytes) -> tuple[int, bytes]:
    await client.send(request)
    reply = await client.reply()
    return reply.status, reply.body


async def test_prompt_answers_take_no_task(api: Api, known: None, tasks: list[Connection]) -> None:
    await api.create("sleep", name="web")
    tasks.clear()
    client = await api.client()
    assert await ask(client, PING) == (200, b"OK")
    assert (await ask(client, STATS))[0] == 200
    assert (await ask(client, b"GET /nonsense" + HEADERS))[0] == 404
    assert (await ask(client, STATS.replace(b"web", b"nobody")))[0] == 404
    assert tasks == []
    told = [("SystemPing", 200), ("ContainerStats", 200), ("", 404), ("ContainerStats", 404)]
    assert api.engine.metering.answers[-4:] == told


async def test_whatever_else_gets_a_task_for_good(
    api: Api, known: None, tasks: list[Connection]
) -> None:
    await api.create("sleep", name="web")
    tasks.clear()
    client = await api.client()
    assert await ask(client, PING) == (200, b"OK")
    assert (await ask(client, b"GET /version" + HEADERS))[0] == 200
    assert len(tasks) == 1
    assert (await ask(client, STATS))[0] == 200
    assert await ask(client, PING) == (200, b"OK")
    assert len(tasks) == 1


@pytest.mark.parametrize("query", [b"", b"?stream=1", b"?stream=true&one-shot=1"])
async def test_a_stream_of_stats_has_a_task(
    api: Api, known: None, tasks: list[Connection], monkeypatch: pytest.MonkeyPatch, query: bytes
) -> None:
    monkeypatch.setattr("supervisor.api.metering.SECONDS", 0.0)
    await api.create("sleep", name="web")
    tasks.clear()
    client = await api.client()
    await client.send(b"GET /containers/web/stats" + query + HEADERS)
    assert len((await client.reply()).chunks) == 3
    assert len(tasks) == 1


async def test_a_client_that_reads_late_gets_all_and_may_ask_on(
    api: Api, known: None, tasks: list[Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    large = {"id": "x" * (1 << 20)}
    monkeypatch.setattr(api.engine.metering, "stats", lambda *_, **__: (large, None))
    await api.create("sleep", name="web")
    tasks.clear()
    client = await api.client()
    await client.send(STATS)
    while not tasks:  # the rest is for a task
        await trio.sleep(0.001)
    reply = await client.reply()
    assert reply.json() == large
    assert await ask(client, PING) == (200, b"OK")
    assert len(tasks) == 1


async def test_one_defect_is_one_answer(
    api: Api, known: None, tasks: list[Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> None:
        raise RuntimeError("broken")

    client = await api.client()
    with monkeypatch.context() as patched:
        patched.setitem(handlers.PROMPT, "SystemPing", broken)
        assert (await ask(client, PING))[0] == 500
    assert await ask(client, PING) == (200, b"OK")
    assert tasks == []


async def test_a_failure_of_the_lobby_ends_one_connection(
    api: Api, known: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client, other = await api.client(), await api.client()
    with monkeypatch.context() as patched:
        patched.setattr(api.engine.metering, "answered", None)
        await client.send(PING)
        assert await client.closed()
    assert "a connection broke" in caplog.text
    assert await ask(other, PING) == (200, b"OK")


async def test_a_read_only_address_refuses_here_too(
    api: Api, known: None, tasks: list[Connection]
) -> None:
    assert set(handlers.PROMPT) <= SERVED
    client = Client(await trio.open_unix_socket(api.read_only))
    api.clients.append(client)
    status, body = await ask(client, b"POST /containers/web/start" + HEADERS)
    assert (status, b"read-only" in body) == (403, True)
    assert await ask(client, PING) == (200, b"OK")
    assert tasks == []


async def test_stopping_ends_those_that_have_not_asked_yet(api: Api) -> None:
    client = await api.client()
    await trio.testing.wait_all_tasks_blocked()
    api.server.stop()
    assert await client.closed()


# --- the lobby itself ---------------------------------------------------------------------------


class Answers:
    """Whoever owns a lobby: what it was told."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.left: list[Connection] = []
        self.over: list[Connection] = []
        self.failure: Exception | None = None

    def answer(self, connection: Connection, data: bytes) -> bool:
        self.asked.append(data)
        if self.failure is not None:
            raise self.failure
        return data != b"wait"

    def end(self, connection: Connection) -> None:
        self.over.append(connection)
        connection.close()


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
def hall(answers: Answers, nursery: trio.Nursery) -> Iterator[Lobby]:
    patience = Patience()
    nursery.start_soon(patience.run)
    made = Lobby(patience, answer=answers.answer, leave=answers.left.append, over=answers.end)
    yield made
    made.close()


class Pairs:
    """Clients' ends of connections, and ours."""

    def __init__(self) -> None:
        self._hang_ups, self._patience = HangUps(), Patience()
        self._made: list[Any] = []

    def __call__(self) -> tuple[socket.socket, Connection]:
        client, ours = socket.socketpair()
        ours.setblocking(False)
        connection = Connection(ours, self._hang_ups, self._patience)
        self._made += [client, connection]
        return client, connection

    def close(self) -> None:
        for one in self._made:
            one.close()
        self._hang_ups.close()


@pytest.fixture
def pair() -> Iterator[Pairs]:
    made = Pairs()
    yield made
    made.close()


async def test_what_was_sent_before_the_entry_is_answered_in_it(
    hall: Lobby, answers: Answers, pair: Pairs
) -> None:
    client, connection = pair()
    client.send(b"early")
    hall.enter(connection)
    assert answers.asked == [b"early"]
    assert connection.waiting is not None


async def test_who_leaves_is_looked_at_no_more(
    hall: Lobby, answers: Answers, pair: Pairs, nursery: trio.Nursery
) -> None:
    nursery.start_soon(hall.run)
    client, connection = pair()
    hall.enter(connection)
    client.send(b"wait")
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert answers.left == [connection]
    assert connection.waiting is None
    client.send(b"more")
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert answers.asked == [b"wait"]


@pytest.mark.parametrize("failure", [Disconnected("gone"), Conflict("a defect")])
async def test_who_fails_is_at_its_end(
    hall: Lobby, answers: Answers, pair: Pairs, failure: Exception
) -> None:
    client, connection = pair()
    client.send(b"x")
    answers.failure = failure
    hall.enter(connection)
    assert (answers.over, answers.left) == ([connection], [])
    assert connection.waiting is None


async def test_who_cannot_be_watched_is_at_its_end(
    hall: Lobby, answers: Answers, pair: Pairs, caplog: pytest.LogCaptureFixture
) -> None:
    client, connection = pair()
    hall.close()
    hall._epoll = SimpleNamespace(register=refuse, close=lambda: None)  # type: ignore[assignment]
    client.send(b"x")
    hall.enter(connection)
    assert (answers.over, answers.asked) == ([connection], [])
    assert "cannot be watched: No space left on device" in caplog.text


def refuse(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


async def test_clients_that_close_and_the_end_of_all(
    hall: Lobby, answers: Answers, pair: Pairs, nursery: trio.Nursery
) -> None:
    nursery.start_soon(hall.run)
    (going, first), (_, second) = pair(), pair()
    hall.enter(first)
    hall.enter(second)
    going.close()
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert answers.over == [first]
    hall.close()
    assert answers.over == [first, second]


async def test_others_get_their_turn_in_between(
    hall: Lobby, answers: Answers, pair: Pairs, nursery: trio.Nursery
) -> None:
    count = 4 * lobby.AT_ONCE
    for _ in range(count):
        client, connection = pair()
        hall.enter(connection)
        client.send(b"x")
    rounds: set[int] = set()
    nursery.start_soon(hall.run)
    with trio.fail_after(5):
        while len(answers.asked) < count:
            rounds.add(len(answers.asked))
            await trio.lowlevel.checkpoint()
    # In which order trio takes its tasks is left to chance.
    assert {0} < rounds <= set(range(0, count, lobby.AT_ONCE))
