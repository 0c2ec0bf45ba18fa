"""Waiting for kernel files that trio cannot: one nested epoll for all of them.

trio's own epoll watches with EPOLLIN only, and cgroup.events and memory.events are always
"readable": waiting on them spins. Their changes are EPOLLPRI, so they go into an epoll of
ours, whose fd *is* readable exactly when one of them changed.
"""

from __future__ import annotations

import logging
import select
from collections.abc import Callable

import trio

log = logging.getLogger("orlop.watcher")


class Watcher:
    """Calls back, in the supervisor's thread, when a registered fd has an event."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[], None]] = {}

    def add(self, fd: int, events: int, callback: Callable[[], None]) -> None:
        """Call `callback()` on `events` (edge-triggered) of `fd`; it must not block."""
        self._epoll.register(fd, events | select.EPOLLET)
        self._callbacks[fd] = callback

    def remove(self, fd: int) -> None:
        """Stop watching; before the owner closes the fd."""
        if self._callbacks.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    async def run(self) -> None:
        """Dispatch until cancelled."""
        while True:
            await trio.lowlevel.wait_readable(self._epoll.fileno())
            for fd, _events in self._epoll.poll(0):
                callback = self._callbacks.get(fd)
                if callback is None:
                    continue
                try:
                    callback()
                except OSError as error:  # its cgroup was removed under our eyes
                    log.info("a watched file is gone: %s", error)

    def close(self) -> None:
        """Release the epoll; the watched fds stay their owners'."""
        self._epoll.close()
