"""What every tar that we write has in common: entries of what is on disk, bytes of files."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from supervisor.oci.tar import Entry, Type

CHUNK = 256 * 1024
TYPES = {
    stat.S_IFREG: Type.FILE,
    stat.S_IFDIR: Type.FOLDER,
    stat.S_IFLNK: Type.SYMLINK,
    stat.S_IFCHR: Type.CHAR,
    stat.S_IFBLK: Type.BLOCK,
    stat.S_IFIFO: Type.FIFO,
}
"""By file type; no tar can have a socket."""
_SECOND = 10**9


def entry_of(path: str, type: Type, status: os.stat_result) -> Entry:
    """The entry of what has this status; content, link and attributes are the caller's to add."""
    device = status.st_rdev if type in (Type.CHAR, Type.BLOCK) else 0
    return Entry(
        path=path,
        type=type,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        # As docker: whole seconds, for which no tar needs extensions.
        mtime=status.st_mtime_ns // _SECOND * _SECOND,
        devmajor=os.major(device),
        devminor=os.minor(device),
    )


def content(fd: int, size: int) -> Iterator[bytes]:
    """As many bytes of a file as its header says: cut, or filled with zeros, if it changes."""
    left = size
    while left and (data := os.read(fd, min(left, CHUNK))):
        yield data
        left -= len(data)
    while left:
        filling = bytes(min(left, CHUNK))
        yield filling
        left -= len(filling)


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write every byte into a blocking `fd`."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
