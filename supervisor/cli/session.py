"""Copying between this process's stdin, stdout, stderr and a hijacked stream.

One thread, one poll(2) loop. Nothing read is lost and nothing waits for the other
direction: while the container takes no input, stdin is not read, and output goes on.
The end of stdin is the stream's half-close; the end of the stream is the end.

Detaching is the server's doing. The same keys are watched for here only to know, when
the stream ends, that the container goes on running.
"""

from __future__ import annotations

import os
import select
import socket
import time

from supervisor.cli.client import Stream
from supervisor.wire.detach import Detacher
from supervisor.wire.stdcopy import STDOUT, Decoder

_STDIN_FD = 0
_STDOUT_FD = 1
_STDERR_FD = 2
_PIECE = 64 * 1024
_DETACH_GRACE = 2.0
"""Seconds for the server to end the stream after the detach keys."""


class Output:
    """Where a stream's bytes go: frames to stdout and stderr, raw bytes to stdout."""

    def __init__(self, *, framed: bool) -> None:
        self._decoder = Decoder() if framed else None

    def feed(self, data: bytes) -> None:
        """Write what `data` completes; raises ProtocolError for what is no frame."""
        if self._decoder is None:
            write_all(_STDOUT_FD, data)
            return
        for stream, payload in self._decoder.feed(data):
            write_all(_STDERR_FD if stream > STDOUT else _STDOUT_FD, payload)


class Session:
    """One attached stream; `run` copies until it ends and closes it."""

    def __init__(self, stream: Stream, *, stdin: bool, keys: bytes | None = None) -> None:
        self._socket = stream.socket
        self._output = Output(framed=stream.framed)
        self._early = stream.early
        self._detacher = Detacher(keys) if keys is not None else None
        self._reading = stdin
        self._unsent = bytearray()
        self._half_closed = False
        self._deadline: float | None = None

    def run(self) -> bool:
        """Copy until the stream ends; True where the user detached."""
        with self._socket:
            self._socket.setblocking(False)
            self._output.feed(self._early)
            while self._step():
                pass
        return self._deadline is not None

    def _step(self) -> bool:
        """Wait for something to do and do it; False at the end of the stream."""
        self._close_input()
        poll = select.poll()
        poll.register(self._socket, select.POLLIN | (select.POLLOUT if self._unsent else 0))
        if self._reading and not self._unsent:
            poll.register(_STDIN_FD, select.POLLIN)
        ready = dict(poll.poll(self._patience()))
        if _STDIN_FD in ready:
            self._read_input()
        events = ready.get(self._socket.fileno(), 0)
        if events & select.POLLOUT:
            self._send()
        if events & ~select.POLLOUT:
            return self._read_output()
        return self._deadline is None or time.monotonic() < self._deadline

    def _patience(self) -> float | None:
        if self._deadline is None:
            return None
        return max(0.0, self._deadline - time.monotonic()) * 1000

    def _read_input(self) -> None:
        try:
            data = os.read(_STDIN_FD, _PIECE)
        except OSError:  # closed (EBADF), or the terminal hung up (EIO): the end, as any other
            data = b""
        self._unsent += data
        self._reading = bool(data)
        if data and self._detacher is not None and self._detacher.feed(data)[1]:
            self._reading = False
            self._deadline = time.monotonic() + _DETACH_GRACE
        if data:
            self._send()

    def _send(self) -> None:
        try:
            sent = self._socket.send(self._unsent)
        except BlockingIOError:
            return
        except OSError:  # nobody reads any more; what it has written may still be on its way
            self._reading, self._half_closed = False, True
            sent = len(self._unsent)
        del self._unsent[:sent]

    def _close_input(self) -> None:
        if self._reading or self._unsent or self._half_closed or self._deadline is not None:
            return
        self._half_closed = True
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:  # the other side is gone already: reading tells
            return

    def _read_output(self) -> bool:
        try:
            data = self._socket.recv(_PIECE)
        except BlockingIOError:
            return True
        except ConnectionResetError:
            return False
        self._output.feed(data)
        return bool(data)


def write_all(fd: int, data: bytes) -> None:
    """Write everything, waiting where `fd` was made non-blocking by somebody else."""
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(fd, left) :]
        except BlockingIOError:
            poll = select.poll()
            poll.register(fd, select.POLLOUT)
            poll.poll()
