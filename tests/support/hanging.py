"""A file system whose files are never found: who looks for one waits in the kernel.

The least that FUSE takes: https://docs.kernel.org/filesystems/fuse.html, structures of
include/uapi/linux/fuse.h, protocol 7.31. A request that user space has read and not answered is
waited for uninterruptibly, by a killed process as well; it fails when the connection ends.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support import places

LOOKUP, FORGET, GETATTR, INTERRUPT, INIT, BATCH_FORGET = 1, 2, 3, 36, 26, 42
NEVER_ANSWERED = (LOOKUP, FORGET, BATCH_FORGET, INTERRUPT)
IN_HEADER = struct.Struct("=IIQQIIIHH")
OUT_HEADER = struct.Struct("=IiQ")
INIT_OUT = struct.Struct("=IIIIHHIIHHI28x")
ATTR_OUT = struct.Struct("=QII6Q10I")
MNT_DETACH = 2
libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def hanging_files() -> Iterator[tuple[Path, threading.Event]]:
    """A folder with such a file system, and whether somebody has looked for a file there.

    At the end of the block all who wait go on.
    """
    asked = threading.Event()
    with places.short_folder() as base:
        folder, device = base / "hanging", os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        folder.mkdir()
        wake, ended = os.pipe()
        thread = threading.Thread(target=_serve, args=(device, wake, asked))
        options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other"
        words = (b"orlop-test", os.fsencode(folder), b"fuse")
        try:
            if libc.mount(*words, ctypes.c_ulong(0), options.encode()):
                raise OSError(ctypes.get_errno(), "mount fuse")
            thread.start()
            try:
                yield folder, asked
            finally:
                libc.umount2(os.fsencode(folder), MNT_DETACH)
                os.close(ended)
                thread.join()
        finally:
            os.close(wake)
            os.close(device)  # what is not answered fails


def _serve(device: int, wake: int, asked: threading.Event) -> None:
    while True:
        ready, _, _ = select.select([device, wake], [], [])
        if wake in ready:
            return
        request = os.read(device, 1 << 20)
        _, operation, unique, *_ = IN_HEADER.unpack_from(request)
        if operation == LOOKUP:
            asked.set()
        if operation in NEVER_ANSWERED:
            continue
        if operation == INIT:
            _answer(device, unique, INIT_OUT.pack(7, 31, 0, 0, 1, 1, 4096, 1, 0, 0, 0))
        elif operation == GETATTR:
            attributes = (1, *(0,) * 5, *(0,) * 3, 0o40755, 2, *(0,) * 5)
            _answer(device, unique, ATTR_OUT.pack(3600, 0, 0, *attributes))
        else:
            _answer(device, unique, b"", -errno.ENOSYS)


def _answer(device: int, unique: int, data: bytes, error: int = 0) -> None:
    os.write(device, OUT_HEADER.pack(OUT_HEADER.size + len(data), error, unique) + data)
