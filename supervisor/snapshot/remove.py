"""Removing what is in the way of an entry, whatever it is, without following a link."""

from __future__ import annotations

import errno
import os
import stat

from supervisor.snapshot.entering import FOLDER


def remove(parent_fd: int, name: str) -> None:
    """Remove a file, link, device or whole tree; it may be gone already."""
    try:
        os.unlink(name, dir_fd=parent_fd)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno not in (errno.EISDIR, errno.EPERM):
            raise
        if not stat.S_ISDIR(os.stat(name, dir_fd=parent_fd, follow_symlinks=False).st_mode):
            raise
        _remove_tree(parent_fd, name)


def _remove_tree(parent_fd: int, name: str) -> None:
    """Without recursion: what folders inside hold is moved up, so any depth takes two fds."""
    top = os.open(name, FOLDER, dir_fd=parent_fd)
    try:
        while left := _empty(top):
            for name_inside in left:
                inner = os.open(name_inside, FOLDER, dir_fd=top)
                try:
                    for deeper in _empty(inner):
                        os.rename(deeper, os.urandom(16).hex(), src_dir_fd=inner, dst_dir_fd=top)
                finally:
                    os.close(inner)
    finally:
        os.close(top)
    os.rmdir(name, dir_fd=parent_fd)


def _empty(fd: int) -> list[str]:
    """Remove all that is in a folder but folders that hold something: their names."""
    left = []
    with os.scandir(fd) as entries:
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.name, dir_fd=fd)
                continue
            try:
                os.rmdir(entry.name, dir_fd=fd)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                left.append(entry.name)
    return left
