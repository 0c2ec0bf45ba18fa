"""The API's connections: any bytes, in any pieces, to a server over an engine in memory."""

from __future__ import annotations

import fcntl
import logging
import os
import socket
import termios
from collections.abc import Sequence
from urllib.parse import parse_qs

import trio
import trio.testing

from supervisor.api import messages
from supervisor.api.connection import Connection
from supervisor.api.hangups import HangUps
from supervisor.api.lobby import Lobby
from supervisor.api.server import Server
from supervisor.docker import events, query
from supervisor.docker.filters import decode_filters
from supervisor.docker.routes import route
from supervisor.engine.network_records import Network
from supervisor.errors import OrlopError
from tests.fuzz.target import Target, pieces, whole
from tests.unit.api.fake_engine import FakeEngine

_PATIENCE = 5000.0
"""Seconds of a clock that jumps: longer than the server waits for anything."""
_MOST_ANSWERS = 4096
_READ = 1 << 16


class Broken(logging.Handler):
    """What the server could not explain, and so logged."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def check(self) -> None:
        """Raise the error of the first of them."""
        for record in self.records:
            error = record.exc_info[1] if record.exc_info else None
            raise AssertionError(record.getMessage()) from error


def conversation(data: bytes) -> None:
    """Whatever is sent: HTTP comes back, none of it a failure of ours, and the connection ends.

    The lowest bit of the first byte makes it a read-only one, over which nothing is made.
    """
    conversations([data])


def conversations(many: Sequence[bytes]) -> None:
    """The same for many at a time, each with an engine and a server of its own: to begin a loop
    and to wait in it costs most."""
    broken = Broken()
    log = logging.getLogger("orlop.api")
    log.addHandler(broken)
    propagates, log.propagate = log.propagate, False
    try:
        answered = trio.run(_all, many, clock=trio.testing.MockClock(autojump_threshold=0))
    finally:
        log.removeHandler(broken)
        log.propagate = propagates
    broken.check()
    for answers in answered:
        check_answers(answers)


async def _all(many: Sequence[bytes]) -> list[bytes]:
    answered = [b""] * len(many)

    async def converse(number: int) -> None:
        answered[number] = await _converse(many[number], hang_ups)

    hang_ups = HangUps()
    try:
        async with trio.open_nursery() as watching:
            watching.start_soon(hang_ups.run)
            async with trio.open_nursery() as nursery:
                for number in range(len(many)):
                    nursery.start_soon(converse, number)
            watching.cancel_scope.cancel()
    finally:
        hang_ups.close()
    return answered


async def _converse(data: bytes, hang_ups: HangUps) -> bytes:
    near, client = socket.socketpair()
    near.setblocking(False)
    client.setblocking(False)
    answered = b""
    with client:
        async with trio.open_nursery() as nursery:
            engine = FakeEngine(nursery)
            server = Server(engine)
            server._hang_ups.close()
            server._hang_ups = hang_ups
            await _load_networks(engine)
            read_only = bool(data[:1]) and bool(data[0] & 1)
            over = trio.Event()

            async def serve(connection: Connection) -> None:
                await server._serve_connection(connection)
                over.set()

            def end(connection: Connection) -> None:
                server._over(connection)
                over.set()

            lobby = Lobby(
                server._patience,
                answer=server._answered_at_once,
                leave=lambda connection: nursery.start_soon(serve, connection),
                over=end,
            )
            async with trio.open_nursery() as looking:
                looking.start_soon(lobby.run)
                server._welcome(lobby, near, read_only=read_only)
                with trio.move_on_after(_PATIENCE) as patience:
                    await _send(client, pieces(data), engine)
                    answered = await _received(client)
                # Who has asked for more waits for it, behind an answer without an end too.
                waits = patience.cancelled_caught and _has_unread(near)
                client.close()
                _end_containers(engine)
                with trio.move_on_after(_PATIENCE):
                    await over.wait()
                looking.cancel_scope.cancel()
            lobby.close()
            nursery.cancel_scope.deadline = trio.current_time() + _PATIENCE
    assert waits or not patience.cancelled_caught, "the connection does not end"
    assert over.is_set(), "the server does not let go"
    assert not nursery.cancel_scope.cancelled_caught, "the server leaves a task behind"
    assert not (read_only and engine.containers), "a read-only connection made a container"
    return answered


_LOADED: list[tuple[dict[str, Network], dict[tuple[str, str], bytes]]] = []
"""The networks that every engine begins with, and their rows: values, made once."""


async def _load_networks(engine: FakeEngine) -> None:
    world = engine.networks.world
    if not _LOADED:
        await engine.networks.load()
        _LOADED.append((dict(world.networks._networks), dict(world.database.rows)))
    networks, rows = _LOADED[0]
    world.networks._networks.update(networks)
    world.database.rows.update(rows)


async def _send(client: socket.socket, parts: list[bytes], engine: FakeEngine) -> None:
    try:
        for part in parts:
            # Never more than what fits into the socket (`LONGEST`), read or not.
            assert client.send(part) == len(part)
            await trio.testing.wait_all_tasks_blocked()
        client.shutdown(socket.SHUT_WR)
    except (BrokenPipeError, ConnectionResetError):
        pass
    # Who is attached stays as long as the container does.
    await trio.testing.wait_all_tasks_blocked()
    _end_containers(engine)


async def _received(client: socket.socket) -> bytes:
    received: list[bytes] = []
    try:
        while not received or received[-1]:
            await trio.lowlevel.wait_readable(client)
            received.append(client.recv(_READ))
    except ConnectionResetError:
        pass
    return b"".join(received)


def _has_unread(server: socket.socket) -> bool:
    return server.fileno() >= 0 and any(fcntl.ioctl(server.fileno(), termios.FIONREAD, bytes(4)))


def _end_containers(engine: FakeEngine) -> None:
    for container in engine.containers.values():
        container.kill.set()
        for fd, _ in container.attached:
            os.close(fd)
        container.attached.clear()


def check_answers(answered: bytes) -> None:
    """AssertionError unless the bytes are answers, and none says that the server failed."""
    for _ in range(_MOST_ANSWERS):
        if not answered:
            return
        head, _, _ = answered.partition(b"\r\n")
        version, status, _ = (*head.split(b" ", 2), b"")[:3]
        assert version == b"HTTP/1.1", answered[:80]
        assert status.isdigit(), answered[:80]
        assert int(status) not in (500, 502, 504), answered[:400]
        if int(status) == 101:
            return
        answered = _after(answered)


def _after(answered: bytes) -> bytes:
    """What follows the first answer; b"" where that is a stream or cut off."""
    head, end, rest = answered.partition(b"\r\n\r\n")
    assert end, answered[:200]
    fields = head.lower().split(b"\r\n")[1:]
    lengths = [int(field[15:]) for field in fields if field.startswith(b"content-length:")]
    assert len(lengths) < 2
    if not lengths or b"transfer-encoding: chunked" in fields:
        return b"" if b" 204 " not in head and b" 304 " not in head else rest
    following = rest[lengths[0] :]
    # A HEAD's answer has a length and no content; the next answer then follows at once.
    return rest if rest.startswith(b"HTTP/1.1 ") else following


def queries(data: bytes) -> None:
    """A request's target: its operation, its query, what is read of it."""
    target = data.decode("latin-1")
    path, _, text = target.partition("?")
    for method in ("GET", "POST", "DELETE", "HEAD", "PUT"):
        try:
            route(method, path)
        except OrlopError:
            continue
    try:
        found = messages.parse_query(text)
    except OrlopError:
        return
    assert found == {name: values[0] for name, values in parse_qs(text, True).items()}
    for read in (
        lambda: query.log_options(found),
        lambda: query.window_size(found),
        lambda: query.attach_options(found, framed=True, preface=b""),
        lambda: events.event_range(found, 0),
        lambda: decode_filters(found.get("filters", "")),
    ):
        try:
            read()
        except OrlopError:
            continue


_END = b" HTTP/1.1\r\nHost: x\r\n"
_WS = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def _post(path: bytes, body: bytes) -> bytes:
    head = b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    return b"POST " + path + _END + head + body


_CREATE = _post(b"/v1.44/containers/create?name=c", b'{"Image":"tools","Cmd":["cat"],"Tty":false}')
_SLEEP = _post(b"/containers/create?name=s", b'{"Image":"tools","Cmd":["sleep"]}')
_SEEDS = (
    b"GET /_ping" + _END + b"\r\n",
    b"GET /v1.44/containers/json?all=1&filters=%7B%22name%22%3A%5B%22a%22%5D%7D" + _END + b"\r\n",
    b"HEAD /_ping" + _END + b"\r\nGET /version" + _END + b"\r\n",
    _CREATE,
    _CREATE + b"GET /containers/c/attach/ws?stream=1&stdin=1" + _END + _WS + b"\x81\x85abcdHELLO",
    _CREATE + b"POST /containers/c/attach?stream=1&stdin=1" + _END + b"\r\nhello",
    _CREATE + b"GET /containers/c/logs?stdout=1&follow=1&tail=3" + _END + b"\r\n",
    _CREATE + b"GET /containers/c/archive?path=/" + _END + b"\r\n",
    _SLEEP + _post(b"/containers/s/start", b"") + b"POST /containers/s/wait" + _END + b"\r\n",
    b"GET /events?since=1&until=2" + _END + b"\r\n",
    b"POST /images/load" + _END + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"POST /images/create?fromImage=a&tag=1" + _END + b"X-Registry-Auth: e30=\r\n\r\n",
    b"PUT /containers/c/archive?path=/"
    + _END
    + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n",
    b"GET http://x/_ping HTTP/1.0\r\n\r\n",
    b"DELETE /containers/x?force=1" + _END + b"Connection: close\r\n\r\n",
    _post(b"/networks/create", b'{"Name":"n","IPAM":{"Config":[{"Subnet":"10.0.0.0/24"}]}}'),
)

TARGETS = (
    Target(
        name="http",
        run=conversation,
        run_many=conversations,
        # The last of them come over a read-only address.
        seeds=(*whole(*_SEEDS), *(b"\x81" + seed for seed in _SEEDS)),
        words=(
            *(b"\r\n", b"\r\n\r\n", b"Content-Length: 5", b"Transfer-Encoding: chunked", b"0\r\n"),
            *(b"Expect: 100-continue", b"Upgrade: tcp", b"HTTP/1.1", b"GET ", b"POST ", b"/v1.44"),
            *(b"/containers/", b"/json", b"?", b"&", b"%00", b"%ff", b"filters=", b"stream=1"),
        ),
        cost=20,
    ),
    Target(
        name="query",
        run=queries,
        seeds=(
            b"/v1.44/containers/json?all=1&limit=2",
            b"/containers/c/logs?stdout=1&since=1700000000.5&tail=all",
            b"/images/a/b:c/json",
            b"/containers/x/resize?h=24&w=80",
            b"/events?since=2026-11-21T04:22:00Z&until=10m",
            b"/containers/json?filters=%7B%22label%22%3A%7B%22a%22%3Atrue%7D%7D",
            b"/swarm",
        ),
        words=(b"%", b"&", b"=", b"/", b"?", b"filters=", b"%7B", b"%ED%A0%80", b"since=", b"/v1."),
        longest=1024,
    ),
)
