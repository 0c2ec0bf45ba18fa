"""Making a whole filesystem durable: syncfs(2)."""

from __future__ import annotations

from ctypes import c_int

from supervisor.kernel._call import check, prototype

_syncfs = prototype("syncfs", c_int)


def syncfs(fd: int) -> None:
    """Write out all that is unwritten in the filesystem that `fd` is on.

    Also tells of a write that failed since `fd` was opened (Linux 5.8).
    """
    check(_syncfs(fd), "syncfs")
