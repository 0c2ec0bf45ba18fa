"""Memory of both versions."""

from __future__ import annotations

from metrics.errors import Malformed
from metrics.parse.figures import Memory
from metrics.parse.text import Flat, integer

_stat_v2 = Flat()
_stat_v1 = Flat()
_events = Flat()
_oom_control = Flat()


def unified(
    current: bytes,
    stat: bytes | None,
    *,
    peak: bytes | None = None,
    swap: bytes | None = None,
    events: bytes | None = None,
) -> Memory:
    """memory.current and what there is of memory.stat, .peak, .swap.current and .events."""
    counts = _events(events) if events is not None else {}
    return Memory(
        2,
        size(current),
        _stat_v2(stat) if stat is not None else {},
        _optional(peak),
        _optional(swap),
        counts.get("max"),
        counts.get("high"),
        counts.get("max"),
        counts.get("oom"),
        counts.get("oom_kill"),
    )


def v1(
    usage: bytes,
    stat: bytes | None,
    *,
    peak: bytes | None = None,
    failures: bytes | None = None,
    oom_control: bytes | None = None,
) -> Memory:
    """memory.usage_in_bytes and what there is of memory.stat, .max_usage_in_bytes, .failcnt and
    .oom_control."""
    values = _stat_v1(stat) if stat is not None else {}
    oom = _oom_control(oom_control) if oom_control is not None else {}
    return Memory(
        1,
        size(usage),
        values,
        _optional(peak),
        values.get("total_swap"),
        _optional(failures),
        None,
        None,
        None,
        oom.get("oom_kill"),
    )


def size(data: bytes) -> int:
    """A file of one number of bytes that is never "max"."""
    value = integer(data)
    if value is None:
        raise Malformed("a size in use cannot be max")
    return value


def _optional(data: bytes | None) -> int | None:
    return None if data is None else integer(data)
