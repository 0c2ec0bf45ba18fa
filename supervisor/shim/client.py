"""One attached client: a connected stream socket that the shim owns.

What the container writes goes out (framed or raw), what the client sends goes to the
container's stdin. Sending never blocks: pieces the socket does not take wait. All clients of a
container keep the same pieces, so that many who read nothing cost little more than one.
"""

import fcntl
import socket
import sys
from collections.abc import Callable

from supervisor.shim.loop import HUP, IN, OUT, Loop, Timer
from supervisor.wire import detach, stdcopy

READ_SIZE = 32768
BUFFER_LIMIT = 1 << 20
PIECE_COST = 64
"""Bytes that keeping a piece costs beside its own."""
PIECES_AT_ONCE = 16
_SIOCOUTQ = 0x5411  # asm-generic/ioctls.h, as TIOCOUTQ
PATIENCE_SECONDS = 5.0
"""How long in all output waits for a client that does not read; what it reads earns time again."""
SLOWEST = 8192
"""Bytes a second: who reads as fast as that is always waited for."""
LOOK_SECONDS = 0.5
"""Between two looks at what one that output waits for has read."""


class Client:
    """`session` hears of: input(data), end of input, detaching, loss, and a drained buffer."""

    __slots__ = (
        *("loop", "stream", "wants", "stdin", "framed", "detacher", "on_change", "on_input"),
        *("on_gone", "pieces", "sent", "waiting", "reading", "input_paused", "finishing"),
        *("closed", "was_full", "look", "patience", "taken", "read"),
    )

    def __init__(
        self,
        loop: Loop,
        stream: socket.socket,
        *,
        wants: frozenset[int],
        stdin: bool,
        framed: bool,
        detach_keys: bytes,
        on_change: Callable[[], None],
        on_input: Callable[["Client", bytes], None],
        on_gone: Callable[["Client", bool], None],
    ) -> None:
        self.loop = loop
        self.stream = stream
        self.wants = wants
        self.stdin = stdin
        self.framed = framed
        self.detacher = detach.Detacher(detach_keys) if detach_keys else None
        self.on_change = on_change
        self.on_input = on_input
        self.on_gone = on_gone
        self.pieces: list[bytes] = []
        self.sent = 0  # bytes of the first piece
        self.waiting = 0  # bytes of all, and their PIECE_COST
        self.reading = True
        self.input_paused = False
        self.finishing = False
        self.closed = False
        self.was_full = False
        self.look: Timer | None = None
        self.patience = PATIENCE_SECONDS
        self.taken = 0  # bytes that the socket has taken
        self.read = 0  # of them, those that the client had read when it was last looked at
        stream.setblocking(False)
        loop.add(stream.fileno(), IN, self._ready)

    @property
    def full(self) -> bool:
        """Whether the container's output should wait for this client."""
        return self.waiting > BUFFER_LIMIT

    def send(self, stream: int, data: bytes) -> None:
        """Queue output of one stream (a stdcopy number), if this client wants it."""
        if self.closed or self.finishing or stream not in self.wants:
            return
        if self.framed:
            self._keep(_header(stream, len(data)))
        self._keep(data)
        self._flush()

    def feed(self, data: bytes) -> None:
        """Input that came before the shim had the socket."""
        if data:
            self._take(data)

    def finish(self) -> None:
        """No more output: close once the buffer is out, or the client reads nothing."""
        self.finishing = True
        self._flush()

    def pause_input(self, paused: bool) -> None:
        """Stop or resume reading while the container's stdin is full."""
        if paused != self.input_paused and not self.closed:
            self.input_paused = paused
            self._watch()

    def drop(self) -> None:
        """Close at once, losing what is buffered."""
        if not self.closed:
            self._close(detached=False)

    def _close(self, detached: bool) -> None:
        self.closed = True
        if self.look is not None:
            self.look.cancel()
        self.loop.remove(self.stream.fileno())
        try:
            # shutdown, as another process may still hold a copy of this socket.
            self.stream.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.stream.close()
        self.pieces.clear()
        self.waiting = 0
        self.on_gone(self, detached)

    def _ready(self, events: int) -> None:
        if events & OUT:
            self._flush()
        if not self.closed and events & IN:
            self._read()
        # A half-closed client (no stdin to send) is still listening; a hung-up one is gone.
        if not self.closed and events & HUP and not events & IN:
            self._close(detached=False)

    def _read(self) -> None:
        try:
            data = self.stream.recv(READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            self._close(detached=False)
            return
        if data:
            self._take(data)
            return
        self.reading = False
        self._watch()
        if self.stdin:
            self.on_input(self, b"")

    def _take(self, data: bytes) -> None:
        if not self.stdin:
            return
        detached = False
        if self.detacher is not None:
            data, detached = self.detacher.feed(data)
        if data:
            self.on_input(self, data)
        if detached and not self.closed:
            self._close(detached=True)

    def _keep(self, piece: bytes) -> None:
        self.pieces.append(piece)
        self.waiting += len(piece) + PIECE_COST

    def _let_go(self, count: int) -> None:
        """The socket has taken `count` bytes more."""
        self.waiting -= count
        self.taken += count
        count += self.sent
        taken = 0
        while taken < len(self.pieces) and count >= len(self.pieces[taken]):
            count -= len(self.pieces[taken])
            taken += 1
        del self.pieces[:taken]
        self.sent = count
        self.waiting -= taken * PIECE_COST

    def _flush(self) -> None:
        if self.closed:
            return
        try:
            while self.pieces:
                first, *others = self.pieces[:PIECES_AT_ONCE]
                self._let_go(self.stream.sendmsg([memoryview(first)[self.sent :], *others]))
        except BlockingIOError:
            if self.look is None and self._awaited:
                self.look = self.loop.call_later(LOOK_SECONDS, self._look)
        except OSError:
            self._close(detached=False)
            return
        if self.finishing and not self.pieces:
            self._close(detached=False)
            return
        self._watch()
        if self.full is not self.was_full:  # the session looks at all clients then
            self.was_full = self.full
            self.on_change()

    @property
    def _awaited(self) -> bool:
        return self.full or self.finishing

    def _look(self) -> None:
        """Take time from a client that is waited for, give it some for what it has read."""
        self.look = None
        if not self._awaited:
            return
        # Not whether the socket takes more: a unix one does only when a client has read most.
        read = max(self.read, self.taken - _unread(self.stream))
        earned, self.read = (read - self.read) / SLOWEST, read
        self.patience = min(PATIENCE_SECONDS, self.patience + earned) - LOOK_SECONDS
        if self.patience <= 0:
            self.drop()
        else:
            self.look = self.loop.call_later(LOOK_SECONDS, self._look)

    def _watch(self) -> None:
        events = IN if self.reading and not self.input_paused else 0
        self.loop.modify(self.stream.fileno(), events | (OUT if self.pieces else 0))


def _unread(stream: socket.socket) -> int:
    """Bytes, and what keeping them costs, that the other side has not read (SIOCOUTQ, unix(7))."""
    return int.from_bytes(fcntl.ioctl(stream.fileno(), _SIOCOUTQ, bytes(4)), sys.byteorder)


_last_header = (0, 0, b"")


def _header(stream: int, length: int) -> bytes:
    """A frame's header; the same object for all clients that get the frame."""
    global _last_header  # noqa: PLW0603
    if _last_header[:2] != (stream, length):
        _last_header = (stream, length, stdcopy.header(stream, length))
    return _last_header[2]
