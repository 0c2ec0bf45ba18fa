"""Clients that hang up while an answer to them has no end: one nested epoll tells of all.

A task for each, as waits for the end of the connection, costs more than the answer itself.
"""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio

# Both sides are closed, or the connection is broken: nobody hears an answer any more, not even
# who had asked for more.
_GONE = select.EPOLLHUP | select.EPOLLERR


class HangUps:
    """Calls back for each watched socket whose peer has closed its side."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[], None]] = {}

    async def run(self) -> None:
        """Tell until cancelled."""
        while True:
            await trio.lowlevel.wait_readable(self._epoll.fileno())
            for fd, events in self._epoll.poll(0):
                callback = self._callbacks.get(fd)
                if callback is not None and (events & _GONE or _is_over(fd)):
                    callback()

    def close(self) -> None:
        """Release the epoll; the watched sockets stay their owners'."""
        self._epoll.close()

    @contextmanager
    def watched(self, fd: int, callback: Callable[[], None]) -> Iterator[None]:
        """Watch the socket `fd` for the block."""
        self._callbacks[fd] = callback
        self._epoll.register(fd, select.EPOLLRDHUP | select.EPOLLET)
        try:
            yield
        finally:
            del self._callbacks[fd]
            self._epoll.unregister(fd)


def _is_over(fd: int) -> bool:
    """The peer sends no more; one that has asked for more before it closed wants its answers."""
    peer = socket.socket(fileno=os.dup(fd))
    with peer:
        try:
            return not peer.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except OSError:
            return True
