"""How a command fails: one line on stderr and docker's exit status.

docker's statuses: 1 where the daemon or the arguments refuse, 125 for a flag that is
unknown or ill-formed and wherever `run` fails before its container runs, 126 and 127 for
a command that cannot be executed or is not there, else the container's own.
"""

from __future__ import annotations

import sys
from contextlib import suppress

FAILED = 1
AGENT_FAILED = 125
NOT_EXECUTABLE = 126
NOT_FOUND = 127
INTERRUPTED = 130
BROKEN_PIPE = 141


class Failure(Exception):
    """The command cannot go on; `message` is for people, `status` for the shell."""

    def __init__(self, message: str, status: int = FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


class Misuse(Failure):
    """The command line is wrong; the message ends with where its help is."""

    def __init__(self, message: str, program: str, status: int = AGENT_FAILED) -> None:
        super().__init__(f"{message}; see '{program} --help'", status)


class Unreachable(Failure):
    """Nobody serves the socket, or the daemon went away in the middle."""


class DaemonError(Failure):
    """The daemon refused the request; `code` is its HTTP status."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"Error response from daemon: {message}")
        self.code = code
        self.reason = message


class StreamFailed(Failure):
    """The daemon tells, in the middle of a stream of progress, why it goes no further."""


def report(failure: Failure) -> None:
    """Say what failed, in one line, where more is still to be done."""
    from supervisor.cli.listing import plain

    with suppress(OSError):  # stdout may be what failed
        sys.stdout.flush()
    print(plain(f"orlop: {failure.message}"), file=sys.stderr)
