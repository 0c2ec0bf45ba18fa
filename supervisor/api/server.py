"""The HTTP server: connections, requests to handlers, errors to answers.

A failing request costs its client an error and nobody else anything. Errors after a
streamed answer began can only cut it off; the client sees an incomplete body.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Sequence
from functools import partial

import h11
import trio

from supervisor.api.accepting import accept_forever
from supervisor.api.arrival import Disconnected
from supervisor.api.connection import Connection, RequestTimeout
from supervisor.api.engine_like import EngineLike
from supervisor.api.exchange import Exchange
from supervisor.api.handlers import HANDLERS, PROMPT, STREAMED
from supervisor.api.hangups import HangUps
from supervisor.api.lobby import Lobby
from supervisor.api.messages import NOT_MODIFIED, Answer, error_answer
from supervisor.api.patience import Patience
from supervisor.api.peer import Peer, peer_of, refuse_web_pages
from supervisor.api.plain_heads import Head
from supervisor.api.read_only import refuse_control
from supervisor.api.tls import TlsStream, relay, shake_hands
from supervisor.docker.routes import Match, route
from supervisor.errors import (
    Forbidden,
    InitError,
    InvalidArgument,
    NotModified,
    OrlopError,
    sole_error,
)


class AmbiguousFraming(InvalidArgument):
    """Where the request's body ends cannot be said."""


log = logging.getLogger("orlop.api")

DRAIN_SECONDS = 10.0

Listener = trio.SocketListener | trio.SSLListener[trio.SocketStream]

_ONLY_WATCHES = frozenset({"ContainerWait", "ContainerResize", "ExecResize"})
_TYPES = frozenset({"ContainerAttachWebsocket"})


class Server:
    """Serves the API of one engine on any number of listeners."""

    def __init__(self, engine: EngineLike) -> None:
        self._engine = engine
        self._connections: set[Connection] = set()
        self._hang_ups = HangUps()
        self._patience = Patience()
        self._stopping = trio.Event()
        self._only_relayed: set[trio.CancelScope] = set()

    async def serve(
        self,
        listeners: Sequence[Listener],
        *,
        read_only: Sequence[Listener] = (),
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Accept until `stop`, then let what is under way end for up to DRAIN_SECONDS.

        On the `read_only` ones, of unix sockets, nothing can be changed.
        """
        try:
            async with trio.open_nursery() as watching:
                watching.start_soon(self._hang_ups.run)
                watching.start_soon(self._patience.run)
                await self._serve(listeners, read_only, task_status)
                watching.cancel_scope.cancel()
        finally:
            self._hang_ups.close()

    async def _serve(
        self,
        listeners: Sequence[Listener],
        read_only: Sequence[Listener],
        task_status: trio.TaskStatus[None],
    ) -> None:
        async with trio.open_nursery() as connections:
            lobby = Lobby(
                self._patience,
                answer=self._answered_at_once,
                leave=lambda one: connections.start_soon(self._serve_connection, one),
                over=self._over,
            )
            try:
                async with trio.open_nursery() as accepting:
                    accepting.start_soon(lobby.run)
                    for listener in listeners:
                        accepting.start_soon(self._accept, listener, connections, lobby)
                    for listener in read_only:
                        accepting.start_soon(
                            partial(self._accept, listener, connections, lobby, read_only=True)
                        )
                    task_status.started()
                    await self._stopping.wait()
                    accepting.cancel_scope.cancel()
            finally:
                lobby.close()
            for connection in self._connections:
                if connection.waiting is not None:
                    connection.waiting()
            for relaying in self._only_relayed:
                relaying.cancel()
            connections.cancel_scope.deadline = trio.current_time() + DRAIN_SECONDS

    def stop(self) -> None:
        """Accept nothing more; idle connections end now, others after their answer."""
        self._stopping.set()

    async def _accept(
        self,
        listener: Listener,
        connections: trio.Nursery,
        lobby: Lobby,
        *,
        read_only: bool = False,
    ) -> None:
        if not isinstance(listener, trio.SocketListener):
            await trio.serve_listeners(self._serve_secure, [listener], handler_nursery=connections)
        elif listener.socket.family == socket.AF_UNIX:
            await accept_forever(listener, partial(self._welcome, lobby, read_only=read_only))
        else:
            await accept_forever(listener, lambda one: connections.start_soon(self._serve_tcp, one))

    def _welcome(self, lobby: Lobby, client: socket.socket, *, read_only: bool) -> None:
        connection = Connection(client, self._hang_ups, self._patience, read_only=read_only)
        self._connections.add(connection)
        lobby.enter(connection)

    def _over(self, connection: Connection) -> None:
        self._connections.discard(connection)
        connection.close()

    async def _serve_tcp(self, client: socket.socket) -> None:
        try:
            _keep_alive(client)
            peer = peer_of(client)
        except OSError:  # gone before it could be asked who it is
            log.debug("a client hung up")
            client.close()
            return
        await self._serve_connection(Connection(client, self._hang_ups, self._patience, peer=peer))

    async def _serve_secure(self, stream: TlsStream) -> None:
        try:
            await self._serve_tls(stream)
        except OSError:  # as above
            log.debug("a client hung up")
        except Exception:
            log.exception("a connection broke")

    async def _serve_tls(self, stream: TlsStream) -> None:
        """Serve a connection behind TLS; one whose stream was taken over is relayed on."""
        transport = stream.transport_stream.socket
        _keep_alive(transport)
        if not await shake_hands(stream, peer_of(transport).name):
            await trio.aclose_forcefully(stream)
            return
        peer = peer_of(transport, stream.getpeercert() or {})
        inner, far = socket.socketpair()
        near = trio.SocketStream(trio.socket.from_stdlib_socket(inner))
        far.setblocking(False)
        async with trio.open_nursery() as relaying:
            relaying.start_soon(relay, stream, near)
            inner_end = Connection(far, self._hang_ups, self._patience, peer=peer)
            if await self._serve_connection(inner_end):
                self._only_relayed.add(relaying.cancel_scope)
                if self._stopping.is_set():
                    relaying.cancel_scope.cancel()
        self._only_relayed.discard(relaying.cancel_scope)

    async def _serve_connection(self, connection: Connection) -> bool:
        """Serve requests and close the socket; True where the stream was taken over."""
        self._connections.add(connection)
        try:
            await connection.finish_answer()
            while not self._stopping.is_set() and await self._serve_request(connection):
                pass
        except Disconnected:
            log.debug("a client hung up")
        except Exception:
            log.exception("a connection broke")
        finally:
            connection.tell_status(0)
            # Only drops this end: a hijacked connection lives on in its duplicate, for which
            # trio's epoll would keep what it knows of this one.
            if connection.hijacked:
                trio.lowlevel.notify_closing(connection.fileno())
            self._over(connection)
        return connection.hijacked

    async def _serve_request(self, connection: Connection) -> bool:
        """Take and answer one request; False when the connection is over."""
        try:
            request = await connection.next_request()
            if request is None:
                return False
            if not connection.plain:
                check_framing(request)
            if connection.peer.open_port:
                refuse_web_pages(request)
            answer = await self._answer(connection, request)
        except h11.RemoteProtocolError as error:
            await connection.refuse(error_answer(error.error_status_hint, f"bad request: {error}"))
            return False
        except (RequestTimeout, AmbiguousFraming, Forbidden) as error:
            await connection.refuse(error_answer(error.status, error.message))
            return False
        if answer is not None:
            if not connection.complete_request():
                await connection.refuse(answer)
                return False
            await connection.answer(answer)
        return connection.next_cycle()

    def _answered_at_once(self, connection: Connection, data: bytes) -> bool:
        """Answer the request that `data` is; False if that takes a task."""
        request = connection.plain_request(data)
        if request is None:
            return False
        begun, operation = time.perf_counter(), ""
        answer: Answer | None = None
        try:
            _, _, query, match = _routed(request)
            operation = match.operation
            if connection.read_only:
                refuse_control(operation)
            answer = self._prompt(connection, match, query)
        except Exception as error:  # noqa: BLE001 - every failure becomes its request's answer
            answer = self._error(connection, request, error)
        if answer is None:
            connection.takes_longer()
            return False
        self._engine.metering.answered(operation, answer.status, begun)
        return connection.answer_at_once(answer)

    def _prompt(self, connection: Connection, match: Match, query: str) -> Answer | None:
        """What is answered without a wait; None where that takes one of HANDLERS."""
        prompt = PROMPT.get(match.operation)
        if prompt is None:
            return None
        return prompt(Exchange(self._engine, connection, match, query))

    async def _answer(self, connection: Connection, request: Head) -> Answer | None:
        begun, operation = time.perf_counter(), ""
        try:
            method, path, query, match = _routed(request)
            operation = match.operation
            if connection.read_only:
                refuse_control(operation)
            if changes(method, operation):
                connection.on_status = partial(_log_change, method, path, connection.peer)
            body = b"" if operation in STREAMED else await connection.body()
            answer = self._prompt(connection, match, query)
            if answer is None:
                exchange = Exchange(self._engine, connection, match, query, body)
                with self._engine.metering.operation(operation):
                    answer = await HANDLERS[operation](exchange)
        except (Disconnected, h11.RemoteProtocolError, RequestTimeout):
            raise
        except Exception as error:  # noqa: BLE001 - every failure becomes its request's answer
            answer = self._error(connection, request, sole_error(error))
        if answer is not None:  # a stream is as long as its client likes
            self._engine.metering.answered(operation, answer.status, begun)
        return answer

    def _error(self, connection: Connection, request: Head, error: Exception) -> Answer | None:
        if isinstance(error, Disconnected):
            raise error
        if connection.answering:
            log.log(
                logging.INFO if isinstance(error, OrlopError) else logging.ERROR,
                "%s %s: %s after the answer began",
                request.method.decode(),
                request.target.decode("ascii", "replace"),
                error,
                exc_info=None if isinstance(error, OrlopError) else error,
            )
            raise Disconnected("the answer was cut off") from None
        if isinstance(error, NotModified):
            return NOT_MODIFIED
        if isinstance(error, OrlopError):
            return error_answer(error.status, error.message)
        if isinstance(error, InitError):
            return error_answer(400, error.message)
        log.error(
            "%s %s failed",
            request.method.decode(),
            request.target.decode("ascii", "replace"),
            exc_info=error,
        )
        return error_answer(500, f"{type(error).__name__}: {error}")


def _routed(request: Head) -> tuple[str, str, str, Match]:
    """Method, path and query, and what they ask for."""
    path, _, query = origin_form(request.target.decode("ascii")).partition("?")
    method = request.method.decode("ascii")
    return method, path, query, route(method, path)


def origin_form(target: str) -> str:
    """Path and query of a target with scheme and host, as proxies get it (RFC 9112, 3.2.2)."""
    if target[:7].lower() != "http://":
        return target
    _, slash, rest = target[7:].partition("/")
    return slash + rest or "/"


def changes(method: str, operation: str) -> bool:
    """Whether an operation is for the log: it may change something, or types into a container."""
    if operation in _ONLY_WATCHES:
        return False
    return method not in ("GET", "HEAD") or operation in _TYPES


def _log_change(method: str, path: str, peer: Peer, status: int) -> None:
    """One line without query and body, which may hold secrets; status 0 is no answer."""
    log.info("%s %s by %s: %s", method, path, peer.name, status or "no answer")


def _keep_alive(sock: trio.socket.SocketType | socket.socket) -> None:
    # A client's host that vanished says nothing any more: the kernel asks.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def check_framing(request: Head) -> None:
    """AmbiguousFraming for a body with two lengths, which proxies and servers read differently."""
    names = {name for name, _ in request.headers}
    if b"content-length" in names and b"transfer-encoding" in names:
        raise AmbiguousFraming(
            "bad request: both Content-Length and Transfer-Encoding (RFC 9112, section 6.1)"
        )
