"""Who is told that a client has hung up, and who is not."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from supervisor.api.hangups import HangUps


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
def hang_ups(nursery: trio.Nursery) -> Iterator[HangUps]:
    found = HangUps()
    nursery.start_soon(found.run)
    yield found
    nursery.cancel_scope.cancel()
    found.close()


async def seen(hang_ups: HangUps, ours: socket.socket) -> bool:
    told = trio.Event()
    with hang_ups.watched(ours.fileno(), told.set):
        await settled()
    return told.is_set()


async def settled() -> None:
    for _ in range(3):  # the kernel tells at once; each step of ours is one turn of the loop
        await wait_all_tasks_blocked(0.001)


@pytest.mark.parametrize("how", ["close", "half"])
async def test_a_client_that_closes_is_seen(
    hang_ups: HangUps, pair: tuple[socket.socket, socket.socket], how: str
) -> None:
    ours, theirs = pair
    told = trio.Event()
    with hang_ups.watched(ours.fileno(), told.set):
        await settled()
        assert not told.is_set()
        if how == "close":
            theirs.close()
        else:
            theirs.shutdown(socket.SHUT_WR)
        with trio.fail_after(5):
            await told.wait()


async def test_one_that_had_closed_before_is_seen_too(
    hang_ups: HangUps, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    theirs.close()
    assert await seen(hang_ups, ours)


async def test_one_that_asks_for_more_is_not_taken_for_gone(
    hang_ups: HangUps, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    theirs.send(b"GET /_ping HTTP/1.1\r\n")
    assert not await seen(hang_ups, ours)
    theirs.shutdown(socket.SHUT_WR)
    assert not await seen(hang_ups, ours)


@pytest.mark.parametrize("first", ["", "half"])
async def test_one_that_has_asked_for_more_and_is_gone_is_seen(
    hang_ups: HangUps, pair: tuple[socket.socket, socket.socket], first: str
) -> None:
    ours, theirs = pair
    theirs.send(b"GET /_ping HTTP/1.1\r\n")
    told = trio.Event()
    with hang_ups.watched(ours.fileno(), told.set):
        if first:
            theirs.shutdown(socket.SHUT_WR)
        await settled()
        assert not told.is_set()
        theirs.close()
        with trio.fail_after(5):
            await told.wait()


async def test_who_does_not_watch_any_more_is_not_told(
    hang_ups: HangUps, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    told = trio.Event()
    with hang_ups.watched(ours.fileno(), told.set):
        await settled()
    theirs.close()
    await settled()
    assert not told.is_set()
