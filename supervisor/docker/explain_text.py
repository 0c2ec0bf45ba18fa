"""Names of files as text for JSON: what is no UTF-8 in them shows as U+FFFD."""

from __future__ import annotations

from typing import Any


def clean(value: Any) -> Any:
    """A JSON value whose texts can all be encoded."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if isinstance(value, dict):
        return {clean(name): clean(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    return value
