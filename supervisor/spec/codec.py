"""Frozen dataclasses to and from JSON values, standard library only.

Attribute `oom_score_adj` is the JSON key `oomScoreAdj` (OCI's spelling). Defaults are
left out when encoding; unknown keys are ignored when decoding, so that an older shim
reads a newer bundle. The plan of each class is computed once, before the zygote forks.

Supported field types: str, int, float, bool, None-unions, tuple[T, ...], dict[str, T],
StrEnum subclasses and other dataclasses.
"""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")


def camel(name: str) -> str:
    """`no_new_privileges` → `noNewPrivileges`."""
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)


def to_json(value: Any) -> Any:
    """A JSON value (dict, list, str, int, float, bool, None) for `value`."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if isinstance(value, _LISTS):
        return [item if type(item) in _PLAIN else to_json(item) for item in value]
    if isinstance(value, dict):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, enum.Enum):
        return value.value
    if dataclasses.is_dataclass(kind):
        found = {}
        for name, key, default in _plan(kind).encode:
            item = getattr(value, name)
            # Most are the very default, and comparing dataclasses is slow.
            if item is not default and item != default:
                found[key] = item if type(item) in _PLAIN else to_json(item)
        return found
    return value


def from_json(cls: type[T], data: Any) -> T:
    """A `cls` from what `to_json` gave; raises ValueError naming the field that does not fit."""
    if not isinstance(data, dict):
        raise ValueError(f"{cls.__name__}: expected an object, got {type(data).__name__}")
    fields = {}
    known = _plan(cls).decode
    for key, value in data.items():
        if key in known:
            name, kind, decode = known[key]
            if type(value) is kind:
                fields[name] = value
                continue
            try:
                fields[name] = decode(value)
            except (TypeError, ValueError) as error:
                raise ValueError(f"{cls.__name__}.{key}: {error}") from None
    try:
        return cls(**fields)
    except TypeError as error:
        raise ValueError(f"{cls.__name__}: {error}") from None


_MISSING = object()
_PLAIN = frozenset((str, int, float, bool, type(None)))
_LISTS = (tuple, list)
Decoder = Callable[[Any], Any]


class _Plan:
    """What is known of a class: for encoding each field's name, key and default; for decoding
    by key its name, the type whose values need no decoding (or None), and the decoder."""

    __slots__ = ("decode", "encode")

    def __init__(self, cls: Any) -> None:
        hints = typing.get_type_hints(cls)
        self.encode: list[tuple[str, str, Any]] = []
        self.decode: dict[str, tuple[str, Any, Decoder]] = {}
        for field in dataclasses.fields(cls):
            key, hint = camel(field.name), hints[field.name]
            self.encode.append((field.name, key, _default(field)))
            self.decode[key] = (field.name, _as_it_is(hint), _decoder(hint))


def _default(field: Any) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return _MISSING


def _as_it_is(hint: Any) -> Any:
    """str of `str` and of `str | None`: the type whose values are taken unchanged."""
    inner = _not_none(hint) if _is_union(hint) else hint
    return inner if isinstance(inner, type) and inner in _PLAIN else None


_plan: Callable[[Any], _Plan] = cache(_Plan)


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def _not_none(hint: Any) -> Any:
    return next(a for a in typing.get_args(hint) if a is not type(None))


def _decoder(hint: Any) -> Decoder:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if _is_union(hint):
        inner = _decoder(_not_none(hint))
        return lambda value: None if value is None else inner(value)
    if origin is tuple:
        plain, item = _as_it_is(args[0]), _decoder(args[0])
        return lambda value: tuple(
            [v if type(v) is plain else item(v) for v in _expect(list, value)]
        )
    if origin is dict:
        item = _decoder(args[1])
        return lambda value: {str(k): item(v) for k, v in _expect(dict, value).items()}
    if dataclasses.is_dataclass(hint):
        _plan(hint)
        return lambda value: from_json(typing.cast(type, hint), value)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return hint
    if hint is float:
        return lambda value: float(_expect((int, float), value))
    if hint is Any:
        return lambda value: value
    return lambda value: _expect(hint, value)


def _expect(kind: Any, value: Any) -> Any:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"expected {getattr(kind, '__name__', kind)}, got {value!r:.80}")
    return value
