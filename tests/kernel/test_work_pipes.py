"""Bytes into and out of workers: pace, ends and errors of either side."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio

from supervisor.errors import InvalidArgument, NotFound, Unavailable
from supervisor.store.work_pipes import PIPE_SIZE, Output, draw, feed
from tests.support import procfs
from tests.support.tree_rig import Tree, make_tar, member

LARGE = 20 * PIPE_SIZE


@pytest.fixture
def tree(short_folder: Path) -> Tree:
    tree = Tree(short_folder / "tree")
    (tree.lower / "large").write_bytes(b"x" * LARGE)
    return tree


def worker() -> int:
    """The one worker's pid."""
    (found,) = (p for p in procfs.descendants(os.getpid()) if p.name == "orlop-worker")
    return found.pid


def workers() -> list[procfs.Process]:
    return [p for p in procfs.descendants(os.getpid()) if p.name == "orlop-worker"]


def put_arguments(tree: Tree) -> dict[str, Any]:
    return {"view": tree.view(write=True), "path": "/", "keep_types": True, "user": ""}


async def test_an_error_before_the_first_byte_is_raised_at_once(tree: Tree) -> None:
    with pytest.raises(NotFound, match="/nope"):
        async with draw("archive_get", {"view": tree.view(), "path": "/nope"}):
            raise AssertionError("entered")


async def test_what_is_told_first_is_there_before_the_bytes(tree: Tree) -> None:
    async with draw("archive_get", {"view": tree.view(), "path": "/large"}) as output:
        assert output.first["size"] == LARGE
        pieces = [len(piece) async for piece in output]
    assert sum(pieces) > LARGE
    assert max(pieces) <= PIPE_SIZE


async def test_a_worker_that_is_killed_is_an_error_behind_what_it_wrote(tree: Tree) -> None:
    pieces: list[bytes] = []

    async def take_all(output: Output) -> None:
        pieces.extend([piece async for piece in output])

    async with draw("archive_get", {"view": tree.view(), "path": "/large"}) as output:
        pieces.append(await anext(output))
        os.kill(worker(), signal.SIGKILL)
        with pytest.raises(Unavailable, match="was killed by signal 9"):
            await take_all(output)
    assert sum(map(len, pieces)) < LARGE


async def test_leaving_early_kills_the_worker(tree: Tree) -> None:
    async with draw("archive_get", {"view": tree.view(), "path": "/large"}) as output:
        await anext(output)
        assert workers()
    assert not workers()
    with pytest.raises(ZeroDivisionError):
        async with draw("archive_get", {"view": tree.view(), "path": "/large"}) as output:
            raise ZeroDivisionError
    assert not workers()


async def test_a_reader_that_stands_still_stops_the_worker(tree: Tree) -> None:
    async with draw("archive_get", {"view": tree.view(), "path": "/large"}) as output:
        await anext(output)
        path = Path(f"/proc/{worker()}/io")

        def written() -> int:
            return int(path.read_text().partition("wchar: ")[2].split()[0])

        with trio.fail_after(10):
            while written() < PIPE_SIZE:
                await trio.sleep(0.01)
        await trio.sleep(0.1)
        assert written() < 4 * PIPE_SIZE


async def test_pieces_that_fail_end_the_worker(tree: Tree) -> None:
    closed = []

    async def pieces() -> AsyncIterator[bytes]:
        try:
            yield make_tar([member("x", b"1" * 1000)])[:600]
            raise InvalidArgument("the request body ended early")
        finally:
            closed.append(True)

    with pytest.raises(InvalidArgument, match="ended early"):
        await feed("archive_put", put_arguments(tree), pieces())
    assert closed
    assert not workers()


async def test_a_worker_that_fails_ends_the_pieces(tree: Tree) -> None:
    closed = []

    async def pieces() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"no tar" * 10_000
        finally:
            closed.append(True)

    with trio.fail_after(20), pytest.raises(InvalidArgument, match="invalid tar header"):
        await feed("archive_put", put_arguments(tree), pieces())
    assert closed


async def test_a_worker_that_is_killed_while_it_is_fed(tree: Tree) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield make_tar([member("x", b"1" * 1000)])[:600]
        while not workers():
            await trio.sleep(0.01)
        os.kill(worker(), signal.SIGKILL)
        while True:
            yield bytes(PIPE_SIZE)
            await trio.sleep(0)

    with trio.fail_after(20), pytest.raises(Unavailable, match="was killed by signal 9"):
        await feed("archive_put", put_arguments(tree), pieces())
