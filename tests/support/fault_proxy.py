"""An HTTP proxy between a registry's client and the registry that does what networks do.

It listens on a free port of the loopback, so it is an origin of its own. Each request is
noted (`requests`), then the first fault that fits and is not used up decides its fate:

    proxy.fault("reset", "GET /v2/.*/blobs/", after=100_000)     once
    proxy.fault("status", "GET ", times=2, status=503)           twice

With a `TokenServer` it lets nobody in who has no token of it that is still good.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import secrets
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from tests.support.registry import User

PIECE = 16 * 1024
PATIENCE = 60.0
_PASSED_ON = ("accept", "content-type", "range", "content-range", "content-length")
_PASSED_BACK = (
    *("content-type", "content-range", "docker-content-digest", "docker-upload-uuid", "range"),
    *("location", "www-authenticate"),
)

Kind = Literal["reset", "silence", "cut", "shorten", "corrupt", "no_ranges", "status", "drop"]


@dataclass
class Fault:
    """What happens to requests whose "METHOD path" the pattern `match` begins.

    reset     the connection is reset `after` bytes of the body
    silence   nothing more comes `after` bytes of the body, for as long as the client waits
    cut       the connection is closed `after` bytes of the body, of which more were announced
    shorten   only `after` bytes are announced and sent, as if they were all
    corrupt   a bit is flipped in the body at `after`
    no_ranges a Range header is ignored
    status    `status` with `headers` and `body` is the answer
    drop      the connection is reset before any answer
    """

    kind: Kind
    match: str
    times: int = 1
    after: int = 0
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    hits: int = 0


@dataclass(frozen=True)
class Seen:
    """A request as it came; header names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    at: float

    @property
    def authorization(self) -> str:
        """The credentials in it, "" without any."""
        return self.headers.get("authorization", "")

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class TokenServer:
    """Gives tokens at /token of its proxy, each good for `uses` requests.

    `user` None gives them to anybody. What they were asked for is in `asked`, which requests came
    with a token that had expired in `expired`.

    A request that was refused an expired token is admitted with another one: however many share
    that at the time, what has just been given is good once for each of them.
    """

    def __init__(self, user: User | None = None, uses: int = 1 << 30) -> None:
        self.user = user
        self.uses = uses
        self.asked: list[dict[str, list[str]]] = []
        self.expired: list[str] = []
        self._good: dict[str, int] = {}
        self._refused: dict[str, set[str]] = {}
        self._again: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    def give(self, query: dict[str, list[str]], authorization: str) -> dict[str, Any] | None:
        """A new token, None for who may not have one."""
        self.asked.append(query)
        if self.user is not None and authorization != self.user.basic:
            return None
        token = secrets.token_hex(16)
        self._good[token] = self.uses
        return {"token": token, "expires_in": 300}

    def admits(self, authorization: str, request: str) -> bool:
        """Whether this is one of its tokens, and has not expired; takes a use of it."""
        token = authorization.removeprefix("Bearer ")
        with self._lock:
            if not self.uses or token not in self._good:
                return False
            self._good[token] -= 1
            refused = self._refused.setdefault(request, set())
            if self._good[token] >= 0:
                return True
            # The POSTs that begin the uploads of different blobs cannot be told apart.
            new = request.startswith("POST ") or (request, token) not in self._again
            if refused and token not in refused and new:
                self._again.add((request, token))
                return True
            refused.add(token)
            self.expired.append(request)
            return False


class FaultProxy:
    """The proxy of one registry at `upstream` (host:port, plain HTTP)."""

    def __init__(
        self, upstream: str, user: User | None = None, certificate: tuple[Path, Path] | None = None
    ) -> None:
        self.upstream = upstream
        self.scheme = "https" if certificate else "http"
        self.user = user
        self.tokens: TokenServer | None = None
        self.requests: list[Seen] = []
        self.faults: list[Fault] = []
        self.delay = 0.0
        self.connections: set[socket.socket] = set()
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = False
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"{self.scheme}://{self.address}"

    def fault(self, kind: Kind, match: str, **fields: Any) -> Fault:
        """Let that happen to the next request that fits, or to so many `times`."""
        fault = Fault(kind, match, **fields)
        self.faults.append(fault)
        return fault

    def redirect(self, match: str, target: str, **fields: Any) -> Fault:
        """Answer requests that fit by a redirect to `target`."""
        headers = {"Location": target, **fields.pop("headers", {})}
        return self.fault("status", match, status=307, headers=headers, **fields)

    def seen(self, pattern: str) -> list[Seen]:
        """The requests whose "METHOD path" the pattern begins, in order."""
        return [one for one in self.requests if re.match(pattern, str(one))]

    def close(self) -> None:
        """Stop, and wait for every connection's thread."""
        self._closing.set()
        self._server.shutdown()
        for connection in list(self.connections):  # idle ones, too
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._server.server_close()
        self._thread.join(PATIENCE)

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        headers = {name.lower(): value for name, value in handler.headers.items()}
        seen = Seen(str(handler.command), handler.path, headers, time.monotonic())
        self.requests.append(seen)
        if self.delay:
            time.sleep(self.delay)
        body = handler.rfile.read(int(headers.get("content-length", 0)))
        if self.tokens is not None and self._guard(handler, seen, self.tokens):
            return
        fault = self._fate(str(seen))
        if fault is not None and fault.kind == "drop":
            _reset(handler)
        elif fault is not None and fault.kind == "status":
            _answer(handler, fault.status, fault.headers, fault.body)
        else:
            self._forward(handler, seen, body, fault)

    def _fate(self, request: str) -> Fault | None:
        with self._lock:
            for fault in self.faults:
                if fault.hits < fault.times and re.match(fault.match, request):
                    fault.hits += 1
                    return fault
        return None

    def _guard(self, handler: BaseHTTPRequestHandler, seen: Seen, tokens: TokenServer) -> bool:
        """Whether the request is answered: one for a token, or one without a good token."""
        target = urlsplit(seen.path)
        if target.path == "/token":
            given = tokens.give(parse_qs(target.query), seen.authorization)
            answer = {"details": "incorrect username or password"} if given is None else given
            _answer(handler, 401 if given is None else 200, {}, json.dumps(answer).encode())
            return True
        if tokens.admits(seen.authorization, str(seen)):
            return False
        repository = re.match(r"/v2/(.+)/(?:manifests|blobs|tags)/", target.path)
        scope = ""
        if repository:
            actions = "pull" if seen.method in ("GET", "HEAD") else "pull,push"
            scope = f',scope="repository:{repository[1]}:{actions}"'
        challenge = f'Bearer realm="{self.url}/token",service="the test\'s"{scope}'
        _answer(handler, 401, {"WWW-Authenticate": challenge}, b'{"errors":[]}')
        return True

    def _forward(
        self, handler: BaseHTTPRequestHandler, seen: Seen, body: bytes, fault: Fault | None
    ) -> None:
        passed = {name: value for name, value in seen.headers.items() if name in _PASSED_ON}
        if fault is not None and fault.kind == "no_ranges":
            passed.pop("range", None)
        if self.user is not None:
            passed["authorization"] = self.user.basic
        elif self.tokens is None and seen.authorization:
            passed["authorization"] = seen.authorization
        with closing(http.client.HTTPConnection(self.upstream, timeout=PATIENCE)) as upstream:
            upstream.request(seen.method, seen.path, body=body or None, headers=passed)
            with upstream.getresponse() as response:
                self._send_back(handler, response, fault)

    def _send_back(
        self,
        handler: BaseHTTPRequestHandler,
        response: http.client.HTTPResponse,
        fault: Fault | None,
    ) -> None:
        handler.send_response(response.status)
        for name, value in response.getheaders():
            if name.lower() in _PASSED_BACK:
                handler.send_header(name, value.replace(f"http://{self.upstream}", self.url))
        whole = int(response.getheader("Content-Length") or 0)
        length = min(whole, fault.after) if fault and fault.kind == "shorten" else whole
        handler.send_header("Content-Length", str(length))
        handler.end_headers()
        if handler.command != "HEAD":
            self._send_body(handler, response, length, fault)

    def _send_body(
        self,
        handler: BaseHTTPRequestHandler,
        response: http.client.HTTPResponse,
        length: int,
        fault: Fault | None,
    ) -> None:
        stops = fault is not None and fault.kind in ("reset", "silence", "cut")
        end = min(length, fault.after) if fault and stops else length
        sent = 0
        while sent < end and (data := response.read(min(PIECE, end - sent))):
            if fault and fault.kind == "corrupt" and sent <= fault.after < sent + len(data):
                at = fault.after - sent
                data = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
            handler.wfile.write(data)
            sent += len(data)
        if fault is None or not stops:
            return
        if fault.kind == "silence":
            self._until_it_leaves(handler.connection)
        elif fault.kind == "reset":
            _reset(handler)
        handler.close_connection = True

    def _until_it_leaves(self, connection: socket.socket) -> None:
        while not self._closing.is_set():
            ready, _, _ = select.select([connection], [], [], 0.02)
            if ready:
                return


@contextmanager
def fault_proxy(
    upstream: str, user: User | None = None, certificate: tuple[Path, Path] | None = None
) -> Iterator[FaultProxy]:
    """A proxy until the end of the block; with a `user` it speaks to the registry as that,
    with a `certificate` (its file, its key's) to its clients by TLS.
    """
    proxy = FaultProxy(upstream, user, certificate)
    try:
        yield proxy
    finally:
        proxy.close()


def _answer(
    handler: BaseHTTPRequestHandler, status: int, headers: Mapping[str, str], body: bytes
) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(body)


def _reset(handler: BaseHTTPRequestHandler) -> None:
    # Closing with a linger time of 0 sends RST instead of FIN (socket(7), SO_LINGER). What the
    # client has not read yet is lost with it, so it is given a moment.
    handler.wfile.flush()
    time.sleep(0.05)
    handler.close_connection = True
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    os.close(handler.connection.detach())


def _handler(proxy: FaultProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = PATIENCE

        def _serve(self) -> None:
            with contextlib.suppress(ConnectionError):
                proxy.serve(self)

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815

        def setup(self) -> None:
            super().setup()
            proxy.connections.add(self.connection)

        def finish(self) -> None:
            proxy.connections.discard(self.connection)
            with contextlib.suppress(OSError):
                super().finish()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler
