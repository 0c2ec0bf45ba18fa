"""Bytes into and out of worker processes, at the pace of the slower end.

    client ─► pieces ─► pipe ─► worker        feed
    client ◄─ pieces ◄─ pipe ◄─ worker        draw

Neither holds more than a pipe and a piece in memory: a client that does not read stops the
worker, a worker that does not read stops the client.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import trio

from supervisor.errors import sole_error
from supervisor.store.work import work

PIPE_SIZE = 256 * 1024
INPUT, OUTPUT = "input", "output"


async def feed(
    operation: str,
    arguments: Mapping[str, Any],
    pieces: AsyncIterable[bytes],
    *,
    fds: Mapping[str, int] | None = None,
    progress: Callable[[Mapping[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """`work` with a pipe as its fd "input" into which `pieces` go; the worker's result.

    Raises what `work` raises, and what `pieces` raises, which ends the worker. A worker that
    stops reading ends nothing: its result or error is told when it comes.
    """
    reading, writing = _pipe()
    os.set_blocking(writing, False)
    result: dict[str, Any] = {}
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_fill, writing, pieces)
            try:
                passed = {**(fds or {}), INPUT: reading}
                result = await work(operation, arguments, fds=passed, progress=progress)
            finally:
                os.close(reading)
            nursery.cancel_scope.cancel()
    except ExceptionGroup as group:
        raise sole_error(group) from None
    return result


class Output:
    """What a worker writes into its fd "output", in pieces of at most PIPE_SIZE bytes.

    `first` is what it told before the first byte. Iterating raises the worker's error once
    all is read that it wrote before: whoever sees the end without one has everything.
    """

    def __init__(self, fd: int) -> None:
        self.first: Mapping[str, Any] = {}
        self._fd = fd
        self._begun = trio.Event()
        self._over = trio.Event()
        self._error: Exception | None = None

    def __aiter__(self) -> Output:
        return self

    async def __anext__(self) -> bytes:
        # A worker that always has more must not keep other tasks from running.
        await trio.lowlevel.checkpoint()
        while True:
            try:
                data = os.read(self._fd, PIPE_SIZE)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self._fd)
                continue
            if data:
                return data
            await self._over.wait()
            if self._error is not None:
                raise self._error
            raise StopAsyncIteration

    async def _begin(self) -> None:
        await self._begun.wait()
        if self._error is not None:
            raise self._error

    def _tell(self, progress: Mapping[str, Any]) -> None:
        if not self._begun.is_set():
            self.first = progress
            self._begun.set()

    async def _work(
        self, operation: str, arguments: Mapping[str, Any], fds: Mapping[str, int], writing: int
    ) -> None:
        passed = {**fds, OUTPUT: writing}
        try:
            with _closing(writing):
                await work(operation, arguments, fds=passed, progress=self._tell)
        except Exception as error:  # noqa: BLE001 - whoever reads raises it
            self._error = error
        self._begun.set()
        self._over.set()


@asynccontextmanager
async def draw(
    operation: str, arguments: Mapping[str, Any], *, fds: Mapping[str, int] | None = None
) -> AsyncIterator[Output]:
    """`work` with a pipe as its fd "output"; the block takes what comes out of it.

    Entered when the worker told its first progress (`Output.first`) or has ended; raises the
    error of one that failed before that. The worker is killed when the block is left early.
    """
    reading, writing = _pipe()
    os.set_blocking(reading, False)
    output = Output(reading)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(output._work, operation, arguments, fds or {}, writing)
            await output._begin()
            yield output
            nursery.cancel_scope.cancel()
    except ExceptionGroup as group:
        raise sole_error(group) from None
    finally:
        os.close(reading)


async def _fill(fd: int, pieces: AsyncIterable[bytes]) -> None:
    try:
        with _closing(fd):
            async for piece in pieces:
                await _write_all(fd, piece)
    except BrokenPipeError:  # the worker reads no further; its answer says why
        pass
    finally:
        close = getattr(pieces, "aclose", None)
        if close is not None:  # a generator must not be left to the garbage collector
            with trio.CancelScope(shield=True):
                await close()


async def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            await trio.lowlevel.wait_writable(fd)


@contextmanager
def _closing(fd: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(fd)


def _pipe() -> tuple[int, int]:
    reading, writing = os.pipe2(os.O_CLOEXEC)
    with suppress(OSError):  # over the user's limit: a smaller one works too
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
    return reading, writing
