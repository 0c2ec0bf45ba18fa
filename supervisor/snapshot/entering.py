"""How a walk enters a folder: by its own name, never through a link, and not too deep."""

from __future__ import annotations

import os

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""Flags of open(2)."""
MAX_DEPTH = 2000  # as many names as the longest path can have; each takes a descriptor


def lstat(folder_fd: int, name: str) -> os.stat_result | None:
    """The status of `name` itself; None if it is not there."""
    try:
        return os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
    except FileNotFoundError:
        return None
