"""One request with all that a handler needs to answer it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from supervisor.api.arrival import Disconnected
from supervisor.api.connection import Connection
from supervisor.api.engine_like import EngineLike
from supervisor.api.messages import (
    MULTIPLEXED_STREAM,
    RAW_STREAM,
    Headers,
    parse_query,
    query_values,
)
from supervisor.docker.routes import Match, Version
from supervisor.errors import InvalidArgument

Produce = Callable[[Connection], Awaitable[bytes]]
"""Writes pieces of a body and returns what is left to write with its end."""

# The name "multiplexed-stream" came with this version; the bytes are older.
_NAMES_MULTIPLEXED: Version = (1, 42)


class BodyStream:
    """A request's body as it comes: pieces of about `limits.STREAM_SIZE` bytes.

    The client is read from only when the next piece is asked for: what takes them sets the
    pace. Raises InvalidArgument where the body ends early, RequestTimeout, Disconnected.
    """

    __slots__ = ("_connection",)

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __aiter__(self) -> BodyStream:
        return self

    async def __anext__(self) -> bytes:
        piece = await self._connection.body_piece()
        if not piece:
            raise StopAsyncIteration
        return piece


class Exchange:
    """`ref` is the path's variable part, `version` the API version asked for.

    A handler returns an Answer, or None after it streamed one or took the connection over.
    """

    __slots__ = ("_query_text", "_read_query", "body", "connection", "engine", "ref", "version")

    def __init__(
        self,
        engine: EngineLike,
        connection: Connection,
        match: Match,
        query: str,
        body: bytes = b"",
    ) -> None:
        self.engine = engine
        self.connection = connection
        self.ref = match.ref
        self.version = match.version
        self.body = body
        self._query_text = query
        self._read_query: dict[str, str] | None = None

    @property
    def query(self) -> dict[str, str]:
        """The query parameters; InvalidArgument where they are malformed."""
        if self._read_query is None:
            self._read_query = parse_query(self._query_text)
        return self._read_query

    def values(self, name: str) -> list[str]:
        """All values of a query parameter that may be given more than once."""
        return query_values(self._query_text, name)

    def expect_json(self) -> bytes:
        """The body of a request that must have one; InvalidArgument for another content type."""
        assert self.connection.request is not None
        for name, value in self.connection.request.headers:
            if name == b"content-type" and value.partition(b";")[0].strip().lower() not in (
                b"application/json",
                b"text/json",
            ):
                raise InvalidArgument(
                    f"unsupported Content-Type header ({value.decode('latin-1'):.80}): "
                    "must be 'application/json'"
                )
        return self.body

    def body_stream(self) -> BodyStream:
        """The body of an operation in `handlers.STREAMED`, whose `body` is empty."""
        return BodyStream(self.connection)

    def stream_type(self, *, tty: bool) -> bytes:
        """The content type of a container's output."""
        framed = not tty and self.version >= _NAMES_MULTIPLEXED
        return MULTIPLEXED_STREAM if framed else RAW_STREAM

    async def stream(self, headers: Headers, produce: Produce, *, endless: bool) -> None:
        """A streamed answer of status 200: its head at once, what `produce` writes, its end.

        An `endless` one (it may wait without writing) is cancelled when the client closes
        its side, and then raises Disconnected.
        """
        connection = self.connection
        await connection.begin(200, headers)
        last = await _unless_hung_up(connection, produce) if endless else await produce(connection)
        if last is None:
            raise Disconnected("the client closed its side")
        await connection.finish(last)


async def _unless_hung_up(connection: Connection, produce: Produce) -> bytes | None:
    with trio.CancelScope() as scope, connection.watched(scope.cancel):
        return await produce(connection)
    return None
