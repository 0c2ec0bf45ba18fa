"""Streams of progress: one JSON object a line, as pull, push and load answer.

    work ─► put(value) ─► pending ─► lines, as fast as the client takes them

The answer begins with the first line: what fails before it is an ordinary error with a
status, what fails later a line with `errorDetail`. A slow client holds up nobody: of the
lines about one thing (`id` with `progressDetail`) only the latest waits for it.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from supervisor.api.arrival import Disconnected
from supervisor.api.exchange import Exchange
from supervisor.api.messages import JSON_TYPE, json_line
from supervisor.errors import Internal, OrlopError, sole_error

log = logging.getLogger("orlop.api")

Work = Callable[["Progress"], Awaitable[None]]


class Progress:
    """Lines on their way to one client; `put` them in any task."""

    def __init__(self) -> None:
        self._pending: dict[object, bytes] = {}
        self._count = 0
        self._more = trio.Event()
        self._ended = False

    def put(self, value: dict[str, Any]) -> None:
        """Send one object, some time soon."""
        self._count += 1
        # A line that only moves a bar takes the place of one about the same that still waits.
        moving = bool(value.get("progressDetail")) and bool(value.get("id"))
        key: object = (value["id"], value.get("status")) if moving else self._count
        self._pending[key] = json_line(value)[:-1] + b"\r\n"
        self._more.set()

    def end(self) -> None:
        """Nothing more comes."""
        self._ended = True
        self._more.set()

    async def take(self) -> bytes:
        """All lines that wait, once there are any; b"" when no more will come."""
        await self._more.wait()
        if not self._ended:
            self._more = trio.Event()
        lines = b"".join(self._pending.values())
        self._pending.clear()
        return lines


async def stream_progress(exchange: Exchange, work: Work, *, watch: bool = True) -> None:
    """Answer with the lines that `work` puts; it is cancelled when the client leaves.

    Raises what `work` raised before its first line. `watch` False for work that takes the
    request's body: a client that leaves in the middle of that is seen there.
    """
    progress = Progress()
    connection = exchange.connection
    errors: list[Exception] = []
    begun = False

    async def run() -> None:
        try:
            await work(progress)
        except Disconnected:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it was, the client is told
            errors.append(sole_error(error))
        progress.end()

    async def leave_with_client() -> None:
        await connection.hung_up()
        raise Disconnected("the client closed its side")

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            if watch:
                nursery.start_soon(leave_with_client)
            while lines := await progress.take():
                if not begun:
                    begun = True
                    await connection.begin(200, [(b"Content-Type", JSON_TYPE)])
                await connection.chunk(lines)
            nursery.cancel_scope.cancel()
    except ExceptionGroup as group:
        raise sole_error(group) from None
    if errors and not begun:
        raise errors[0]
    if not begun:
        await connection.begin(200, [(b"Content-Type", JSON_TYPE)])
    await connection.finish(_error_line(exchange, errors[0]) if errors else b"")


def _error_line(exchange: Exchange, error: Exception) -> bytes:
    if not isinstance(error, OrlopError):
        log.error("%s failed", exchange.ref or "a request", exc_info=error)
        error = Internal(f"{type(error).__name__}: {error}")
    message = error.message
    return json_line({"errorDetail": {"message": message}, "error": message})[:-1] + b"\r\n"
