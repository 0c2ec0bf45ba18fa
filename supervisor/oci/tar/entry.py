"""What a tar is made of, as values: entries, and the content that follows them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

NO_XATTRS: Mapping[str, bytes] = MappingProxyType({})


class Type(StrEnum):
    """What an entry makes; the value is its type flag (POSIX.1-2024, pax, "ustar")."""

    FILE = "0"
    HARDLINK = "1"
    SYMLINK = "2"
    CHAR = "3"
    BLOCK = "4"
    FOLDER = "5"
    FIFO = "6"


class Entry(NamedTuple):
    """One member. Names are str with surrogate escapes (`os.fsdecode`), as in the archive.

    A folder's path may end in a slash or not. `link` is the target of a symlink, or the path
    in this archive that a hard link is another name of. `size` bytes of content follow a
    FILE, nothing any other type.
    """

    path: str
    type: Type = Type.FILE
    mode: int = 0o644  # permissions and set-id bits, without the type
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime: int = 0  # nanoseconds since 1970
    link: str = ""
    devmajor: int = 0
    devminor: int = 0
    xattrs: Mapping[str, bytes] = NO_XATTRS


class Data(NamedTuple):
    """A part of the content of the file before it; never empty. A view of what was fed."""

    data: bytes | memoryview


class End(NamedTuple):
    """The archive's end mark was read; what follows it is ignored."""


Event = Entry | Data | End
