"""Many copies at once, with their workers killed under them: what stays is whole."""

from __future__ import annotations

import io
import os
import random
import signal
import tarfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from http.client import HTTPException
from pathlib import Path

from supervisor.engine.tree_use import START_PATIENCE
from tests.api.box import IMAGE, Box, eventually
from tests.support import procfs
from tests.support.daemon import UnixConnection
from tests.support.pace import limit
from tests.support.tree_rig import make_tar, member

COPIES = 64
NAMES = ("at-rest", "alive")
BODY = b"0123456789abcdef" * 60_000


def request(box: Box, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    """One request on a connection of its own; status 0 where the answer was cut off."""
    with closing(UnixConnection(box.daemon.socket, limit(60))) as connection:
        try:
            connection.request(method, path, body=body, headers={"Connection": "close"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (HTTPException, OSError):
            return 0, b""


def copy(box: Box, number: int) -> str:
    """One of the copies; how it went. Whatever was answered as whole is whole."""
    name = NAMES[number % 2]
    kind = number // 2 % 3
    if kind == 0:
        tar = make_tar([member(f"in-{number}", BODY), member(f"done-{number}", b"1")])
        status, _ = request(box, "PUT", f"/containers/{name}/archive?path=/tmp", tar)
    else:
        what = "export" if kind == 1 else "archive?path=/etc"
        status, data = request(box, "GET", f"/containers/{name}/{what}")
        if status == 200:
            with tarfile.open(fileobj=io.BytesIO(data)) as tar_file:
                assert "etc/passwd" in tar_file.getnames()
    assert status in (200, 0, 503, 409), (status, kind)
    return "whole" if status == 200 else "cut off" if status == 0 else "refused"


def workers(box: Box) -> list[procfs.Process]:
    """The daemon's worker processes now."""
    return [p for p in box.daemon.processes() if p.name == "orlop-worker"]


@contextmanager
def killing(box: Box) -> Iterator[Counter[str]]:
    """SIGKILL to some worker every few milliseconds, until the end of the block.

    Those with an odd pid are spared: however slow they are, some come through.
    """
    over = threading.Event()
    killed: Counter[str] = Counter()

    def kill() -> None:
        while not over.wait(0.05):
            found = [worker for worker in workers(box) if worker.pid % 2 == 0]
            if found:
                with suppress(ProcessLookupError):
                    os.kill(random.choice(found).pid, signal.SIGKILL)
                    killed["killed"] += 1

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


def test_copies_whose_workers_are_killed(box: Box) -> None:
    box.ok("create", "--name", "at-rest", IMAGE, "ls", "/tmp")
    box.start("--name", "alive")
    before = procfs.mounts()
    with ThreadPoolExecutor(COPIES) as pool:
        with killing(box) as killed:
            went = Counter(pool.map(lambda number: copy(box, number), range(2 * COPIES)))
        assert went["whole"], went
        assert killed["killed"], went
        # No harm done: all of them work when nobody kills.
        again = Counter(pool.map(lambda number: copy(box, number), range(COPIES)))
    assert again == {"whole": COPIES}
    eventually(lambda: not workers(box))
    assert procfs.mounts() == before
    assert "Traceback" not in box.daemon.log
    upper = Path(box.inspect("at-rest")["GraphDriver"]["Data"]["UpperDir"])
    for path in (upper / "tmp").iterdir():
        wanted = len(BODY) if path.name.startswith("in-") else 1
        assert path.stat().st_size == wanted, f"a part of {path.name} is there"
    assert "done-" in box.ok("start", "-a", "at-rest")


def test_a_start_among_copies(box: Box) -> None:
    """Starts and copies take turns: each start sees what was copied before it, and no copy is
    cut off that does not take long."""
    box.ok("create", "--name", "at-rest", IMAGE, "sh", "-c", "ls /tmp | wc -l")
    box.start("--name", "alive")
    over = threading.Event()
    went: Counter[str] = Counter()

    def copies(number: int) -> None:
        while not over.is_set():
            went[copy(box, number)] += 1

    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(copies, number) for number in (0, 2, 4, 6)]
        try:
            seen = []
            for _ in range(5):
                box.ok("start", "-a", "at-rest")
                seen = box.logs("at-rest").split()
                time.sleep(0.2)
        finally:
            over.set()
        for future in done:
            future.result()
    assert len(seen) == 5
    assert set(went) == {"whole"}, went


def test_a_client_that_takes_nothing_holds_up_no_start(box: Box) -> None:
    box.ok("create", "--name", "wanted", IMAGE, "sleep", "1000")
    with box.running("export", "wanted"):  # its pipe is never read
        eventually(lambda: workers(box))
        began = time.monotonic()
        box.ok("start", "wanted")
        assert time.monotonic() - began < limit(START_PATIENCE + 10)
        eventually(lambda: not workers(box))
    assert box.status("wanted") == "running"


def test_a_daemon_that_is_killed_leaves_no_copy_behind(new_box: Box) -> None:
    new_box.ok("create", "--name", "at-rest", IMAGE, "true")
    new_box.start("--name", "alive")
    before = procfs.mounts()
    with new_box.running("export", "at-rest"), new_box.running("export", "alive"):
        eventually(lambda: len(workers(new_box)) == 2)
        new_box.daemon.kill()
        eventually(lambda: not workers(new_box))
    assert procfs.mounts() == before
    new_box.daemon.start()
    for number in range(6):
        assert copy(new_box, number) == "whole"
    new_box.ok("start", "at-rest")
