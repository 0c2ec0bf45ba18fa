"""`--format`: the part of Go's templates that people use with docker's commands.

Fields (`{{.State.Pid}}`), the whole (`{{.}}`) and JSON (`{{json .Mounts}}`), with text
between them. Everything else of the template language is refused, with its name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from supervisor.cli.failures import Failure

_ACTION = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_FIELD = re.compile(r"(json\s+)?(\.|(?:\.[A-Za-z_][A-Za-z0-9_]*)+)")


class Template:
    """A parsed template; raises Failure for what it does not understand."""

    def __init__(self, text: str) -> None:
        self._parts: list[str | _Field] = []
        at = 0
        for action in _ACTION.finditer(text):
            self._parts += [text[at : action.start()], _parse(action)]
            at = action.end()
        if "{{" in text[at:]:
            raise Failure(f"template parsing error: unclosed action in {text!r}")
        self._parts.append(text[at:])

    def render(self, value: Any) -> str:
        """The text for `value`, as JSON decodes it."""
        return "".join(p if isinstance(p, str) else p.render(value) for p in self._parts)


class _Field:
    def __init__(self, names: list[str], *, as_json: bool) -> None:
        self.names = names
        self.as_json = as_json

    def render(self, value: Any) -> str:
        for name in self.names:
            if not isinstance(value, Mapping) or name not in value:
                raise Failure(f"template error: there is no field {name!r}{_known(value)}")
            value = value[name]
        return compact(value) if self.as_json else text_of(value)


def compact(value: Any) -> str:
    """JSON on one line, as docker prints it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def text_of(value: Any) -> str:
    """A value as Go's templates print it."""
    if isinstance(value, str):
        return value
    if value is None:
        return "<no value>"
    if isinstance(value, Mapping):
        pairs = (f"{name}:{text_of(value[name])}" for name in sorted(value))
        return f"map[{' '.join(pairs)}]"
    if isinstance(value, list):
        return f"[{' '.join(map(text_of, value))}]"
    return compact(value)


def _parse(action: re.Match[str]) -> _Field:
    match = _FIELD.fullmatch(action[1].strip())
    if match is None:
        raise Failure(
            f"template parsing error: {action[0]} is not supported:"
            " only {{.Field.Sub}} and {{json .Field}} are"
        )
    return _Field([n for n in match[2].split(".") if n], as_json=bool(match[1]))


def _known(value: Any) -> str:
    if not isinstance(value, Mapping) or not value:
        return ""
    return f"; there are {', '.join(sorted(map(str, value)))}"
