"""A small HTTP/1.1 client that keeps its connection: its own time must not be the figure."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

TIMEOUT_SECONDS = 60.0


class RequestFailed(AssertionError):
    """The daemon answered a request of the bench with an error."""


class Client:
    """One connection to a unix socket, for one thread."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(TIMEOUT_SECONDS)
        self.socket.connect(str(path))
        self._unread = b""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()

    def call(self, method: str, path: str, body: object = None) -> Any:
        """A request and its answer's JSON, None without one; RequestFailed from status 400 on."""
        self.send(method, path, body)
        return self.answer(*self.head())

    def answer(self, status: int, headers: dict[str, str]) -> Any:
        """The JSON behind a head that was read; RequestFailed from status 400 on."""
        data = self._body(status, headers)
        if status >= 400:
            raise RequestFailed(f"{status} {data.decode(errors='replace')}")
        return json.loads(data) if data else None

    def send(self, method: str, path: str, body: object = None, extra: str = "") -> None:
        """Write a request; `extra` are further header lines, each with its CRLF."""
        data = b"" if body is None else json.dumps(body).encode()
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: bench\r\n{extra}"
            f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        )
        self.socket.sendall(head.encode() + data)

    def head(self) -> tuple[int, dict[str, str]]:
        """The status and the headers, by lower-case name, of the next answer."""
        while b"\r\n\r\n" not in self._unread:
            self._receive()
        head, self._unread = self._unread.split(b"\r\n\r\n", 1)
        first, *lines = head.decode("ascii").split("\r\n")
        pairs = (line.split(":", 1) for line in lines)
        headers = {name.lower(): value.strip() for name, value in pairs}
        return int(first.split(" ", 2)[1]), headers

    def chunk(self) -> bytes:
        """The next chunk of a streamed answer, empty at its end."""
        while b"\r\n" not in self._unread:
            self._receive()
        size, self._unread = self._unread.split(b"\r\n", 1)
        data = self._take(int(size, 16) + 2)
        return data[:-2]

    def until_end(self) -> bytes:
        """Everything up to where the other side closes."""
        pieces = [self._unread]
        while data := self.socket.recv(1 << 16):
            pieces.append(data)
        return b"".join(pieces)

    @property
    def buffered(self) -> bool:
        """Bytes of a next answer or chunk were received already."""
        return bool(self._unread)

    def _body(self, status: int, headers: dict[str, str]) -> bytes:
        if status in (204, 304):
            return b""
        if headers.get("transfer-encoding") == "chunked":
            pieces = []
            while piece := self.chunk():
                pieces.append(piece)
            return b"".join(pieces)
        return self._take(int(headers["content-length"]))

    def _take(self, size: int) -> bytes:
        while len(self._unread) < size:
            self._receive()
        data, self._unread = self._unread[:size], self._unread[size:]
        return data

    def _receive(self) -> None:
        data = self.socket.recv(1 << 16)
        if not data:
            raise RequestFailed("the daemon closed the connection")
        self._unread += data
