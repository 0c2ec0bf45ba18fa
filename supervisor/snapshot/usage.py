"""The operations "usage" and "usages": what a folder, or each of many, takes on the disk."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from typing import Any

from supervisor.snapshot.entering import FOLDER, MAX_DEPTH, lstat
from supervisor.snapshot.operations import Tell

_BLOCK = 512  # of st_blocks, on every filesystem (stat(2))


def run(arguments: dict[str, Any], fds: Mapping[str, int], tell: Tell) -> dict[str, Any]:
    """Add up `folder`, itself and what is below it; a file with several names once.

    Result: `size`, bytes on the disk; `bytes`, what regular files contain; `inodes`. What is
    deeper than any path can be is left out: no container can make the count fail.
    """
    return _usage(arguments["folder"])


def run_all(arguments: dict[str, Any], fds: Mapping[str, int], tell: Tell) -> dict[str, Any]:
    """Add up each of `folders`.

    Result: `usages`, in that order, each as `run` has it, or {"error": why it cannot be said}.
    """
    return {"usages": [_usage_or_error(folder) for folder in arguments["folders"]]}


def _usage_or_error(folder: str) -> dict[str, Any]:
    try:
        return _usage(folder)
    except OSError as error:
        return {"error": str(error)}


def _usage(folder: str) -> dict[str, Any]:
    root_fd = os.open(folder, FOLDER)
    count = _Count()
    count.add(os.fstat(root_fd))
    open_folders = [(root_fd, iter(os.listdir(root_fd)))]
    while open_folders:
        fd, names = open_folders[-1]
        name = next(names, None)
        if name is None:
            os.close(fd)
            open_folders.pop()
            continue
        status = lstat(fd, name)
        if status is None:
            continue
        count.add(status)
        if stat.S_ISDIR(status.st_mode) and len(open_folders) < MAX_DEPTH:
            try:
                inner = os.open(name, FOLDER, dir_fd=fd)
            except OSError:  # gone, or something else by now
                continue
            open_folders.append((inner, iter(os.listdir(inner))))
    return {"size": count.size, "bytes": count.bytes, "inodes": count.inodes}


class _Count:
    def __init__(self) -> None:
        self.size = 0
        self.bytes = 0
        self.inodes = 0
        self._seen: set[tuple[int, int]] = set()  # files with further names

    def add(self, status: os.stat_result) -> None:
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            key = (status.st_dev, status.st_ino)
            if key in self._seen:
                return
            self._seen.add(key)
        self.size += status.st_blocks * _BLOCK
        self.bytes += status.st_size if stat.S_ISREG(status.st_mode) else 0
        self.inodes += 1
