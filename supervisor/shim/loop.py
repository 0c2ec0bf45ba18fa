"""The shim's event loop: one epoll, callbacks by fd, a few timers. No threads, no tasks."""

import heapq
import itertools
import select
import time
from collections.abc import Callable

IN = select.EPOLLIN
OUT = select.EPOLLOUT
HUP = select.EPOLLHUP | select.EPOLLERR


class Timer:
    """A callback due at a monotonic time; `cancel` makes it void."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Void the timer."""
        self.callback = None


class Loop:
    """Callbacks take the ready events' mask. fds stay their owners': the loop closes none."""

    def __init__(self) -> None:
        self.epoll = select.epoll()
        self.callbacks: dict[int, Callable[[int], None]] = {}
        self.timers: list[tuple[float, int, Timer]] = []
        self.order = itertools.count()
        self.removed: set[int] = set()
        self.done = False

    def add(self, fd: int, events: int, callback: Callable[[int], None]) -> None:
        """Watch `fd` until `remove`; HUP and ERR are always reported (epoll_ctl(2))."""
        self.epoll.register(fd, events)
        self.callbacks[fd] = callback

    def modify(self, fd: int, events: int) -> None:
        """Change what is waited for on a watched fd."""
        self.epoll.modify(fd, events)

    def remove(self, fd: int) -> None:
        """Stop watching; must come before the owner's close."""
        if self.callbacks.pop(fd, None) is not None:
            self.epoll.unregister(fd)
            self.removed.add(fd)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Run `callback` once in `seconds`, unless cancelled."""
        timer = Timer(callback)
        heapq.heappush(self.timers, (time.monotonic() + seconds, next(self.order), timer))
        return timer

    def run(self) -> None:
        """Dispatch until `done`."""
        while not self.done:
            self.removed.clear()
            for fd, events in self.epoll.poll(self._timeout()):
                # An earlier callback of this round may have removed it, and the number may
                # by now be another file's, whose own events come in the next round.
                callback = self.callbacks.get(fd)
                if callback is not None and fd not in self.removed:
                    callback(events)
            self._run_timers()

    def _timeout(self) -> float | None:
        while self.timers and self.timers[0][2].callback is None:
            heapq.heappop(self.timers)
        return max(0.0, self.timers[0][0] - time.monotonic()) if self.timers else None

    def _run_timers(self) -> None:
        while self.timers and self.timers[0][0] <= time.monotonic():
            timer = heapq.heappop(self.timers)[2]
            if timer.callback is not None:
                callback, timer.callback = timer.callback, None
                callback()
