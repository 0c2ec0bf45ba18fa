"""HEALTHCHECK of a Dockerfile, with the rules and words of docker's own parser."""

from __future__ import annotations

from collections.abc import Mapping

from supervisor.docker.dockerfile_words import json_list, unquote
from supervisor.docker.health import Healthcheck
from supervisor.errors import InvalidArgument
from supervisor.spec.units import parse_duration

_MILLISECOND = 1_000_000
_MOST_RETRIES = (1 << 31) - 1
_TIMES = ("interval", "timeout", "start-period", "start-interval")
_FLAGS = (*_TIMES, "retries")


def parse_healthcheck(rest: str) -> Healthcheck:
    """What comes after the instruction's name: `[--FLAG=VALUE]… CMD …`, or NONE.

    A command is a JSON list of words, or else a shell's. Raises InvalidArgument.
    """
    flags, rest = _flags(rest)
    kind, command = _first(rest)
    match kind.upper():
        case "":
            raise InvalidArgument("HEALTHCHECK requires at least one argument")
        case "NONE":
            if command:
                raise InvalidArgument("HEALTHCHECK NONE takes no arguments")
            return Healthcheck(test=("NONE",))
        case "CMD":
            return _check(_values(flags), command)
    raise InvalidArgument(f'unknown type "{kind.upper():.40}" in HEALTHCHECK (try CMD)')


def _check(values: Mapping[str, str], command: str) -> Healthcheck:
    words = json_list(command)
    if not (command if words is None else words):
        raise InvalidArgument("missing command after HEALTHCHECK CMD")
    times = {name: _nanoseconds(name, values.get(name, "")) for name in _TIMES}
    return Healthcheck(
        test=("CMD-SHELL", command) if words is None else ("CMD", *words),
        interval=times["interval"],
        timeout=times["timeout"],
        start_period=times["start-period"],
        start_interval=times["start-interval"],
        retries=_number(values.get("retries", "")),
    )


def _flags(rest: str) -> tuple[list[str], str]:
    """The words before the first that is no flag, and what is left."""
    flags: list[str] = []
    while rest.startswith("--"):
        flag, rest = _first(rest)
        if flag == "--":
            break
        flags.append(unquote(flag[2:]))
    return flags, rest


def _values(flags: list[str]) -> dict[str, str]:
    values: dict[str, str] = {}
    for flag in flags:
        name, mark, value = flag.partition("=")
        if name not in _FLAGS:
            raise InvalidArgument(
                f"unknown flag: --{name:.40}: HEALTHCHECK has --{', --'.join(_FLAGS)}"
            )
        if name in values:
            raise InvalidArgument(f"duplicate flag specified: --{name}")
        if not mark:
            raise InvalidArgument(f"missing a value on flag: --{name}: give --{name}=VALUE")
        values[name] = value
    return values


def _first(text: str) -> tuple[str, str]:
    first, *rest = text.split(None, 1) or [""]
    return first, "".join(rest)


def _nanoseconds(name: str, text: str) -> int:
    """0, the default, for "" and for a duration that is none."""
    try:
        duration = parse_duration(text or "0")
    except InvalidArgument as error:
        raise InvalidArgument(f"--{name}: {error.message}") from None
    if duration and duration < _MILLISECOND:
        raise InvalidArgument(f'Interval "{name}" cannot be less than 1ms')
    return duration


def _number(text: str) -> int:
    digits = text.removeprefix("-")
    if text and not (digits.isascii() and digits.isdecimal() and len(digits) <= 10):
        raise InvalidArgument(f"--retries: {text!r:.40} is no number")
    number = int(text or 0)
    if number < 0:
        raise InvalidArgument(f"--retries cannot be negative ({number})")
    if number > _MOST_RETRIES:
        raise InvalidArgument(f"--retries: {number} is more than {_MOST_RETRIES}")
    return number
