"""Walking a folder that a container may be changing, beside the layers below it.

Every name is looked at from the descriptor of its folder, and no link is followed. What goes
away while we walk is passed over.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from supervisor.errors import InvalidArgument
from supervisor.kernel import mounts
from supervisor.snapshot.entering import FOLDER, MAX_DEPTH, lstat
from supervisor.snapshot.lowers import Lowers, is_opaque

_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


class Found(NamedTuple):
    """A name in the folder `folder_fd`, whose part in the layers below is `lowers`.

    `path` is relative to the top. `status` is None for a name that only the layers below
    have, in a folder that hides them. A folder has `fd`, open until it is left.
    """

    path: str
    name: str
    folder_fd: int
    lowers: Lowers
    status: os.stat_result | None
    fd: int = -1


class Left(NamedTuple):
    """All that is in the folder `path` was found."""

    path: str


def open_quietly(folder: str) -> int:
    """A descriptor of a folder, through which no device opens and no access time changes."""
    tree = mounts.open_tree(mounts.AT_FDCWD, folder, mounts.OPEN_TREE_CLONE)
    try:
        attributes = mounts.MOUNT_ATTR_NODEV | mounts.MOUNT_ATTR_NOATIME
        mounts.mount_setattr(tree, "", set=attributes, clear=mounts.MOUNT_ATTR__ATIME)
        return os.open(".", FOLDER, dir_fd=tree)
    finally:
        os.close(tree)


class _Level:
    """An open folder, and the names in it that are still to come."""

    def __init__(self, fd: int, path: str, lowers: Lowers, *, hiding: bool) -> None:
        self.fd = fd
        self.path = path
        self.lowers = lowers
        self.hiding = hiding
        names = set(os.listdir(fd))
        self.names = iter(sorted(names | lowers.names() if hiding else names))

    def close(self) -> None:
        self.lowers.close()
        os.close(self.fd)


def walk(root_fd: int, lowers: Lowers) -> Iterator[Found | Left]:
    """All below an open folder, sorted by name, a folder before what is in it.

    Both arguments are closed with the walk. Raises InvalidArgument for a tree that is deeper
    than any path.
    """
    levels = [_Level(root_fd, "", lowers, hiding=False)]
    try:
        while levels:
            level = levels[-1]
            name = next(level.names, None)
            if name is None:
                levels.pop().close()
                if levels:
                    yield Left(level.path)
                continue
            found = _find(level, name)
            if found is None:
                continue
            if found.fd >= 0:
                hiding = level.hiding or is_opaque(found.fd)
                inside = level.lowers.enter(name)
                levels.append(_Level(found.fd, found.path, inside, hiding=hiding))
                if len(levels) > MAX_DEPTH:
                    raise InvalidArgument(f"{found.path:.80}…: more than {MAX_DEPTH} folders deep")
            yield found
    finally:
        for level in levels:
            level.close()


def _find(level: _Level, name: str) -> Found | None:
    status = lstat(level.fd, name)
    if status is None and not level.hiding:
        return None
    fd = -1
    if status is not None and stat.S_ISDIR(status.st_mode):
        try:
            fd = os.open(name, FOLDER, dir_fd=level.fd)
        except OSError as error:
            if error.errno in _GONE:
                return None
            raise
    path = f"{level.path}/{name}" if level.path else name
    return Found(path, name, level.fd, level.lowers, status, fd)
