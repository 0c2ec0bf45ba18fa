"""Files that survive a power cut, and deletions that cannot be led astray. Blocking.

Creating: write beside the target, fsync, rename, fsync the folder; without the first
fsync a power cut leaves an empty file, without the last the rename is lost. Deleting:
rename into the trash (one step, so nothing half-deleted is ever visible), delete later.
"""

from __future__ import annotations

import errno
import os
import secrets
from contextlib import suppress
from pathlib import Path

from supervisor import failpoints

_DEPTH = 8
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def write_atomic(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace `path` by a file with exactly `data` and `mode`, durably; raises OSError."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        write_synced(temporary, data, mode)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_synced(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Make a new file and fsync it; FileExistsError if something is there."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb", buffering=0) as file:
        view = memoryview(data)
        while view:
            view = view[file.write(view) or 0 :]
        os.fchmod(fd, mode)
        os.fsync(fd)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def discard(path: str | Path, trash: Path) -> bool:
    """Rename a file or folder into the trash (same filesystem); False if it was not there."""
    try:
        os.rename(path, f"{trash}/{_random_name()}")  # noqa: PTH104 - at half the price
    except FileNotFoundError:
        if not trash.is_dir():
            raise
        return False
    return True


def empty_trash(trash: Path) -> tuple[OSError, ...]:
    """Delete all that is in the trash; what could not be deleted is told and stays. Never raises.

    Never follows a link, whatever a container left behind. A folder that is too deep in others,
    or cannot be deleted where it is, is renamed into the trash itself. So any depth takes a few
    fds and little stack, and a kill at any moment loses no progress.
    """
    try:
        return _empty(trash)
    except OSError as error:  # no descriptor is free, or the trash itself cannot be read
        return (error,)


def _empty(trash: Path) -> tuple[OSError, ...]:
    failures: list[OSError] = []
    failpoints.hit("trash.empty")
    trash_fd = os.open(trash, _FOLDER)
    try:
        refused: set[str] = set()
        while entries := [e for e in _list(trash_fd) if e.name not in refused]:
            for entry in entries:
                try:
                    _delete(entry, trash_fd)
                except FileNotFoundError:
                    continue  # another one emptying the same trash was faster
                except OSError as error:
                    refused.add(entry.name)
                    failures.append(error)
    finally:
        os.close(trash_fd)
    return tuple(failures)


def _list(folder_fd: int) -> list[os.DirEntry[str]]:
    with os.scandir(folder_fd) as entries:
        return list(entries)


def _delete(entry: os.DirEntry[str], trash_fd: int) -> None:
    if not _remove(entry, trash_fd):
        _clear(entry.name, trash_fd, trash_fd, _DEPTH)
        _remove_folder(entry.name, trash_fd)


def _clear(name: str, parent_fd: int, trash_fd: int, depth: int) -> None:
    """Delete all that is in a folder, or move it into the trash."""
    folder_fd = os.open(name, _FOLDER, dir_fd=parent_fd)
    try:
        for inner in _list(folder_fd):
            if not _remove(inner, folder_fd) and not _deleted(inner, folder_fd, trash_fd, depth):
                os.rename(inner.name, _random_name(), src_dir_fd=folder_fd, dst_dir_fd=trash_fd)
    finally:
        os.close(folder_fd)


def _deleted(entry: os.DirEntry[str], folder_fd: int, trash_fd: int, depth: int) -> bool:
    """Whether a folder that is not empty could be deleted where it is."""
    if not depth:
        return False
    try:
        _clear(entry.name, folder_fd, trash_fd, depth - 1)
        return _remove_folder(entry.name, folder_fd)
    except OSError:
        return False  # told once it is in the trash itself


def _remove(entry: os.DirEntry[str], folder_fd: int) -> bool:
    """Whether the entry is gone; False for a folder that is not empty."""
    if entry.is_dir(follow_symlinks=False):
        return _remove_folder(entry.name, folder_fd)
    with suppress(FileNotFoundError):
        os.unlink(entry.name, dir_fd=folder_fd)
    return True


def _remove_folder(name: str, folder_fd: int) -> bool:
    try:
        os.rmdir(name, dir_fd=folder_fd)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    return True


def _random_name() -> str:
    return secrets.token_hex(16)
