"""The `filters` query parameter in both of its shapes, and what several kinds of object share."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec

from supervisor.docker.times import parse_timestamp
from supervisor.errors import InvalidArgument
from supervisor.spec.units import parse_duration

Filters = dict[str, tuple[str, ...]]


def decode_filters(text: str) -> Filters:
    """`{"name":["x"]}` or `{"name":{"x":true}}` as name → values; "" has none."""
    if not text:
        return {}
    try:
        value = msgspec.json.decode(text, type=dict[str, list[str] | dict[str, bool] | None])
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidArgument(f"invalid filter: {error}") from None
    return {name: tuple(values) for name, values in value.items() if values}


def flag(filters: Filters, name: str) -> bool | None:
    """A yes/no filter (`dangling=true`); None where it is not given."""
    values = filters.get(name)
    if not values:
        return None
    if values[0] in ("1", "true", "True"):
        return True
    if values[0] in ("0", "false", "False"):
        return False
    raise InvalidArgument(f"invalid filter '{name}={values[0]:.80}': give true or false")


def check_known(filters: Mapping[str, Sequence[str]], known: Collection[str]) -> None:
    """InvalidArgument for the first filter whose name is not in `known`."""
    for name in filters:
        if name not in known:
            raise InvalidArgument(f"invalid filter '{name:.80}'")


def has_label(labels: Mapping[str, str], wanted: str) -> bool:
    """Whether a label is as `wanted`: NAME with any value, or NAME=VALUE."""
    name, equals, value = wanted.partition("=")
    return name in labels and (not equals or labels[name] == value)


def fits_labels(
    labels: Mapping[str, str], wanted: Sequence[str], unwanted: Sequence[str] = ()
) -> bool:
    """Whether all of the `wanted` and none of the `unwanted` are there."""
    return all(has_label(labels, one) for one in wanted) and not any(
        has_label(labels, one) for one in unwanted
    )


def until_ns(filters: Filters, now_ns: int) -> int | None:
    """`until`, a Go duration ago or a point in time, in ns since 1970; None where not given."""
    values = filters.get("until", ())
    if len(values) > 1:
        raise InvalidArgument("more than one until filter specified")
    if not values:
        return None
    try:
        return now_ns - parse_duration(values[0])
    except InvalidArgument:
        return parse_timestamp("until", values[0])
