"""Threads that wait for the daemon, so that keys never do; what they learn they post as messages.

They are daemon threads: an application that ends does not wait for a daemon that does not answer.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Protocol

from textual.message import Message

from supervisor.cli.client import Query, container_path, is_framed
from supervisor.cli.failures import Failure
from supervisor.cli.log_lines import Lines
from supervisor.cli.usage import Answer

if TYPE_CHECKING:
    from supervisor.cli.client import Call, Client

SECONDS = 1.0
TAIL = 200
"""Lines of a log that are shown from before."""

Post = Callable[[Message], bool]


class Told(Message):
    """What all containers use now."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer


class Failed(Message):
    """The daemon refuses, or is gone."""

    def __init__(self, failure: Failure) -> None:
        super().__init__()
        self.failure = failure


class Logged(Message):
    """More lines of the log that was asked for."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self.lines = lines


class Daemon(Protocol):
    """What the application asks. Every method may raise Failure."""

    def usage(self, *, history: bool) -> Answer:
        """What all containers use now, and have used in the last minute."""

    def log(self, name: str) -> Log:
        """A container's log, its end and what is added."""

    def run(self, name: str, command: list[str]) -> int:
        """Run a command in it on this terminal; its exit status."""


class Log(Protocol):
    """One that is followed."""

    def batches(self) -> Iterator[list[str]]:
        """Lines as they come, until the container's end or `close`. Failure."""

    def close(self) -> None:
        """From another thread: the end of `batches`."""


class _Feed(ABC):
    """What a thread of its own asks the daemon, and posts."""

    def __init__(self, daemon: Daemon, post: Post) -> None:
        self._daemon = daemon
        self._post = post
        self._over = Event()
        self._thread = Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no more."""
        self._over.set()

    @abstractmethod
    def _run(self) -> None: ...


class Polling(_Feed):
    """Asks each `seconds` what is used, and posts Told, or Failed and no more."""

    def __init__(self, daemon: Daemon, post: Post, seconds: float = SECONDS) -> None:
        super().__init__(daemon, post)
        self._seconds = seconds

    def _run(self) -> None:
        history = True
        while not self._over.is_set():
            try:
                answer = self._daemon.usage(history=history)
            except Failure as failure:
                self._post(Failed(failure))
                return
            self._post(Told(answer))
            history = False
            self._over.wait(self._seconds)


class Following(_Feed):
    """Posts a log's lines as they come."""

    def __init__(self, daemon: Daemon, name: str, post: Post) -> None:
        super().__init__(daemon, post)
        self._name = name
        self._log: Log | None = None

    def stop(self) -> None:
        """No more lines are wanted."""
        super().stop()
        if self._log is not None:
            self._log.close()

    def _run(self) -> None:
        try:
            self._log = self._daemon.log(self._name)
            for lines in self._log.batches():
                if self._over.is_set():
                    return
                if lines:
                    self._post(Logged(lines))
        except Failure as failure:
            if not self._over.is_set():
                self._post(Logged([f"-- {failure.message} --"]))


class OverApi:
    """The daemon behind a client; `run` is how a command gets this terminal."""

    def __init__(self, client: Client, run: Callable[[str, list[str]], int]) -> None:
        self._client = client
        self._run = run

    def usage(self, *, history: bool) -> Answer:
        """GET /orlop/usage"""
        found: dict[str, Any] = self._client.get("/orlop/usage", {"history": history})
        return found

    def log(self, name: str) -> Log:
        """GET /containers/NAME/logs"""
        query: Query = {"follow": True, "stdout": True, "stderr": True, "tail": str(TAIL)}
        return _LogOverApi(self._client.begin("GET", container_path(name, "logs"), query))

    def run(self, name: str, command: list[str]) -> int:
        """`orlop exec -it NAME COMMAND`"""
        return self._run(name, command)


class _LogOverApi:
    def __init__(self, call: Call) -> None:
        self._call = call

    def batches(self) -> Iterator[list[str]]:
        with self._call as call:
            lines = Lines(framed=is_framed(call.response()), stamped=False)
            for piece in call.pieces():
                yield [_text(line.text) for line in lines.feed(piece)]
            yield [_text(line.text) for line in lines.close()]

    def close(self) -> None:
        self._call.connection.break_off()


def _text(line: bytes) -> str:
    """Without what would move a cursor; tabs as they are usually seen."""
    text = line.decode("utf-8", "replace").expandtabs()
    return "".join(c if c.isprintable() else "�" for c in text.removesuffix("\r"))
