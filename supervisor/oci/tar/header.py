"""One 512-byte header block: POSIX ustar, GNU's variant of it, and the older v7 form.

Numbers are taken strictly: octal digits between spaces and NULs, or GNU's base-256. Python's
int() alone would also take "1_0", "+7" and "-7".
"""

from __future__ import annotations

import struct
from typing import NamedTuple
from zlib import adler32

from supervisor.errors import InvalidArgument

BLOCK = 512
ZEROS = bytes(BLOCK)
_USTAR = b"ustar\x0000"
_GNU = b"ustar  \x00"
# name, mode, uid, gid, size, mtime, checksum, type, link, magic and version, (user and group
# name), device major and minor, prefix, trailer
_LAYOUT = struct.Struct("100s8s8s8s12s12s8sc100s8s64x8s8s155s12s")
_CHECKSUM_AT = 148
_BLANK_SUM = 8 * 0x20  # the checksum counts its own field as spaces


class Header(NamedTuple):
    """A decoded block; names as bytes, `mtime` in seconds."""

    type: bytes
    name: bytes
    link: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    devmajor: int
    devminor: int


def decode(block: bytes) -> Header:
    """The header in `block`; raises InvalidArgument."""
    (
        name, mode, uid, gid, size, mtime, checksum, type, link, magic, major, minor, prefix, last
    ) = _LAYOUT.unpack(block)  # fmt: skip
    if number(checksum) != _sum(block, checksum) and number(checksum) != _signed_sum(block):
        raise InvalidArgument("invalid tar header: the checksum does not match")
    name = name.partition(b"\0")[0]
    if magic == _USTAR:
        if last[-4:] == b"tar\0":  # star's variant has times behind a shorter prefix
            prefix = prefix[:131]
        if prefix[0]:
            name = prefix.partition(b"\0")[0] + b"/" + name
    device = type in b"34"
    return Header(
        type,
        name,
        link.partition(b"\0")[0],
        number(mode) & 0o7777,
        number(uid),
        number(gid),
        number(size),
        number(mtime),
        number(major) if device else 0,
        number(minor) if device else 0,
    )


def number(field: bytes) -> int:
    """A numeric field; an empty one is 0. Only base-256 can be negative."""
    digits = field.strip(b" \0")
    if digits.isdigit():
        try:
            return int(digits, 8)
        except ValueError:  # an 8 or a 9
            raise _bad_number(field) from None
    if field[0] & 0x80:  # two's complement in all bits but the first, which is the mark
        value = int.from_bytes(field, "big") & ~(0x80 << 8 * (len(field) - 1))
        return value - (1 << 8 * len(field) - 1) if field[0] & 0x40 else value
    if digits:
        raise _bad_number(field)
    return 0


def _bad_number(field: bytes) -> InvalidArgument:
    return InvalidArgument(f"invalid tar header: {field!r} is not a number")


def _sum(block: bytes, checksum: bytes) -> int:
    """The sum of all bytes, by the low half of Adler-32: 1 + the sum, modulo 65521.

    Of 256 bytes the sum is always less than that. Ten times as fast as `sum`.
    """
    total = (adler32(block[:256]) & 0xFFFF) + (adler32(block[256:]) & 0xFFFF) - 2
    return total - sum(checksum) + _BLANK_SUM


def _signed_sum(block: bytes) -> int:
    """The sum as some old tars made it, of signed bytes."""
    blanked = block[:_CHECKSUM_AT] + b" " * 8 + block[_CHECKSUM_AT + 8 :]
    return sum(blanked) - 256 * sum(byte >= 0x80 for byte in blanked)


def encode(header: Header) -> bytes:
    """The ustar block for `header`.

    Names longer than their field are cut and numbers that do not fit are 0: the caller has
    said the true ones in PAX records.
    """
    name, prefix = split(header.name) or (header.name[:100], b"")
    block = _LAYOUT.pack(
        name,
        _octal(header.mode, 8),
        _octal(header.uid, 8),
        _octal(header.gid, 8),
        _octal(header.size, 12),
        _octal(header.mtime, 12),
        b" " * 8,
        header.type,
        header.link[:100],
        _USTAR,
        _octal(header.devmajor, 8),
        _octal(header.devminor, 8),
        prefix,
        b"",
    )
    checksum = b"%06o\0 " % _sum(block, b" " * 8)
    return block[:_CHECKSUM_AT] + checksum + block[_CHECKSUM_AT + 8 :]


def fits(value: int, width: int) -> bool:
    """Whether a number has room in an octal field of `width` bytes."""
    return 0 <= value < 1 << 3 * (width - 1)


def split(name: bytes) -> tuple[bytes, bytes] | None:
    """`name` as ustar's two fields (name, prefix); None if it does not fit."""
    if len(name) <= 100:
        return name, b""
    # The last slash that leaves a prefix short enough; one at the end is part of the name.
    slash = name.rfind(b"/", 0, min(156, len(name) - 1))
    if slash <= 0 or len(name) - slash - 1 > 100:
        return None
    return name[slash + 1 :], name[:slash]


def _octal(value: int, width: int) -> bytes:
    return b"%0*o\0" % (width - 1, value if fits(value, width) else 0)
