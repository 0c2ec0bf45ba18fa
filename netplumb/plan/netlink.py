"""Netlink messages as bytes: framing, attributes, and what the kernel answers. netlink(7).

Pure: a message is made without its sequence number, which `stamped` puts in when it is sent, so
that messages can be kept and sent again. Numbers are in the host's byte order, except where a
function says `be` (nfnetlink, addresses).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence

import msgspec

from netplumb.errors import Malformed

NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x4, 0x300
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE, NLM_F_APPEND = 0x100, 0x200, 0x400, 0x800
NLM_F_CAPPED, NLM_F_ACK_TLVS = 0x100, 0x200  # in an answer
NLMSGERR_ATTR_MSG = 1

_NESTED = 0x8000
_KIND = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_ATTRIBUTE = struct.Struct("=HH")
_SEQUENCE = 8  # its offset in the header
_ERROR = struct.Struct("=i")
_U32 = struct.Struct("=I")
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")
LONGEST_ATTRIBUTE = 0xFFFF - _ATTRIBUTE.size


def message(kind: int, flags: int, *parts: bytes) -> bytes:
    """A request of these parts, without a sequence number."""
    body = b"".join(parts)
    return _HEADER.pack(_HEADER.size + len(body), kind, flags | NLM_F_REQUEST, 0, 0) + body


def attribute(kind: int, value: bytes) -> bytes:
    """struct nlattr and the value, padded; struct.error beyond 64 KiB."""
    return _ATTRIBUTE.pack(4 + len(value), kind) + value + _PADDING[len(value) & 3]


def nested(kind: int, *parts: bytes) -> bytes:
    """An attribute that holds attributes."""
    return attribute(kind | _NESTED, b"".join(parts))


def text(kind: int, value: str) -> bytes:
    """A string attribute, with its NUL."""
    return attribute(kind, os.fsencode(value) + b"\0")


def u8(kind: int, value: int) -> bytes:
    """One byte."""
    return attribute(kind, bytes((value,)))


def u32(kind: int, value: int) -> bytes:
    """32 bits."""
    return attribute(kind, _U32.pack(value))


def u64(kind: int, value: int) -> bytes:
    """64 bits."""
    return attribute(kind, struct.pack("=Q", value))


def be16(kind: int, value: int) -> bytes:
    """16 bits in network order."""
    return attribute(kind, struct.pack(">H", value))


def be32(kind: int, value: int) -> bytes:
    """32 bits in network order; negative numbers are two's complement."""
    return attribute(kind, struct.pack(">I", value & 0xFFFFFFFF))


def be64(kind: int, value: int) -> bytes:
    """64 bits in network order."""
    return attribute(kind, struct.pack(">Q", value))


def stamped(messages: Sequence[bytes], first: int) -> bytes:
    """All messages as one datagram, numbered from `first`."""
    data = bytearray(b"".join(messages))
    offset = 0
    for number, message in enumerate(messages, first):
        _U32.pack_into(data, offset + _SEQUENCE, number & 0xFFFFFFFF)
        offset += len(message)
    return bytes(data)


# --- what comes back ------------------------------------------------------------------------


class Message(msgspec.Struct, frozen=True):
    """One message of a datagram. `port` is the socket that caused it, 0 for the kernel itself."""

    kind: int
    flags: int
    sequence: int
    port: int
    body: bytes


class Answer(msgspec.Struct, frozen=True):
    """The kernel's word on the request `sequence`: errno (0 = done) and its explanation."""

    sequence: int
    errno: int
    text: str = ""


def split(data: bytes) -> Iterator[Message]:
    """The messages of a datagram; Malformed where their lengths make no sense."""
    offset = 0
    while offset < len(data):
        if len(data) - offset < _HEADER.size:
            raise Malformed(f"{len(data) - offset} bytes are no netlink message")
        length, kind, flags, sequence, port = _HEADER.unpack_from(data, offset)
        if not _HEADER.size <= length <= len(data) - offset:
            raise Malformed(f"a netlink message of {length} bytes in {len(data) - offset}")
        body = data[offset + _HEADER.size : offset + length]
        yield Message(kind, flags, sequence, port, body)
        offset += (length + 3) & ~3


def attributes(data: bytes) -> dict[int, bytes]:
    """The attributes by kind (the last of each); Malformed where their lengths make no sense."""
    return dict(attribute_list(data))


def attribute_list(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The attributes in order, as (kind without its flags, value)."""
    offset = 0
    while len(data) - offset >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if not _ATTRIBUTE.size <= length <= len(data) - offset:
            raise Malformed(f"a netlink attribute of {length} bytes in {len(data) - offset}")
        yield kind & _KIND, data[offset + _ATTRIBUTE.size : offset + length]
        offset += (length + 3) & ~3


def answer(message: Message) -> Answer:
    """Decode an NLMSG_ERROR (or the error that ends a dump in NLMSG_DONE)."""
    if len(message.body) < _ERROR.size:
        raise Malformed("a netlink answer without a number")
    (number,) = _ERROR.unpack_from(message.body)
    return Answer(message.sequence, max(0, -number), _explanation(message) if number else "")


def _explanation(message: Message) -> str:
    """NLMSGERR_ATTR_MSG, behind the (perhaps capped) copy of the request."""
    if not message.flags & NLM_F_ACK_TLVS:
        return ""
    body, start = message.body, _ERROR.size
    if message.kind == NLMSG_ERROR:
        if len(body) < start + _HEADER.size:
            raise Malformed("a netlink error without its request")
        length = _U32.unpack_from(body, start)[0]
        start += _HEADER.size if message.flags & NLM_F_CAPPED else (length + 3) & ~3
    value = attributes(body[start:]).get(NLMSGERR_ATTR_MSG, b"")
    return value.rstrip(b"\0").decode("utf-8", "replace")


def read_u32(value: bytes | None) -> int:
    """A 32-bit attribute's value, 0 when it is absent; Malformed in another size."""
    if value is None:
        return 0
    if len(value) != _U32.size:
        raise Malformed(f"{len(value)} bytes where a 32-bit number belongs")
    number: int = _U32.unpack(value)[0]
    return number


def read_text(value: bytes | None) -> str:
    """A string attribute's value without its NUL, "" when it is absent."""
    return os.fsdecode((value or b"").rstrip(b"\0"))
