"""Which shim takes a container: one that stayed, or a fork of the zygote."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from supervisor.engine.zygote import MOST_IDLE, Zygote
from supervisor.errors import OrlopError
from supervisor.shim.packets import receive
from supervisor.wire import shim_protocol

BUNDLE = Path("/bundle")


class Ends:
    """A zygote without a process, and the other ends of its connections."""

    def __init__(self) -> None:
        self.zygote = Zygote()
        self.opened: list[socket.socket] = []
        self.forks, self.zygote._socket = self.pair()

    def pair(self) -> tuple[socket.socket, socket.socket]:
        """(theirs, ours) of a connection."""
        pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in pair:
            end.setblocking(False)
        self.opened += pair
        return pair

    def idle(self) -> socket.socket:
        """The shim's end of one that stays."""
        theirs, ours = self.pair()
        self.zygote.keep(ours)
        return theirs

    def close(self) -> None:
        for end in self.opened:
            end.close()


@pytest.fixture
def ends() -> Iterator[Ends]:
    found = Ends()
    yield found
    found.close()


def asked(connection: socket.socket) -> bool:
    """Whether a container was asked for there."""
    try:
        packet, fds = receive(connection)
    except BlockingIOError:
        return False
    for fd in fds:
        os.close(fd)
    if not packet:
        return False
    assert shim_protocol.decode(packet) == {"op": "spawn", "bundle": "/bundle", "hold": True}
    assert len(fds) == 1
    return True


async def spawn(ends: Ends) -> None:
    with await ends.zygote.spawn(BUNDLE) as ours:
        assert not ours.getblocking()


async def test_the_one_used_last_comes_first(ends: Ends) -> None:
    first, last = ends.idle(), ends.idle()
    await spawn(ends)
    assert [asked(one) for one in (last, first, ends.forks)] == [True, False, False]
    await spawn(ends)
    assert [asked(one) for one in (first, ends.forks)] == [True, False]
    await spawn(ends)
    assert asked(ends.forks)


async def test_one_that_died_meanwhile_is_passed_over(ends: Ends) -> None:
    alive, dead = ends.idle(), ends.idle()
    dead.close()
    await spawn(ends)
    assert asked(alive)
    ends.idle().close()
    await spawn(ends)
    assert asked(ends.forks)


def test_no_more_than_are_wanted_stay(ends: Ends) -> None:
    kept = [ends.idle() for _ in range(MOST_IDLE)]
    assert not ends.zygote.has_room
    assert ends.idle().recv(1) == b""  # it leaves
    assert not any(asked(one) for one in kept)


def test_they_end_with_the_zygote(ends: Ends) -> None:
    kept = [ends.idle() for _ in range(2)]
    ends.zygote.close()
    assert [one.recv(1) for one in kept] == [b"", b""]
    assert ends.forks.recv(1) == b""


async def serve_namespaces(end: socket.socket, answer: dict[str, Any], count: int) -> None:
    """Answer one request as a shim does."""
    await trio.lowlevel.wait_readable(end)
    packet, fds = receive(end)
    assert shim_protocol.decode(packet) == {"op": "namespaces", "uid_map": "u", "gid_map": "g"}
    with socket.socket(fileno=fds.pop()) as connection:
        socket.send_fds(connection, [shim_protocol.encode(answer)], [end.fileno()] * count)


@pytest.mark.parametrize("from_idle", [True, False])
async def test_namespaces_are_handed_over(ends: Ends, *, from_idle: bool) -> None:
    end = ends.idle() if from_idle else ends.forks
    before = len(os.listdir("/proc/self/fd"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_namespaces, end, {"ok": {}}, 2)
        for fd in await ends.zygote.namespaces("u", "g"):
            os.close(fd)
    # Who was idle is so again; a fork of the zygote's own ends.
    assert len(ends.zygote._idle) == from_idle
    for kept in ends.zygote._idle:
        kept.close()
    assert len(os.listdir("/proc/self/fd")) <= before


@pytest.mark.parametrize(
    "answer, why",
    [
        ({"error": {"code": "internal", "message": "no room"}}, "no room"),
        ({"ok": {}}, "ended before it had made namespaces"),
    ],
)
async def test_namespaces_that_cannot_be(ends: Ends, answer: dict[str, Any], why: str) -> None:
    before = len(os.listdir("/proc/self/fd"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_namespaces, ends.forks, answer, 1)
        with pytest.raises(OrlopError, match=why):
            await ends.zygote.namespaces("u", "g")
    assert len(os.listdir("/proc/self/fd")) == before


async def test_a_user_namespace_comes_with_the_request(ends: Ends) -> None:
    end = ends.idle()
    with await ends.zygote.spawn(BUNDLE, end.fileno()):
        _, fds = receive(end)
        assert len(fds) == 2
        for fd in fds:
            os.close(fd)
