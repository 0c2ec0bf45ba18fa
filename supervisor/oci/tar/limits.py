"""What a tar may hold at most; more is refused as soon as it is seen."""

from __future__ import annotations

from dataclasses import dataclass

MAX_OFFSET = (1 << 63) - 1  # off_t, the largest file there can be
MAX_ID = (1 << 32) - 2  # uid_t and gid_t; the largest means "leave as it is" to chown(2)

MAX_ENTRIES = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds for one archive. Sizes in bytes.

    The defaults are those of layers: a path as long as the kernel takes (PATH_MAX, NAME_MAX),
    and what precedes an entry (PAX records, GNU long names) as Go's archive/tar has it.
    """

    entries: int = MAX_ENTRIES
    total: int = MAX_OFFSET  # of all files' content
    extension: int = 1 << 20  # PAX headers and long names before one entry, together
    path: int = 4095
    name: int = 255  # one part of a path
    depth: int = 512  # parts of a path
