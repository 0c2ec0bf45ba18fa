"""JSON documents of images: bounded, typed, and refused with the name of what is wrong.

Only what a type names is built; unknown members are skipped over, so what a document may
cost is its size. Nesting is bounded by the decoder (RecursionError).
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from supervisor.errors import InvalidArgument

T = TypeVar("T")

MAX_SIZE = 4 << 20
"""Bytes of the largest document accepted; docker's limit for a manifest is the same 4 MiB."""


class Empty(msgspec.Struct):
    """Go's struct{}: any object, of which nothing is kept."""


def decode(data: bytes, kind: type[T], what: str) -> T:
    """`data` as a `kind`; raises InvalidArgument, which calls it `what`."""
    if len(data) > MAX_SIZE:
        raise InvalidArgument(f"{what} is larger than {MAX_SIZE} bytes")
    try:
        return msgspec.json.decode(data, type=kind)
    except RecursionError:
        raise InvalidArgument(f"invalid {what}: nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"invalid {what}: {error}") from None


def decode_object(data: bytes, what: str) -> dict[str, Any]:
    """`data` as the object it is, to be changed and encoded again."""
    return decode(data, dict[str, Any], what)
