"""A daemon that is not there: an HTTP server on a unix socket whose answers a test writes.

h11 parses the requests, so a request that is no HTTP/1.1 fails here and not in the field.
Each connection has a thread. What the client asked for is in `requests`, in order.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote, urlsplit

import h11

PATIENCE = 20.0


class Request:
    """One request as it came."""

    def __init__(self, event: h11.Request, body: bytes) -> None:
        target = urlsplit(event.target.decode())
        self.method = event.method.decode()
        self.path = unquote(target.path)
        self.query = dict(parse_qsl(target.query, keep_blank_values=True))
        self.values = parse_qs(target.query, keep_blank_values=True)
        self.headers = {name.decode(): value.decode() for name, value in event.headers}
        self.raw = body
        is_tar = self.headers.get("content-type") == "application/x-tar"
        self.body: Any = json.loads(body) if body and not is_tar else None

    def __repr__(self) -> str:
        return f"{self.method} {self.path} {self.query}"


class Exchange:
    """One request and the means to answer it."""

    def __init__(self, request: Request, sock: socket.socket, protocol: h11.Connection) -> None:
        self.request = request
        self.socket = sock
        self._protocol = protocol
        self.hijacked = False

    def reply(self, value: Any = None, status: int = 200, **headers: str) -> None:
        """A whole answer; None is one without a body."""
        body = b"" if value is None else json.dumps(value).encode()
        names = {"content-type": "application/json", **headers}
        if status not in (204, 304):
            names["content-length"] = str(len(body))
        self.begin(status, **names)
        self.piece(body)
        self.end()

    def begin(self, status: int = 200, **headers: str) -> None:
        """The head only; without a content-length the body is chunked."""
        fields = [(name.replace("_", "-"), value) for name, value in headers.items()]
        self._send(h11.Response(status_code=status, headers=fields))

    def piece(self, data: bytes) -> None:
        """Some of the body, at once."""
        if data:
            self._send(h11.Data(data=data))

    def end(self) -> None:
        """The end of the body."""
        self._send(h11.EndOfMessage())

    def hijack(self, *, tty: bool = False, early: bytes = b"") -> socket.socket:
        """101; `early` goes out in the same packet as the head."""
        kind = "raw" if tty else "multiplexed"
        assert self.request.headers["connection"] == "Upgrade"
        assert self.request.headers["upgrade"] == "tcp"
        self.socket.sendall(
            b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Type: "
            + f"application/vnd.docker.{kind}-stream\r\n\r\n".encode()
            + early
        )
        self.hijacked = True
        return self.socket

    def _send(self, event: Any) -> None:
        data = self._protocol.send(event)
        if data:
            self.socket.sendall(data)


Answer = Callable[[Exchange], None]


class FakeDaemon:
    """`on(method, path, answer)` says what to answer; `path` without the version."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.address = f"unix://{path}"
        self.requests: list[Request] = []
        self.errors: list[BaseException] = []
        self._answers: dict[tuple[str, str], Answer] = {}
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen(64)
        self._start(self._accept)

    def on(self, method: str, path: str, answer: Answer) -> None:
        """Answer such requests by calling `answer`."""
        self._answers[method, path] = answer

    def on_json(self, method: str, path: str, value: Any = None, status: int = 200) -> None:
        """Answer such requests with JSON (None: no body)."""
        self.on(method, path, lambda exchange: exchange.reply(value, status))

    def on_error(self, method: str, path: str, status: int, message: str) -> None:
        """Answer such requests with docker's form of an error."""
        self.on_json(method, path, {"message": message}, status)

    def paths(self) -> list[str]:
        """What was asked, in order: "POST /containers/create"."""
        return [f"{request.method} {request.path}" for request in self.requests]

    def only(self, method: str, path: str) -> Request:
        """The one such request."""
        (found,) = (r for r in self.requests if (r.method, r.path) == (method, path))
        return found

    def close(self) -> None:
        """Stop; raises what went wrong in the threads."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._sockets:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE)
        if self.errors:
            raise self.errors[0]

    def _start(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self._sockets.append(sock)
            self._start(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        with sock:
            try:
                while self._serve_one(sock):
                    pass
            except (BrokenPipeError, ConnectionResetError):
                pass  # a client may leave whenever it likes
            except BaseException as error:
                self.errors.append(error)

    def _serve_one(self, sock: socket.socket) -> bool:
        protocol = h11.Connection(h11.SERVER)
        event = _next(protocol, sock)
        if not isinstance(event, h11.Request):
            return False
        body = b""
        while isinstance(part := _next(protocol, sock), h11.Data):
            body += part.data
        request = Request(event, body)
        request.path = request.path.removeprefix("/v1.51")
        self.requests.append(request)
        exchange = Exchange(request, sock, protocol)
        answer = self._answers.get((request.method, request.path))
        if answer is None:
            message = f"the test has no answer to {request}"
            exchange.reply({"message": message}, 501)
        else:
            answer(exchange)
        return not exchange.hijacked


def _next(protocol: h11.Connection, sock: socket.socket) -> Any:
    while (event := protocol.next_event()) is h11.NEED_DATA:
        data = sock.recv(65536)
        if not data and protocol.their_state is h11.IDLE:
            return None
        protocol.receive_data(data)
    return event


@contextmanager
def running(path: Path) -> Iterator[FakeDaemon]:
    """A fake daemon on `path` until the end of the block."""
    daemon = FakeDaemon(path)
    try:
        yield daemon
    finally:
        daemon.close()
