"""The words of a Dockerfile's instruction: quotes, backslashes, and lists in JSON."""

from __future__ import annotations

import json

from supervisor.errors import InvalidArgument


def json_list(rest: str) -> tuple[str, ...] | None:
    """The words of `["a", "b"]`; None for what is not that."""
    if not rest.startswith("["):
        return None
    try:
        value = json.loads(rest)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        return None
    return tuple(value)


def split_words(rest: str) -> list[str]:
    """Split at spaces outside of quotes; quotes and backslashes stay."""
    found: list[str] = [""]
    quote, escaped = "", False
    for character in rest:
        if not (quote or escaped) and character.isspace():
            found.append("")
            continue
        found[-1] += character
        if escaped:
            escaped = False
        elif character == "\\" and quote != "'":
            escaped = True
        elif not quote and character in "\"'":
            quote = character
        elif character == quote:
            quote = ""
    if quote:
        raise InvalidArgument(f"unexpected end of statement while looking for matching {quote}")
    return [word for word in found if word]


def unquote(word: str) -> str:
    text, quote, escaped = "", "", False
    for character in word:
        if escaped:
            # Inside double quotes a backslash before anything else is itself.
            text += character if not quote or character in '"\\$' else f"\\{character}"
            escaped = False
        elif character == "\\" and quote != "'":
            escaped = True
        elif (not quote and character in "\"'") or character == quote:
            quote = "" if quote else character
        else:
            text += character
    return text + ("\\" if escaped else "")
