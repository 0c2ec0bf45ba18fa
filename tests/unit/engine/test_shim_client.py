"""The supervisor's end of a shim connection: descriptors that come with events."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from supervisor.engine import shim_client
from supervisor.engine.queue import Closed
from supervisor.engine.shim_client import ShimClient, ShimGone, start_error
from supervisor.errors import InitError, Unavailable
from supervisor.wire import shim_protocol
from supervisor.wire.shim_protocol import Message
from tests.support.pace import limit


class FakeShim:
    """The other end."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection

    def tell(self, message: Message, fds: Sequence[int] = ()) -> None:
        socket.send_fds(self.connection, [shim_protocol.encode(message)], fds)


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[ShimClient, FakeShim]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    client = ShimClient(ours)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.run)
        with theirs:
            yield client, FakeShim(theirs)
            nursery.cancel_scope.cancel()


def pipe_end() -> tuple[int, int]:
    """(reader, writer): the reader is at its end once nobody has the writer."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    return reader, writer


def is_open_somewhere(reader: int) -> bool:
    try:
        return bool(os.read(reader, 1))
    except BlockingIOError:
        return True


@pytest.mark.parametrize(
    "message",
    [
        {"id": []},
        {"id": 1},
        {"id": 1, "ok": 1},
        {"id": 1, "error": None},
        {"event": 1},
        {"event": "hello", "version": "3"},
        {"event": "hello", "shim_pid": [1]},
        {"event": "exited"},
        {"event": "exited", "record": {"id": "a", "run": "1", "code": 0}},
        {"event": "exited", "record": {"id": "a", "run": 1, "code": 0, "error": {"step": 1}}},
        {"event": "failed", "error": {"init": 5}},
        {"event": "exec_exited", "exec": "a", "code": None},
        {"event": "detached"},
    ],
)
async def test_what_is_no_message_of_a_shim_ends_the_connection(message: Message) -> None:
    async with connected() as (client, shim):
        shim.tell({"event": "hello", "shim_pid": 7, "version": shim_protocol.VERSION})
        await client.greeted.wait()
        with trio.fail_after(limit(20)):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask_in_vain, client)
                await trio.testing.wait_all_tasks_blocked()
                shim.tell(message)
        assert client.gone
        assert [event async for event in client.events] == []


async def ask_in_vain(client: ShimClient) -> None:
    with pytest.raises(ShimGone):
        await client.request("state")


async def test_the_network_is_the_takers() -> None:
    reader, writer = pipe_end()
    async with connected() as (client, shim):
        shim.tell({"event": "network", "pid": 7}, (writer,))
        os.close(writer)
        assert await client.events.take() == {"event": "network", "pid": 7}
        fd = client.take_network()
        assert not os.get_inheritable(fd)
        with pytest.raises(ShimGone):
            client.take_network()
    assert is_open_somewhere(reader)
    os.close(fd)
    assert not is_open_somewhere(reader)
    os.close(reader)


async def test_one_that_nobody_takes_is_closed_with_the_connection() -> None:
    reader, writer = pipe_end()
    async with connected() as (client, shim):
        shim.tell({"event": "network", "pid": 7}, (writer,))
        os.close(writer)
        await client.events.take()
        assert is_open_somewhere(reader)
    with pytest.raises(ShimGone, match="before its container had a network"):
        client.take_network()
    assert not is_open_somewhere(reader)
    os.close(reader)


async def test_closing_ends_whoever_reads_and_writes() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    client = ShimClient(ours)

    async def refused() -> None:
        with pytest.raises(ShimGone):
            await client.request("signal", signal=0, padding="x" * 60000)

    with theirs, trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.run)
            for _ in range(16):
                nursery.start_soon(refused)
            await trio.testing.wait_all_tasks_blocked()
            client.close()
        assert [event async for event in client.events] == []


async def test_what_is_released_is_the_callers_unless_it_broke() -> None:
    async with connected() as (client, shim):
        await trio.testing.wait_all_tasks_blocked()
        released = client.release()
        assert released is not None
        with released:
            shim.connection.send(b"for the next")
            assert released.recv(100) == b"for the next"
    async with connected() as (client, shim):
        await trio.testing.wait_all_tasks_blocked()
        client.close()
        assert client.release() is None


@pytest.mark.parametrize("is_read", [False, True])
async def test_dismissing_waits_for_the_shims_end(is_read: bool) -> None:
    """Which comes a while after it hears that nobody is there."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    client = ShimClient(ours)
    program = ["sh", "-c", "cat; sleep 0.2; echo gone"]
    with theirs:
        child = subprocess.Popen(program, stdin=theirs.fileno(), stdout=subprocess.PIPE)
        hello = {"event": "hello", "version": shim_protocol.VERSION, "shim_pid": child.pid}
        FakeShim(theirs).tell(hello)
    with trio.fail_after(limit(9)):
        async with trio.open_nursery() as nursery:
            if is_read:
                nursery.start_soon(client.run)
                await client.greeted.wait()
            await client.dismiss()
    assert child.stdout is not None
    os.set_blocking(child.stdout.fileno(), False)
    assert child.stdout.read() == b"gone\n"
    assert child.wait() == 0
    child.stdout.close()
    assert client.gone


async def test_dismissing_one_that_was_never_there() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    theirs.close()
    with trio.fail_after(limit(9)):
        await ShimClient(ours).dismiss()


async def test_dismissing_one_that_does_not_leave(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A shim that is stopped holds nobody up for ever."""
    monkeypatch.setattr(shim_client, "LEAVE_SECONDS", 0.05)
    async with connected() as (client, shim):
        shim.tell({"event": "hello", "version": shim_protocol.VERSION, "shim_pid": os.getpid()})
        await client.greeted.wait()
        with trio.fail_after(limit(9)):
            await client.dismiss()


@pytest.mark.parametrize(
    "message", [{"event": "created", "pid": 7}, {"id": 99, "ok": {}}, {"event": "network"}]
)
async def test_others_are_closed_at_once(message: Message) -> None:
    reader, writer = pipe_end()
    async with connected() as (client, shim):
        shim.tell(message, (writer, writer))
        os.close(writer)
        shim.tell({"event": "last"})
        while (await client.events.take())["event"] != "last":
            pass
        if message.get("event") == "network":  # one of the two
            os.close(client.take_network())
        assert not is_open_somewhere(reader)
    os.close(reader)


async def test_descriptors_of_a_broken_message_are_closed() -> None:
    reader, writer = pipe_end()
    async with connected() as (client, shim):
        socket.send_fds(shim.connection, [b"nonsense"], [writer])
        os.close(writer)
        with pytest.raises(Closed):
            await client.events.take()
        assert client.gone
        assert not is_open_somewhere(reader)
    os.close(reader)


async def test_a_shim_of_an_unknown_version_is_asked_nothing() -> None:
    async with connected() as (client, shim):
        shim.tell({"event": "hello", "version": shim_protocol.VERSION + 1, "shim_pid": 7})
        await client.greeted.wait()
        assert client.shim_pid == 7
        with pytest.raises(Unavailable, match="use the orlop that started the container"):
            await client.request("signal", signal=15)
        shim.connection.setblocking(False)
        with pytest.raises(BlockingIOError):
            shim.connection.recv(100)
        assert not client.gone


@pytest.mark.parametrize("version", [shim_protocol.OLDEST, shim_protocol.VERSION])
async def test_a_known_one_is(version: int) -> None:
    async with connected() as (client, shim):
        shim.tell({"event": "hello", "version": version, "shim_pid": 7})
        await client.greeted.wait()
        with trio.move_on_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.request, "acknowledge")
                await trio.lowlevel.wait_readable(shim.connection)
                message = shim_protocol.decode(shim.connection.recv(100))
                shim.tell({"id": message["id"], "ok": {}})
        assert message["op"] == "acknowledge"


@pytest.mark.parametrize(
    "step, number, code",
    [
        ("execve", errno.ENOENT, 127),
        ("execve", errno.EACCES, 126),
        ("execve", errno.ENOEXEC, 126),
        ("cwd", errno.ENOTDIR, 126),
        ("mounts", errno.ENOENT, 127),
        ("mounts", errno.EISDIR, 126),
        ("mounts", errno.EINVAL, 128),
        ("sysctls", 0, 128),
    ],
)
def test_a_failed_start_has_dockers_exit_code(step: str, number: int, code: int) -> None:
    error = InitError(step=step, path="/x", errno=number, message="it failed")
    assert start_error(error) == (code, "it failed")


def test_what_fails_before_there_is_an_init_is_128() -> None:
    assert start_error(Unavailable("no shim")) == (128, "no shim")
