"""Connections are taken several at a time, and no client's trouble ends the listening."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from supervisor.api import accepting
from tests.unit.api.conftest import listener

Taken = list[socket.socket]


@pytest.fixture
def taken() -> Iterator[Taken]:
    found: Taken = []
    yield found
    for client in found:
        client.close()


async def connect(path: Path, count: int) -> list[socket.socket]:
    clients = [socket.socket(socket.AF_UNIX) for _ in range(count)]
    for client in clients:
        client.connect(str(path))
    return clients


async def test_all_that_wait_are_taken(tmp_path: Path, nursery: trio.Nursery, taken: Taken) -> None:
    path = tmp_path / "x.sock"
    nursery.start_soon(accepting.accept_forever, await listener(path), taken.append)
    count = 3 * accepting.AT_ONCE + 1
    clients = await connect(path, count)
    with trio.fail_after(5):
        while len(taken) < count:
            await trio.sleep(0.001)
    assert not any(client.getblocking() or client.get_inheritable() for client in taken)
    for client in clients:
        client.close()


MANY = 4


async def test_others_get_their_turn_in_between(
    tmp_path: Path, nursery: trio.Nursery, taken: Taken
) -> None:
    path = tmp_path / "x.sock"
    rounds: list[int] = []

    async def look() -> None:
        while len(taken) < MANY * accepting.AT_ONCE:
            rounds.append(len(taken))
            await trio.lowlevel.checkpoint()

    listening = await listener(path)
    clients = await connect(path, MANY * accepting.AT_ONCE)
    nursery.start_soon(accepting.accept_forever, listening, taken.append)
    with trio.fail_after(5):
        await look()
    # In which order trio takes its tasks is left to chance.
    assert {0} < set(rounds) <= set(range(0, MANY * accepting.AT_ONCE, accepting.AT_ONCE))
    for client in clients:
        client.close()


async def test_the_listener_is_closed_at_the_end(tmp_path: Path, taken: Taken) -> None:
    path = tmp_path / "x.sock"
    before = set(os.listdir("/proc/self/fd"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(accepting.accept_forever, await listener(path), taken.append)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert set(os.listdir("/proc/self/fd")) == before


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Errors of the next calls of accept."""
    errors: list[int] = []
    accept = socket.socket.accept

    def fail(self: socket.socket) -> tuple[socket.socket, Any]:
        if errors:
            raise OSError(number := errors.pop(0), os.strerror(number))
        return accept(self)

    monkeypatch.setattr(socket.socket, "accept", fail)
    return errors


@pytest.mark.parametrize(
    "number, told", [(errno.EMFILE, True), (errno.ECONNABORTED, False), (errno.EHOSTUNREACH, False)]
)
async def test_a_failure_that_is_not_the_listeners(
    tmp_path: Path,
    nursery: trio.Nursery,
    taken: Taken,
    failing: list[int],
    caplog: pytest.LogCaptureFixture,
    number: int,
    told: bool,
) -> None:
    path = tmp_path / "x.sock"
    listening = await listener(path)
    failing.append(number)
    (client,) = await connect(path, 1)
    nursery.start_soon(accepting.accept_forever, listening, taken.append)
    with trio.fail_after(5):
        while not taken:
            await trio.sleep(0.001)
    assert ("no connection can be accepted: Too many open files" in caplog.text) is told
    client.close()


async def test_a_listener_that_is_broken_is_told(
    tmp_path: Path, taken: Taken, failing: list[int]
) -> None:
    path = tmp_path / "x.sock"
    listening = await listener(path)
    failing.append(errno.EINVAL)
    (client,) = await connect(path, 1)
    with trio.fail_after(5), pytest.raises(OSError, match="Invalid argument"):
        await accepting.accept_forever(listening, taken.append)
    client.close()
