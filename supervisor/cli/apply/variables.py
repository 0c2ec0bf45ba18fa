"""Variables in the values of a file, as compose has them.

| form | |
|---|---|
| `$N`, `${N}` | the value of N |
| `${N:-word}`, `${N-word}` | word, where N is unset (with the colon: or empty) |
| `${N:?word}`, `${N?word}` | an error that says word, likewise |
| `${N:+word}`, `${N+word}` | word, where N is set (with the colon: and not empty) |
| `$$` | a dollar sign |

Words may have variables themselves.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_OPERATOR = re.compile(r":?[-?+]")
_MAX_LENGTH = 1024 * 1024

Missing = Callable[[str], None]


def expand(text: str, variables: Mapping[str, str], missing: Missing) -> str:
    """`text` with its variables replaced; `missing` is told of each that is not set and has no
    other value: it counts as empty. Raises ValueError."""
    try:
        return _expanded(text, variables, missing)
    except RecursionError:
        raise ValueError("variables are nested too deeply") from None


def _expanded(text: str, variables: Mapping[str, str], missing: Missing) -> str:
    if "$" not in text:
        return text
    parts: list[str] = []
    at = 0
    while (dollar := text.find("$", at)) >= 0:
        parts.append(text[at:dollar])
        value, at = _variable(text, dollar + 1, variables, missing)
        parts.append(value)
    made = "".join([*parts, text[at:]])
    if len(made) > _MAX_LENGTH:
        raise ValueError("the value is too long with its variables replaced")
    return made


def _variable(
    text: str, at: int, variables: Mapping[str, str], missing: Missing
) -> tuple[str, int]:
    """The value of what follows a dollar sign, and where it ends."""
    if text.startswith("$", at):
        return "$", at + 1
    if text.startswith("{", at):
        end = _closing(text, at)
        return _braced(text[at + 1 : end], variables, missing), end + 1
    name = _NAME.match(text, at)
    if name is None:
        raise ValueError("a lone '$': write $$ for a dollar sign, or ${NAME} for a variable")
    return _plain(name[0], variables, missing), name.end()


def _braced(inside: str, variables: Mapping[str, str], missing: Missing) -> str:
    name = _NAME.match(inside)
    if name is None:
        raise ValueError(f"'${{{inside}}}' has no name: ${{NAME}} is expected")
    rest = inside[name.end() :]
    if not rest:
        return _plain(name[0], variables, missing)
    operator = _OPERATOR.match(rest)
    if operator is None:
        raise ValueError(
            f"'${{{inside}}}' is no variable: ${{NAME}}, ${{NAME:-default}}, ${{NAME:?message}} or"
            " ${NAME:+word} is expected"
        )
    word = rest[operator.end() :]
    value = variables.get(name[0])
    given = bool(value) if operator[0].startswith(":") else value is not None
    match operator[0][-1]:
        case "+":
            return _expanded(word, variables, missing) if given else ""
        case "?" if not given:
            why = _expanded(word, variables, missing) or "it has to be set"
            raise ValueError(f"variable {name[0]} is not set: {why}")
        case "-" if not given:
            return _expanded(word, variables, missing)
    return value or ""


def _plain(name: str, variables: Mapping[str, str], missing: Missing) -> str:
    value = variables.get(name)
    if value is None:
        missing(name)
    return value or ""


def _closing(text: str, opening: int) -> int:
    depth = 0
    at = opening
    while at < len(text):
        if text.startswith("$$", at):
            at += 1
        elif text.startswith("${", at) or at == opening:
            depth += 1
            at += at != opening
        elif text[at] == "}":
            depth -= 1
            if not depth:
                return at
        at += 1
    raise ValueError("'${' without its '}'")
