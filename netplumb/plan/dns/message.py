"""DNS messages: what is needed of them, bounded.

A query is decoded; an answer is either made from addresses or comes from another server, of which
only the frame is looked at: does it belong to the question, how long may it be kept.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from enum import IntEnum

import msgspec

from netplumb.errors import Malformed

QUERY_PORT = 53
LARGEST_PLAIN = 512  # octets over UDP without EDNS
LARGEST_UDP = 4096  # what is believed of a client's EDNS size
OWN_UDP = 1232  # what we say that we take: fits into any path's packets
LARGEST = 65535

A, SOA, PTR, AAAA, OPT, ANY = 1, 6, 12, 28, 41, 255
IN = 1

_HEADER = struct.Struct(">HHHHHH")
_QUESTION = struct.Struct(">HH")
_RECORD = struct.Struct(">HHIH")  # type, class, TTL, length of the data
_RESPONSE, _AUTHORITATIVE, _TRUNCATED = 0x8000, 0x0400, 0x0200
_RECURSION_DESIRED, _RECURSION_AVAILABLE = 0x0100, 0x0080
_CHECKING_DISABLED = 0x0010
_DNSSEC_OK = 0x8000
_OPCODE_SHIFT, _OPCODE_MASK = 11, 0xF
_LONGEST_NAME, _LONGEST_LABEL = 255, 63
_QUESTION_NAME = b"\xc0\x0c"  # a pointer to the question's name


class Code(IntEnum):
    """How a query ended."""

    NO_ERROR = 0
    SERVER_FAILURE = 2
    NAME_ERROR = 3
    NOT_IMPLEMENTED = 4
    REFUSED = 5
    BAD_VERSION = 16


class Edns(msgspec.Struct, frozen=True):
    """What a client says with its OPT record."""

    size: int
    version: int
    dnssec_ok: bool


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """A question. `name` is in lower case, without the last dot; `question` are its bytes as they
    came (clients look for the same case again). A label with a dot in it makes no name of ours:
    then `name` is "".
    """

    id: int
    flags: int
    opcode: int
    name: str
    kind: int
    class_: int
    question: bytes
    edns: Edns | None

    @property
    def limit(self) -> int:
        """The largest answer over UDP."""
        if self.edns is None:
            return LARGEST_PLAIN
        return min(max(self.edns.size, LARGEST_PLAIN), LARGEST_UDP)

    @property
    def key(self) -> tuple[bytes, bool | None, int]:
        """What answers that may be shared depend on."""
        dnssec = None if self.edns is None else self.edns.dnssec_ok
        return self.question.lower(), dnssec, self.flags & _CHECKING_DISABLED


class Record(msgspec.Struct, frozen=True):
    """One record of an answer, all of which belong to the question's name."""

    kind: int
    ttl: int
    data: bytes


def parse_query(data: bytes) -> Query:
    """Decode a query; Malformed if it is none (then it deserves no answer)."""
    identity, flags, questions, answers, authorities, additional = _header(data)
    if flags & _RESPONSE:
        raise Malformed("an answer where a question belongs")
    if questions != 1 or answers or authorities:
        raise Malformed(f"{questions} questions and {answers + authorities} answers")
    labels, offset = _read_name(data, _HEADER.size)
    kind, class_ = _unpack(_QUESTION, data, offset)
    end = offset + _QUESTION.size
    edns = None
    for record in _records(data, end, additional):
        if record.kind == OPT:
            edns = Edns(record.class_, record.ttl >> 16 & 0xFF, bool(record.ttl & _DNSSEC_OK))
    name = ""
    if not any(b"." in label for label in labels):
        name = b".".join(labels).lower().decode("latin-1")
    return Query(
        id=identity,
        flags=flags,
        opcode=flags >> _OPCODE_SHIFT & _OPCODE_MASK,
        name=name,
        kind=kind,
        class_=class_,
        question=data[_HEADER.size : end],
        edns=edns,
    )


def answer(query: Query, code: Code, records: Sequence[Record] = (), *, limit: int) -> bytes:
    """Our own answer, cut down to the question and a mark (TC) where it is beyond `limit`."""
    flags = _answer_flags(query) | _AUTHORITATIVE | code & 0xF
    body = b"".join(
        _QUESTION_NAME + _RECORD.pack(r.kind, IN, r.ttl, len(r.data)) + r.data for r in records
    )
    options = _own_options(query, code)
    made = _assemble(query, flags, len(records), body, options)
    if len(made) <= limit:
        return made
    return _assemble(query, flags | _TRUNCATED, 0, b"", options)


def _answer_flags(query: Query) -> int:
    kept = query.flags & (_OPCODE_MASK << _OPCODE_SHIFT | _RECURSION_DESIRED | _CHECKING_DISABLED)
    return _RESPONSE | _RECURSION_AVAILABLE | kept


def _own_options(query: Query, code: Code = Code.NO_ERROR) -> bytes:
    """An OPT record, for a client that sent one."""
    if query.edns is None:
        return b""
    return b"\0" + _RECORD.pack(OPT, OWN_UDP, code >> 4 << 24, 0)


def _assemble(query: Query, flags: int, count: int, records: bytes, options: bytes) -> bytes:
    header = _HEADER.pack(query.id, flags, 1, count, 0, bool(options))
    return header + query.question + records + options


# --- other servers' answers -------------------------------------------------------------------


class Reply(msgspec.Struct, frozen=True):
    """Another server's answer: its code, whether it was cut off, and how long it may be kept.

    `ttl` is in seconds, 0 for what may not be kept; `ttl_offsets` are where it counts down.
    """

    data: bytes
    code: int
    truncated: bool
    ttl: int
    ttl_offsets: tuple[int, ...]


def forwarded(query: Query, raw: bytes, identity: int) -> bytes:
    """The client's query as it is sent on: with another id, the rest as it came."""
    return identity.to_bytes(2, "big") + raw[2:]


def parse_reply(data: bytes, query: Query, identity: int) -> Reply:
    """Check that `data` answers the query sent with `identity`; Malformed."""
    got, flags, questions, answers, authorities, additional = _header(data)
    if got != identity or not flags & _RESPONSE or questions != 1:
        raise Malformed("not an answer to this question")
    end = _HEADER.size + len(query.question)
    if data[_HEADER.size : end].lower() != query.question.lower():
        raise Malformed("an answer to another question")
    code, truncated = flags & 0xF, bool(flags & _TRUNCATED)
    if truncated:
        return Reply(data, code, truncated, 0, ())
    records = list(_records(data, end, answers + authorities + additional))
    ttl = _lifetime(data, records, answers, authorities, code)
    offsets = tuple(record.offset - 6 for record in records if record.kind != OPT)
    return Reply(data, code, truncated, ttl, offsets)


def for_client(query: Query, reply: Reply, age: int, *, limit: int) -> bytes:
    """The reply with the client's id and question, `age` seconds older; cut down beyond `limit`."""
    if len(reply.data) > limit:
        flags = _answer_flags(query) | _TRUNCATED | reply.code
        return _assemble(query, flags, 0, b"", _own_options(query))
    data = bytearray(reply.data)
    data[:2] = query.id.to_bytes(2, "big")
    data[_HEADER.size : _HEADER.size + len(query.question)] = query.question
    if age:
        for offset in reply.ttl_offsets:
            (ttl,) = struct.unpack_from(">I", data, offset)
            struct.pack_into(">I", data, offset, max(0, ttl - age))
    return bytes(data)


def _lifetime(
    data: bytes, records: Sequence[_Seen], answers: int, authorities: int, code: int
) -> int:
    """Seconds that a reply may be kept: the least of its records, or RFC 2308's for a "no"."""
    if code not in (Code.NO_ERROR, Code.NAME_ERROR):
        return 0
    kept = [record for record in records[: answers + authorities] if record.kind != OPT]
    if any(record.ttl >> 31 for record in kept):  # RFC 2181, 8: treat as 0
        return 0
    if answers and code == Code.NO_ERROR:
        return min((record.ttl for record in kept), default=0)  # nothing but EDNS options
    for record in kept[answers:]:
        if record.kind == SOA and record.length >= 20:
            minimum = data[record.offset + record.length - 4 : record.offset + record.length]
            return min(record.ttl, int.from_bytes(minimum, "big"))
    return 0


# --- the wire -----------------------------------------------------------------------------------


class _Seen(msgspec.Struct, frozen=True):
    """A record's head; its data begins at `offset`, its TTL 6 bytes before."""

    kind: int
    class_: int
    ttl: int
    length: int
    offset: int


def _header(data: bytes) -> tuple[int, ...]:
    if len(data) > LARGEST:
        raise Malformed(f"a DNS message of {len(data)} bytes")
    return _unpack(_HEADER, data, 0)


def _records(data: bytes, offset: int, count: int) -> Iterator[_Seen]:
    for _ in range(count):
        offset = _skip_name(data, offset)
        kind, class_, ttl, length = _unpack(_RECORD, data, offset)
        offset += _RECORD.size
        if length > len(data) - offset:
            raise Malformed("a DNS record beyond its message")
        yield _Seen(kind, class_, ttl, length, offset)
        offset += length


def _read_name(data: bytes, offset: int) -> tuple[list[bytes], int]:
    """The labels of a name without pointers (a question's has nothing to point to)."""
    labels: list[bytes] = []
    size = 1
    while True:
        length = _byte(data, offset)
        if length > _LONGEST_LABEL:
            raise Malformed("a DNS question with a pointer or a strange label")
        label = data[offset + 1 : offset + 1 + length]
        if len(label) != length:
            raise Malformed("a DNS name beyond its message")
        offset += 1 + length
        if not length:
            return labels, offset
        size += 1 + length
        if size > _LONGEST_NAME:
            raise Malformed(f"a DNS name of more than {_LONGEST_NAME} bytes")
        labels.append(label)


def _skip_name(data: bytes, offset: int) -> int:
    """Where a name ends; where it points to does not matter here."""
    start = offset
    while offset - start < _LONGEST_NAME:
        length = _byte(data, offset)
        if length >= 0xC0:
            return offset + 2
        if length > _LONGEST_LABEL:
            raise Malformed("a DNS name with a strange label")
        offset += 1 + length
        if not length:
            return offset
    raise Malformed(f"a DNS name of more than {_LONGEST_NAME} bytes")


def _byte(data: bytes, offset: int) -> int:
    if offset >= len(data):
        raise Malformed("a DNS message that ends too early")
    return data[offset]


def _unpack(form: struct.Struct, data: bytes, offset: int) -> tuple[int, ...]:
    if len(data) - offset < form.size:
        raise Malformed("a DNS message that ends too early")
    return form.unpack_from(data, offset)


def encode_name(name: str) -> bytes:
    """A name as bytes; Malformed where DNS has no such name."""
    data = b""
    for label in name.rstrip(".").split("."):
        raw = label.encode("utf-8")
        if not 0 < len(raw) <= _LONGEST_LABEL:
            raise Malformed(f"{name!r:.80} is no DNS name")
        data += bytes((len(raw),)) + raw
    if len(data) >= _LONGEST_NAME:
        raise Malformed(f"{name!r:.80} is too long for a DNS name")
    return data + b"\0"
