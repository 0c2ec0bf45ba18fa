"""Reading and writing cgroup files: whole values, never buffered.

A buffered file would report the kernel's answer to a write only when it is closed.
"""

from __future__ import annotations

import errno
import os

from supervisor.errors import KernelError
from supervisor.kernel._call import failed

_SIZE = 4096


def read(path: str) -> str:
    """The file's text without the last newline. KernelError names the path."""
    fd = open_file(path)
    try:
        data = piece = os.read(fd, _SIZE)
        # A long list comes in pieces of whole lines, each a little short of the size.
        while len(piece) > _SIZE // 2:
            piece = os.read(fd, _SIZE)
            data += piece
    except OSError as error:
        raise failed(error, "read", path) from None
    finally:
        os.close(fd)
    return data.decode().rstrip("\n")


def write(path: str, value: str) -> None:
    """Write `value` in one go. KernelError names the path, not the value."""
    fd = open_file(path, os.O_WRONLY)
    try:
        os.write(fd, value.encode())
    except OSError as error:
        raise failed(error, "write", path) from None
    finally:
        os.close(fd)


def open_file(path: str, flags: int = os.O_RDONLY) -> int:
    """An fd of the file or folder, close-on-exec. KernelError names the path."""
    try:
        return os.open(path, flags | os.O_CLOEXEC)
    except OSError as error:
        raise failed(error, "open", path) from None


def reread(fd: int, path: str) -> str:
    """The present text behind an fd kept open; reading also rearms its EPOLLPRI."""
    try:
        return os.pread(fd, _SIZE, 0).decode()
    except OSError as error:
        raise failed(error, "read", path) from None


def field(text: str, key: str) -> int:
    """The number of the line `key number`; 0 when there is none."""
    for line in text.splitlines():
        name, _, number = line.partition(" ")
        if name == key:
            return int(number)
    return 0


def is_gone(error: KernelError) -> bool:
    """The file does not exist, or its group was removed while it was being used."""
    return error.errno in (errno.ENOENT, errno.ENODEV)


def make_folder(path: str) -> None:
    """mkdir(2): in a cgroup hierarchy this makes a group."""
    try:
        os.mkdir(path, 0o755)
    except OSError as error:
        raise failed(error, "mkdir", path) from None


def remove_folder(path: str) -> None:
    """rmdir a group and the groups below it; missing is fine.

    KernelError (EBUSY) while a process is left in any of them.
    """
    if not remove_if_empty(path):
        _remove_below(path)
        if not remove_if_empty(path):
            raise KernelError("rmdir", path, errno.EBUSY)


def remove_if_empty(path: str) -> bool:
    """rmdir a group; false when it has processes, or groups below. Missing is fine."""
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno in (errno.EBUSY, errno.ENOTEMPTY):
            return False
        raise failed(error, "rmdir", path) from None
    return True


def _remove_below(path: str) -> None:
    """rmdir every group below `path`, by relative steps with two fds at most.

    A container may have nested groups deeper than any path or call stack can be.
    """
    here = open_file(path, _FOLDER)
    levels = [subfolders(here, path)]  # what is still to be removed in each folder entered
    entered: list[str] = []
    try:
        while True:
            busy = _remove_first(here, levels[-1])
            if busy:
                following = os.open(busy, _FOLDER, dir_fd=here)
            elif entered:
                following = os.open("..", _FOLDER, dir_fd=here)
            else:
                return
            os.close(here)
            here = following
            if busy:
                entered.append(busy)
                levels.append(subfolders(here, path))
            else:
                levels.pop()
                os.rmdir(entered.pop(), dir_fd=here)
    except OSError as error:
        if isinstance(error, KernelError):
            raise
        raise failed(error, "rmdir", path) from None
    finally:
        os.close(here)


_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def _remove_first(folder: int, names: list[str]) -> str:
    """Take names and rmdir them; the first that has groups below, or "" when all are gone."""
    while names:
        name = names.pop()
        try:
            os.rmdir(name, dir_fd=folder)
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno not in (errno.EBUSY, errno.ENOTEMPTY):
                raise
            return name
    return ""


def subfolders(folder: int | str, path: str) -> list[str]:
    """The names of the groups in a folder (an fd or a path)."""
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError as error:
        raise failed(error, "scandir", path) from None
