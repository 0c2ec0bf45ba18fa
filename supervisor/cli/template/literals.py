"""Constants of Go's language, read and written (strconv.Unquote, strconv.Quote, ParseInt)."""

from __future__ import annotations

import re

_ESCAPES = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
    "'": "'",
    '"': '"',
}
_LETTERS = {value: letter for letter, value in _ESCAPES.items() if letter not in "'\""}
_ESCAPE = re.compile(
    r"\\(?:([abfnrtv\\'\"])|x([0-9a-fA-F]{2})|([0-7]{3})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.?))"
)
_FLOAT = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_LONGEST_NUMBER = 40


def number(text: str) -> int | float:
    """The number of a literal: decimal, 0x, 0o, 0b, octal by a leading 0, with _, or a float."""
    if len(text) > _LONGEST_NUMBER:
        raise ValueError("number is too long")
    try:
        value = int(re.sub(r"^([+-]?)0([0-7_]+)$", r"\g<1>0o\2", text), 0)
    except ValueError:
        if not _FLOAT.fullmatch(text):
            raise ValueError("bad number syntax") from None
        return float(text)
    if not -(1 << 63) <= value < 1 << 64:
        raise ValueError("integer overflow")
    return value


def unquote(text: str) -> str:
    """The text of a "quoted" or `raw` string literal."""
    if text.startswith("`"):
        return text[1:-1].replace("\r", "")
    return _unescape(text[1:-1], forbidden="'")


def character(text: str) -> int:
    """The code point of a character constant."""
    value = _unescape(text[1:-1], forbidden='"')
    if len(value) != 1:
        raise ValueError("malformed character constant")
    return ord(value)


def quote(text: str, *, ascii_only: bool = False) -> str:
    """As Go's %q shows a string."""
    return '"' + "".join(_escape(c, '"', ascii_only) for c in text) + '"'


def quote_character(code: int) -> str:
    """As Go's %q shows a code point."""
    valid = 0 <= code <= 0x10FFFF and not 0xD800 <= code < 0xE000
    return "'" + _escape(chr(code) if valid else "\ufffd", "'", ascii_only=False) + "'"


def _unescape(text: str, forbidden: str) -> str:
    def value(match: re.Match[str]) -> bytes:
        letter, byte, octal, short, long, wrong = match.groups()
        if wrong is not None or letter == forbidden:
            raise ValueError(f"invalid escape {match[0]!r}")
        if byte or octal:
            code = int(byte, 16) if byte else int(octal, 8)
            if code > 0xFF:
                raise ValueError(f"invalid escape {match[0]!r}")
            return bytes([code])
        if letter:
            return _ESCAPES[letter].encode()
        code = int(short or long, 16)
        if code > 0x10FFFF or 0xD800 <= code < 0xE000:
            raise ValueError(f"invalid escape {match[0]!r}")
        return chr(code).encode()

    parts: list[bytes] = []
    at = 0
    for match in _ESCAPE.finditer(text):
        parts += [text[at : match.start()].encode("utf-8", "surrogatepass"), value(match)]
        at = match.end()
    parts.append(text[at:].encode("utf-8", "surrogatepass"))
    # \xff is a byte in Go, where a text may be no text; it cannot be shown any better here.
    return b"".join(parts).decode("utf-8", "replace")


def _escape(c: str, mark: str, ascii_only: bool) -> str:
    if c in (mark, "\\"):
        return f"\\{c}"
    if c.isprintable() and (c.isascii() or not ascii_only):
        return c
    if c in _LETTERS:
        return f"\\{_LETTERS[c]}"
    code = ord(c)
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
