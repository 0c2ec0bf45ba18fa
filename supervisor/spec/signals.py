"""Signal names and numbers as docker reads them (moby/sys, signal package).

SIGRTMIN is 34 and SIGRTMAX 64: the kernel's 32 and 33 belong to the C libraries' threads,
and docker counts as glibc does, whatever library the container has.
"""

from __future__ import annotations

import signal

from supervisor.errors import InvalidArgument

RTMIN = 34
RTMAX = 64
_ALIASES = {"CLD": signal.SIGCHLD, "IOT": signal.SIGABRT, "POLL": signal.SIGIO}
_NUMBERS: dict[str, int] = {
    s.name.removeprefix("SIG"): int(s) for s in signal.Signals if s < 32
} | {name: int(number) for name, number in _ALIASES.items()}
_NAMES: dict[int, str] = {int(s): s.name for s in signal.Signals if s < 32}


def parse_signal(text: str) -> int:
    """The number of "SIGTERM", "term", "15" or "RTMIN+3"; InvalidArgument otherwise."""
    if text.isascii() and text.isdecimal() and len(text) <= 3:
        number = int(text)
        if 1 <= number < 32 or RTMIN <= number <= RTMAX:
            return number
    name = text.upper().removeprefix("SIG")
    number = _NUMBERS.get(name, 0) or _real_time(name)
    if not number:
        raise InvalidArgument(
            f"invalid signal: {text}: give a name such as SIGTERM or RTMIN+3, or a number 1–64"
        )
    return number


def _real_time(name: str) -> int:
    base, sign, offset = name[:5], name[5:6], name[6:]
    if base not in ("RTMIN", "RTMAX"):
        return 0
    if not sign:
        return RTMIN if base == "RTMIN" else RTMAX
    if not (offset.isascii() and offset.isdecimal() and len(offset) <= 2):
        return 0
    if int(offset) > RTMAX - RTMIN or sign != ("+" if base == "RTMIN" else "-"):
        return 0
    return RTMIN + int(offset) if base == "RTMIN" else RTMAX - int(offset)


def signal_name(number: int) -> str:
    """ "SIGTERM" for 15, "SIGRTMIN+2" for 36; the number itself where it has no name."""
    if number in _NAMES:
        return _NAMES[number]
    if not RTMIN <= number <= RTMAX:
        return str(number)
    if number <= RTMIN + 15:  # as kill(1) and docker's table split them
        return "SIGRTMIN" + (f"+{number - RTMIN}" if number > RTMIN else "")
    return "SIGRTMAX" + (f"-{RTMAX - number}" if number < RTMAX else "")
