"""Files whose changes the kernel announces, for an epoll of the caller's.

v2's memory.events and cgroup.events are always readable; a change shows as EPOLLPRI until
the same fd is read again. The kernel announces at most one change per file and 10 ms
(CGROUP_FILE_NOTIFY_MIN_INTV) and joins those between, so an OOM kill just after the group
first hit its limit, which is an event too, may be told 10 ms late.

v1's memory.oom_control has an eventfd instead (cgroup-v1/memory.rst, section 10). It fires
when the group runs into its limit, *before* a process is chosen and the kill is counted;
whenever a group above it does; and when the group is removed. So it says no more than "look
at the counter", and the counter rises later (`settles_late`): all OOM kills of a machine
wait for one lock. Measured with Linux 6.18 on two processors: median 0.15 ms and at most 5 ms
for one group at a time, up to 1.1 s when 200 groups ran into their limits at once. The kill is
counted before the signal is sent, so once the victim has ended, the counter has it.
"""

from __future__ import annotations

import os
from select import EPOLLIN, EPOLLPRI

from supervisor.errors import KernelError
from supervisor.kernel.cgroups import files


class OomWatch:
    """The counter of OOM kills, and an fd that wakes up when it may have changed.

    `fd` with `events` is for the caller's epoll. On a wake-up: `drain()`, then
    `oom_kills()`; if that has not changed and `settles_late`, again after 1, 2, 4, 8, … ms
    for about two seconds: no second wake-up comes. Without `settles_late` one does come.
    Where the host has no memory controller it never wakes up.
    """

    events: int = EPOLLIN
    settles_late: bool = False

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def drain(self) -> None:
        """Take back the wake-up, so that a level-triggered epoll is quiet again."""

    def oom_kills(self) -> int:
        """Processes killed so far. KernelError (ENODEV) once the group is removed."""
        return 0

    def close(self) -> None:
        """Release the fds, after they left every epoll; idempotent."""
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)


class UnifiedOomWatch(OomWatch):
    """v2: memory.events, opened once."""

    events = EPOLLPRI

    def __init__(self, folder: str) -> None:
        self._path = f"{folder}/memory.events"
        self.fd = files.open_file(self._path)
        try:
            self.drain()  # what happened before is no news
        except KernelError:
            self.close()
            raise

    def drain(self) -> None:
        """Read the file: that rearms its EPOLLPRI."""
        files.reread(self.fd, self._path)

    def oom_kills(self) -> int:
        """`oom_kill` of memory.events: this group's and those of all groups below."""
        return files.field(files.reread(self.fd, self._path), "oom_kill")


class V1OomWatch(OomWatch):
    """v1: an eventfd registered for memory.oom_control."""

    settles_late = True

    def __init__(self, folder: str) -> None:
        super().__init__()
        self._path = f"{folder}/memory.oom_control"
        self._control = -1
        try:
            self._control = files.open_file(self._path)
            files.write(f"{folder}/cgroup.event_control", f"{self.fd} {self._control}")
        except KernelError:
            self.close()
            raise

    def drain(self) -> None:
        """Reset the eventfd to zero."""
        try:
            os.eventfd_read(self.fd)
        except BlockingIOError:
            return  # it was zero

    def oom_kills(self) -> int:
        """`oom_kill` of memory.oom_control: this group's alone."""
        return files.field(files.reread(self._control, self._path), "oom_kill")

    def close(self) -> None:
        """Closing the eventfd also unregisters it."""
        super().close()
        if self._control >= 0:
            fd, self._control = self._control, -1
            os.close(fd)


class EventsWatch:
    """cgroup.events (v2): whether processes are left, and whether all of them are frozen.

    Register `fd` for `events`; reading either figure takes back the wake-up.
    """

    events = EPOLLPRI

    def __init__(self, folder: str) -> None:
        self._path = f"{folder}/cgroup.events"
        self.fd = files.open_file(self._path)

    def populated(self) -> bool:
        """A process is in this group or below; zombies do not count."""
        return files.field(files.reread(self.fd, self._path), "populated") == 1

    def frozen(self) -> bool:
        """Every process of this group and below has stopped, as freezing asked."""
        return files.field(files.reread(self.fd, self._path), "frozen") == 1

    def close(self) -> None:
        """Release the fd, after it left every epoll; idempotent."""
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)
