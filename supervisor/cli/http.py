"""HTTP/1.1 over a unix socket, blocking: the client side of the Docker Engine API.

Not `http.client`: importing it costs more CPU than all of `orlop ps` (it brings `email`),
and it has no way to take the raw stream out after `101 UPGRADED`. Here no byte is lost:
what the server sends right behind a response's head stays in the connection's buffer and
goes with the stream.

    connection = Connection("/run/orlop/orlop.sock")
    connection.send("GET", "/version")
    body = connection.receive().read()

Framing is RFC 9112's: Content-Length, chunked, or until the server closes.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress

from supervisor.errors import ProtocolError

_PIECE = 64 * 1024
_MAX_LINE = 64 * 1024
_MAX_HEADERS = 200
_BODILESS = frozenset({101, 204, 304})


class Disconnected(ConnectionError):
    """The server closed the connection in the middle of an answer."""


class Connection:
    """One connection to a unix socket's path, or a connected socket; requests in turn.

    Raises OSError where the socket cannot be connected to or breaks, Disconnected where
    the server closes early, ProtocolError where it does not speak HTTP/1.1.
    """

    def __init__(self, to: str | socket.socket) -> None:
        self._buffer = bytearray()
        if isinstance(to, socket.socket):
            self._socket = to
            return
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.connect(to)
        except OSError:
            self._socket.close()
            raise

    def send(
        self,
        method: str,
        target: str,
        *,
        body: bytes | None = None,
        upgrade: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Send one request; `target` is the path and query, already quoted."""
        head = [f"{method} {target} HTTP/1.1", "Host: localhost", "User-Agent: orlop"]
        head += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if upgrade:
            head += ["Connection: Upgrade", "Upgrade: tcp"]
        if body is not None:
            head += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        elif method not in ("GET", "HEAD"):
            head.append("Content-Length: 0")
        self._socket.sendall("\r\n".join([*head, "", ""]).encode("ascii") + (body or b""))

    def upload(self, method: str, target: str, pieces: Iterable[bytes], content_type: str) -> None:
        """Send a request whose body is `pieces` (chunked), as they come.

        It ends early where the server answers before it has all: the answer says why.
        """
        head = [
            f"{method} {target} HTTP/1.1",
            "Host: localhost",
            "User-Agent: orlop",
            f"Content-Type: {content_type}",
            "Transfer-Encoding: chunked",
        ]
        going = self._send_on("\r\n".join([*head, "", ""]).encode("ascii"))
        for piece in filter(None, pieces):
            going = going and self._send_on(b"%x\r\n%b\r\n" % (len(piece), piece))
            if not going or self.readable(0):
                return
        self._send_on(b"0\r\n\r\n")

    def _send_on(self, data: bytes) -> bool:
        """Send; False where the server refused and closed: its answer can still be read."""
        try:
            self._socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def receive(self) -> Response:
        """The head of the answer to the last request; the body is read from what is returned."""
        while True:
            version, _, rest = self.line().partition(b" ")
            code = rest[:3]
            if not version.startswith(b"HTTP/1.") or len(code) != 3 or not code.isdigit():
                raise ProtocolError(f"not an HTTP/1.1 answer: {version + b' ' + rest!r:.80}")
            headers = self._headers()
            if int(code) == 101 or int(code) >= 200:
                return Response(self, int(code), headers)

    def stale(self) -> bool:
        """Whether an idle connection is of no use any more: closed, or with bytes unasked for."""
        try:
            self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return bool(self._buffer)
        except OSError:
            return True
        return True

    def readable(self, seconds: float) -> bool:
        """Whether something has come from the server within so many seconds."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(self._buffer or poll.poll(seconds * 1000))

    def take_stream(self) -> tuple[socket.socket, bytes]:
        """The socket, and the bytes read from it already; the connection is over."""
        left = bytes(self._buffer)
        self._buffer.clear()
        return socket.socket(fileno=self._socket.detach()), left

    def break_off(self) -> None:
        """No more comes: another thread that waits for something sees the end."""
        with suppress(OSError):  # it has ended by itself
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close; a second time is fine."""
        self._socket.close()

    # What a Response reads its body with.

    def line(self) -> bytes:
        """The next line, without its end."""
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > _MAX_LINE:
                raise ProtocolError("a line of the daemon's answer is too long")
            self._fill()
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line.removesuffix(b"\r")

    def some(self, most: int) -> bytes:
        """One to `most` bytes, as they are there; b"" when the server has closed."""
        if not self._buffer:
            return self._socket.recv(min(most, _PIECE))
        piece = bytes(self._buffer[:most])
        del self._buffer[:most]
        return piece

    def _fill(self) -> None:
        data = self._socket.recv(_PIECE)
        if not data:
            raise Disconnected("the daemon closed the connection")
        self._buffer += data

    def _headers(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        while line := self.line():
            name, colon, value = line.decode("latin-1").partition(":")
            if not colon or len(headers) >= _MAX_HEADERS:
                raise ProtocolError(f"not an HTTP header: {line!r:.80}")
            headers[name.lower()] = value.strip()
        return headers


class Response:
    """One answer: `status`, `headers` by lower-case name, and a body to be read once."""

    def __init__(self, connection: Connection, status: int, headers: dict[str, str]) -> None:
        self.connection = connection
        self.status = status
        self.headers = headers
        self.reusable = False
        """True once the body is read and the connection can take another request."""

    def read(self) -> bytes:
        """The whole body."""
        return b"".join(self.pieces())

    def pieces(self) -> Iterator[bytes]:
        """The body as it arrives."""
        if self.status in _BODILESS:
            self._finish()
        elif "chunked" in self.headers.get("transfer-encoding", "").lower():
            yield from self._chunks()
            self._finish()
        elif (length := self.headers.get("content-length")) is not None:
            if not length.isdecimal():
                raise ProtocolError(f"Content-Length is {length!r:.40}")
            yield from self._exactly(int(length))
            self._finish()
        else:
            while piece := self.connection.some(_PIECE):
                yield piece

    def _finish(self) -> None:
        self.reusable = "close" not in self.headers.get("connection", "").lower()

    def _exactly(self, length: int) -> Iterator[bytes]:
        while length:
            piece = self.connection.some(length)
            if not piece:
                raise Disconnected("the daemon closed the connection")
            length -= len(piece)
            yield piece

    def _chunks(self) -> Iterator[bytes]:
        while True:
            size = self.connection.line().partition(b";")[0].strip()
            try:
                length = int(size, 16)
            except ValueError:
                raise ProtocolError(f"not a chunk's size: {size!r:.40}") from None
            if not length:
                break
            yield from self._exactly(length)
            self.connection.line()
        while self.connection.line():  # trailers
            pass
