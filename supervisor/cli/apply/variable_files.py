"""Files of variables: `.env` beside the file, and env_file of a service.

Lines of NAME=value; `#` begins a comment, `export ` is passed over, quotes around a value are
taken off. NAME alone has its value from outside, or none.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

_QUOTES = "\"'"


def variables_of(path: Path, outside: Mapping[str, str]) -> dict[str, str]:
    """The variables in a file; raises ValueError."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ValueError(f"open {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: invalid UTF-8 at byte {error.start}") from None
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip().removeprefix("export ").lstrip()
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        name = name.strip()
        if not name or len(name.split()) > 1:
            raise ValueError(f"{path}, line {number}: invalid variable name {name!r}")
        if equals:
            found[name] = _unquoted(value.strip(), f"{path}, line {number}")
        elif name in outside:
            found[name] = outside[name]
    return found


def _unquoted(value: str, where: str) -> str:
    if value[:1] and value[0] in _QUOTES:
        inside, closing, rest = value[1:].partition(value[0])
        if not closing or (rest.strip() and not rest.strip().startswith("#")):
            raise ValueError(f"{where}: the value ends with no {value[0]} that begins it")
        return inside
    if value.startswith("#"):
        return ""
    return value.partition(" #")[0].rstrip()
