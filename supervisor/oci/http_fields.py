"""HTTP header fields that registries answer with, and nobody else here reads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")
_NEXT = re.compile(r'<([^<>]*)>\s*;[^,]*\brel="?next"?(?:$|[\s;,])', re.IGNORECASE)


def range_start(value: str) -> int | None:
    """The first byte of a Content-Range (RFC 9110, section 14.4); None for anything else."""
    match = _RANGE.fullmatch(value.strip())
    return int(match[1]) if match else None


def retry_after(value: str, now: float) -> float | None:
    """Seconds from `now` (since the epoch) to wait, at least 0 (RFC 9110, section 10.2.3).

    None for what is neither a number of seconds nor a date.
    """
    text = value.strip()
    if text.isascii() and text.isdecimal() and len(text) <= 9:
        return float(text)
    try:
        moment = parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0.0, moment - now)


def length(headers: Mapping[str, str]) -> int | None:
    """The Content-Length; None without a sound one."""
    text = headers.get("content-length", "").strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 18 else None


def next_link(value: str) -> str | None:
    """The target of a Link header's rel="next" (RFC 8288): where a list goes on."""
    match = _NEXT.search(value)
    return match[1] if match else None
