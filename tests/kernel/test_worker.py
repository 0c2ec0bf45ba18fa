"""Worker processes: what crosses to them and back, and that none outlives its request."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trio

from supervisor.errors import Internal, InvalidArgument, Unavailable
from supervisor.store import work as work_module
from supervisor.store.work import work
from tests.support.pace import limit
from tests.support.tar_corpus import END, file, head


def workers(parent: int | None = None) -> list[int]:
    """The pids of the workers that `parent` (we) has started."""
    parent = parent or os.getpid()
    found = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(pid) for pid in found if comm(int(pid)) == "orlop-worker"]


def comm(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


async def eventually(condition: Callable[[], Any], seconds: float = 10) -> Any:
    """What `condition` gives, once it is true."""
    with trio.fail_after(limit(seconds)):
        while not (found := condition()):
            await trio.sleep(0.01)
    return found


@asynccontextmanager
async def stalled(folder: Path) -> AsyncIterator[tuple[trio.Nursery, int, list[BaseException]]]:
    """A worker that unpacks from a pipe into which nobody writes any more.

    Gives the nursery in which its request waits, its pid, and the errors the request raises.
    """
    errors: list[BaseException] = []
    reading, writing = os.pipe()
    os.write(writing, file("f") + head("more", size=1000))

    async def request() -> None:
        try:
            await work("unpack", {"folder": str(folder)}, fds={"input": reading})
        except Unavailable as error:
            errors.append(error)

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(request)
            await eventually((folder / "f").exists)
            [pid] = workers()
            yield nursery, pid, errors
    finally:
        os.close(reading)
        os.close(writing)


async def test_a_result(short_folder: Path) -> None:
    (short_folder / "f").write_bytes(b"x" * 5000)
    result = await work("usage", {"folder": str(short_folder)})
    assert result["bytes"] == 5000
    assert result["inodes"] == 2
    assert workers() == []


async def test_what_each_of_many_folders_takes(short_folder: Path) -> None:
    for name, size in (("small", 1), ("large", 1 << 20)):
        (short_folder / name).mkdir()
        (short_folder / name / "f").write_bytes(b"x" * size)
    names = ["large", "gone", "small", "small/f"]
    folders = [str(short_folder / name) for name in names]
    large, gone, small, file = (await work("usages", {"folders": folders}))["usages"]
    assert (large["bytes"], small["bytes"]) == (1 << 20, 1)
    assert large == await work("usage", {"folder": folders[0]})
    assert "No such file" in gone["error"]
    assert "Not a directory" in file["error"]


async def test_errors_keep_their_class_and_words(short_folder: Path) -> None:
    with open(short_folder / "blob", "w+b") as blob:
        blob.write(b"no tar" * 1000)
        blob.seek(0)
        with pytest.raises(InvalidArgument, match="invalid tar header") as found:
            await work("unpack", {"folder": str(short_folder / "l")}, fds={"input": blob.fileno()})
    assert type(found.value) is InvalidArgument
    assert workers() == []


async def test_an_unknown_operation() -> None:
    with pytest.raises(Internal, match="no operation 'dance'"):
        await work("dance", {})


async def test_a_defect_is_told_with_its_place() -> None:
    with pytest.raises(Internal, match=r"KeyError: 'folder' \(usage.py:\d+\)"):
        await work("usage", {})


async def test_an_error_of_the_kernel() -> None:
    with pytest.raises(Internal, match="No such file or directory: '/does/not/exist'"):
        await work("usage", {"folder": "/does/not/exist"})


async def test_names_that_are_not_utf8(short_folder: Path) -> None:
    upper = short_folder / "upper"
    upper.mkdir()
    name = os.fsdecode(b"caf\xe9\xff\n\xe2\x82\xac")
    (upper / name).touch()
    result = await work("changes", {"upper": str(upper), "lowers": []})
    assert result["changes"] == [[1, f"/{name}"]]


async def test_a_result_of_many_megabytes(short_folder: Path) -> None:
    upper = short_folder / "upper"
    upper.mkdir()
    names = [f"{number:04}{'x' * 246}" for number in range(2000)]
    parts = [upper, upper / names[0], upper / names[0] / names[0]]
    for folder in parts[1:]:
        folder.mkdir()
    for folder in parts:
        for name in names[1:]:
            (folder / name).symlink_to("x")
    result = await work("changes", {"upper": str(upper), "lowers": []})
    assert len(result["changes"]) == 3 * 1999 + 2
    assert sum(len(path) for _, path in result["changes"]) > 2 << 20


async def test_progress(short_folder: Path) -> None:
    told: list[Any] = []
    with open(short_folder / "blob", "w+b") as blob:
        blob.write(file("f") + END)
        blob.seek(0)
        fds = {"input": blob.fileno()}
        await work("unpack", {"folder": str(short_folder / "l")}, fds=fds, progress=told.append)
    assert told[-1] == {"current": 2048}


async def test_progress_that_fails_ends_the_worker(short_folder: Path) -> None:
    def refuse(_: Any) -> None:
        raise OSError("enough")

    with open(short_folder / "blob", "w+b") as blob:
        blob.write(file("f") + END)
        blob.seek(0)
        fds = {"input": blob.fileno()}
        with pytest.raises(OSError, match="enough"):
            await work("unpack", {"folder": str(short_folder / "l")}, fds=fds, progress=refuse)
    assert workers() == []


async def test_what_a_worker_has(short_folder: Path) -> None:
    layer = short_folder / "layer"
    with open(short_folder / "mine", "w") as mine:
        os.set_inheritable(mine.fileno(), True)
        async with stalled(layer) as (nursery, pid, _):
            process = Path(f"/proc/{pid}")
            fds = {os.readlink(fd) for fd in process.joinpath("fd").iterdir()}
            assert str(short_folder / "mine") not in fds
            assert sum(fd.startswith("socket:") for fd in fds) == 1
            status = dict(
                line.split(":\t", 1) for line in process.joinpath("status").read_text().splitlines()
            )
            assert status["Umask"].strip() == "0000"
            assert process.joinpath("root").readlink() == layer
            assert int(process.joinpath("oom_score_adj").read_text()) > 0
            environment = process.joinpath("environ").read_bytes()
            assert environment == b"PATH=/bin:/usr/bin\0LANG=C.UTF-8\0"
            nursery.cancel_scope.cancel()


async def test_cancelling_kills_and_reaps(short_folder: Path) -> None:
    async with stalled(short_folder / "layer") as (nursery, pid, _):
        begin = time.monotonic()
        nursery.cancel_scope.cancel()
    assert time.monotonic() - begin < limit(1)
    assert workers() == []
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_worker_that_is_killed(short_folder: Path) -> None:
    async with stalled(short_folder / "layer") as (_, pid, errors):
        os.kill(pid, signal.SIGKILL)
    [error] = errors
    assert str(error) == "unpack: the worker process was killed by signal 9"
    assert workers() == []


async def test_a_worker_that_stops_for_good_is_no_obstacle(short_folder: Path) -> None:
    async with stalled(short_folder / "layer") as (nursery, pid, _):
        os.kill(pid, signal.SIGSTOP)
        nursery.cancel_scope.cancel()
    assert workers() == []


def test_workers_die_with_the_supervisor(short_folder: Path) -> None:
    arguments = {"folder": str(short_folder / "l")}
    code = (
        "import os, trio; from supervisor.store.work import work; reading, writing = os.pipe(); "
        f"trio.run(lambda: work('unpack', {arguments!r}, fds={{'input': reading}}))"
    )
    daemon = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2])
    try:
        deadline = time.monotonic() + limit(20)
        while not (pids := workers(daemon.pid)) and time.monotonic() < deadline:
            time.sleep(0.01)
        [pid] = pids
    finally:
        daemon.kill()
        daemon.wait()
    deadline = time.monotonic() + limit(5)
    while comm(pid) == "orlop-worker" and state(pid) != "Z" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert state(pid) in ("", "Z")
    reap(pid)


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def reap(pid: int) -> None:
    """The orphan came to us: the test run is a subreaper."""
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)


async def test_only_so_many_at_once(short_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_module, "_workers", trio.CapacityLimiter(1))
    async with stalled(short_folder / "layer") as (nursery, _, _):
        with trio.move_on_after(0.3) as scope:
            await work("usage", {"folder": str(short_folder)})
        assert scope.cancelled_caught
        assert len(workers()) == 1
        nursery.cancel_scope.cancel()
    assert (await work("usage", {"folder": str(short_folder)}))["inodes"] > 1


async def test_many_at_once(short_folder: Path) -> None:
    results: list[Any] = []

    async def one() -> None:
        results.append(await work("usage", {"folder": str(short_folder)}))

    async with trio.open_nursery() as nursery:
        for _ in range(40):
            nursery.start_soon(one)
    assert len(results) == 40
    assert workers() == []


async def test_no_more_processes(short_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/does/not/exist")
    with pytest.raises(Unavailable, match="cannot start a worker process"):
        await work("usage", {"folder": str(short_folder)})
