"""A file, or a folder with all below it, as a tar: out of a container, or of the host.

Names are opened one at a time, and nothing is opened for reading but regular files and
folders: a link, FIFO or device that stands where a file was costs nobody anything. What
changes meanwhile is in the tar as it was at some moment.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator

from supervisor.errors import InvalidArgument
from supervisor.oci.tar import END, Entry, Type, encode_header, padding
from supervisor.snapshot import file_caps
from supervisor.snapshot.entering import MAX_DEPTH
from supervisor.snapshot.ids import IDENTITY, IdMaps
from supervisor.snapshot.tar_pieces import CHUNK, TYPES, content, entry_of

NODE = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC

Shown = Callable[[os.stat_result, int], bool]
"""Whether what is in a folder (its status, an O_PATH fd of it) belongs into the tar."""


class TarWriter:
    """Trees to pieces of about CHUNK bytes; owners are those that `ids` has inside."""

    def __init__(self, ids: IdMaps = IDENTITY) -> None:
        self._ids = ids
        self._waiting = bytearray()
        self._names: dict[tuple[int, int], str] = {}  # of files with several, the first

    def whole(self, fd: int, name: str, shown: Shown | None = None) -> Iterator[bytes]:
        """A complete tar of one `tree`."""
        yield from self.tree(fd, name, shown)
        yield from self.end()

    def tree(self, fd: int, name: str, shown: Shown | None = None) -> Iterator[bytes]:
        """What `fd` is (O_PATH, the caller's) and all below it: named `name` and `name/…`.

        An empty `name` leaves the top folder itself out, and the slash of what is in it.
        Raises InvalidArgument for a socket, OSError.
        """
        status = os.fstat(fd)
        if stat.S_IFMT(status.st_mode) not in TYPES:
            raise InvalidArgument(f"{name} is a socket, which no tar can have")
        if name:
            yield from self._entry(fd, status, name)
        if not stat.S_ISDIR(status.st_mode) or not (shown is None or shown(status, fd)):
            return
        stack = [_Folder(fd, name.rstrip("/") + "/" if name else "")]
        try:
            while stack:
                yield from self._step(stack, shown)
        finally:
            for folder in stack:
                folder.close()

    def end(self) -> Iterator[bytes]:
        """What waits, and the end mark."""
        self._waiting += END
        yield self._take()

    def _step(self, stack: list[_Folder], shown: Shown | None) -> Iterator[bytes]:
        """The next name of the innermost folder; one that is a folder becomes the innermost."""
        here = stack[-1]
        name = next(here.names, None)
        if name is None:
            stack.pop().close()
            return
        try:
            fd = os.open(name, NODE, dir_fd=here.fd)
        except FileNotFoundError:  # removed meanwhile
            return
        try:
            status = os.fstat(fd)
            if stat.S_IFMT(status.st_mode) not in TYPES:  # a socket: docker leaves it out too
                return
            path = here.path + name
            yield from self._entry(fd, status, path)
            if stat.S_ISDIR(status.st_mode) and (shown is None or shown(status, fd)):
                if len(stack) >= MAX_DEPTH:
                    raise InvalidArgument(f"{path:.80}…: more than {MAX_DEPTH} folders deep")
                stack.append(_Folder(fd, path + "/"))
        finally:
            os.close(fd)

    def _entry(self, fd: int, status: os.stat_result, path: str) -> Iterator[bytes]:
        type = TYPES[stat.S_IFMT(status.st_mode)]
        uid, gid = self._ids.inside(status.st_uid, status.st_gid)
        entry = entry_of(path, type, status)._replace(uid=uid, gid=gid)
        if type is Type.FILE:
            yield from self._file(fd, status, entry)
            return
        if type is Type.SYMLINK:
            entry = entry._replace(link=os.readlink("", dir_fd=fd))
        yield from self._put(encode_header(entry))

    def _file(self, fd: int, status: os.stat_result, entry: Entry) -> Iterator[bytes]:
        if status.st_nlink > 1:
            first = self._names.setdefault((status.st_dev, status.st_ino), entry.path)
            if first != entry.path:
                yield from self._put(encode_header(entry._replace(type=Type.HARDLINK, link=first)))
                return
        path = f"/proc/self/fd/{fd}"  # the very file that was looked at: no name is resolved
        capabilities = file_caps.read(path, self._ids)
        if capabilities:
            entry = entry._replace(xattrs={file_caps.NAME: capabilities})
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield from self._put(encode_header(entry._replace(size=status.st_size)))
            for data in content(file, status.st_size):
                yield from self._put(data)
            self._waiting += padding(status.st_size)
        finally:
            os.close(file)

    def _put(self, data: bytes) -> Iterator[bytes]:
        self._waiting += data
        if len(self._waiting) >= CHUNK:
            yield self._take()

    def _take(self) -> bytes:
        waiting = bytes(self._waiting)
        self._waiting.clear()
        return waiting


class _Folder:
    """A folder being read: its own fd, its names in order, and what precedes them in the tar."""

    def __init__(self, fd: int, path: str) -> None:
        self.path = path
        self.fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
        try:
            self.names: Iterator[str] = iter(sorted(os.listdir(self.fd)))
        except BaseException:
            os.close(self.fd)
            raise

    def close(self) -> None:
        os.close(self.fd)
