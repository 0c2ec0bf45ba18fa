"""The words that an operation of the API is described with."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

JSON = "application/json"
TAR = "application/x-tar"
BYTES = "application/octet-stream"
TEXT = "text/plain"
STREAM = "application/vnd.docker.raw-stream"
FRAMES = "application/vnd.docker.multiplexed-stream"

Body = type[msgspec.Struct] | str
"""A struct is sent as JSON, text is the media type of bytes."""


class Parameter(NamedTuple):
    """A query parameter; `kind` is one of boolean, integer, string, filters, list."""

    name: str
    kind: str
    required: bool = False


FILTERS = (Parameter("filters", "filters"),)


class Answer(NamedTuple):
    """What comes with success: a media type, and of JSON its kind and an object's members."""

    media: str = ""
    kind: str = ""
    members: tuple[str, ...] = ()


NOTHING = Answer()


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """`errors` are the statuses of failures beside 400 and, with a name in the path, 404.

    `read_only`: read-only addresses serve it, too. It changes nothing, types nothing in, asks
    no other host, and shows nothing of what is in files; docs/listening.md says which these are.
    """

    summary: str
    query: tuple[Parameter, ...] = ()
    body: tuple[Body, ...] = ()
    status: int = 200
    answer: Answer = NOTHING
    errors: tuple[int, ...] = ()
    endless: bool = False
    upgrades: bool = False
    read_only: bool = False


def an_object(*members: str) -> Answer:
    """An object with these members."""
    return Answer(JSON, "object", members)


def rows(*members: str) -> Answer:
    """A list of objects with these members."""
    return Answer(JSON, "array", members)


def flags(*names: str) -> tuple[Parameter, ...]:
    """Booleans."""
    return tuple(Parameter(name, "boolean") for name in names)


def texts(*names: str) -> tuple[Parameter, ...]:
    """Strings."""
    return tuple(Parameter(name, "string") for name in names)


def numbers(*names: str) -> tuple[Parameter, ...]:
    """Integers."""
    return tuple(Parameter(name, "integer") for name in names)


def lists(*names: str) -> tuple[Parameter, ...]:
    """Strings that may be given more than once."""
    return tuple(Parameter(name, "list") for name in names)


def needed(kind: str, *names: str) -> tuple[Parameter, ...]:
    """Parameters that must be given."""
    return tuple(Parameter(name, kind, required=True) for name in names)
