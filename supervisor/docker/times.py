"""Docker's spellings of points in time; here they are wall clock in ns, 0 = never."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

from supervisor.errors import InvalidArgument

ZERO = "0001-01-01T00:00:00Z"
"""Go's zero time, which the API shows for "never"."""

_BILLION = 1_000_000_000
_DIGITS = 11  # seconds up to the year 5138, well inside 64-bit nanoseconds times 16


def rfc3339_nano(ns: int) -> str:
    """As Go's RFC3339Nano: no trailing zeros in the fraction; ZERO for 0."""
    if not ns:
        return ZERO
    seconds, rest = divmod(ns, _BILLION)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{text}.{rest:09d}".rstrip("0").rstrip(".") + "Z"


def rfc3339_fixed(ns: int) -> str:
    """With all nine digits, as `docker logs --timestamps` has it."""
    seconds, rest = divmod(ns, _BILLION)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:09d}Z"


def parse_timestamp(name: str, text: str) -> int:
    """ns of the query parameter `name`: seconds[.fraction], or RFC 3339."""
    sign, number = (-1, text[1:]) if text.startswith("-") else (1, text)
    whole, _, fraction = number.partition(".")
    if _is_number(whole) and len(whole) <= _DIGITS and (not fraction or _is_number(fraction)):
        return sign * (int(whole) * _BILLION + int(fraction[:9].ljust(9, "0") or "0"))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidArgument(
            f"invalid value for {name!r}: {text!r:.80}: give seconds since 1970 "
            "(example: 1795231748.5) or RFC 3339 (example: 2026-11-21T03:29:08Z)"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    micro = since.microseconds * 1000
    return (since.days * 86400 + since.seconds) * _BILLION + micro + beyond_microseconds(text)


def beyond_microseconds(text: str) -> int:
    """The 7th to 9th digit of a time's fraction: Python's own times end at microseconds."""
    fraction = re.search(r"\.\d{6}(\d{1,3})", text, re.ASCII)
    return int(fraction[1].ljust(3, "0")) if fraction else 0


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal()
