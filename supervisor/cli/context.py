"""What every command gets beside its words: the daemon's address, and a client when asked."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from supervisor.cli.failures import FAILED, Failure, Unreachable, report

if TYPE_CHECKING:
    from supervisor.cli.client import Call, Client
    from supervisor.cli.dial import Tls

DEFAULT_ADDRESS = "unix:///run/orlop/orlop.sock"

_TOGETHER = 50
"""Requests under way at once for one command line, as docker's."""


class Context:
    """The surroundings of one command; `address` is where the daemon is, `tls` how it is reached.

    `address_given` tells whether the user named it, by --host or ORLOP_HOST; DOCKER_HOST is
    for clients only.
    """

    def __init__(self, address: str | None = None, tls: Tls | None = None) -> None:
        self.address = address or os.environ.get("DOCKER_HOST") or DEFAULT_ADDRESS
        self.address_given = bool(address)
        self.tls = tls
        self._client: Client | None = None

    def __enter__(self) -> Context:
        return self

    def __exit__(self, *_: object) -> None:
        if self._client is not None:
            self._client.close()

    def client(self) -> Client:
        """The client of the daemon; imported here, since `doctor` and `daemon` need none."""
        from supervisor.cli.client import Client

        if self._client is None:
            self._client = Client(self.address, self.tls)
        return self._client


def for_each(names: Iterable[str], action: Callable[[str], object]) -> int:
    """`action` on each name in turn; a failure is told and the rest goes on. The exit status."""
    status = 0
    for name in names:
        try:
            action(name)
        except Unreachable:
            raise
        except Failure as failure:
            report(failure)
            status = FAILED
    return status


def together(
    names: Sequence[str], begin: Callable[[str], Call], finish: Callable[[str, Call], object]
) -> int:
    """As `for_each`, with the requests of up to 50 names under way at the same time.

    Ten containers with ten seconds of grace each are stopped in ten seconds, not a hundred.
    """
    status = 0
    for at in range(0, len(names), _TOGETHER):
        status |= _batch(names[at : at + _TOGETHER], begin, finish)
    return status


def _batch(
    names: Sequence[str], begin: Callable[[str], Call], finish: Callable[[str, Call], object]
) -> int:
    calls: dict[str, Call] = {}

    def start(name: str) -> None:
        calls[name] = begin(name)

    try:
        status = for_each(dict.fromkeys(names), start)
        return status | for_each(calls, lambda name: finish(name, calls[name]))
    finally:
        for call in calls.values():
            call.connection.close()
