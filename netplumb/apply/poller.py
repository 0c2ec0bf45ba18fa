"""Many sockets, one task: an epoll of our own, of which trio watches the one descriptor.

A published port or a container's name server costs a socket then, and neither a task nor memory
in this process.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable

import trio


class Poller:
    """Calls a function when a socket is readable: level-triggered, so it need not read all."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._ready: dict[int, Callable[[], None]] = {}

    def add(self, sock: socket.socket, ready: Callable[[], None]) -> None:
        """Call `ready` whenever the socket is readable. It must not raise or wait."""
        self._ready[sock.fileno()] = ready
        self._epoll.register(sock, select.EPOLLIN)

    def remove(self, sock: socket.socket) -> None:
        """Not any more; before the socket is closed. One that is not watched is no error."""
        if self._ready.pop(sock.fileno(), None) is not None:
            self._epoll.unregister(sock)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await trio.lowlevel.wait_readable(self._epoll.fileno())
            for fd, _ in self._epoll.poll(0, 64):
                ready = self._ready.get(fd)
                if ready is not None:  # an earlier call may have removed it
                    ready()

    def close(self) -> None:
        """Close the epoll descriptor, not the sockets."""
        self._epoll.close()
