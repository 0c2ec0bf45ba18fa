"""The files of a group, kept open: `pread` on them costs an eighth of opening them each time.

A read from a group that was removed fails with ENODEV: the open descriptor is what tells of
its end. Descriptors are bounded by a budget; past it files are opened for each reading.
"""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Container, Iterable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import NamedTuple

from metrics.parse.group import CgroupFolders, File, When, files

MAX_FDS = 20_000
_SIZE = 16 * 1024
_PAGE = 4096
_WHOLE = _PAGE - 64
"""Fewer bytes than these are all there are."""
_MOST = 1 << 20
_ORDER = {when: place for place, when in enumerate(When)}
_TURNS = 4
"""One in so many readings of a group at rest is of all files: clocks may be coarse, and tasks may
be moved into a group by hand."""
_staggered = count()
_ABSENT = (errno.EOPNOTSUPP, errno.EINVAL)
"""A threaded group has no cgroup.procs, pressure can be switched off for a group: absent."""


class Gone(Exception):
    """The group is no more."""


class Budget:
    """How many descriptors may be kept open: half of what the process may have, 20,000 at most.

    The other half is for what the process does besides.
    """

    def __init__(self, most: int = 0) -> None:
        allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2
        if allowed < 0:  # RLIM_INFINITY
            allowed = MAX_FDS
        self.left = min(most or allowed, MAX_FDS)

    def take(self) -> bool:
        """One more, if there is one."""
        if self.left <= 0:
            return False
        self.left -= 1
        return True

    def give(self) -> None:
        """One is closed again."""
        self.left += 1


class _Plan(NamedTuple):
    """Which descriptors to read when; not `ready`: to be made of what is open by now."""

    leave_out: Container[str] = ()
    ready: bool = False
    glance: Sequence[int] = ()
    scrape: Sequence[int] = ()
    active: Sequence[int] = ()
    glance_keys: Sequence[str] = ()
    keys: Sequence[str] = ()


class _Reading(NamedTuple):
    """What was read, by when it is read, and all of it by key."""

    glance: Sequence[bytes] = ()
    scrape: Sequence[bytes] = ()
    active: Sequence[bytes] = ()
    readings: Mapping[str, bytes] = {}


class GroupFiles:
    """Reads one group's files; `wrong` are its failures since they were last looked at.

    The descriptors are close-on-exec and end with `close`.
    """

    __slots__ = (
        "_budget",
        "_glanced",
        "_kept",
        "_others",
        "_plan",
        "_read",
        "_settled",
        "_turns",
        "wrong",
    )

    def __init__(self, folders: CgroupFolders, budget: Budget) -> None:
        # The few that are read every second are kept open first.
        self._others = sorted(files(folders), key=lambda file: _ORDER[file.when])
        self._settled: dict[bool, bool] = {}  # by `glance`: all that is to be read is open
        self._kept: list[tuple[File, int]] = []
        self._budget = budget
        self._plan = _Plan()
        self._glanced = _Reading()
        self._read = _Reading()
        # Not those of all containers in the same scrape.
        self._turns = next(_staggered) % _TURNS
        self.wrong: list[str] = []

    def leave_out(self, keys: Container[str]) -> None:
        """Read all but these from now on."""
        self._plan, self._settled = _Plan(leave_out=keys), {}

    def read(self, *, glance: bool, thorough: bool = False) -> Mapping[str, bytes]:
        """The contents by key, of the few of a background sample or of all; raises Gone.

        It is the same object as the last time where all reads as it did. Of a group at rest, what
        only its own tasks change is not read again, but each fourth time or if `thorough`.
        """
        if self._settled.get(glance):
            try:
                return self._glance_quickly() if glance else self._read_quickly(thorough)
            except OSError:  # one by one, to know which
                pass
        return self._read_one_by_one(glance=glance)

    def close(self) -> None:
        """Give the descriptors back; nothing can be read any more."""
        for _, fd in self._kept:
            os.close(fd)
            self._budget.give()
        self._kept, self._others, self._settled = [], [], {}

    def _glance_quickly(self) -> Mapping[str, bytes]:
        plan, last = self._plan if self._plan.ready else self._make_plan(), self._glanced
        contents = _contents(plan.glance)
        if contents != last.glance:
            readings = dict(zip(plan.glance_keys, contents, strict=True))
            self._glanced = last = _Reading(contents, [], [], readings)
        return last.readings

    def _read_quickly(self, thorough: bool) -> Mapping[str, bytes]:
        # 7,000 readings for a scrape of 500 containers.
        plan, last = self._plan if self._plan.ready else self._make_plan(), self._read
        glance = _contents(plan.glance)  # first: whatever happens from now on will show in it
        scrape = _contents(plan.scrape)
        if self._turns > 0 and not thorough and glance == last.glance:
            self._turns -= 1
            active = last.active
        else:
            self._turns = _TURNS - 1
            active = _contents(plan.active)
        if glance != last.glance or scrape != last.scrape or active != last.active:
            readings = dict(zip(plan.keys, [*glance, *scrape, *active], strict=True))
            self._read = last = _Reading(glance, scrape, active, readings)
        return last.readings

    def _make_plan(self) -> _Plan:
        left_out = self._plan.leave_out
        by: dict[When, list[tuple[str, int]]] = {when: [] for when in When}
        for file, fd in self._kept:
            if file.key not in left_out:
                by[file.when].append((file.key, fd))
        glance, scrape, active = (by[when] for when in When)
        self._plan = _Plan(
            leave_out=left_out,
            ready=True,
            glance=[fd for _, fd in glance],
            scrape=[fd for _, fd in scrape],
            active=[fd for _, fd in active],
            glance_keys=[key for key, _ in glance],
            keys=[key for key, _ in (*glance, *scrape, *active)],
        )
        self._glanced = self._read = _Reading()
        return self._plan

    def _read_one_by_one(self, *, glance: bool) -> dict[str, bytes]:
        if not self._kept and not self._others:
            raise Gone
        self._read, left_out = _Reading(), self._plan.leave_out

        def wanted(file: File) -> bool:
            return (file.when is When.GLANCE or not glance) and file.key not in left_out

        found: dict[str, bytes] = {}
        for file, fd in [kept for kept in self._kept if wanted(kept[0])]:
            try:
                found[file.key] = read_all(fd)
            except OSError as error:
                self._failed(file.path, error)
        for file in [other for other in self._others if wanted(other)]:
            try:
                found[file.key] = self._open_and_read(file)
            except FileNotFoundError:
                self._missing(file)
            except OSError as error:
                self._failed(file.path, error)
        self._settled[glance] = not any(wanted(other) for other in self._others)
        return found

    def _open_and_read(self, file: File) -> bytes:
        fd = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC)
        if not self._budget.take():
            try:
                return read_all(fd)
            finally:
                os.close(fd)
        self._kept.append((file, fd))
        self._plan = _Plan(leave_out=self._plan.leave_out)
        self._forget(file)
        return read_all(fd)

    def _missing(self, file: File) -> None:
        # This kernel lacks the file, or the group is gone.
        if not Path(file.path).parent.is_dir():
            raise Gone
        self._forget(file)

    def _forget(self, file: File) -> None:
        self._others = [other for other in self._others if other is not file]

    def _failed(self, name: str, error: OSError) -> None:
        if error.errno == errno.ENODEV:
            raise Gone from None
        if error.errno not in _ABSENT:
            self.wrong.append(f"{name}: {error.strerror}")


def _contents(fds: Sequence[int]) -> list[bytes]:
    """Of all of them, in order."""
    pread = os.pread
    found = [pread(fd, _PAGE, 0) for fd in fds]
    if max(map(len, found), default=0) < _WHOLE:
        return found
    return [d if len(d) < _WHOLE else _rest(fd, d) for fd, d in zip(fds, found, strict=True)]


def read_all(fd: int) -> bytes:
    """The whole of a kernel file. Lists come by a page at a time, other files at once."""
    data = os.pread(fd, _PAGE, 0)
    return data if len(data) < _WHOLE else _rest(fd, data)


def _rest(fd: int, data: bytes) -> bytes:
    """All of it, of which `data` is the beginning."""
    pieces, size = [data], len(data)
    while size < _MOST and (more := os.pread(fd, _SIZE, size)):
        pieces.append(more)
        size += len(more)
    return b"".join(pieces)


class KeptFile:
    """One file that is there as long as the host is, such as /proc/stat; opened when first read."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd = -1

    def read(self) -> bytes:
        """The contents; OSError."""
        if self._fd < 0:
            self._fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        return read_all(self._fd)

    def close(self) -> None:
        """Close it, if it is open."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def close_all(kept: Iterable[KeptFile]) -> None:
    """Close them."""
    for file in kept:
        file.close()
