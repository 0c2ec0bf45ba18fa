"""A server over a fake engine on a real unix socket, and a client that speaks bytes."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from supervisor.api.server import Server
from tests.unit.api.fake_engine import FakeEngine


@dataclass
class Reply:
    """One answer; `chunks` of a chunked body as they came."""

    status: int
    headers: dict[str, str]
    body: bytes = b""
    chunks: list[bytes] = field(default_factory=list)

    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """One connection; requests and answers as bytes."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.buffer = b""

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def call(
        self, method: str, target: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Reply:
        """A request and its whole answer."""
        await self.request(method, target, body, headers)
        return await self.reply(bodiless=method == "HEAD")

    async def request(
        self, method: str, target: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> None:
        data = (
            b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        )
        head = f"{method} {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n"
        if body is not None:
            head += "Content-Type: application/json\r\n"
        for name, value in (headers or {}).items():
            head += f"{name}: {value}\r\n"
        await self.send(head.encode() + b"\r\n" + data)

    async def reply(self, *, bodiless: bool = False) -> Reply:
        reply = await self.head()
        if bodiless or reply.status in (101, 204, 304):
            return reply
        if reply.headers.get("transfer-encoding") == "chunked":
            while chunk := await self.chunk():
                reply.chunks.append(chunk)
            reply.body = b"".join(reply.chunks)
        elif "content-length" in reply.headers:
            reply.body = await self.exactly(int(reply.headers["content-length"]))
        return reply

    async def head(self) -> Reply:
        lines = (await self.until(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(lines[0].split(" ")[1])
        pairs = (line.partition(": ") for line in lines[1:] if line)
        return Reply(status, {name.lower(): value for name, _, value in pairs})

    async def chunk(self) -> bytes:
        size = int(await self.until(b"\r\n"), 16)
        data = await self.exactly(size)
        assert await self.exactly(2) == b"\r\n"
        return data

    async def until(self, mark: bytes) -> bytes:
        while mark not in self.buffer:
            await self._more()
        found, _, self.buffer = self.buffer.partition(mark)
        return found

    async def exactly(self, size: int) -> bytes:
        while len(self.buffer) < size:
            await self._more()
        found, self.buffer = self.buffer[:size], self.buffer[size:]
        return found

    async def rest(self) -> bytes:
        """Everything until the server closes."""
        while data := await self.stream.receive_some():
            self.buffer += data
        found, self.buffer = self.buffer, b""
        return found

    async def closed(self) -> bool:
        return not self.buffer and await self.stream.receive_some() == b""

    async def _more(self) -> None:
        data = await self.stream.receive_some()
        assert data, f"the server closed after {self.buffer!r}"
        self.buffer += data


@dataclass
class Api:
    """A running server."""

    path: Path
    read_only: Path  # an address where nothing can be changed
    engine: FakeEngine
    server: Server
    clients: list[Client] = field(default_factory=list)

    async def client(self) -> Client:
        client = Client(await trio.open_unix_socket(self.path))
        self.clients.append(client)
        return client

    async def call(self, method: str, target: str, body: Any = None) -> Reply:
        """One request on a connection of its own."""
        client = await self.client()
        try:
            return await client.call(method, target, body)
        finally:
            await client.stream.aclose()

    async def create(self, *words: str, name: str = "", **body: Any) -> str:
        """A container that runs `words`; its id."""
        target = f"/containers/create?name={name}"
        reply = await self.call("POST", target, {"Image": "tools", "Cmd": words, **body})
        assert reply.status == 201, reply.body
        return str(reply.json()["Id"])


async def listener(path: Path) -> trio.SocketListener:
    """One on a new unix socket."""
    listening = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
    await listening.bind(str(path))
    listening.listen(64)
    return trio.SocketListener(listening)


@pytest.fixture
async def api(tmp_path: Path, nursery: trio.Nursery) -> AsyncIterator[Api]:
    engine = FakeEngine(nursery)
    server = Server(engine)
    before = set(os.listdir("/proc/self/fd"))
    path, read_only = tmp_path / "api.sock", tmp_path / "ro.sock"
    listeners = [await listener(path)]
    await engine.networks.load()
    looking = [await listener(read_only)]
    await nursery.start(partial(server.serve, read_only=looking), listeners)
    running = Api(path, read_only, engine, server)
    with trio.fail_after(20):
        yield running
        server.stop()
        for client in running.clients:
            await client.stream.aclose()
        for container in engine.containers.values():
            container.kill.set()
            for fd, _ in container.attached:
                os.close(fd)
            container.attached.clear()
        while len(set(os.listdir("/proc/self/fd")) - before) > 1:  # one is this listing's own
            await trio.sleep(0.005)
