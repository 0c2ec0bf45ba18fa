"""Request heads that h11 need not read again.

A client sends the same headers with each request of a kind; what h11 has read once means the
same the next time. Remembered are blocks of headers, byte for byte but for the length of the
body, of requests that are plain: HTTP/1.1, nothing to negotiate about the connection. A request is
found if it came in one piece, its body with it, its headers are such a block, and its first line is
beyond doubt.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import h11

MOST = 64
"""Blocks that are remembered; the oldest goes."""

LONGEST = 1024
"""Bytes of a block."""

_LINE = re.compile(rb"(GET|HEAD|POST|PUT|DELETE) ([\x21-\x7e]+) HTTP/1\.1")
_LENGTH = re.compile(rb"\r\nContent-Length: (0|[1-9][0-9]{0,7})(?=\r\n)", re.IGNORECASE)
_END = b"\r\n\r\n"
_FOLDS = (b"\r\n ", b"\r\n\t")
_NOT_PLAIN = frozenset({b"connection", b"expect", b"transfer-encoding", b"upgrade"})

Headers = Sequence[tuple[bytes, bytes]]

_known: dict[bytes, Headers] = {}


class Head(NamedTuple):
    """A request's first line and headers, whose names are in lower case.

    `body` is what came with it, in one piece; the headers then lack its length.
    """

    method: bytes
    target: bytes
    headers: Headers
    body: bytes = b""


def find(data: bytes) -> Head | None:
    """The request that `data` is, if its headers are known and all of its body is there."""
    line, block, length, body = _parts(data)
    headers = _known.get(block)
    if headers is None or int(length or 0) != len(body):
        return None
    match = _LINE.fullmatch(line)
    return Head(match[1], match[2], headers, body) if match is not None else None


def learn(data: bytes, request: h11.Request) -> None:
    """Remember the headers of `request`, if it is plain; h11 read it from the begin of `data`."""
    line, block, length, _ = _parts(data)
    lengths = [value for name, value in request.headers if name == b"content-length"]
    if (
        not 0 < len(block) <= LONGEST
        or lengths != ([] if length is None else [length])
        or b"content-length" in block.lower()  # h11 takes it twice, if both are the same
        or any(fold in block for fold in _FOLDS)
        or _LINE.fullmatch(line) is None
        or any(name in _NOT_PLAIN for name, _ in request.headers)
    ):
        return
    if len(_known) >= MOST:
        del _known[next(iter(_known))]
    _known[block] = [header for header in request.headers if header[0] != b"content-length"]


def _parts(data: bytes) -> tuple[bytes, bytes, bytes | None, bytes]:
    """First line, headers without the body's length, that length if it is told, and the body.

    No headers where not all of them have come.
    """
    head, end, body = data.partition(_END)
    line, _, _ = head.partition(b"\r\n")
    if not end:
        return line, b"", None, b""
    block = head[len(line) :] + b"\r\n"
    length = _LENGTH.search(block)
    if length is None:
        return line, block, None, body
    return line, block[: length.start()] + block[length.end() :], length[1], body
