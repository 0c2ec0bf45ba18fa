"""Moments in `--since` and `--until`, and how events show theirs.

Pure: the time now and, where it matters, the zone come from outside or from the clock's own
tables. Forms are docker's: RFC 3339 in full or in part, Unix seconds, or a Go duration
before now.
"""

from __future__ import annotations

import time

from supervisor.errors import InvalidArgument

_SECOND = 1_000_000_000


def query_time(text: str, now_ns: int) -> str:
    """Unix "seconds.nanoseconds" for the API; raises ValueError."""
    if _is_unix(text):
        return text
    from supervisor.spec.units import parse_duration

    try:
        return _seconds(now_ns - parse_duration(text))
    except InvalidArgument:
        return _seconds(_date(text))


def rfc3339(nanoseconds: int) -> str:
    """A Unix time in the local zone with nine decimals, as `docker events` prints it."""
    seconds, rest = divmod(nanoseconds, _SECOND)
    local = time.localtime(seconds)
    offset = local.tm_gmtoff // 60
    sign = "-" if offset < 0 else "+"
    zone = f"{sign}{abs(offset) // 60:02}:{abs(offset) % 60:02}" if offset else "Z"
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', local)}.{rest:09}{zone}"


def _is_unix(text: str) -> bool:
    seconds, dot, fraction = text.partition(".")
    digits = seconds + fraction
    return digits.isascii() and digits.isdecimal() and bool(seconds) and (not dot or bool(fraction))


def _date(text: str) -> int:
    from datetime import datetime

    from supervisor.docker.times import beyond_microseconds

    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            "a time (2026-11-21T13:23:37Z, or only 2026-11-21), Unix seconds or a duration"
            " before now (1h30m) is expected"
        ) from None
    # A time without a zone is the user's own, as docker takes it.
    whole = int(moment.replace(microsecond=0).timestamp())
    return whole * _SECOND + moment.microsecond * 1000 + beyond_microseconds(text)


def _seconds(nanoseconds: int) -> str:
    seconds, rest = divmod(nanoseconds, _SECOND)
    return f"{seconds}.{rest:09}"
