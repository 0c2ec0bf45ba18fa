"""One folder as the lower layers of an overlay show it together, by overlayfs' own rules."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence

from supervisor.snapshot.entering import FOLDER, lstat
from supervisor.snapshot.folders import OPAQUE_XATTR, is_whiteout


class Lowers:
    """The folder at one path in those layers that have it, top-most first."""

    def __init__(self, fds: Sequence[int] = ()) -> None:
        self._fds = fds

    @classmethod
    def open(cls, folders: Sequence[str]) -> Lowers:
        """The roots of `folders`, top-most first."""
        fds: list[int] = []
        try:
            for folder in folders:
                fds.append(os.open(folder, FOLDER))  # noqa: PERF401 - what is open is closed
        except OSError:
            Lowers(fds).close()
            raise
        return cls(fds)

    def look(self, name: str) -> os.stat_result | None:
        """The status of what `name` shows; None if it shows nothing."""
        for fd in self._fds:
            status = lstat(fd, name)
            if status is not None:
                return None if is_whiteout(status) else status
        return None

    def enter(self, name: str) -> Lowers:
        """The folder `name`, which is made of all layers down to one that hides the rest."""
        fds: list[int] = []
        for parent in self._fds:
            try:
                fds.append(os.open(name, FOLDER, dir_fd=parent))
            except FileNotFoundError:
                continue
            except OSError as error:
                if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                    Lowers(fds).close()
                    raise
                break  # a file, link or whiteout
            if is_opaque(fds[-1]):
                break
        return Lowers(fds)

    def names(self) -> set[str]:
        """The names that the folder shows."""
        shown: set[str] = set()
        hidden: set[str] = set()
        for fd in self._fds:
            for name in os.listdir(fd):
                if name in shown or name in hidden:
                    continue
                status = lstat(fd, name)
                (hidden if status is None or is_whiteout(status) else shown).add(name)
        return shown

    def close(self) -> None:
        """Close its descriptors."""
        for fd in self._fds:
            os.close(fd)
        self._fds = ()


def is_opaque(fd: int) -> bool:
    """Whether an open folder of a layer hides what lower layers have in it."""
    try:
        return os.getxattr(fd, OPAQUE_XATTR) == b"y"
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOTSUP):
            return False
        raise


def is_folder(status: os.stat_result | None) -> bool:
    """Whether there is a folder."""
    return status is not None and stat.S_ISDIR(status.st_mode)
