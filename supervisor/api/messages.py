"""Requests as handlers see them and the answers that they return."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import lru_cache
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import msgspec

from supervisor import __version__
from supervisor.docker.host import API_VERSION
from supervisor.errors import InvalidArgument

MAX_QUERY_FIELDS = 1024
_LONGEST_KEPT = 256

JSON_TYPE = b"application/json"
RAW_STREAM = b"application/vnd.docker.raw-stream"
MULTIPLEXED_STREAM = b"application/vnd.docker.multiplexed-stream"

Header = tuple[bytes, bytes]
Headers = list[Header]

BASE_HEADERS: tuple[Header, ...] = (
    (b"Api-Version", API_VERSION.encode()),
    (b"Docker-Experimental", b"false"),
    (b"Ostype", b"linux"),
    (b"Server", f"Orlop/{__version__} (linux)".encode()),
)
"""Of every answer, beside `Date`."""
_JSON = (b"Content-Type", JSON_TYPE)
_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}
_encode = msgspec.json.Encoder().encode


class Answer(NamedTuple):
    """A complete answer; `headers` beside those that every answer has."""

    status: int
    body: bytes = b""
    headers: tuple[Header, ...] = ()


NO_CONTENT = Answer(204)
NOT_MODIFIED = Answer(304)
EMPTY = Answer(200)


def json_answer(value: Any, status: int = 200) -> Answer:
    """`value` as JSON with a newline, as Go's encoder ends it."""
    return Answer(status, _encode(value) + b"\n", (_JSON,))


def error_answer(status: int, message: str) -> Answer:
    """Docker's error object."""
    return json_answer({"message": message}, status)


def json_line(value: Any) -> bytes:
    """`value` as one line of a JSON stream."""
    return _encode(value) + b"\n"


def reason(status: int) -> bytes:
    """The phrase beside the number."""
    return _REASONS.get(status, b"")


def base_headers() -> Headers:
    """A new list of the headers that every answer has."""
    return [*BASE_HEADERS, (b"Date", date())]


def date() -> bytes:
    """The time now, as the header `Date` has it."""
    return _date(int(time.time()))


@lru_cache(maxsize=2)
def _date(now: int) -> bytes:
    return time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(now)).encode()


def parse_query(text: str) -> dict[str, str]:
    """Query parameters, the first of each name as in Go's Form.Get."""
    return dict(reversed(_pairs(text))) if text else {}


def query_values(text: str, name: str) -> list[str]:
    """All values of one query parameter, in their order."""
    return [value for key, value in _pairs(text) if key == name] if text else []


def _pairs(text: str) -> Sequence[tuple[str, str]]:
    return _split(text) if len(text) > _LONGEST_KEPT else _split_and_kept(text)


def _split(text: str) -> Sequence[tuple[str, str]]:
    try:
        return parse_qsl(
            text, keep_blank_values=True, errors="strict", max_num_fields=MAX_QUERY_FIELDS
        )
    except (UnicodeDecodeError, ValueError):
        raise InvalidArgument(f"invalid query string {text!r:.200}") from None


# Clients ask for the same things again and again.
_split_and_kept = lru_cache(maxsize=64)(_split)
