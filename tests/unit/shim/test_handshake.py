"""supervisor.shim.handshake: who says what to a shim, and what is taken from whom."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from supervisor.errors import InitError
from supervisor.kernel import process
from supervisor.shim import handshake


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The shim's end, which asks who sends, and the other one."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    near.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    with near, far:
        yield near, far


def test_the_kernel_says_who_sent_it(ends: tuple[socket.socket, socket.socket]) -> None:
    near, far = ends
    pid = os.fork()
    if pid == 0:
        handshake.send(far, {"pid": 1})
        os._exit(0)
    os.waitpid(pid, 0)
    handshake.send(far, {"pid": 1})
    assert handshake.receive(near) == (b'{"pid": 1}', [], pid)
    assert handshake.receive(near) == (b'{"pid": 1}', [], os.getpid())


def test_descriptors_come_with_it_and_are_not_passed_on(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    near, far = ends
    handshake.send(far, {"pty": True}, (far.fileno(),))
    packet, fds, sender = handshake.receive(near)
    assert (packet, sender) == (b'{"pty": true}', os.getpid())
    (fd,) = fds
    assert not os.get_inheritable(fd)
    os.close(fd)


def test_a_stranger_is_told_apart_and_its_descriptors_are_closed(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    near, far = ends
    near.setblocking(False)
    assert handshake.hear(near, os.getpid()) is None
    before = process.descriptors()
    handshake.send(far, {"pid": 1}, (far.fileno(),))
    assert handshake.hear(near, os.getpid() + 1) == (b'{"pid": 1}', [], True)
    assert process.descriptors() == before
    handshake.send(far, {"pid": 1})
    assert handshake.hear(near, os.getpid()) == (b'{"pid": 1}', [], False)
    far.close()
    assert handshake.hear(near, os.getpid() + 1) == (b"", [], False)


def test_the_end_is_an_empty_packet(ends: tuple[socket.socket, socket.socket]) -> None:
    near, far = ends
    far.close()
    assert handshake.receive(near)[0] == b""


def test_a_failure_is_taken_as_it_was_told() -> None:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with near, far:
        handshake.send_error(far, InitError(step="execve", path="x", errno=2, message="no x"))
        packet, _, sender = handshake.receive(near)
    assert sender == 0  # nobody asked
    assert handshake.last_words(packet).to_json() == {
        "step": "execve",
        "path": "x",
        "errno": 2,
        "message": "no x",
    }


@pytest.mark.parametrize(
    "packet",
    [b"\xff", b"{", b"7", b'{"pid": 1}', b'{"step": 1}', b"[" * 30_000, b'{"message": []}'],
)
def test_other_words_are_a_failure_all_the_same(packet: bytes) -> None:
    found = handshake.last_words(packet)
    assert found.message == "exec: it cannot be run"
    assert found.errno == 0
