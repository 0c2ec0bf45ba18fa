"""The files of a group, kept open: `pread` on them costs an eighth of opening them each time.

A read from a group that was removed fails with ENODEV: the open descriptor is what tells of
its end. Descriptors are bounded by a budget; past it files are opened for each reading.
"""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterable
from pathlib import Path

from metrics.parse.group import CgroupFolders, File, files

MAX_FDS = 20_000
_SIZE = 16 * 1024
_PAGE = 4096
_WHOLE = _PAGE - 64
"""Fewer bytes than these are all there are."""
_MOST = 1 << 20
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


class GroupFiles:
    """Reads one group's files but those in `skip` (keys); `wrong` are its failures since they
    were last looked at.

    The descriptors are close-on-exec and end with `close`.
    """

    __slots__ = ("_budget", "_glances", "_kept", "_others", "skip", "wrong")

    def __init__(self, folders: CgroupFolders, budget: Budget) -> None:
        # The few that are read every second are kept open first.
        self._others = sorted(files(folders), key=lambda file: not file.at_a_glance)
        self._kept: list[tuple[str, int]] = []
        self._glances = 0
        self._budget = budget
        self.skip: frozenset[str] = frozenset()
        self.wrong: list[str] = []

    def read(self, *, glance: bool) -> dict[str, bytes]:
        """The contents by key, of the few of a background sample or of all. Raises Gone."""
        if not self._kept and not self._others:
            raise Gone
        found, skip, pread = {}, self.skip, os.pread
        for key, fd in self._kept[: self._glances] if glance else self._kept:
            if key in skip:
                continue
            try:
                # Without a call in between: 7,000 of these for a scrape of 500 containers.
                data = pread(fd, _PAGE, 0)
                found[key] = data if len(data) < _WHOLE else _rest(fd, data)
            except OSError as error:
                self._failed(key, error)
        for file in self._others:
            if glance and not file.at_a_glance:
                break
            if file.key in skip:
                continue
            try:
                found[file.key] = self._open_and_read(file)
            except FileNotFoundError:
                self._missing(file)
            except OSError as error:
                self._failed(file.path, error)
        return found

    def close(self) -> None:
        """Give the descriptors back; nothing can be read any more."""
        for _, fd in self._kept:
            os.close(fd)
            self._budget.give()
        self._kept, self._others, self._glances = [], [], 0

    def _open_and_read(self, file: File) -> bytes:
        fd = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC)
        if not self._budget.take():
            try:
                return read_all(fd)
            finally:
                os.close(fd)
        if file.at_a_glance:
            self._kept.insert(self._glances, (file.key, fd))
            self._glances += 1
        else:
            self._kept.append((file.key, fd))
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
