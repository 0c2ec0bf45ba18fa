"""What a parsed template is made of. `at` is the offset in its text, for messages."""

from __future__ import annotations

from dataclasses import dataclass

# --- inside an action: words ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant: text, number, true, false."""

    at: int
    value: str | int | float | bool


@dataclass(frozen=True, slots=True)
class Nil:
    """The word nil."""

    at: int


@dataclass(frozen=True, slots=True)
class Field:
    """`.A.B`, from the present value; `.` alone has no names."""

    at: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Variable:
    """`$`, `$x`, `$x.A.B`; `name` with its dollar."""

    at: int
    name: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Function:
    """The name of a function."""

    at: int
    name: str


@dataclass(frozen=True, slots=True)
class Nested:
    """`( pipeline ).A.B`"""

    at: int
    pipe: Pipe
    names: tuple[str, ...]


Word = Literal | Nil | Field | Variable | Function | Nested


@dataclass(frozen=True, slots=True)
class Command:
    """A value, or a function (or method) with its arguments."""

    at: int
    words: tuple[Word, ...]


@dataclass(frozen=True, slots=True)
class Pipe:
    """Commands, each taking the result of the one before as its last argument.

    `variables` get the result; `new` tells a declaration (`:=`) from an assignment (`=`).
    """

    at: int
    commands: tuple[Command, ...]
    variables: tuple[str, ...] = ()
    new: bool = True


# --- between actions: what is done ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Text:
    """Shown as it stands."""

    text: str


@dataclass(frozen=True, slots=True)
class Show:
    """An action that shows a pipeline's result."""

    pipe: Pipe


@dataclass(frozen=True, slots=True)
class Branch:
    """`if` or `with`: `body` where the pipeline's result is not empty, else `otherwise`.

    `with` makes the result the present value in its body.
    """

    kind: str
    pipe: Pipe
    body: tuple[Node, ...]
    otherwise: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """`body` for each item of the pipeline's result, `otherwise` where there is none."""

    pipe: Pipe
    body: tuple[Node, ...]
    otherwise: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Jump:
    """`break` or `continue` in the innermost range."""

    kind: str


Node = Text | Show | Branch | Range | Jump
