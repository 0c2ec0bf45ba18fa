"""Copying a folder's content with everything that belongs to a file.

Content (holes stay holes), hard links, owner, mode, extended attributes, time; devices, pipes
and sockets too. Every name is opened from its folder's descriptor and never followed, and
nothing that exists is replaced: what is copied to may be shared with a hostile process.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import OrderedDict

from supervisor.errors import InvalidArgument
from supervisor.snapshot.entering import FOLDER
from supervisor.snapshot.folders import set_xattr

MAX_DEPTH = 1000  # two descriptors a level
MAX_LINKED = 256  # files of which further names may come: one descriptor each
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MAKE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 1 << 30


def copy_tree(source: int, target: int) -> None:
    """Copy all that is in the folder `source` into `target`, and its own attributes onto it.

    Raises InvalidArgument for folders nested too deeply, OSError.
    """
    copy = _Copy()
    try:
        copy.run(source, target)
    finally:
        copy.close()


def copy_attributes(source: int, target: int) -> None:
    """Owner, mode, extended attributes and time of an open file or folder."""
    status = os.fstat(source)
    os.fchown(target, status.st_uid, status.st_gid)
    os.fchmod(target, stat.S_IMODE(status.st_mode))
    # After the owner: changing that takes file capabilities away.
    for name in _xattrs(source):
        set_xattr(target, name, os.getxattr(source, name))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


class _Level:
    """A folder that is being copied and what of it is still to do."""

    def __init__(self, source: int, target: int) -> None:
        self.source = source
        self.target = target
        self.names = os.listdir(source)


class _Copy:
    def __init__(self) -> None:
        self._linked: OrderedDict[tuple[int, int], int] = OrderedDict()
        self._levels: list[_Level] = []

    def run(self, source: int, target: int) -> None:
        self._levels.append(_Level(os.dup(source), os.dup(target)))
        while self._levels:
            level = self._levels[-1]
            if level.names:
                self._copy(level, level.names.pop())
            else:
                # Last: adding names changes a folder's time, and a set-gid bit is inherited.
                copy_attributes(level.source, level.target)
                self._leave()

    def close(self) -> None:
        """Close what is open after a failure."""
        while self._levels:
            self._leave()
        for fd in self._linked.values():
            os.close(fd)

    def _leave(self) -> None:
        level = self._levels.pop()
        os.close(level.source)
        os.close(level.target)

    def _copy(self, level: _Level, name: str) -> None:
        status = os.stat(name, dir_fd=level.source, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            self._enter(level, name)
        elif not self._link(level, name, status):
            if stat.S_ISREG(status.st_mode):
                _copy_file(level, name)
            elif stat.S_ISLNK(status.st_mode):
                link = os.readlink(name, dir_fd=level.source)
                os.symlink(link, name, dir_fd=level.target)
                _copy_attributes_at(level, name, status)
            else:
                os.mknod(name, status.st_mode, status.st_rdev, dir_fd=level.target)
                _copy_attributes_at(level, name, status)
            self._remember(level, name, status)

    def _enter(self, level: _Level, name: str) -> None:
        if len(self._levels) >= MAX_DEPTH:
            raise InvalidArgument(f"folders are nested more than {MAX_DEPTH} deep")
        os.mkdir(name, 0o700, dir_fd=level.target)
        source = os.open(name, FOLDER, dir_fd=level.source)
        try:
            target = os.open(name, FOLDER, dir_fd=level.target)
        except BaseException:
            os.close(source)
            raise
        self._levels.append(_Level(source, target))

    def _link(self, level: _Level, name: str, status: os.stat_result) -> bool:
        """Make `name` a further name of a file that was copied, if it is one."""
        fd = self._linked.get((status.st_dev, status.st_ino), -1)
        if status.st_nlink < 2 or fd < 0:
            return False
        # By descriptor: the name it was made by may be another file's by now.
        os.link(f"/proc/self/fd/{fd}", name, dst_dir_fd=level.target, follow_symlinks=True)
        return True

    def _remember(self, level: _Level, name: str, status: os.stat_result) -> None:
        if status.st_nlink < 2:
            return
        if len(self._linked) >= MAX_LINKED:  # its further names become files of their own
            os.close(self._linked.popitem(last=False)[1])
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=level.target)
        self._linked[status.st_dev, status.st_ino] = fd


def _copy_file(level: _Level, name: str) -> None:
    source = os.open(name, _READ, dir_fd=level.source)
    try:
        target = os.open(name, _MAKE, 0o600, dir_fd=level.target)
        try:
            _copy_content(source, target)
            copy_attributes(source, target)
        finally:
            os.close(target)
    finally:
        os.close(source)


def _copy_content(source: int, target: int) -> None:
    size = os.fstat(source).st_size
    position = 0
    while position < size:
        try:
            position = os.lseek(source, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # a hole to the end
                break
            raise
        end = os.lseek(source, position, os.SEEK_HOLE)
        os.lseek(source, position, os.SEEK_SET)
        os.lseek(target, position, os.SEEK_SET)
        while position < end:
            sent = os.sendfile(target, source, None, min(end - position, _CHUNK))
            if not sent:  # it has become shorter
                return
            position += sent
    os.ftruncate(target, size)


def _copy_attributes_at(level: _Level, name: str, status: os.stat_result) -> None:
    """Owner, mode, attributes and time of what is not opened: links, devices, pipes."""
    os.chown(name, status.st_uid, status.st_gid, dir_fd=level.target, follow_symlinks=False)
    path = f"/proc/self/fd/{level.source}/{name}"
    copy = f"/proc/self/fd/{level.target}/{name}"
    if not stat.S_ISLNK(status.st_mode):
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=level.target)
        try:
            os.chmod(f"/proc/self/fd/{fd}", stat.S_IMODE(status.st_mode))
        finally:
            os.close(fd)
    for key in _xattrs(path):
        set_xattr(copy, key, os.getxattr(path, key, follow_symlinks=False))
    times = (status.st_atime_ns, status.st_mtime_ns)
    os.utime(name, ns=times, dir_fd=level.target, follow_symlinks=False)


def _xattrs(target: int | str) -> list[str]:
    try:
        return os.listxattr(target, follow_symlinks=isinstance(target, int))
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return []
        raise
