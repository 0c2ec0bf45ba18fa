"""The `filters` query parameter in both of its shapes, and the image list's filters."""

from __future__ import annotations

import msgspec

from supervisor.errors import InvalidArgument

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
