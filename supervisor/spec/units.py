"""Sizes, CPU counts and durations between people and numbers, as docker reads and writes them.

Sources: docker/go-units (sizes, human durations), Go's time.ParseDuration. Sizes given to
limits are binary (k = 1024) whatever their spelling (k, kb, kib).
"""

from __future__ import annotations

import re

from supervisor.errors import InvalidArgument

_MAX = (1 << 63) - 1
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([bkmgtp]?)(i?b?)", re.IGNORECASE | re.ASCII)
_POWERS = {"": 0, "b": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_SIZE_FORM = "give a number with an optional unit b, k, m, g, t (examples: 512m, 1.5g)"

_CPUS = re.compile(r"[0-9]+\.?[0-9]*|\.[0-9]+", re.ASCII)
_CPUS_FORM = "give a number of CPUs with at most 9 decimals (examples: 2, 0.5, 1.25)"

_DURATION_PART = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_NANOSECONDS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_DURATION_FORM = "give numbers with units h, m, s, ms, us, ns (examples: 1m30s, 500ms)"
_LONGEST = 64

_DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")


def parse_size(text: str, *, allow_unlimited: bool = False) -> int:
    """Bytes of "512m", "1.5g", "64 KiB", "100"; with `allow_unlimited` "-1" is -1.

    Raises InvalidArgument saying what was wrong and what is accepted.
    """
    if allow_unlimited and text == "-1":
        return -1
    match = _SIZE.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None or (match[2] in ("b", "B") and match[3]):
        unlimited = ", or -1 for no limit" if allow_unlimited else ""
        raise InvalidArgument(f"invalid size: '{text[:_LONGEST]}': {_SIZE_FORM}{unlimited}")
    number, unit = match[1], 1024 ** _POWERS[match[2].lower()]
    # Fractions go through a double as docker's do, so that 32.3m is the same number of bytes.
    size = int(float(number) * unit) if "." in number else int(number) * unit
    if size > _MAX:
        raise InvalidArgument(f"invalid size: '{text}': more than {_MAX} bytes")
    return size


def parse_cpus(text: str) -> int:
    """Billionths of a CPU of "1.5"; InvalidArgument on anything but a plain decimal."""
    if len(text) > _LONGEST or not _CPUS.fullmatch(text):
        raise InvalidArgument(f"invalid number of CPUs: '{text[:_LONGEST]}': {_CPUS_FORM}")
    nano = _scaled(text, 1_000_000_000)
    if nano is None:
        raise InvalidArgument(f"invalid number of CPUs: '{text}' is too precise: {_CPUS_FORM}")
    if nano > _MAX:
        raise InvalidArgument(f"invalid number of CPUs: '{text}' is too large")
    return nano


def parse_duration(text: str) -> int:
    """Nanoseconds of a Go duration: "1m30s", "1.5h", "-2s", "0"; InvalidArgument otherwise."""
    sign = -1 if text.startswith("-") else 1
    body = text[1:] if text[:1] in ("-", "+") else text
    if body == "0":
        return 0
    total, position = 0, 0
    while position < len(body) <= _LONGEST:
        match = _DURATION_PART.match(body, position)
        if match is None:
            break
        unit = _NANOSECONDS[match[2]]
        # Go drops what is below a nanosecond.
        whole, _, fraction = match[1].partition(".")
        total += int(whole or "0") * unit + int(fraction or "0") * unit // 10 ** len(fraction)
        position = match.end()
    if not body or position < len(body):
        raise InvalidArgument(f"invalid duration: '{text[:_LONGEST]}': {_DURATION_FORM}")
    if total > _MAX:
        raise InvalidArgument(f"invalid duration: '{text}': more than 292 years")
    return sign * total


def format_duration(nanoseconds: int) -> str:
    """As Go prints a duration that is not negative: "500ms", "1.5s", "1m30s", "1h0m0s"."""
    for unit, size in (("ns", 1), ("µs", 1_000), ("ms", 1_000_000)):
        if 0 < nanoseconds < size * 1000:
            return _quotient(nanoseconds, size) + unit
    minutes, rest = divmod(nanoseconds, 60_000_000_000)
    text = _quotient(rest, 1_000_000_000) + "s"
    if minutes:
        text = f"{minutes % 60}m{text}"
    return f"{minutes // 60}h{text}" if minutes >= 60 else text


def _quotient(number: int, size: int) -> str:
    """number / size, exactly; `size` is a power of ten."""
    whole, rest = divmod(number, size)
    fraction = f"{rest:0{len(str(size)) - 1}d}".rstrip("0") if rest else ""
    return f"{whole}.{fraction}" if fraction else str(whole)


def _scaled(decimal: str, scale: int) -> int | None:
    # decimal × scale as an exact integer, None where it is none.
    whole, _, fraction = decimal.partition(".")
    divisor: int = 10 ** len(fraction)
    product = int(fraction or "0") * scale
    if product % divisor:
        return None
    return int(whole or "0") * scale + product // divisor


def format_size(size: float, *, binary: bool = False, precision: int = 4) -> str:
    """ "1.049MB", or "1MiB" with `binary`: `precision` significant digits."""
    base, units = (1024.0, _BINARY) if binary else (1000.0, _DECIMAL)
    index = 0
    while size >= base and index < len(units) - 1:
        size /= base
        index += 1
    return f"{size:.{precision}g}{units[index]}"


def human_duration(nanoseconds: int) -> str:
    """The rough length that ps shows: "Less than a second", "3 minutes", "About an hour"."""
    seconds = max(nanoseconds, 0) // 1_000_000_000
    if seconds < 60:
        if seconds < 1:
            return "Less than a second"
        return "1 second" if seconds == 1 else f"{seconds} seconds"
    minutes = seconds // 60
    if minutes < 60:
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    hours = (seconds + 1800) // 3600
    if hours == 1:
        return "About an hour"
    for limit, unit, name in (
        (48, 1, "hours"),
        (24 * 7 * 2, 24, "days"),
        (24 * 30 * 2, 24 * 7, "weeks"),
        (24 * 365 * 2, 24 * 30, "months"),
    ):
        if hours < limit:
            return f"{hours // unit} {name}"
    return f"{seconds // 3600 // 24 // 365} years"
