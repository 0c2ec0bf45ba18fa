"""The supervisor's own thread never leaves its network namespace, whatever goes wrong."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio

from netplumb.apply import namespace
from netplumb.apply.namespace import Stranded, entered, fresh
from netplumb.apply.thread import KernelThread
from netplumb.errors import Refused
from tests.kernel.netplumb.rig import Space, inode


@contextmanager
def kernel_thread() -> Iterator[KernelThread]:
    thread = KernelThread("test")
    try:
        yield thread
    finally:
        thread.close()


@pytest.fixture
def space(host: None) -> Iterator[Space]:
    made = Space()
    yield made
    made.close()


async def test_only_the_thread_is_inside(space: Space) -> None:
    home, there = inode(), inode(space.fd)
    assert home != there
    is_inside, go_on = threading.Event(), threading.Event()

    def visit() -> int:
        with entered(space.fd):
            is_inside.set()
            assert go_on.wait(5)
            return inode()

    with kernel_thread() as thread:
        visiting = thread.begin(visit)
        await trio.to_thread.run_sync(is_inside.wait)
        # The thread is in there at this moment; what is opened here is opened at home.
        assert inode() == home
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))  # lo is up here, and down in there
        go_on.set()
        assert await visiting.wait() == there
        assert await thread.run(inode) == home, "and it came back"


@pytest.mark.parametrize("raised", [ValueError("x"), KeyboardInterrupt(), SystemExit(3)])
async def test_the_way_back_is_taken_after_any_error(space: Space, raised: BaseException) -> None:
    home = inode()

    def fail() -> None:
        with entered(space.fd):
            raise raised

    with kernel_thread() as thread:
        with pytest.raises(type(raised)):
            await thread.run(fail)
        assert await thread.run(inode) == inode() == home


async def test_a_descriptor_that_is_no_namespace() -> None:
    def enter() -> None:
        with entered(reading):
            raise AssertionError("not reached")

    reading, writing = os.pipe()
    with kernel_thread() as thread:
        with pytest.raises(Refused) as caught:
            await thread.run(enter)
        assert caught.value.errno == errno.EINVAL
        assert await thread.run(inode) == inode()
    os.close(reading)
    os.close(writing)


async def test_a_thread_that_cannot_come_back_is_not_used_again(space: Space) -> None:
    home = inode()

    def lose_the_way() -> int:
        with entered(space.fd):
            # As if the descriptor of its own namespace had gone.
            os.close(namespace._local.home)
            namespace._local.home = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
            return threading.get_ident()

    with kernel_thread() as thread:
        assert await thread.run(inode) == home
        lost = thread._thread
        with pytest.raises(Stranded, match="cannot leave the network namespace"):
            await thread.run(lose_the_way)
        assert lost is not None
        await trio.to_thread.run_sync(lost.join, 5)
        assert not lost.is_alive()
        assert await thread.run(inode) == home, "another thread, in the right place"
    assert inode() == home


def test_no_other_thread_may_enter(space: Space) -> None:
    home = inode()
    for block in (entered(space.fd), fresh()):
        with pytest.raises(RuntimeError, match="only a KernelThread"), block:
            raise AssertionError("not reached")
    assert inode() == home


async def test_a_fresh_namespace_is_nobodys() -> None:
    def visit() -> int:
        with fresh():
            return inode()

    with kernel_thread() as thread:
        assert await thread.run(visit) != inode()
        assert await thread.run(inode) == inode()


async def test_a_call_that_is_begun_is_finished() -> None:
    done: list[int] = []
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> None:
        begun.set()
        go_on.wait(5)
        done.append(1)

    with kernel_thread() as thread:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(thread.run, slow)
                await trio.to_thread.run_sync(begun.wait)
                scope.cancel()
                go_on.set()
        assert done == [1]
        with trio.CancelScope() as scope:
            scope.cancel()
            await thread.run(done.append, 2)
        assert done == [1], "and one that is not begun is not"


async def test_calls_keep_their_order() -> None:
    seen: list[int] = []
    with kernel_thread() as thread:
        pending = [thread.begin(seen.append, number) for number in range(100)]
        for call in pending:
            await call.wait()
    assert seen == list(range(100))
