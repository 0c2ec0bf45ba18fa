"""Command lines as docker's users write them, on top of argparse.

argparse declares, converts and defaults; the grammar is that of docker's flag library,
which argparse does not have: `-it`, `-m50m`, `-m=50m`, `--sig-proxy=false`, a value may
begin with a dash (`-e -X`), `run` and `exec` end their own options at the first operand,
and abbreviations are errors. So `Parser.parse` walks the words first, gives every flag
exactly one value (`--rm` becomes `--rm=true`) and hands argparse only those.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, cast

from supervisor.cli.failures import FAILED, Misuse
from supervisor.errors import OrlopError

_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})


_WIDTH = 98


class HelpWanted(Exception):
    """No error: `--help` was among the words; `text` is to be printed."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


def switch(text: str) -> bool:
    """A boolean as docker reads it; raises ValueError."""
    if text not in _TRUE and text not in _FALSE:
        raise ValueError("true or false is expected")
    return text in _TRUE


def integer(text: str) -> int:
    """A whole number; raises ValueError."""
    try:
        return int(text)
    except ValueError:
        raise ValueError("a whole number is expected") from None


def natural(text: str) -> int:
    """A whole number that is not negative; raises ValueError."""
    value = integer(text)
    if value < 0:
        raise ValueError("it must not be negative")
    return value


def name_value(text: str) -> tuple[str, str]:
    """A filter, NAME=VALUE; raises ValueError."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ValueError("NAME=VALUE is expected")
    return name.strip().lower(), value.strip()


class Flag(argparse.Action):
    """One flag: `parse` makes the value, `many` collects a list, `kind` names it in the help."""

    def __init__(
        self,
        option_strings: Sequence[str],
        dest: str,
        *,
        kind: str,
        parse: Callable[[str], Any],
        many: bool,
        default: Any,
        help: str,
    ) -> None:
        super().__init__(option_strings, dest, default=default, help=help)
        self.kind = kind
        self.parse = parse
        self.many = many

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Convert one value; what `parse` refuses is told with the flag's names, as docker does."""
        try:
            value = self.parse(values)
        except (ValueError, OrlopError) as error:
            names = ", ".join(self.option_strings)
            message = f'invalid argument "{values}" for "{names}" flag: {error}'
            raise Misuse(message, parser.prog) from None
        if self.many:
            value = [*getattr(namespace, self.dest), value]
        setattr(namespace, self.dest, value)


class Parser(argparse.ArgumentParser):
    """The command line of one command.

    `operands` is its usage ("CONTAINER [CONTAINER...]"), `count` the least and the most of
    them (None: any number), `interspersed` whether flags may follow operands.
    """

    def __init__(
        self,
        name: str,
        operands: str,
        summary: str,
        *,
        count: tuple[int, int | None] = (0, None),
        interspersed: bool = True,
        program: str = "orlop ",
        notes: str = "",
    ) -> None:
        super().__init__(
            prog=f"{program}{name}",
            add_help=False,
            allow_abbrev=False,
            description=summary,
            # argparse makes one for every flag that is declared; without a width each asks
            # for the terminal's, by way of importing `shutil` and three compression libraries.
            formatter_class=lambda prog: argparse.HelpFormatter(prog, width=_WIDTH),
        )
        self.operands = operands
        self.count = count
        self.interspersed = interspersed
        self.notes = notes
        self._flags: dict[str, Flag] = {}

    def flag(
        self,
        *names: str,
        help: str,
        kind: str = "string",
        parse: Callable[[str], Any] = str,
        many: bool = False,
        default: Any = None,
    ) -> None:
        """Declare a flag with a value."""
        default = [] if many and default is None else default
        self._declare(names, kind=kind, parse=parse, many=many, default=default, help=help)

    def filters(self, *names: str, help: str) -> None:
        """Declare a flag that collects filters: (name, value), as often as it is given."""
        self.flag(*names, kind="filter", many=True, parse=name_value, help=help)

    def switch(self, *names: str, help: str, default: bool | None = False) -> None:
        """Declare a boolean flag: `--name`, `--name=false`."""
        self._declare(names, kind="", parse=switch, many=False, default=default, help=help)

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """The flags' values, and the rest as `operands`; raises Misuse or HelpWanted."""
        flags, operands = self._split(list(words))
        options = self.parse_args(flags)
        least, most = self.count
        if len(operands) < least or (most is not None and len(operands) > most):
            raise Misuse(self._wrong_count(len(operands)), self.prog, FAILED)
        options.operands = operands
        return options

    def error(self, message: str) -> NoReturn:
        """What argparse itself refuses."""
        raise Misuse(message, self.prog)

    def format_help(self) -> str:
        """The help in docker's shape."""
        usage = " ".join(filter(None, (self.prog, "[OPTIONS]", self.operands)))
        parts = [f"Usage:  {usage}\n\n{self.description}\n"]
        if flags := sorted(dict.fromkeys(self._flags.values()), key=lambda flag: flag.dest):
            parts.append("\nOptions:\n" + "".join(_describe(flags)))
        if self.notes:
            parts.append(f"\n{self.notes}\n")
        return "".join(parts)

    def _declare(self, names: Sequence[str], **settings: Any) -> None:
        flag = cast("Flag", self.add_argument(*names, action=Flag, **settings))
        self._flags |= dict.fromkeys(names, flag)

    def _wrong_count(self, given: int) -> str:
        least, most = self.count
        if most == 0:
            return f"'{self.prog}' accepts no arguments"
        number = most if most is not None and given > most else least
        bound = "" if least == most else "at least " if number == least else "at most "
        return f"'{self.prog}' requires {bound}{number} argument{'s' if number != 1 else ''}"

    def _split(self, words: list[str]) -> tuple[list[str], list[str]]:
        flags: list[str] = []
        operands: list[str] = []
        while words:
            word = words.pop(0)
            if word == "--":
                return flags, operands + words
            if word.startswith("--"):
                flags.append(self._long(word, words))
            elif word.startswith("-") and word != "-":
                flags += self._short(word, words)
            else:
                operands.append(word)
                if not self.interspersed:
                    return flags, operands + words
        return flags, operands

    def _long(self, word: str, rest: list[str]) -> str:
        name, equals, value = word.partition("=")
        flag = self._flags.get(name)
        if flag is None:
            if name == "--help":
                raise HelpWanted(self.format_help())
            raise Misuse(f"unknown flag: {name}", self.prog)
        if not equals:
            value = self._value(flag, rest, f"flag needs an argument: {name}")
        return f"{name}={value}"

    def _short(self, word: str, rest: list[str]) -> list[str]:
        flags: list[str] = []
        letters = word[1:]
        while letters:
            letter, letters = letters[0], letters[1:]
            flag = self._flags.get(f"-{letter}")
            if flag is None:
                if letter == "h":
                    raise HelpWanted(self.format_help())
                raise Misuse(f"unknown shorthand flag: {letter!r} in {word}", self.prog)
            if letters.startswith("="):
                value, letters = letters[1:], ""
            elif letters and flag.kind:
                value, letters = letters, ""
            else:
                value = self._value(flag, rest, f"flag needs an argument: {letter!r} in {word}")
            flags.append(f"{flag.option_strings[-1]}={value}")
        return flags

    def _value(self, flag: Flag, rest: list[str], missing: str) -> str:
        if not flag.kind:
            return "true"
        if not rest:
            raise Misuse(missing, self.prog)
        return rest.pop(0)


def subcommand(
    group: str,
    summary: str,
    commands: Mapping[str, str],
    words: Sequence[str],
    aliases: Mapping[str, str] | None = None,
) -> tuple[str, list[str]]:
    """Which of a group's `commands` (name → one line of help) is asked for, and its own words.

    Raises HelpWanted where none is named, Misuse for one that there is not.
    """
    width = max(map(len, commands)) + 2
    lines = "".join(f"  {name:<{width}}{line}\n" for name, line in commands.items())
    parser = Parser(
        group, "COMMAND", summary, interspersed=False, notes=f"Commands:\n{lines}".rstrip()
    )
    operands = parser.parse(words).operands
    if not operands:
        raise HelpWanted(parser.format_help())
    asked, *rest = operands
    name = (aliases or {}).get(asked, asked)
    if name not in commands:
        raise Misuse(f"unknown command: orlop {group} {name}", parser.prog, FAILED)
    return name, rest


def _describe(flags: Sequence[Flag]) -> list[str]:
    titles = [_title(flag) for flag in flags]
    width = max(map(len, titles))
    lines = []
    for title, flag in zip(titles, flags, strict=True):
        first, *more = _wrap(flag.help or "", _WIDTH - width - 5)
        lines.append(f"  {title:<{width}}   {first}\n")
        lines += [f"  {'':<{width}}   {line}\n" for line in more]
    return lines


def _title(flag: Flag) -> str:
    short = [name for name in flag.option_strings if not name.startswith("--")]
    long = [name for name in flag.option_strings if name.startswith("--")]
    return ((short[0] + ", " if short else "    ") + ", ".join(long) + f" {flag.kind}").rstrip()


def _wrap(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".lstrip()
    return lines
