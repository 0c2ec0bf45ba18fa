"""`--sig-proxy`: a signal to `orlop run` or `attach` becomes a signal to the container's PID 1.

Not forwarded, unlike docker: SIGWINCH (a window's new size goes out as a resize; servers such
as httpd take the signal as "stop") and the job control signals, so that Ctrl-Z and `fg`
work on the client while the container runs on.
"""

from __future__ import annotations

import signal
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any

from supervisor.cli.client import Client, container_path
from supervisor.cli.failures import FAILED, Failure, report
from supervisor.spec.signals import signal_name

_ENOUGH = 3
"""So many SIGINTs and SIGTERMs end the client itself, as docker's."""

_KEPT = frozenset(
    {
        signal.SIGKILL,
        signal.SIGSTOP,
        signal.SIGTSTP,
        signal.SIGTTIN,
        signal.SIGTTOU,
        signal.SIGCONT,
        signal.SIGCHLD,
        signal.SIGPIPE,
        signal.SIGURG,
        signal.SIGWINCH,
        # Faults of this process, no messages from anybody.
        signal.SIGSEGV,
        signal.SIGBUS,
        signal.SIGILL,
        signal.SIGFPE,
        signal.SIGABRT,
        signal.SIGTRAP,
        signal.SIGSYS,
    }
)


class SignalProxy:
    """Forwards within the `with` block; what comes before `started` is sent at `started`.

    The requests are made in the signal handler, on connections of their own: Python runs it
    between two instructions and in the middle of a blocking read or write, so a client
    that is stuck writing to a slow pipe still passes Ctrl-C on.
    """

    def __init__(self, address: str, reference: str, *, enabled: bool = True) -> None:
        self._address = address
        self._path = container_path(reference, "kill")
        self._forwarded = signal.valid_signals() - _KEPT if enabled else set()
        self._before: dict[int, Any] = {}
        self._early: list[int] | None = []
        self._endings = 0

    def __enter__(self) -> SignalProxy:
        for number in self._forwarded:
            # What nohup or the shell's & made us ignore stays ignored.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._arrived)
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _value: object, _trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def started(self) -> None:
        """The container runs: it can take signals from now on."""
        early, self._early = self._early or [], None
        for number in early:
            self._forward(number)

    def _arrived(self, number: int, _frame: FrameType | None) -> None:
        if number in (signal.SIGINT, signal.SIGTERM):
            self._endings += 1
            if self._endings >= _ENOUGH:
                report(Failure("got 3 SIGTERM/SIGINTs, forcefully exiting"))
                # Not a Failure: this may run inside `_forward`, which suppresses those.
                raise SystemExit(FAILED)
        if self._early is None:
            self._forward(number)
        else:
            self._early.append(number)

    def _forward(self, number: int) -> None:
        # The container may have ended by now; its status says more than this error would.
        with suppress(Failure), Client(self._address) as client:
            client.post(self._path, {"signal": signal_name(number).removeprefix("SIG")})
