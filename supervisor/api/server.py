"""The HTTP server: connections, requests to handlers, errors to answers.

A failing request costs its client an error and nobody else anything. Errors after a
streamed answer began can only cut it off; the client sees an incomplete body.
"""

from __future__ import annotations

import logging
from functools import partial

import h11
import trio

from supervisor.api.connection import Connection, Disconnected, RequestTimeout
from supervisor.api.engine_like import EngineLike
from supervisor.api.exchange import Exchange
from supervisor.api.handlers import HANDLERS, STREAMED
from supervisor.api.messages import NOT_MODIFIED, Answer, error_answer
from supervisor.docker.routes import route
from supervisor.errors import (
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


class Server:
    """Serves the API of one engine on any number of listeners."""

    def __init__(self, engine: EngineLike) -> None:
        self._engine = engine
        self._connections: set[Connection] = set()
        self._stopping = trio.Event()

    async def serve(
        self,
        listeners: list[trio.SocketListener],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Accept until `stop`, then let what is under way end for up to DRAIN_SECONDS."""
        async with trio.open_nursery() as connections:
            async with trio.open_nursery() as accepting:
                accepting.start_soon(
                    partial(
                        trio.serve_listeners,
                        self._serve_connection,
                        listeners,
                        handler_nursery=connections,
                    )
                )
                task_status.started()
                await self._stopping.wait()
                accepting.cancel_scope.cancel()
            for connection in self._connections:
                if connection.waiting is not None:
                    connection.waiting.cancel()
            connections.cancel_scope.deadline = trio.current_time() + DRAIN_SECONDS

    def stop(self) -> None:
        """Accept nothing more; idle connections end now, others after their answer."""
        self._stopping.set()

    async def _serve_connection(self, stream: trio.SocketStream) -> None:
        connection = Connection(stream)
        self._connections.add(connection)
        try:
            while not self._stopping.is_set() and await self._serve_request(connection):
                pass
        except Disconnected:
            log.debug("a client hung up")
        except Exception:
            log.exception("a connection broke")
        finally:
            self._connections.discard(connection)
            # Only drops this end: a hijacked connection lives on in its duplicate.
            stream.socket.close()

    async def _serve_request(self, connection: Connection) -> bool:
        """Take and answer one request; False when the connection is over."""
        try:
            request = await connection.next_request()
            if request is None:
                return False
            check_framing(request)
            answer = await self._answer(connection, request)
        except h11.RemoteProtocolError as error:
            await connection.refuse(error_answer(error.error_status_hint, f"bad request: {error}"))
            return False
        except (RequestTimeout, AmbiguousFraming) as error:
            await connection.refuse(error_answer(error.status, error.message))
            return False
        if answer is not None:
            if not connection.complete_request():
                await connection.refuse(answer)
                return False
            await connection.answer(answer)
        return connection.next_cycle()

    async def _answer(self, connection: Connection, request: h11.Request) -> Answer | None:
        try:
            path, _, query = request.target.decode("ascii").partition("?")
            match = route(request.method.decode("ascii"), path)
            streamed = match.operation in STREAMED
            exchange = Exchange(
                self._engine,
                connection,
                ref=match.ref,
                version=match.version,
                query=query,
                body=b"" if streamed else await connection.body(),
            )
            with self._engine.metering.operation(match.operation):
                return await HANDLERS[match.operation](exchange)
        except (Disconnected, h11.RemoteProtocolError, RequestTimeout):
            raise
        except Exception as error:  # noqa: BLE001 - every failure becomes its request's answer
            return self._error(connection, request, sole_error(error))

    def _error(
        self, connection: Connection, request: h11.Request, error: Exception
    ) -> Answer | None:
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


def check_framing(request: h11.Request) -> None:
    """AmbiguousFraming for a body with two lengths, which proxies and servers read differently."""
    names = {name for name, _ in request.headers}
    if b"content-length" in names and b"transfer-encoding" in names:
        raise AmbiguousFraming(
            "bad request: both Content-Length and Transfer-Encoding (RFC 9112, section 6.1)"
        )
