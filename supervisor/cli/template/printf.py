"""fmt.Sprintf for what JSON decodes to: verbs, flags, width and precision (fmt/print.go).

A verb that does not fit its argument shows as Go has it, `%!d(string=x)`; so do arguments
that are missing or too many. Refused, since nobody writes them in a template: `*`,
argument indexes and %#v.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from supervisor.cli.template.errors import Unfit, excerpt
from supervisor.cli.template.literals import quote, quote_character
from supervisor.cli.template.printing import plain, shortest
from supervisor.cli.template.values import byte_text, type_name

MAX_WIDTH = 1000
_DIRECTIVE = re.compile(r"%([-+# 0]*)([0-9]*)(\.[0-9]*)?(.?)", re.DOTALL)
_RADIX = {"d": "d", "b": "b", "o": "o", "O": "o", "x": "x", "X": "X"}
_PREFIX = {"b": "0b", "o": "0", "x": "0x", "X": "0X"}


@dataclass(frozen=True, slots=True)
class _Verb:
    letter: str
    flags: str
    width: int
    precision: int  # -1: not given

    def has(self, flag: str) -> bool:
        return flag in self.flags

    def padded(self, text: str, *, number: bool = False) -> str:
        """`text` as wide as asked for; zeros go behind a number's sign."""
        missing = self.width - len(text)
        if missing <= 0:
            return text
        if self.has("-"):
            return text + " " * missing
        if not self.has("0"):
            return " " * missing + text
        sign = text[:1] if number and text[:1] in ("+", "-", " ") else ""
        return f"{sign}{'0' * missing}{text[len(sign) :]}"


def sprintf(form: str, arguments: Sequence[Any]) -> str:
    """The arguments in the form; raises Unfit for what is refused."""
    parts: list[str] = []
    rest = list(arguments)
    at = 0
    while (start := form.find("%", at)) >= 0:
        parts.append(form[at:start])
        match = _DIRECTIVE.match(form, start)
        assert match is not None
        at = match.end()
        verb = _verb(match)
        if verb.letter == "%":
            parts.append("%")
        elif not verb.letter:
            parts.append("%!(NOVERB)")
        elif not rest:
            parts.append(f"%!{verb.letter}(MISSING)")
        else:
            parts.append(_show(rest.pop(0), verb))
    parts.append(form[at:])
    if rest:
        extra = ", ".join("<nil>" if v is None else f"{type_name(v)}={plain(v)}" for v in rest)
        parts.append(f"%!(EXTRA {extra})")
    return "".join(parts)


def _verb(match: re.Match[str]) -> _Verb:
    flags, width, precision, letter = match.groups()
    for text in (width, (precision or "")[1:]):
        if len(text) > len(str(MAX_WIDTH)) or int(text or "0") > MAX_WIDTH:
            raise Unfit(f"printf: a width or precision above {MAX_WIDTH}: {excerpt(match[0])}")
    if letter in ("*", "[") or (letter == "v" and "#" in flags):
        raise Unfit(f"printf: {excerpt(match[0])} is not supported")
    if "-" in flags:
        flags = flags.replace("0", "")
    return _Verb(
        letter, flags, int(width or "0"), -1 if precision is None else int(precision[1:] or "0")
    )


def _show(value: Any, verb: _Verb) -> str:
    if verb.letter == "T":
        return verb.padded(type_name(value))
    if value is None:
        return verb.padded("<nil>") if verb.letter == "v" else f"%!{verb.letter}(<nil>)"
    if isinstance(value, bool):
        return verb.padded(plain(value)) if verb.letter in "tv" else _bad(value, verb)
    if isinstance(value, int):
        return _integer(value, verb)
    if isinstance(value, float):
        return _float(value, verb)
    if isinstance(value, str):
        return _string(value, verb)
    if isinstance(value, Mapping):
        pairs = (f"{_show(k, verb)}:{_show(value[k], verb)}" for k in sorted(value))
        return f"map[{' '.join(pairs)}]"
    return f"[{' '.join(_show(item, verb) for item in value)}]"


def _bad(value: Any, verb: _Verb) -> str:
    return f"%!{verb.letter}({type_name(value)}={plain(value)})"


def _integer(value: int, verb: _Verb) -> str:
    letter = "d" if verb.letter == "v" else verb.letter
    if letter in _RADIX:
        digits = format(abs(value), _RADIX[letter]).rjust(max(verb.precision, 0), "0")
        if verb.precision == 0 and value == 0:
            digits = ""
        prefix = _PREFIX.get(letter, "") if verb.has("#") else "0o" if letter == "O" else ""
        width_by_zeros = verb.has("0") and verb.precision < 0
        sign = "-" if value < 0 else "+" if verb.has("+") else " " if verb.has(" ") else ""
        if width_by_zeros:
            digits = digits.rjust(verb.width - len(sign), "0")
        spaces = _Verb(letter, verb.flags.replace("0", ""), verb.width, -1)
        return spaces.padded(f"{sign}{prefix}{digits}")
    if letter == "c":
        return verb.padded(_rune(value))
    if letter == "q":
        return verb.padded(quote_character(value))
    if letter == "U":
        return verb.padded(f"U+{value:04X}" if value >= 0 else f"U+{value + (1 << 64):04X}")
    return _bad(value, verb)


def _rune(code: int) -> str:
    valid = 0 <= code <= 0x10FFFF and not 0xD800 <= code < 0xE000
    return chr(code) if valid else "\ufffd"


def _float(value: float, verb: _Verb) -> str:
    letter = verb.letter
    if letter in "eEfF":
        text = format(value, f".{6 if verb.precision < 0 else verb.precision}{letter}")
    elif letter in "gGv":
        text = shortest(value) if verb.precision < 0 else format(value, f".{verb.precision or 1}g")
        text = text.upper() if letter == "G" else text
    elif letter in "bxX":
        raise Unfit(f"printf: %{letter} of a number with a fraction is not supported")
    else:
        return _bad(value, verb)
    if text.lower() in ("nan", "inf", "+inf", "-inf"):
        text = shortest(value)
    if text[0] not in "+-":
        text = "+" * verb.has("+") + text if verb.has("+") else " " * verb.has(" ") + text
    return verb.padded(text, number=True)


def _string(value: str, verb: _Verb) -> str:
    text = value if verb.precision < 0 else value[: verb.precision]
    if verb.letter in "sv":
        return verb.padded(text)
    if verb.letter == "q":
        if verb.has("#") and "`" not in text and text.isprintable():
            return verb.padded(f"`{text}`")
        return verb.padded(quote(text, ascii_only=verb.has("+")))
    if verb.letter in "xX":
        return verb.padded(_hexadecimal(value, verb))
    return _bad(value, verb)


def _hexadecimal(value: str, verb: _Verb) -> str:
    data = byte_text(value)
    if verb.precision >= 0:
        data = data[: verb.precision]
    prefix = "0x" if verb.has("#") and data else ""
    text = data.hex(" ") if verb.has(" ") and data else data.hex()
    text = prefix + (text.replace(" ", " " + prefix) if verb.has(" ") else text)
    return text.upper() if verb.letter == "X" else text
