"""File change notification: inotify(7)."""

from __future__ import annotations

import os
import struct
from ctypes import c_char_p, c_int, c_uint32
from typing import NamedTuple

from supervisor.kernel._call import check, encode, failed, prototype

IN_ACCESS = 0x1
IN_MODIFY = 0x2
IN_ATTRIB = 0x4
IN_CLOSE_WRITE = 0x8
IN_CLOSE_NOWRITE = 0x10
IN_OPEN = 0x20
IN_MOVED_FROM = 0x40
IN_MOVED_TO = 0x80
IN_CREATE = 0x100
IN_DELETE = 0x200
IN_DELETE_SELF = 0x400
IN_MOVE_SELF = 0x800
IN_UNMOUNT = 0x2000
IN_Q_OVERFLOW = 0x4000
IN_IGNORED = 0x8000
IN_ONLYDIR = 0x1000000
IN_DONT_FOLLOW = 0x2000000
IN_EXCL_UNLINK = 0x4000000
IN_MASK_ADD = 0x20000000
IN_ISDIR = 0x40000000
IN_ONESHOT = 0x80000000

_HEADER = struct.Struct("iIII")  # struct inotify_event: wd, mask, cookie, len
_BUFFER = 64 << 10  # hundreds of events; one always fits (16 + NAME_MAX + 1)

_inotify_init1 = prototype("inotify_init1", c_int)
_inotify_add_watch = prototype("inotify_add_watch", c_int, c_char_p, c_uint32)
_inotify_rm_watch = prototype("inotify_rm_watch", c_int, c_int)


class InotifyEvent(NamedTuple):
    """`wd` -1 with IN_Q_OVERFLOW: events were lost, look at everything anew."""

    wd: int
    mask: int
    name: str


class Inotify:
    """One inotify instance; `fd` is non-blocking and readable when events wait."""

    def __init__(self) -> None:
        self.fd = check(_inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK), "inotify_init1")

    def __enter__(self) -> Inotify:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Forget all watches; a second close does nothing."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def add(self, path: str, mask: int) -> int:
        """Watch a file or folder for IN_* events; the same file again replaces its mask."""
        result = _inotify_add_watch(self.fd, encode(path, "inotify_add_watch"), mask)
        return check(result, "inotify_add_watch", path)

    def remove(self, wd: int) -> None:
        """Stop a watch; one last event IN_IGNORED follows."""
        check(_inotify_rm_watch(self.fd, wd), "inotify_rm_watch", str(wd))

    def read(self) -> list[InotifyEvent]:
        """The events that wait now (the first 64 KiB of them); [] when there are none."""
        try:
            data = os.read(self.fd, _BUFFER)
        except BlockingIOError:
            return []
        except OSError as error:
            raise failed(error, "read", "inotify") from None
        return _decode(data)


def _decode(data: bytes) -> list[InotifyEvent]:
    events = []
    offset = 0
    while offset < len(data):
        wd, mask, _, length = _HEADER.unpack_from(data, offset)
        offset += _HEADER.size
        name = data[offset : offset + length].rstrip(b"\0")  # padded for alignment
        events.append(InotifyEvent(wd, mask, os.fsdecode(name)))
        offset += length
    return events
