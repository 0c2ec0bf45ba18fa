"""Where a tar's entries go: a folder of a container, or of this host, and all below it.

Folders are opened by the kernel inside the boundaries, whoever changes them meanwhile.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Protocol

from supervisor.kernel import paths
from supervisor.snapshot.entering import FOLDER

READ_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Place(Protocol):
    """Where the entries go, and how folders below are reached."""

    name: str

    def folder(self, path: str) -> int:
        """A new fd of the folder `path` ("" = the top), made with its parents if missing."""

    def existing(self, path: str) -> int:
        """A new fd of the folder `path`; raises OSError where there is none."""


class InRoot:
    """The folder `path` of a container; links are followed as inside the container."""

    def __init__(self, root: int, path: str, top: int) -> None:
        self.name = path
        self._root = root
        self._top = top

    def folder(self, path: str) -> int:
        """As Place says."""
        if not path:
            return os.open(".", FOLDER, dir_fd=self._top)
        fd = paths.make_dirs_in_root(self._root, f"{self.name}/{path}")
        try:
            return os.open(".", FOLDER, dir_fd=fd)
        finally:
            os.close(fd)

    def existing(self, path: str) -> int:
        """As Place says."""
        return paths.open_in_root(self._root, f"{self.name}/{path}", READ_FOLDER)


class Beneath:
    """A folder of this host: no link leads out of it, whoever made the link."""

    def __init__(self, top: int, name: str) -> None:
        self.name = name
        self._top = top

    def folder(self, path: str) -> int:
        """As Place says; KernelError EXDEV for a link that leads out."""
        fd = os.open(".", FOLDER, dir_fd=self._top)
        done = ""
        for part in path.split("/") if path else ():
            done = f"{done}/{part}" if done else part
            try:
                with suppress(FileExistsError):
                    os.mkdir(part, 0o755, dir_fd=fd)
            finally:
                os.close(fd)
            fd = self.existing(done)
        return fd

    def existing(self, path: str) -> int:
        """As Place says."""
        return paths.open_beneath(self._top, path, READ_FOLDER)
