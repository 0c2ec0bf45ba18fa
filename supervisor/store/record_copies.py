"""A container's record once more, in its bundle, to restore a row from. Blocking.

    records.log     HEX DOC      one line a copy, the last good one counts
                    HEX DOC      HEX is the CRC-32 of DOC, DOC the row's document

Appended to with every change that matters and never synced: ten microseconds each, and what a
kill breaks off is one line. A power cut may take the lines of the last half-minute, which is
what the kernel takes to write them.

The file is made at the end of a container's creation and goes with the bundle, before the row
does. So a bundle with a copy that no row knows tells of a row that was lost.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path

FILE_NAME = "records.log"
_MOST = 256 << 10
_CRC = 8


def add(bundle: Path, doc: bytes) -> None:
    """Note `doc` as the latest; OSError, FileNotFoundError without such a bundle."""
    path, line = bundle / FILE_NAME, _line(doc)
    if _append(path, line) > max(_MOST, 2 * len(line)):
        # Not in place: what is there stays until the new file is whole.
        temporary = bundle / f"{FILE_NAME}.tmp"
        temporary.unlink(missing_ok=True)
        _append(temporary, line)
        temporary.replace(path)


def latest(bundle: str | os.PathLike[str]) -> bytes | None:
    """The latest copy that is whole; None where there is none."""
    try:
        lines = Path(bundle, FILE_NAME).read_bytes()
    except FileNotFoundError:
        return None
    for line in reversed(lines.split(b"\n")):
        crc, doc = line[:_CRC], line[_CRC + 1 :]
        if doc and crc == _crc(doc):
            return doc
    return None


def is_there(bundle: str | os.PathLike[str]) -> bool:
    """Whether there is a file of copies, good or not."""
    return os.path.lexists(f"{os.fspath(bundle)}/{FILE_NAME}")


def _append(path: Path, line: bytes) -> int:
    """The file's length afterwards."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(path, flags, 0o600)
    try:
        os.write(fd, line)
        return os.lseek(fd, 0, os.SEEK_CUR)
    finally:
        os.close(fd)


def _line(doc: bytes) -> bytes:
    # A line of its own, whatever was broken off before it.
    return b"\n%b %b\n" % (_crc(doc), doc)


def _crc(doc: bytes) -> bytes:
    return b"%08x" % zlib.crc32(doc)
