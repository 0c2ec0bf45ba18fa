"""The Docker Engine API as the commands use it: paths, JSON, errors, hijacked streams.

One `Client` a command. Short calls share a connection; what waits (wait, events, logs,
attach) has one of its own. Booleans go out as docker's "1" or not at all, filters as its
JSON map of maps.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from supervisor.cli.dial import Dialer, Tls
from supervisor.cli.failures import DaemonError, Failure, Unreachable
from supervisor.cli.http import Connection, Response
from supervisor.errors import ProtocolError

API = "/v1.51"

Query = Mapping[str, str | int | bool | Sequence[str] | None]
"""A list is a parameter that is given once for each of its values."""

_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def quote(text: str, safe: bytes = b"") -> str:
    """Percent-encoding (RFC 3986); `urllib.parse` would double the cost of the import."""
    allowed = _PLAIN.union(safe)
    return "".join(chr(b) if b in allowed else f"%{b:02X}" for b in _utf8(text))


def container_path(reference: str, action: str = "") -> str:
    """/containers/REFERENCE[/action]; docker's leading slash of names is taken off."""
    name = reference.removeprefix("/")
    if not name.strip():
        raise Failure("invalid container name or ID: value is empty")
    return f"/containers/{quote(name)}" + (f"/{action}" if action else "")


def image_path(reference: str, action: str = "") -> str:
    """/images/REFERENCE[/action]; slashes of an image's name stay as they are."""
    if not reference.strip():
        raise Failure("invalid image name or ID: value is empty")
    return f"/images/{quote(reference, b'/:@')}" + (f"/{action}" if action else "")


def volume_path(name: str, _action: str = "") -> str:
    """/volumes/NAME, which is also what inspecting it asks."""
    if not name.strip():
        raise Failure("invalid volume name: value is empty")
    return f"/volumes/{quote(name)}"


def network_path(name: str, action: str = "") -> str:
    """/networks/NAME[/action]."""
    if not name.strip():
        raise Failure("invalid network name or ID: value is empty")
    return f"/networks/{quote(name)}" + (f"/{action}" if action else "")


def filters_json(filters: Iterable[tuple[str, str]]) -> str | None:
    """Docker's JSON for `--filter name=value` pairs; None without any."""
    form: dict[str, dict[str, bool]] = {}
    for name, value in filters:
        form.setdefault(name, {})[value] = True
    return json.dumps(form, separators=(",", ":"), sort_keys=True) if form else None


class Stream:
    """A hijacked connection: `socket`, what came with the answer, and whether it is framed."""

    def __init__(self, sock: socket.socket, early: bytes, *, framed: bool) -> None:
        self.socket = sock
        self.early = early
        self.framed = framed


class Call:
    """A request that is under way on a connection of its own."""

    def __init__(self, connection: Connection, client: Client) -> None:
        self.connection = connection
        self._client = client
        self._response: Response | None = None

    def __enter__(self) -> Call:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def response(self) -> Response:
        """The answer's head; raises DaemonError where the daemon refused."""
        if self._response is None:
            with _closing_on_error(self.connection), self._client.reaching():
                self._response = checked(self.connection.receive())
        return self._response

    def result(self) -> Any:
        """The answer's JSON (None without a body); the connection is closed then."""
        with self, self._client.reaching():
            return _json(self.response().read())

    def pieces(self) -> Iterator[bytes]:
        """The answer's body as it arrives, until the server ends it."""
        body = self.response().pieces()
        while True:
            # Not around a `yield`: errors of whoever takes the pieces are not the socket's.
            with self._client.reaching():
                piece = next(body, None)
            if piece is None:
                return
            yield piece

    def lines(self) -> Iterator[bytes]:
        """The lines of the answer's body as they arrive (a stream of JSON objects)."""
        rest = b""
        for piece in self.pieces():
            *whole, rest = (rest + piece).split(b"\n")
            yield from filter(bytes.strip, whole)
        if rest.strip():
            yield rest


class Client:
    """The daemon at `address`; connects when first asked something."""

    def __init__(self, address: str, tls: Tls | None = None) -> None:
        self.address = address
        self._dialer = Dialer(address, tls)
        self._idle: Connection | None = None

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close what is kept open; the client may be used again."""
        connection, self._idle = self._idle, None
        if connection is not None:
            connection.close()

    def get(self, path: str, query: Query | None = None) -> Any:
        """The JSON of a GET."""
        return self.call("GET", path, query)

    def head(self, path: str, query: Query | None = None) -> Mapping[str, str]:
        """The headers of the answer, by lower-case name."""
        with self.reaching():
            connection = self._connect()
            try:
                connection.send("HEAD", _target(path, query))
                response = connection.receive()
            finally:
                connection.close()
        if response.status >= 400:
            raise DaemonError(
                response.status, f"HTTP status {response.status}"
            )  # a HEAD has no body
        return response.headers

    def post(self, path: str, query: Query | None = None, body: Any = None) -> Any:
        """The JSON of a POST, None where the answer has no body (204, 304)."""
        return self.call("POST", path, query, body)

    def delete(self, path: str, query: Query | None = None) -> Any:
        """The JSON of a DELETE, or None."""
        return self.call("DELETE", path, query)

    def call(self, method: str, path: str, query: Query | None = None, body: Any = None) -> Any:
        """One request on the shared connection."""
        with self.reaching():
            connection = self._reuse() or self._connect()
            with _closing_on_error(connection):
                connection.send(method, _target(path, query), body=_body(body))
                response = connection.receive()
                content = response.read()
            if response.reusable:
                self._idle = connection
            else:
                connection.close()
            return _json(_refused(response, content))

    def begin(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Call:
        """Send a request on a connection of its own; the answer is asked for later."""
        with self.reaching():
            connection = self._connect()
            with _closing_on_error(connection):
                connection.send(method, _target(path, query), body=_body(body), headers=headers)
            return Call(connection, self)

    def upload(
        self,
        method: str,
        path: str,
        query: Query | None,
        pieces: Iterable[bytes],
        content_type: str = "application/x-tar",
    ) -> Call:
        """Send a request whose body is a stream of bytes, on a connection of its own."""
        connection = self._connect()
        with _closing_on_error(connection):
            # Errors of whoever makes the pieces are not the socket's.
            connection.upload(method, _target(path, query), pieces, content_type)
        return Call(connection, self)

    def hijack(self, path: str, query: Query | None = None, body: Any = None) -> Stream:
        """POST with an upgrade: the connection becomes a two-way stream of bytes."""
        with self.reaching():
            connection = self._connect()
            with _closing_on_error(connection):
                connection.send("POST", _target(path, query), body=_body(body), upgrade=True)
                response = checked(connection.receive())
                if response.status != 101:
                    raise ProtocolError(f"status {response.status} where it should upgrade")
            sock, early = connection.take_stream()
            return Stream(sock, early, framed=is_framed(response))

    @contextmanager
    def reaching(self) -> Iterator[None]:
        """Turns errors of a connection that was there into Unreachable."""
        try:
            yield
        except OSError as error:
            why = self._dialer.failure or error.strerror or str(error)
            raise Unreachable(f"lost the daemon at {self.address}: {why}") from None
        except ProtocolError as error:
            raise Unreachable(f"what answers at {self.address} is no daemon: {error}") from None

    def _reuse(self) -> Connection | None:
        connection, self._idle = self._idle, None
        if connection is not None and connection.stale():
            connection.close()
            return None
        return connection

    def _connect(self) -> Connection:
        try:
            return Connection(self._dialer.dial())
        except PermissionError:
            raise Unreachable(
                f"permission denied at the daemon's socket {self.address}: run this as root"
            ) from None
        except OSError as error:
            raise Unreachable(
                f"cannot connect to the daemon at {self.address} ({error.strerror or error}):"
                " start it with 'orlop daemon' as root, or name its socket with --host or"
                " ORLOP_HOST"
            ) from None


def is_framed(response: Response) -> bool:
    """Whether the body multiplexes stdout and stderr (no terminal)."""
    return response.headers.get("content-type", "") != "application/vnd.docker.raw-stream"


def checked(response: Response) -> Response:
    """The response, unless it is an error: then DaemonError with the daemon's message."""
    if response.status >= 400:
        _refused(response, response.read())
    return response


@contextmanager
def _closing_on_error(connection: Connection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        connection.close()
        raise


def _refused(response: Response, content: bytes) -> bytes:
    if response.status < 400:
        return content
    try:
        message = json.loads(content)["message"]
    except (ValueError, TypeError, KeyError):
        message = content.decode("utf-8", "replace").strip() or f"HTTP status {response.status}"
    raise DaemonError(response.status, str(message))


def _target(path: str, query: Query | None) -> str:
    pairs = (
        f"{quote(name)}={quote('1' if one is True else str(one))}"
        for name, value in sorted((query or {}).items())
        for one in (value if isinstance(value, list | tuple) else (value,))
        if one is not None and one is not False
    )
    base = path if path.startswith("/orlop/") else API + path
    return "?".join(part for part in (base, "&".join(pairs)) if part)


def _body(value: Any) -> bytes | None:
    if value is None:
        return None
    return _utf8(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def _utf8(text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise Failure(f"not valid UTF-8: {text[max(0, error.start - 20) : error.end]!r}") from None


def _json(content: bytes) -> Any:
    try:
        return json.loads(content) if content.strip() else None
    except ValueError as error:
        raise ProtocolError(f"not JSON: {error}") from None
