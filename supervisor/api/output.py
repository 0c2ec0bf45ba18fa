"""Log records and events to bytes on a connection, gathered into few writes."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import trio

from supervisor.api.connection import Connection
from supervisor.docker.times import rfc3339_fixed
from supervisor.errors import sole_error
from supervisor.wire import stdcopy
from supervisor.wire.logrecord import Record

T = TypeVar("T")

MOST_GATHERED = 64 * 1024
"""Bytes that wait for a slow client; its source stands still meanwhile."""


class RecordFormat:
    """Docker's form of log records: frames unless `tty`, times at the begin of each line."""

    def __init__(self, *, tty: bool, timestamps: bool) -> None:
        self._tty = tty
        self._timestamps = timestamps
        self._inside: dict[str, bool] = {}

    def __call__(self, record: Record) -> bytes:
        """The bytes of one record; a line may come in several."""
        data = record.data
        if self._timestamps:
            if not self._inside.get(record.stream):
                data = rfc3339_fixed(record.wall_ns).encode() + b" " + data
            self._inside[record.stream] = not record.data.endswith(b"\n")
        if self._tty:
            return data
        number = stdcopy.STDERR if record.stream == "stderr" else stdcopy.STDOUT
        return stdcopy.header(number, len(data)) + data


async def send_items(
    connection: Connection, items: AsyncIterator[T], form: Callable[[T], bytes]
) -> bytes:
    """Write all of `items`; what comes while a write is under way goes with the next one."""
    gathered = bytearray()
    changed = trio.Event()
    over = False

    async def write() -> None:
        nonlocal changed
        while gathered or not over:
            if not gathered:
                await changed.wait()
                changed = trio.Event()
                continue
            data = bytes(gathered)
            gathered.clear()
            room.set()
            await connection.chunk(data)

    room = trio.Event()
    try:
        async with trio.open_nursery() as nursery, closing(items):
            nursery.start_soon(write)
            async for item in items:
                gathered += form(item)
                changed.set()
                if len(gathered) > MOST_GATHERED:
                    room = trio.Event()
                    await room.wait()
            over = True
            changed.set()
    except ExceptionGroup as group:
        raise sole_error(group) from None
    return b""


@asynccontextmanager
async def closing(items: AsyncIterable[Any]) -> AsyncIterator[None]:
    """Close an async generator at the end of the block; other iterators need nothing."""
    try:
        yield
    finally:
        close = getattr(items, "aclose", None)
        if close is not None:
            with trio.CancelScope(shield=True):
                await close()
