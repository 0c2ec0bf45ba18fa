"""Noticing OOM kills the moment they happen, on either cgroup layout."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from supervisor.kernel.cgroups import Group

if TYPE_CHECKING:
    from supervisor.engine.host import Host

# v1 announces that the group is out of memory; the kill is counted a little later (measured:
# mostly within 1 ms, up to 1.1 s with 200 groups out of memory at once).
SETTLE_SECONDS = tuple(0.001 * 2**n for n in range(11))

Report = Callable[[int, int, int], None]


class OomWatcher:
    """Calls `report(new kills, limit, peak)` (bytes) for every increase of the kill counter.

    `seen` is the counter's value already reported. Nothing is polled: the kernel wakes it;
    only v1, whose wake-up precedes the count, is read again a few times after one.
    """

    def __init__(self, host: Host, group: Group, seen: int, report: Report) -> None:
        self.host = host
        self.group = group
        self.seen = seen
        self.report = report
        self._stopped = False
        self._settling = False
        self._watch = group.oom_watch()
        host.watcher.add(self._watch.fd, self._watch.events, self._woke)

    def stop(self) -> None:
        """Stop watching; idempotent."""
        if not self._stopped:
            self._stopped = True
            self.host.watcher.remove(self._watch.fd)
            self._watch.close()

    def _woke(self) -> None:
        self._watch.drain()
        if not self._read() and self._watch.settles_late and not self._settling:
            self._settling = True
            self._settle(0)

    def _settle(self, attempt: int) -> None:
        if self._stopped or self._read() or attempt == len(SETTLE_SECONDS):
            self._settling = False
            return
        self.host.later(SETTLE_SECONDS[attempt], lambda: self._settle(attempt + 1))

    def _read(self) -> bool:
        try:
            count = self._watch.oom_kills()
            usage = self.group.memory() if count > self.seen else None
        except OSError:
            return False  # the cgroup is going; the exit record has the last figure
        if usage is None:
            return False
        new, self.seen = count - self.seen, count
        self.report(new, usage.limit, usage.peak)
        return True
