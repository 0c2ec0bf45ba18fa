"""What a path in a container is, as copy requests tell it: header X-Docker-Container-Path-Stat.

The header is base64 of a JSON object. Its mode is Go's os.FileMode (package io/fs), whose
type bits are not the kernel's.
"""

from __future__ import annotations

import base64
import binascii
import json
import stat
from dataclasses import dataclass

from supervisor.errors import ProtocolError

HEADER = "X-Docker-Container-Path-Stat"

_TYPES = {
    stat.S_IFREG: 0,
    stat.S_IFDIR: 1 << 31,
    stat.S_IFLNK: 1 << 27,
    stat.S_IFBLK: 1 << 26,
    stat.S_IFCHR: 1 << 26 | 1 << 21,
    stat.S_IFIFO: 1 << 25,
    stat.S_IFSOCK: 1 << 24,
}
_SET_IDS = {stat.S_ISUID: 1 << 23, stat.S_ISGID: 1 << 22, stat.S_ISVTX: 1 << 20}
_TYPE_BITS = 1 << 31 | 1 << 27 | 1 << 26 | 1 << 25 | 1 << 24 | 1 << 21
_KINDS = {bits: kind for kind, bits in _TYPES.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class PathStat:
    """One path. `mode` is st_mode of stat(2), `mtime` RFC 3339 with the fraction it has.

    `link_target` is where a symbolic link leads in the end, "" for anything else.
    """

    name: str
    size: int
    mode: int
    mtime: str
    link_target: str = ""

    def encode(self) -> str:
        """The header's value."""
        fields = {
            "name": _text(self.name),
            "size": self.size,
            "mode": go_mode(self.mode),
            "mtime": self.mtime,
            "linkTarget": _text(self.link_target),
        }
        text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
        return base64.b64encode(text.encode()).decode()


def decode(value: str) -> PathStat:
    """The inverse of PathStat.encode; raises ProtocolError."""
    try:
        fields = json.loads(base64.b64decode(value, validate=True))
        return PathStat(
            name=str(fields["name"]),
            size=int(fields["size"]),
            mode=unix_mode(int(fields["mode"])),
            mtime=str(fields["mtime"]),
            link_target=str(fields["linkTarget"]),
        )
    except (binascii.Error, ValueError, KeyError, TypeError) as error:
        raise ProtocolError(f"not a path's status: {error!r:.200}") from None


def go_mode(mode: int) -> int:
    """st_mode as os.FileMode."""
    set_ids = sum(bits for bit, bits in _SET_IDS.items() if mode & bit)
    return _TYPES[stat.S_IFMT(mode)] | set_ids | mode & 0o777


def unix_mode(mode: int) -> int:
    """os.FileMode as st_mode; raises KeyError for a type that Linux does not have."""
    set_ids = sum(bit for bit, bits in _SET_IDS.items() if mode & bits)
    return _KINDS[mode & _TYPE_BITS] | set_ids | mode & 0o777


def _text(name: str) -> str:
    # A name that is no UTF-8: as Go's encoder replaces what it cannot say.
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
