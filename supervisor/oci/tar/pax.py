"""PAX extended headers: records "LENGTH KEY=VALUE\\n" (POSIX.1-2024, pax, "Extended header")."""

from __future__ import annotations

from collections.abc import Mapping

from supervisor.errors import InvalidArgument

XATTR = b"SCHILY.xattr."
_NANO_DIGITS = 9


def parse(data: bytes) -> dict[bytes, bytes]:
    """The records of one header, the last of each key; raises InvalidArgument.

    An empty value is a record too: it takes back what the ustar header says.
    """
    records: dict[bytes, bytes] = {}
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 20)
        digits = data[at:space] if space > 0 else b""
        if not digits.isdigit():
            raise _invalid()
        end = at + int(digits)
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if end > len(data) or data[end - 1 : end] != b"\n" or not equals or not key or end <= space:
            raise _invalid()
        if b"\0" in key or (b"\0" in value and not key.startswith(XATTR)):
            raise InvalidArgument("invalid tar header: NUL in a PAX record")
        records[key] = value
        at = end
    return records


def encode(records: Mapping[bytes, bytes]) -> bytes:
    """The content of a header with `records`, in their order."""
    return b"".join(_record(key, value) for key, value in records.items())


def _record(key: bytes, value: bytes) -> bytes:
    rest = len(key) + len(value) + 3  # space, equals sign, newline
    length = rest + len(str(rest))
    length = rest + len(str(length))  # the length counts its own digits: one more may be needed
    return b"%d %b=%b\n" % (length, key, value)


def number(value: bytes, key: str) -> int:
    """A decimal number that is not negative; raises InvalidArgument."""
    if not value.isdigit() or len(value) > 20:
        raise InvalidArgument(f"invalid tar header: PAX {key} {value!r:.40} is not a number")
    return int(value)


def parse_time(value: bytes) -> int:
    """Seconds with a fraction as nanoseconds; what is finer is cut off."""
    sign = -1 if value.startswith(b"-") else 1
    whole, dot, fraction = value.removeprefix(b"-").partition(b".")
    if not whole.isdigit() or len(whole) > 20 or (dot and fraction and not fraction.isdigit()):
        raise InvalidArgument(f"invalid tar header: PAX mtime {value!r:.40} is not a time")
    nanoseconds = int(fraction[:_NANO_DIGITS].ljust(_NANO_DIGITS, b"0"))
    return sign * (int(whole) * 10**9 + nanoseconds)


def format_time(mtime: int) -> bytes:
    """Nanoseconds as seconds with the shortest fraction."""
    whole, fraction = divmod(abs(mtime), 10**9)
    sign = b"-" if mtime < 0 else b""
    if not fraction:
        return b"%b%d" % (sign, whole)
    return b"%b%d.%b" % (sign, whole, (b"%09d" % fraction).rstrip(b"0"))


def _invalid() -> InvalidArgument:
    return InvalidArgument("invalid tar header: malformed PAX record")
