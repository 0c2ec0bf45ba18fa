"""Request heads that h11 need not read again.

A client sends the same headers with each request of a kind; what h11 has read once means the
same the next time. Remembered are blocks of headers, byte for byte, of requests that are
plain: HTTP/1.1, no body, nothing to negotiate about the connection. A request is found if it
came in one piece, its headers are such a block, and its first line is beyond doubt.
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
_END = b"\r\n\r\n"
_NOT_PLAIN = frozenset({b"connection", b"expect", b"transfer-encoding", b"upgrade"})

Headers = Sequence[tuple[bytes, bytes]]

_known: dict[bytes, Headers] = {}


class Head(NamedTuple):
    """A request's first line and headers, whose names are in lower case."""

    method: bytes
    target: bytes
    headers: Headers


def find(data: bytes) -> Head | None:
    """The request that `data` is, if its headers are known."""
    line, _, block = data.partition(b"\r\n")
    headers = _known.get(block)
    if headers is None:
        return None
    match = _LINE.fullmatch(line)
    return Head(match[1], match[2], headers) if match is not None else None


def learn(data: bytes, request: h11.Request) -> None:
    """Remember the headers of `request`, if it is plain; h11 read it from `data` and no more."""
    line, _, block = data.partition(b"\r\n")
    if (
        len(block) > LONGEST
        or not block.endswith(_END)
        or _LINE.fullmatch(line) is None
        or any(_negotiates(*header) for header in request.headers)
    ):
        return
    if len(_known) >= MOST:
        del _known[next(iter(_known))]
    _known[block] = request.headers


def _negotiates(name: bytes, value: bytes) -> bool:
    return name in _NOT_PLAIN or (name == b"content-length" and value != b"0")
