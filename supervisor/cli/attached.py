"""Following one container from this terminal: what `run`, `start -a` and `attach` share.

The order is docker's and matters: attach before anything can be written, wait before
anything can exit, then start. The exit status comes from wait, never from the stream.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from supervisor.cli.client import Call, Client, Stream, container_path
from supervisor.cli.failures import AGENT_FAILED, DaemonError, Failure, Unreachable
from supervisor.cli.flags import Parser
from supervisor.cli.session import Session
from supervisor.cli.signal_proxy import SignalProxy
from supervisor.wire.detach import parse_keys

_RETURN_OF_DAEMON = 10.0
"""Seconds in which a daemon that is being restarted should answer again."""
_REMOVAL = 10.0
"""Seconds for a container that could not start to be removed (--rm)."""


class Following:
    """How to follow: `tty` of the container, `stdin` passed on, `keys` that detach.

    `proxy` forwards signals; `until` is wait's condition; `redraw` makes programs on the
    terminal draw their screen again. Raises InvalidArgument for keys that are none.
    """

    def __init__(
        self,
        *,
        tty: bool,
        stdin: bool,
        proxy: bool,
        keys: str | None,
        until: str | None,
        redraw: bool = False,
    ) -> None:
        self.tty = tty
        self.stdin = stdin
        self.proxy = proxy
        self.keys = keys
        self.until = until
        self.redraw = redraw
        self.key_bytes = detach_bytes(keys) if tty and stdin else None

    def follow(
        self, client: Client, reference: str, start: Callable[[], object] | None = None
    ) -> int | None:
        """Attach, wait, `start`, copy until the end; the exit status, None where detached."""
        with ExitStack() as ending:
            stream = self._attach(client, reference)
            ending.callback(stream.socket.close)
            waiting = self._begin_wait(client, reference)
            ending.callback(waiting.connection.close)
            proxy = SignalProxy(client.address, reference, enabled=self.proxy)
            with proxy, ExitStack() as terminal:
                if self.tty and self.stdin:
                    from supervisor.cli.terminal import raw_mode

                    terminal.enter_context(raw_mode())
                self._start(start, waiting)
                proxy.started()
                if self.tty:
                    self._follow_window(client, reference, terminal)
                if Session(stream, stdin=self.stdin, keys=self.key_bytes).run():
                    return None
            return exit_status(client, reference, waiting)

    def _attach(self, client: Client, reference: str) -> Stream:
        query = {"stream": True, "stdout": True, "stderr": True, "stdin": self.stdin}
        return client.hijack(
            container_path(reference, "attach"), {**query, "detachKeys": self.keys}
        )

    def _begin_wait(self, client: Client, reference: str) -> Call:
        query = {"condition": self.until}
        waiting = client.begin("POST", container_path(reference, "wait"), query)
        waiting.response()  # its head comes at once: the daemon has taken note
        return waiting

    def _start(self, start: Callable[[], object] | None, waiting: Call) -> None:
        if start is None:
            return
        try:
            start()
        except DaemonError:
            if self.until == "removed":
                waiting.connection.readable(_REMOVAL)
            raise

    def _follow_window(self, client: Client, reference: str, ending: ExitStack) -> None:
        from supervisor.cli.terminal import Window

        window = Window(client.address, container_path(reference))
        ending.enter_context(window.followed())
        if self.redraw:
            window.tell(extra=1)
        window.tell()


def declare_detach_keys(parser: Parser) -> None:
    """The flag; keys that are none are refused before anything is done."""

    def parse(text: str) -> str:
        detach_bytes(text)
        return text

    parser.flag(
        "--detach-keys",
        parse=parse,
        help="Override the key sequence for detaching (default ctrl-p,ctrl-q)",
    )


def detach_bytes(keys: str | None) -> bytes:
    """The key sequence that detaches; raises InvalidArgument."""
    return parse_keys(keys or "")


def exit_status(client: Client, reference: str, waiting: Call) -> int:
    """What `waiting` answers; looks again where the daemon was restarted meanwhile."""
    try:
        answer = waiting.result()
    except Unreachable:
        return _status_after_restart(client, reference)
    return status_of(answer)


def status_of(answer: dict[str, Any]) -> int:
    """The exit status in wait's answer; raises Failure where there is an error beside it."""
    if problem := (answer.get("Error") or {}).get("Message"):
        raise Failure(f"error waiting for container: {problem}", AGENT_FAILED)
    return int(answer["StatusCode"])


def _status_after_restart(client: Client, reference: str) -> int:
    state = _state_after_restart(client, reference)
    if state["Running"]:
        raise Failure(
            f"the daemon was restarted; the container runs on: 'orlop attach {reference}'",
            AGENT_FAILED,
        )
    return int(state["ExitCode"])


def _state_after_restart(client: Client, reference: str) -> dict[str, Any]:
    deadline = time.monotonic() + _RETURN_OF_DAEMON
    while True:
        try:
            state: dict[str, Any] = client.get(container_path(reference, "json"))["State"]
            return state
        except DaemonError as error:
            raise Failure(f"{error.message}: its exit status is not known", AGENT_FAILED) from None
        except Unreachable:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
