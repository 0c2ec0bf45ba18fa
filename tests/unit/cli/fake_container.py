"""A container behind the fake daemon: attach, wait and start as docker's clients use them."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable

from supervisor.wire import stdcopy
from tests.unit.cli.fake_daemon import PATIENCE, Exchange, FakeDaemon


class FakeContainer:
    """A container's part of the API: attach, wait, start in docker's order.

    `body` runs at start with the attached socket, as the container's process would; what it
    returns is the exit status. It may put off the end with the events of the test.
    """

    def __init__(
        self,
        daemon: FakeDaemon,
        body: Callable[[Attached], int],
        *,
        id: str = "c" * 64,
        tty: bool = False,
        name: str = "",
    ) -> None:
        self.id = id
        self.tty = tty
        self.order: list[str] = []
        self.signals: list[str] = []
        self.sizes: list[tuple[int, int]] = []
        self.signalled = threading.Event()
        self.resized = threading.Event()
        self._body = body
        self._attached: Attached | None = None
        self._started = threading.Event()
        self._over = threading.Event()
        self._status = 0
        daemon.on_json("POST", "/containers/create", {"Id": id, "Warnings": []}, 201)
        for reference in filter(None, (id, name)):
            base = f"/containers/{reference}"
            daemon.on("POST", f"{base}/attach", self._attach)
            daemon.on("POST", f"{base}/wait", self._wait)
            daemon.on("POST", f"{base}/start", self._start)
            daemon.on("POST", f"{base}/kill", self._kill)
            daemon.on("POST", f"{base}/resize", self._resize)

    def run_now(self) -> None:
        """For attach: the container is running before anybody comes."""
        self._started.set()

    def _attach(self, exchange: Exchange) -> None:
        self.order.append("attach")
        sock = exchange.hijack(tty=self.tty)
        self._attached = Attached(sock, self)
        assert self._started.wait(PATIENCE)
        try:
            self._status = self._body(self._attached)
            sock.shutdown(socket.SHUT_WR)
        finally:
            self._over.set()

    def _wait(self, exchange: Exchange) -> None:
        self.order.append("wait")
        exchange.begin(200, content_type="application/json")
        assert self._over.wait(PATIENCE)
        exchange.piece(json.dumps({"StatusCode": self._status}).encode())
        exchange.end()

    def _start(self, exchange: Exchange) -> None:
        self.order.append("start")
        exchange.reply(status=204)
        self._started.set()

    def _kill(self, exchange: Exchange) -> None:
        self.signals.append(exchange.request.query["signal"])
        exchange.reply(status=204)
        self.signalled.set()

    def _resize(self, exchange: Exchange) -> None:
        query = exchange.request.query
        self.sizes.append((int(query["h"]), int(query["w"])))
        exchange.reply()
        self.resized.set()


class Attached:
    """What a container's process sees of an attached client."""

    def __init__(self, sock: socket.socket, container: FakeContainer) -> None:
        self.container = container
        self._socket = sock

    def out(self, data: bytes) -> None:
        """Write to stdout."""
        self._write(stdcopy.STDOUT, data)

    def err(self, data: bytes) -> None:
        """Write to stderr."""
        self._write(stdcopy.STDERR, data)

    def read(self) -> bytes:
        """What the client sent; b"" at its half-close."""
        return self._socket.recv(65536)

    def read_all(self) -> bytes:
        """All that the client sends until its half-close."""
        return b"".join(iter(self.read, b""))

    def _write(self, stream: int, data: bytes) -> None:
        self._socket.sendall(data if self.container.tty else stdcopy.frame(stream, data))
