"""JSON from clients into structs, as forgiving as dockerd's and with errors that name the field.

Go reads `null` as "unset" for every type and matches field names in any case; clients rely
on both. The rest is strict: a wrong type or a number beyond 64 bits is InvalidArgument.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, TypeVar

import msgspec

from supervisor.errors import InvalidArgument

T = TypeVar("T", bound=msgspec.Struct)

MAX_DEPTH = 32

Int64 = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
"""What the API calls an integer: Go's int64."""


def decode_object(raw: bytes) -> dict[str, Any]:
    """The JSON object in `raw`, nulls left out; InvalidArgument for anything else."""
    if not raw.strip():
        raise InvalidArgument("invalid JSON: got EOF while reading request body")
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"invalid JSON: {error}") from None
    except RecursionError:
        raise InvalidArgument("invalid JSON: nested too deeply") from None
    if not isinstance(value, dict):
        raise InvalidArgument(f"invalid JSON: expected an object, got {_kind(value)}")
    return without_nulls(value)


def without_nulls(value: dict[str, Any], depth: int = 0) -> dict[str, Any]:
    """`value` without the members that are null, at every level, also of objects in lists."""
    return {
        key: _inner_without_nulls(item, depth + 1) if type(item) in (dict, list) else item
        for key, item in value.items()
        if item is not None
    }


def _inner_without_nulls(value: Any, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise InvalidArgument("invalid JSON: nested too deeply")
    if type(value) is list:
        return [
            _inner_without_nulls(item, depth + 1) if type(item) in (dict, list) else item
            for item in value
        ]
    return without_nulls(value, depth)


def convert(value: dict[str, Any], kind: type[T], where: str = "") -> T:
    """`value` as a `kind`; field names in any case, errors name the field below `where`."""
    value = with_exact_names(value, kind)
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise InvalidArgument(_sentence(str(error), where)) from None


def with_exact_names(value: dict[str, Any], kind: type[msgspec.Struct]) -> dict[str, Any]:
    """`value` with the names of `kind`'s fields as they are spelled; others stay."""
    exact, by_lower = field_names(kind)
    if value.keys() <= exact:
        return value
    return {k if k in exact else by_lower.get(k.lower(), k): v for k, v in value.items()}


@cache
def field_names(kind: type[msgspec.Struct]) -> tuple[frozenset[str], dict[str, str]]:
    """JSON names of `kind`, and the same by their lower-case form."""
    names = frozenset(field.encode_name for field in msgspec.structs.fields(kind))
    return names, {name.lower(): name for name in names}


def looks_set(value: object) -> bool:
    """False for the values that clients send for options that nobody asked for."""
    return value not in _UNSET and value != [0, 0]


def _sentence(text: str, where: str) -> str:
    """msgspec's "Expected `int`, got `str` - at `$.Memory`" in the API's own words."""
    problem, _, path = text.partition(" - at ")
    field = path.strip("`").removeprefix("$").lstrip(".")
    name = ".".join(part for part in (where, field) if part) or "the request body"
    return f"invalid value for {name}: {problem[:1].lower()}{problem[1:]}".replace("`", "")


def _kind(value: object) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


_UNSET: tuple[object, ...] = (None, 0, "", False, [], {}, (), -1, "default")
