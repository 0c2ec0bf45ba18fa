"""Query parameters: Go's booleans, numbers, and what attach and logs are asked for."""

from __future__ import annotations

from collections.abc import Mapping

from supervisor.docker.streams import AttachOptions, LogOptions
from supervisor.docker.times import parse_timestamp
from supervisor.errors import InvalidArgument

Query = Mapping[str, str]

_NO = frozenset({"", "no", "0", "false", "none"})


def boolean(query: Query, name: str) -> bool:
    """As moby's BoolValue: anything but "", no, 0, false, none (in any case) is true."""
    return query.get(name, "").strip().lower() not in _NO


def integer(query: Query, name: str) -> int | None:
    """A decimal number, None where it is not given."""
    text = query.get(name, "")
    if not text:
        return None
    digits = text[1:] if text[0] == "-" else text
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 18):
        raise InvalidArgument(f"invalid value for {name!r}: {text!r:.80} is not a number")
    return int(text)


def required_integer(query: Query, name: str) -> int:
    """A decimal number that must be given."""
    value = integer(query, name)
    if value is None:
        raise InvalidArgument(f"the query parameter {name!r} is missing: give a number")
    return value


def window_size(query: Query) -> tuple[int, int]:
    """(rows, columns) of a resize; 16 bits each (struct winsize)."""
    rows, columns = required_integer(query, "h"), required_integer(query, "w")
    if not (0 <= rows <= 0xFFFF and 0 <= columns <= 0xFFFF):
        raise InvalidArgument(f"invalid window size {rows}x{columns}")
    return rows, columns


def attach_options(query: Query, *, framed: bool, preface: bytes) -> AttachOptions:
    """What POST /containers/{id}/attach asks for."""
    return AttachOptions(
        stdin=boolean(query, "stdin"),
        stdout=boolean(query, "stdout"),
        stderr=boolean(query, "stderr"),
        logs=boolean(query, "logs"),
        stream=boolean(query, "stream"),
        detach_keys=query.get("detachKeys", ""),
        framed=framed,
        preface=preface,
    )


def log_options(query: Query) -> LogOptions:
    """What GET /containers/{id}/logs asks for."""
    stdout, stderr = boolean(query, "stdout"), boolean(query, "stderr")
    if not (stdout or stderr):
        raise InvalidArgument("Bad parameters: you must choose at least one stream")
    return LogOptions(
        stdout=stdout,
        stderr=stderr,
        follow=boolean(query, "follow"),
        since_ns=moment(query, "since"),
        until_ns=moment(query, "until"),
        tail=_tail(query.get("tail", "")),
    )


def moment(query: Query, name: str) -> int | None:
    """A point in time; None for "", which is not given, and for an `until` of 0, as in docker."""
    text = query.get(name, "")
    if not text or (name == "until" and text == "0"):
        return None
    return parse_timestamp(name, text)


def _tail(text: str) -> int | None:
    # As dockerd: "all", nothing, a negative number and what is no number are everything.
    if text.isascii() and text.isdecimal() and len(text) <= 18:
        return int(text)
    return None
