"""Regular expressions of clients, in time that grows with the text and not beyond.

The syntax is RE2's, which dockerd has (github.com/google/re2/wiki/Syntax), without Unicode
classes. Python's `re` tries one way after the other: `(a+)+x` on forty letters takes it for
ever, and everybody else with it. Here all ways are taken at once (Thompson 1968), and each set
of ways with the character that leads on from it is worked out once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

MAX_LENGTH = 1000
MAX_SIZE = 500
"""Instructions of a pattern; `{9}` has what is before it nine times."""
MAX_REPEAT = 1000
MAX_DEPTH = 50
SPECIAL = frozenset("\\.+*?()|[]{}^$")
"""Without one of these a text is found as it stands."""
_MOST_KEPT = 250_000  # places in sets that are kept: 16 MB

Fits = Callable[[str], bool]

_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_DIGITS = frozenset("0123456789")
_SPACES = frozenset("\t\n\f\r ")
_CLASSES = {"d": _DIGITS, "w": _WORD, "s": _SPACES}
_NAMED = {
    "alnum": _WORD - {"_"},
    "alpha": _WORD - _DIGITS - {"_"},
    "digit": _DIGITS,
    "lower": frozenset("abcdefghijklmnopqrstuvwxyz"),
    "space": _SPACES | {"\v"},
    "upper": frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
    "word": _WORD,
    "xdigit": _DIGITS | frozenset("abcdefABCDEF"),
}
_CONTROL = {"a": "\a", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_ASSERTIONS = {"A": "start", "z": "end", "b": "edge", "B": "no edge"}
_FLAGS = frozenset("imsU")


class BadPattern(ValueError):
    """The text is no regular expression, or one that is too large."""


class _Step(NamedTuple):
    """An instruction: one character that `fits`, a `split` to places this far away, an assertion,
    the end."""

    kind: str
    fits: Fits | None = None
    to: tuple[int, ...] = ()


class Pattern:
    """A compiled expression; raises BadPattern."""

    def __init__(self, text: str) -> None:
        if len(text) > MAX_LENGTH:
            raise BadPattern(f"longer than {MAX_LENGTH} characters")
        self._program = _Parser(text).program()
        self._known: dict[tuple[frozenset[int], str, str], tuple[frozenset[int], bool]] = {}
        self._kept = 0

    def search(self, text: str) -> bool:
        """Whether it is found anywhere in `text`."""
        at: frozenset[int] = frozenset()
        before = ""
        for char in (*text, ""):
            key = (at, before, char)
            found = self._known.get(key)
            if found is None:
                if self._kept > _MOST_KEPT:
                    self._known.clear()
                    self._kept = 0
                self._kept += len(at) + 1
                found = self._known[key] = self._step(at, before, char)
            at, over = found
            if over:
                return True
            before = "a" if char in _WORD else "\n" if char == "\n" else " "
        return False

    def _step(self, at: frozenset[int], before: str, char: str) -> tuple[frozenset[int], bool]:
        """Where all ways lead over `char` ("" at the end), and whether one had come to its end."""
        left = [0, *at]
        seen: set[int] = set()
        following: set[int] = set()
        while left:
            place = left.pop()
            if place in seen:
                continue
            seen.add(place)
            step = self._program[place]
            if step.kind == "end of pattern":
                return frozenset(), True
            if step.kind == "split":
                left += [place + by for by in step.to]
            elif step.fits is not None:
                if char and step.fits(char):
                    following.add(place + 1)
            elif _holds(step.kind, before, char):
                left.append(place + 1)
        return frozenset(following), False


def _holds(assertion: str, before: str, after: str) -> bool:
    match assertion:
        case "start":
            return not before
        case "end":
            return not after
        case "line start":
            return before in ("", "\n")
        case "line end":
            return after in ("", "\n")
    return ((before in _WORD) != (after in _WORD)) == (assertion == "edge")


class _Parser:
    """Recursive descent, straight to steps."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0
        self._flags: frozenset[str] = frozenset()

    def program(self) -> tuple[_Step, ...]:
        """The whole pattern."""
        steps = self._either()
        if self._at < len(self._text):
            raise BadPattern("unexpected )")
        return (*steps, _Step("end of pattern"))

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self, wanted: str) -> bool:
        if not self._text.startswith(wanted, self._at):
            return False
        self._at += len(wanted)
        return True

    def _next(self) -> str:
        char = self._peek()
        if not char:
            raise BadPattern("it ends too early")
        self._at += 1
        return char

    def _either(self) -> list[_Step]:
        steps = self._sequence()
        while self._take("|"):
            steps = _alternative(steps, self._sequence())
        return steps

    def _sequence(self) -> list[_Step]:
        steps: list[_Step] = []
        while self._peek() not in ("", "|", ")"):
            steps += self._repeated(self._atom())
            if len(steps) > MAX_SIZE:
                raise BadPattern("too large")
        return steps

    def _repeated(self, steps: list[_Step]) -> list[_Step]:
        bounds = self._bounds()
        if bounds is None:
            return steps
        self._take("?")  # which of several finds is taken makes no difference here
        if self._peek() in ("*", "+", "?"):
            raise BadPattern("nested repetition")
        least, most = bounds
        if (len(steps) + 1) * max(least, most or 0, 1) > MAX_SIZE:
            raise BadPattern("too large")
        made = steps * least
        if most is None:
            return made + _any_number(steps)
        optional: list[_Step] = []
        for _ in range(most - least):
            optional = _optional(steps + optional)
        return made + optional

    def _bounds(self) -> tuple[int, int | None] | None:
        if self._take("*"):
            return 0, None
        if self._take("+"):
            return 1, None
        if self._take("?"):
            return 0, 1
        end = self._text.find("}", self._at)
        if self._peek() != "{" or end < 0:
            return None
        least, comma, most = self._text[self._at + 1 : end].partition(",")
        if not _is_number(least) or not (_is_number(most) or not most):
            return None  # as in RE2: then the brace is itself
        self._at = end + 1
        low = int(least)
        high = low if not comma else int(most) if most else None
        if low > MAX_REPEAT or (high is not None and not low <= high <= MAX_REPEAT):
            raise BadPattern("bad repetition")
        return low, high

    def _atom(self) -> list[_Step]:
        char = self._next()
        match char:
            case "(":
                return self._group()
            case "[":
                return [_Step("char", self._set())]
            case ".":
                if "s" in self._flags:
                    return [_Step("char", lambda _: True)]
                return [_Step("char", lambda char: char != "\n")]
            case "^":
                return [_Step("line start" if "m" in self._flags else "start")]
            case "$":
                return [_Step("line end" if "m" in self._flags else "end")]
            case "*" | "+" | "?":
                raise BadPattern("nothing to repeat")
            case "\\":
                return [self._escape()]
        return [_Step("char", self._fits(frozenset(char)))]

    def _group(self) -> list[_Step]:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise BadPattern("nested too deeply")
        flags = self._flags
        if self._take("?"):
            if self._take("P<") or self._take("<"):
                name, end, _ = self._text[self._at :].partition(">")
                if not end or not name.isidentifier():
                    raise BadPattern("bad name of a group")
                self._at += len(name) + 1
            elif not self._set_flags():
                self._depth -= 1
                return []
        steps = self._either()
        if not self._take(")"):
            raise BadPattern("missing )")
        self._flags = flags
        self._depth -= 1
        return steps

    def _set_flags(self) -> bool:
        """`i`, `i-s` and the like; whether a group follows, and not only its end."""
        on, off, to = set(self._flags), set[str](), True
        while (char := self._next()) not in (":", ")"):
            if char == "-" and to:
                to = False
            elif char in _FLAGS:
                (on.add if to else off.add)(char)
            else:
                raise BadPattern(f"unknown flag {char!r}")
        self._flags = frozenset(on - off)
        return char == ":"

    def _escape(self) -> _Step:
        char = self._next()
        if char in _ASSERTIONS:
            return _Step(_ASSERTIONS[char])
        chars = _CLASSES.get(char.lower())
        if chars is not None:
            return _Step("char", self._fits(chars, negated=char.isupper()))
        return _Step("char", self._fits(frozenset(self._escaped(char))))

    def _escaped(self, char: str) -> str:
        if char in _CONTROL:
            return _CONTROL[char]
        if char == "x":
            return self._hexadecimal()
        if char in _WORD - {"_"} or not char.isascii():
            raise BadPattern(f"unknown escape \\{char}")
        return char

    def _hexadecimal(self) -> str:
        if self._take("{"):
            digits, end, _ = self._text[self._at :].partition("}")
            self._at += len(digits) + len(end)
        else:
            digits, end = self._text[self._at : self._at + 2], "2"
            self._at += 2
            if len(digits) != 2:
                end = ""
        if not end or not 0 < len(digits) <= 6 or not _NAMED["xdigit"].issuperset(digits):
            raise BadPattern("bad number of a character")
        number = int(digits, 16)
        if number > 0x10FFFF:
            raise BadPattern("no such character")
        return chr(number)

    def _set(self) -> Fits:
        negated = self._take("^")
        chars: set[str] = set()
        ranges: list[tuple[str, str]] = []
        first = True
        while first or self._peek() != "]":
            first = False
            found = self._of_set()
            if not isinstance(found, str):
                chars |= found
            elif self._peek() == "-" and self._text[self._at + 1 : self._at + 2] not in ("]", ""):
                self._at += 1
                last = self._of_set()
                if not isinstance(last, str) or last < found:
                    raise BadPattern("bad range")
                ranges.append((found, last))
            else:
                chars.add(found)
        self._at += 1
        return self._fits(frozenset(chars), ranges, negated=negated)

    def _of_set(self) -> str | frozenset[str]:
        """One character of a set, or those of a class in it."""
        if self._take("[:"):
            name, end, _ = self._text[self._at :].partition(":]")
            if not end or name not in _NAMED:
                raise BadPattern("unknown class of characters")
            self._at += len(name) + 2
            return _NAMED[name]
        char = self._next()
        if char != "\\":
            return char
        char = self._next()
        if char in _CLASSES:
            return _CLASSES[char]
        if char.lower() in _CLASSES:
            raise BadPattern(f"\\{char} in a set")
        return self._escaped(char)

    def _fits(
        self,
        chars: frozenset[str],
        ranges: list[tuple[str, str]] | None = None,
        *,
        negated: bool = False,
    ) -> Fits:
        wide = ranges or []
        if "i" not in self._flags:
            if not wide:
                return (lambda char: char not in chars) if negated else chars.__contains__
            return lambda char: (char in chars or any(a <= char <= b for a, b in wide)) != negated
        return lambda char: (
            any(
                one in chars or any(a <= one <= b for a, b in wide)
                for one in (char, char.lower(), char.upper())
            )
            != negated
        )


def _alternative(one: list[_Step], other: list[_Step]) -> list[_Step]:
    leads = _Step("split", to=(1, len(one) + 2))
    return [leads, *one, _Step("split", to=(len(other) + 1,)), *other]


def _any_number(steps: list[_Step]) -> list[_Step]:
    size = len(steps)
    return [_Step("split", to=(1, size + 2)), *steps, _Step("split", to=(-size - 1,))]


def _optional(steps: list[_Step]) -> list[_Step]:
    return [_Step("split", to=(1, len(steps) + 1)), *steps]


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 4
