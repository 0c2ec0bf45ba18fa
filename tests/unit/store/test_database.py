"""Group commit: who waits for what, what a cancellation does, what a kill leaves."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from supervisor.errors import Unavailable
from supervisor.store import database as module
from supervisor.store.database import CorruptDatabase, Database, Delete, Put
from supervisor.store.table import RecordTable

REPOSITORY = Path(__file__).parents[3]


class GatedTable(RecordTable):
    """Records each transaction; while `gate` is clear, a write waits in front of the disk."""

    gate = threading.Event()
    transactions: list[list[Put | Delete]]

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.transactions = []

    def write(self, operations: Iterable[Put | Delete]) -> None:
        taken = list(operations)
        self.transactions.append(taken)
        assert self.gate.wait(10)
        super().write(taken)


@pytest.fixture
def gated(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    GatedTable.gate = threading.Event()
    GatedTable.gate.set()
    monkeypatch.setattr(module, "RecordTable", GatedTable)
    return GatedTable.gate


def transactions(database: Database) -> list[list[Put | Delete]]:
    assert isinstance(database._table, GatedTable)
    return database._table.transactions


async def until_writing(database: Database, count: int = 1) -> None:
    with trio.fail_after(5):
        while len(transactions(database)) < count:
            await trio.sleep(0.001)


async def test_put_delete_all(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "db")
    await database.put("image", "a", b"1")
    await database.apply([Put("image", "b", b"2"), Delete("image", "a")])
    await database.put("image", "c", b"3")
    await database.delete("image", "c")
    assert await database.all("image") == [("b", b"2")]
    await database.close()
    await database.close()
    with pytest.raises(Unavailable, match="closed"):
        await database.put("image", "a", b"1")
    with pytest.raises(Unavailable, match="closed"):
        await database.all("image")
    reopened = await Database.open(tmp_path / "db")
    assert await reopened.all("image") == [("b", b"2")]
    await reopened.close()


async def test_a_submitted_write_happens_without_anybody_waiting(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "db")
    for i in range(100):
        database.submit([Put("k", "a", b"%d" % i)])
    assert await database.all("k") == [("a", b"99")]
    last = database.submit([Put("k", "b", b"last")])
    await database.close()
    assert last.done
    await last.wait()
    reopened = await Database.open(tmp_path / "db")
    assert await reopened.all("k") == [("a", b"99"), ("b", b"last")]
    await reopened.close()


async def test_what_waits_during_a_commit_is_one_following_transaction(
    tmp_path: Path, gated: threading.Event
) -> None:
    database = await Database.open(tmp_path / "db")
    gated.clear()
    returned = []

    async def write(number: int) -> None:
        await database.put("k", f"{number:02d}", b"x")
        returned.append(number)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write, 0)
        await until_writing(database)
        for number in range(1, 51):
            nursery.start_soon(write, number)
        await trio.testing.wait_all_tasks_blocked()
        assert returned == []
        gated.set()
    assert [len(group) for group in transactions(database)] == [1, 50]
    assert sorted(returned) == list(range(51))
    assert len(await database.all("k")) == 51
    await database.close()


async def test_a_writer_returns_only_after_its_own_commit(
    tmp_path: Path, gated: threading.Event
) -> None:
    database = await Database.open(tmp_path / "db")
    gated.clear()
    first = database.submit([Put("k", "first", b"")])
    await until_writing(database)
    second = database.submit([Put("k", "second", b"")])
    with trio.move_on_after(0.05):
        await first.wait()
    assert not first.done
    gated.set()
    await first.wait()
    await second.wait()
    await first.wait()
    await database.close()


async def test_cancelling_a_waiting_writer_loses_and_tears_nothing(
    tmp_path: Path, gated: threading.Event
) -> None:
    database = await Database.open(tmp_path / "db")
    gated.clear()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(database.put, "k", "running", b"1")
        await until_writing(database)
        nursery.start_soon(database.apply, [Put("k", f"waiting{i}", b"2") for i in range(3)])
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    other = database.submit([Put("k", "other", b"3")])
    gated.set()
    await other.wait()
    assert [key for key, _ in await database.all("k")] == [
        "other",
        "running",
        "waiting0",
        "waiting1",
        "waiting2",
    ]
    await database.close()


async def test_a_bad_write_fails_alone(tmp_path: Path, gated: threading.Event) -> None:
    database = await Database.open(tmp_path / "db")
    gated.clear()
    first = database.submit([Put("k", "a", b"")])
    await until_writing(database)
    good = database.submit([Put("k", "b", b"")])
    bad = database.submit([Put("k", "half of the bad", b""), Put("k", "\udc80", b"")])
    also_good = database.submit([Put("k", "c", b"")])
    gated.set()
    for ticket in (first, good, also_good):
        await ticket.wait()
    for _ in range(2):
        with pytest.raises(UnicodeEncodeError):
            await bad.wait()
    assert [key for key, _ in await database.all("k")] == ["a", "b", "c"]
    await database.close()


async def test_writes_take_effect_in_the_order_of_submission(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "db")
    for i in range(500):
        database.submit([Put("k", "x", b"%d" % i), Delete("k", "y")])
        database.submit([Put("k", "y", b"%d" % i)])
    assert await database.all("k") == [("x", b"499"), ("y", b"499")]
    await database.close()


async def test_a_damaged_database_is_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "db"
    path.write_bytes(b"nonsense" * 1000)
    with pytest.raises(CorruptDatabase):
        await Database.open(path)
    database, quarantined = await Database.open_or_quarantine(path)
    assert quarantined
    assert database.quarantined == tmp_path / "db.corrupt"
    assert database.fresh
    await database.put("k", "a", b"1")
    await database.close()
    database, quarantined = await Database.open_or_quarantine(path)
    assert not quarantined
    assert database.quarantined is None
    assert await database.all("k") == [("a", b"1")]
    await database.close()


async def test_fresh_until_settled(tmp_path: Path) -> None:
    path = tmp_path / "db"
    for _ in range(2):
        database = await Database.open(path)
        assert database.fresh
        await database.close()
    database = await Database.open(path)
    await database.settle()
    assert not database.fresh
    await database.close()
    database = await Database.open(path)
    assert not database.fresh
    await database.close()
    # The emptied file is a valid, empty database to SQLite; only this shows the loss.
    path.write_bytes(b"")
    database = await Database.open(path)
    assert database.fresh
    await database.close()


async def test_damaged_records_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "db"
    database = await Database.open(path)
    await database.put("k", "good", b"12345678")
    await database.put("k", "bad", b"ABCDEFGH")
    await database.close()
    path.write_bytes(path.read_bytes().replace(b"ABCDEFGH", b"ABCDEFGX"))
    database = await Database.open(path)
    assert await database.all("k") == [("good", b"12345678")]
    assert database.damaged == {("k", "bad")}
    assert "k bad is damaged" in caplog.text
    await database.close()


async def test_no_thread_is_left(tmp_path: Path) -> None:
    before = threading.active_count()
    database = await Database.open(tmp_path / "db")
    assert any(thread.name == "orlop-database" for thread in threading.enumerate())
    await database.close()
    with pytest.raises(Unavailable):
        await Database.open(tmp_path / "missing" / "db")
    # trio keeps the thread that joined ours for a while.
    assert not any(thread.name == "orlop-database" for thread in threading.enumerate())
    assert threading.active_count() <= before + 1


WRITER = """
import sys, trio
from pathlib import Path
from typing import Any
from supervisor.store.database import Database, Put

async def write(database, number):
    for i in range(100000):
        key = f"{number}-{i}"
        await database.apply([Put("k", key, b"x" * 500), Put("twin", key, b"x")])
        sys.stdout.write(key + "\\n")
        sys.stdout.flush()

async def main():
    database = await Database.open(Path(sys.argv[1]))
    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(write, database, number)

trio.run(main)
"""


@pytest.mark.parametrize("lines", [10, 500, 3000])
async def test_what_was_acknowledged_survives_a_kill(tmp_path: Path, lines: int) -> None:
    path = tmp_path / "db"
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], cwd=REPOSITORY, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        acknowledged = [writer.stdout.readline() for _ in range(lines)]
        writer.send_signal(signal.SIGKILL)
        acknowledged += writer.stdout.readlines()
    keys = {line.decode().strip() for line in acknowledged if line.endswith(b"\n")}
    assert len(keys) >= lines
    database = await Database.open(path)
    there = {key for key, _ in await database.all("k")}
    assert keys <= there
    # Each transaction wrote two records: none of them is torn.
    assert {key for key, _ in await database.all("twin")} == there
    await database.close()


@pytest.mark.bench
async def test_rate_of_sixteen_writers(tmp_path_factory: pytest.TempPathFactory) -> None:
    # Not in memory, as the other tests here: the disk is the point.
    database = await Database.open(tmp_path_factory.mktemp("disk") / "db")
    done = 0
    end = time.monotonic() + 2

    async def write(number: int) -> None:
        nonlocal done
        while time.monotonic() < end:
            await database.put("container", f"{number:064d}", b"x" * 4000)
            done += 1

    async with trio.open_nursery() as nursery:
        for number in range(16):
            nursery.start_soon(write, number)
    await database.close()
    print(f"{done / 2:.0f} durable puts/s")
    assert done / 2 >= 2000


async def test_a_loop_that_cannot_be_woken_is_told_with_the_next_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The thread goes on: what it has to tell is in the queue."""
    database = await Database.open(tmp_path / "db")
    real = database._trio

    class Deaf:
        def run_sync_soon(self, *arguments: Any) -> None:
            monkeypatch.setattr(database, "_trio", real)
            real.run_sync_soon(*arguments)
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(database, "_trio", Deaf())
    first = database.submit([Put("a", "1", b"1")])
    await database.put("a", "2", b"2")
    await first.wait()
    assert [key for key, _ in await database.all("a")] == ["1", "2"]
    await database.close()  # the thread has ended
    assert "waking the event loop" in caplog.text
