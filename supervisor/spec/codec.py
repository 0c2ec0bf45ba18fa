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
    if dataclasses.is_dataclass(value):
        return {
            key: to_json(item)
            for name, key, _, default in _plan(type(value))
            if (item := getattr(value, name)) != default
        }
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    if isinstance(value, dict):
        return {key: to_json(item) for key, item in value.items()}
    return value


def from_json(cls: type[T], data: Any) -> T:
    """A `cls` from what `to_json` gave; raises ValueError naming the field that does not fit."""
    if not isinstance(data, dict):
        raise ValueError(f"{cls.__name__}: expected an object, got {type(data).__name__}")
    fields = {}
    for name, key, decode, _ in _plan(cls):
        if key in data:
            try:
                fields[name] = decode(data[key])
            except (TypeError, ValueError) as error:
                raise ValueError(f"{cls.__name__}.{key}: {error}") from None
    try:
        return cls(**fields)
    except TypeError as error:
        raise ValueError(f"{cls.__name__}: {error}") from None


_MISSING = object()
Plan = list[tuple[str, str, Callable[[Any], Any], Any]]


def _make_plan(cls: Any) -> Plan:
    hints = typing.get_type_hints(cls)
    return [
        (
            field.name,
            camel(field.name),
            _decoder(hints[field.name]),
            field.default
            if field.default is not dataclasses.MISSING
            else field.default_factory()
            if field.default_factory is not dataclasses.MISSING
            else _MISSING,
        )
        for field in dataclasses.fields(cls)
    ]


_plan: Callable[[Any], Plan] = cache(_make_plan)


def _decoder(hint: Any) -> Callable[[Any], Any]:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        inner = _decoder(next(a for a in args if a is not type(None)))
        return lambda value: None if value is None else inner(value)
    if origin is tuple:
        item = _decoder(args[0])
        return lambda value: tuple([item(v) for v in _expect(list, value)])
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
