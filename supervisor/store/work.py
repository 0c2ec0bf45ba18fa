"""Operations on file trees, each in a worker process of its own.

Hostile input grows and stalls that process, never this one; a cancelled request is a
SIGKILL; and a worker may enter mount namespaces, which a process with threads may not.
"""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import trio

import supervisor
from supervisor.errors import BY_CODE, Internal, Unavailable
from supervisor.kernel.process import pidfd_open

# One that waits for a slow client of `docker export` takes 12 MiB, so this bounds them all.
MAX_WORKERS = 32
BOOT = (
    "import sys; sys.path.insert(0, sys.argv[1]); sys.path.append(sys.argv[2]); "
    "from supervisor.snapshot import worker; worker.main(int(sys.argv[3]), int(sys.argv[4]))"
)
_CHUNK = 64 * 1024

_workers = trio.CapacityLimiter(MAX_WORKERS)


async def work(
    operation: str,
    arguments: Mapping[str, Any],
    *,
    fds: Mapping[str, int] | None = None,
    progress: Callable[[Mapping[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Run one operation of `supervisor.snapshot.operations` in a worker; its result.

    `fds` are passed by name; the caller keeps its own. Raises the OrlopError that the
    operation raised, Unavailable when the worker could not be started or died. When this
    call ends, however it ends, the worker is dead and reaped.
    """
    fds = fds or {}
    request = {"operation": operation, "arguments": dict(arguments), "fds": list(fds)}
    async with _workers, _worker() as (process, control):
        await _send(control, json.dumps(request).encode() + b"\n", list(fds.values()))
        messages = _Messages(control)
        while (message := await messages.next()) is not None:
            if "progress" not in message:
                return _result(message)
            if progress is not None:
                progress(message["progress"])
        await _dead(process)
        raise Unavailable(f"{operation}: the worker process {_fate(process.returncode)}")


@asynccontextmanager
async def _worker() -> AsyncIterator[tuple[subprocess.Popen[bytes], trio.socket.SocketType]]:
    ours, theirs = socket.socketpair()
    control = trio.socket.from_stdlib_socket(ours)
    with control:
        with theirs:
            process = _start(theirs.fileno())
        try:
            yield process, control
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await _dead(process)


def _start(fd: int) -> subprocess.Popen[bytes]:
    """Start the interpreter, from this thread: the worker dies with the thread that made it.

    As with the zygote vfork is underneath, which takes a millisecond.
    """
    root = str(Path(supervisor.__file__).parent.parent)
    numbers = [str(fd), str(os.getpid())]
    try:
        return subprocess.Popen(  # noqa: S603 - our own interpreter, our own module
            [sys.executable, "-I", "-S", "-c", BOOT, root, _site_packages(), *numbers],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[fd],
            env={"PATH": os.defpath, "LANG": "C.UTF-8"},
        )
    except OSError as error:  # no memory, no more processes
        raise Unavailable(f"cannot start a worker process: {error.strerror}") from error


@cache
def _site_packages() -> str:
    """Where our zstandard is installed; not imported here, as few daemons ever need it."""
    spec = importlib.util.find_spec("zstandard")
    if spec is None or spec.origin is None:
        raise Internal("the package zstandard is not installed")
    return str(Path(spec.origin).parent.parent)


async def _dead(process: subprocess.Popen[bytes]) -> None:
    """Wait for the worker's end and reap it."""
    if process.returncode is not None:
        return
    pidfd = pidfd_open(process.pid)
    try:
        await trio.lowlevel.wait_readable(pidfd)
    finally:
        os.close(pidfd)
    process.wait()


async def _send(control: trio.socket.SocketType, data: bytes, fds: Sequence[int]) -> None:
    rights = b"".join(fd.to_bytes(4, sys.byteorder) for fd in fds)
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if fds else []
    with suppress(OSError):  # it died: there will be no message either
        sent = await control.sendmsg([data], ancillary)
        while sent < len(data):
            sent += await control.send(data[sent:])


class _Messages:
    """What the worker says: JSON objects, each on a line of its own."""

    def __init__(self, control: trio.socket.SocketType) -> None:
        self._control = control
        self._lines: deque[bytes] = deque()
        self._begun: list[bytes] = []  # parts of a line that has not ended yet

    async def next(self) -> dict[str, Any] | None:
        """The next message; None when the worker has closed its end."""
        while not self._lines:
            try:
                data = await self._control.recv(_CHUNK)
            except OSError:  # it died with something unread
                return None
            if not data:
                return None
            *ends, rest = data.split(b"\n")
            for end in ends:
                self._lines.append(b"".join([*self._begun, end]))
                self._begun.clear()
            self._begun.append(rest)
        message: dict[str, Any] = json.loads(self._lines.popleft())
        return message


def _result(message: dict[str, Any]) -> dict[str, Any]:
    error = message.get("error")
    if error is not None:
        raise BY_CODE.get(error["code"], Internal)(error["message"])
    result: dict[str, Any] = message["result"]
    return result


def _fate(status: int | None) -> str:
    if status is not None and status < 0:
        return f"was killed by signal {-status}"
    return f"ended with {status}"
