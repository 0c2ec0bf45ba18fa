"""GET /containers/{id}/attach/ws: frames, ends, versions, and what is refused."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable

import pytest
import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    Pong,
    Request,
    TextMessage,
)

from supervisor.docker.streams import AttachOptions
from supervisor.errors import Unavailable
from tests.unit.api.conftest import Api, Client

ALL = "stream=1&stdin=1&stdout=1&stderr=1"


class WebSocket:
    """A websocket's client; `events` gives what came, in order."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.protocol = WSConnection(ConnectionType.CLIENT)
        self._events: list[Event] = []
        self.ended = False

    async def end(self) -> None:
        """Send nothing more, not even a Close frame."""
        self.ended = True
        await self.stream.send_eof()

    async def send(self, event: Event) -> None:
        await self.stream.send_all(self.protocol.send(event))

    async def event(self) -> Event | None:
        """The next event, None at the end of the connection."""
        while not self._events:
            try:
                data = await self.stream.receive_some()
            except trio.BrokenResourceError:  # closed before our Close frame came
                return None
            if not data:
                return None
            self.protocol.receive_data(data)
            self._events += self.protocol.events()
        return self._events.pop(0)

    async def output(self) -> tuple[bytes, int | None]:
        """Everything until the Close frame, and its code (None: the connection just ended)."""
        data = b""
        while event := await self.event():
            if isinstance(event, CloseConnection):
                if not self.ended:
                    await self.send(event.response())
                assert await self.event() is None
                return data, event.code
            assert isinstance(event, BytesMessage)
            data += bytes(event.data)
        return data, None


async def upgrade(api: Api, container: str, query: str = ALL, version: str = "/v1.51") -> WebSocket:
    client = await api.client()
    made = WebSocket(client.stream)
    target = f"{version}/containers/{container}/attach/ws?{query}"
    await made.send(Request(host="x", target=target))
    assert isinstance(await made.event(), AcceptConnection)
    return made


async def attached(api: Api, container: str) -> AttachOptions:
    while not api.engine.find(container).attached:
        await trio.sleep(0.001)
    return api.engine.find(container).attached[0][1]


def hung_up(end: socket.socket) -> bool:
    """Whether the other end is closed as a whole."""
    poll = select.poll()
    poll.register(end.fileno(), 0)
    return bool(poll.poll(0))


async def start(api: Api, container: str) -> None:
    await attached(api, container)
    assert (await api.call("POST", f"/containers/{container}/start")).status == 204


async def test_output_and_the_end(api: Api) -> None:
    container = await api.create("echo", "hello", name="web")
    made = await upgrade(api, "web", "stream=1&stdout=1")
    await start(api, container)
    assert await made.output() == (b"hello\n", 1000)


async def test_input_comes_back_however_it_is_cut(api: Api) -> None:
    container = await api.create("cat")
    made = await upgrade(api, container)
    await start(api, container)
    await made.send(BytesMessage(data=b"one ", message_finished=False))
    await made.send(BytesMessage(data=b"two", message_finished=True))
    frame = made.protocol.send(TextMessage(data=" drei ✓"))
    for byte in frame:
        await made.stream.send_all(bytes([byte]))
    await made.send(Ping(payload=b"p"))
    data, pong = b"", None
    while len(data) < len("one two drei ✓".encode()) or pong is None:
        event = await made.event()
        if isinstance(event, Pong):
            pong = bytes(event.payload)
        else:
            assert isinstance(event, BytesMessage)
            data += bytes(event.data)
    assert (data.decode(), pong) == ("one two drei ✓", b"p")
    await made.end()
    assert (await made.output())[1] == 1000


async def test_what_comes_with_the_request_is_not_lost(api: Api) -> None:
    container = await api.create("cat")
    client = await api.client()
    made = WebSocket(client.stream)
    head = made.protocol.send(Request(host="x", target=f"/containers/{container}/attach/ws?{ALL}"))
    # A masked binary frame "hi" (RFC 6455, section 5.2), in one piece with the request.
    await made.stream.send_all(head + b"\x82\x82\0\0\0\0hi")
    assert isinstance(await made.event(), AcceptConnection)
    await start(api, container)
    event = await made.event()
    assert isinstance(event, BytesMessage)
    assert bytes(event.data) == b"hi"


async def test_half_a_connection_still_gets_output(api: Api) -> None:
    container = await api.create("sleep")
    made = await upgrade(api, container)
    await start(api, container)
    await made.end()
    fake = api.engine.find(container)
    end = socket.socket(fileno=socket.dup(fake.attached[0][0]))
    with end:
        assert await trio.to_thread.run_sync(end.recv, 1) == b""
    await api.engine.say(fake, "stdout", b"late")
    fake.kill.set()
    assert await made.output() == (b"late", 1000)


async def test_a_close_frame_ends_both_directions(api: Api) -> None:
    container = await api.create("sleep")
    made = await upgrade(api, container)
    await start(api, container)
    await made.send(CloseConnection(code=1000, reason="bye"))
    event = await made.event()
    assert isinstance(event, CloseConnection)
    assert event.code == 1000
    assert await made.event() is None
    with socket.socket(fileno=socket.dup(api.engine.find(container).attached[0][0])) as end:
        assert await trio.to_thread.run_sync(end.recv, 1) == b""


async def test_a_client_that_is_gone_lets_go_of_the_container(api: Api) -> None:
    container = await api.create("sleep")
    made = await upgrade(api, container)
    await attached(api, container)
    await made.stream.aclose()
    with socket.socket(fileno=socket.dup(api.engine.find(container).attached[0][0])) as end:
        assert await trio.to_thread.run_sync(end.recv, 1) == b""
        while not hung_up(end):
            await trio.sleep(0.001)


async def test_no_more_is_held_than_pieces(api: Api) -> None:
    container = await api.create("sleep")
    made = await upgrade(api, container)
    await attached(api, container)
    end = socket.socket(fileno=socket.dup(api.engine.find(container).attached[0][0]))
    sent = 0
    with end:
        end.setblocking(False)
        for _ in range(50):  # the client does not read: soon nothing goes any more
            try:
                while sent < 1 << 26:
                    sent += end.send(b"x" * 65536)
            except BlockingIOError:
                await trio.sleep(0.005)
        assert 0 < sent < 4 << 20
        (fd, _), *_ = api.engine.find(container).attached
        api.engine.find(container).attached.clear()
        socket.close(fd)
    data, code = await made.output()
    assert (len(data), code) == (sent, 1000)


@pytest.mark.parametrize("version, kind", [("/v1.27", TextMessage), ("/v1.28", BytesMessage)])
async def test_old_clients_get_text(api: Api, version: str, kind: type[Event]) -> None:
    container = await api.create("echo", "ä")
    made = await upgrade(api, container, "stream=1", version)
    options = await attached(api, container)
    # Before 1.42 all streams came unasked.
    assert (options.stdin, options.stdout, options.stderr) == (True, True, True)
    await start(api, container)
    assert isinstance(await made.event(), kind)


@pytest.mark.parametrize("tty", [True, False])
async def test_what_the_engine_is_asked_for(api: Api, tty: bool) -> None:
    container = await api.create("sleep", Tty=tty)
    await upgrade(api, container, "stream=1&stderr=1&logs=1&detachKeys=ctrl-x")
    assert await attached(api, container) == AttachOptions(
        stdin=False,
        stdout=False,
        stderr=True,
        stream=True,
        logs=True,
        detach_keys="ctrl-x",
        terminal=tty,
        framed=False,
    )


def no_key(request: bytes) -> bytes:
    return request.replace(b"Sec-WebSocket-Key", b"X-Key")


def no_upgrade(request: bytes) -> bytes:
    return request.replace(b"Upgrade: websocket\r\n", b"")


def other_version(request: bytes) -> bytes:
    return request.replace(b"Version: 13", b"Version: 12")


def without_host(request: bytes) -> bytes:
    """As HTTP/1.0 may be."""
    return request.replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"Host: x\r\n", b"")


@pytest.mark.parametrize("change", [no_key, no_upgrade, other_version, without_host])
async def test_what_is_no_websocket(api: Api, change: Callable[[bytes], bytes]) -> None:
    container = await api.create("sleep")
    target = f"/containers/{container}/attach/ws?{ALL}"
    request = WSConnection(ConnectionType.CLIENT).send(Request(host="x", target=target))
    client = await api.client()
    assert change(request) != request
    await client.send(change(request))
    reply = await client.reply()
    assert reply.status == 400
    assert "no websocket's" in reply.json()["message"]
    assert not api.engine.find(container).attached


@pytest.mark.parametrize(
    "target, status, said",
    [
        ("nobody/attach/ws", 404, "No such container: nobody"),
        ("sleepy/attach/ws?detachKeys=ctrl-1", 400, "invalid detach keys"),
        ("asleep/attach/ws", 409, "paused, unpause the container before attach"),
    ],
)
async def test_refused_over_http(api: Api, target: str, status: int, said: str) -> None:
    await api.create("sleep", name="sleepy")
    await api.engine.pause(await api.create("sleep", name="asleep"))
    client: Client = await api.client()
    request = Request(host="x", target=f"/containers/{target}")
    await client.send(WSConnection(ConnectionType.CLIENT).send(request))
    reply = await client.reply()
    assert reply.status == status
    assert said in reply.json()["message"]


async def test_bytes_that_are_no_frames(api: Api) -> None:
    container = await api.create("sleep")
    made = await upgrade(api, container)
    await attached(api, container)
    await made.stream.send_all(b"\x82\x02hi")  # a client's frames must be masked
    assert (await made.output())[1] == 1002
    with socket.socket(fileno=socket.dup(api.engine.find(container).attached[0][0])) as end:
        assert await trio.to_thread.run_sync(end.recv, 1) == b""


async def test_an_engine_that_cannot_attach_says_why(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(ref: str, options: AttachOptions, fd: int) -> None:
        socket.close(fd)
        raise Unavailable("the shim " + "does not answer " * 20)

    monkeypatch.setattr(api.engine, "attach", refuse)
    made = await upgrade(api, await api.create("sleep"))
    event = await made.event()
    assert isinstance(event, CloseConnection)
    assert (event.code, (event.reason or "")[:15]) == (1011, "the shim does n")


async def test_a_server_that_stops_does_not_wait(api: Api) -> None:
    container = await api.create("sleep")
    made = await upgrade(api, container)
    await attached(api, container)
    with trio.fail_after(2):
        api.server.stop()
        assert await made.event() is None
