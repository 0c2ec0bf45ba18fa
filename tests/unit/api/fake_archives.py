"""Containers' filesystems as a dictionary of bytes; what the real ones do, without a disk."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio

from supervisor.docker.changes import Change
from supervisor.errors import InvalidArgument, NotFound
from supervisor.wire.path_stat import PathStat

STAT = PathStat(name="etc", size=4096, mode=0o40755, mtime="2026-11-21T03:28:56.231881318Z")
_LONG = b"b" * 300_000


class FakeArchives:
    """`taken` are the bodies put; `gate` lets a put go on, `closed` says a get was left."""

    def __init__(self) -> None:
        self.taken: dict[str, bytes] = {}
        self.pieces: list[bytes] = [b"a" * 1000, _LONG]
        self.fails_after: int | None = None
        self.refuses: str = ""
        self.gate = trio.Event()
        self.gate.set()
        self.largest = 0
        self.asked: list[tuple[str, bool, bool]] = []
        self.closed = trio.Event()

    async def stat(self, ref: str, path: str) -> PathStat:
        if path == "/nope":
            raise NotFound(f"Could not find the file {path} in container {ref}")
        return STAT

    @asynccontextmanager
    async def get(
        self, ref: str, path: str
    ) -> AsyncIterator[tuple[PathStat, AsyncIterable[bytes]]]:
        found = await self.stat(ref, path)
        try:
            yield found, self._pieces()
        finally:
            self.closed.set()

    async def put(
        self,
        ref: str,
        path: str,
        pieces: AsyncIterable[bytes],
        *,
        keep_types: bool,
        as_user: bool,
    ) -> None:
        self.asked.append((path, keep_types, as_user))
        if self.refuses:
            raise InvalidArgument(self.refuses)
        taken = b""
        async for piece in pieces:
            self.largest = max(self.largest, len(piece))
            taken += piece
            await self.gate.wait()
        self.taken[path] = taken

    @asynccontextmanager
    async def export(self, ref: str) -> AsyncIterator[AsyncIterable[bytes]]:
        try:
            yield self._pieces()
        finally:
            self.closed.set()

    async def changes(self, ref: str) -> Sequence[Change]:
        return [Change(0, "/tmp"), Change(1, "/tmp/\udcff"), Change(2, "/bin")]

    async def _pieces(self) -> AsyncIterator[bytes]:
        for number, piece in enumerate(self.pieces):
            if number == self.fails_after:
                raise InvalidArgument("it broke in the middle")
            await trio.lowlevel.checkpoint()
            yield piece
