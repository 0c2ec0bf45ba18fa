"""What a registry says went wrong (OCI distribution-spec, "Error Codes"), fit to be shown."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

MAX_TEXT = 512

UNAUTHORIZED = "UNAUTHORIZED"
DENIED = "DENIED"
MANIFEST_UNKNOWN = "MANIFEST_UNKNOWN"
NAME_UNKNOWN = "NAME_UNKNOWN"


class RemoteError(NamedTuple):
    """One error; its text as docker shows it: "manifest unknown: manifest unknown"."""

    code: str
    message: str

    def __str__(self) -> str:
        name = self.code.lower().replace("_", " ")
        return f"{name}: {self.message}" if self.message else name


class _Error(msgspec.Struct):
    code: str | int | None = None
    message: str | None = None


class _Body(msgspec.Struct):
    errors: tuple[_Error, ...] | None = None
    details: str | None = None
    message: str | None = None
    error: str | None = None
    error_description: str | None = None


def decode(data: bytes) -> tuple[RemoteError, ...]:
    """The errors of an answer's body, () where it has none. Never raises."""
    try:
        body = msgspec.json.decode(data, type=_Body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ()
    found = [
        RemoteError(printable(str(error.code or "")), printable(error.message or ""))
        for error in (body.errors or ())[:8]
        if error.code or error.message
    ]
    if found:
        return tuple(found)
    # Token servers have forms of their own.
    text = body.details or body.error_description or body.message or body.error
    return (RemoteError("", printable(text)),) if text else ()


def printable(text: str) -> str:
    """`text` as one line without control characters, cut to MAX_TEXT."""
    clean = "".join(c if c.isprintable() else " " for c in text[: 2 * MAX_TEXT])
    return " ".join(clean.split())[:MAX_TEXT]
