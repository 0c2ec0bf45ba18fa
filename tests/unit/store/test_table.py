"""The SQLite file: damage of every kind, migrations, quarantine."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from supervisor.errors import Internal, Unavailable
from supervisor.store import table
from supervisor.store.table import CorruptDatabase, Delete, Put, RecordTable, quarantine


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orlop.db"


def fill(path: Path, records: int = 200) -> None:
    with closing(RecordTable(path)) as opened:
        opened.write(Put("container", f"{i:03d}", b"doc%03d" % i * 50) for i in range(records))


def test_records_come_back_by_key_and_per_kind(path: Path) -> None:
    with closing(RecordTable(path)) as opened:
        opened.write([Put("image", "b", b"2"), Put("image", "a", b"\0\xff"), Put("x", "a", b"3")])
        assert opened.read("image") == [("a", b"\0\xff"), ("b", b"2")]
        assert opened.read("none") == []
    with closing(RecordTable(path)) as opened:
        assert opened.read("x") == [("a", b"3")]


def test_the_last_operation_on_a_record_counts(path: Path) -> None:
    with closing(RecordTable(path)) as opened:
        opened.write(
            [Put("k", "a", b"1"), Delete("k", "a"), Put("k", "a", b"2"), Put("k", "b", b"1")]
        )
        opened.write([Put("k", "b", b"2"), Delete("k", "b"), Delete("k", "never was")])
        assert opened.read("k") == [("a", b"2")]
        opened.write([])


def test_many_operations_in_one_go(path: Path) -> None:
    with closing(RecordTable(path)) as opened:
        opened.write(Put("k", f"{i:04d}", b"x") for i in range(1000))
        opened.write(Delete("k", f"{i:04d}") for i in range(0, 1000, 2))
        assert [key for key, _ in opened.read("k")] == [f"{i:04d}" for i in range(1, 1000, 2)]


def test_a_failing_transaction_changes_nothing(path: Path) -> None:
    with closing(RecordTable(path)) as opened:
        opened.write([Put("k", "a", b"1")])
        opened._connection.execute(
            "CREATE TRIGGER no BEFORE DELETE ON records BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
        with pytest.raises(Unavailable):
            opened.write([Put("k", "b", b"1"), Delete("k", "a")])
        assert opened.read("k") == [("a", b"1")]
        opened.write([Put("k", "c", b"1")])
        assert [key for key, _ in opened.read("k")] == ["a", "c"]


def test_durable_settings_and_modes(path: Path) -> None:
    with closing(RecordTable(path)) as opened:
        opened.write([Put("k", "a", b"1")])
        (mode,) = opened._connection.execute("PRAGMA journal_mode").fetchone()
        (synchronous,) = opened._connection.execute("PRAGMA synchronous").fetchone()
        assert (mode, synchronous) == ("wal", 2)
        for file in path.parent.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "header": lambda path: overwrite(path, 0, b"\0" * 100),
    "random": lambda path: path.write_bytes(bytes(range(256)) * 64),
    "short": lambda path: path.write_bytes(b"SQLite"),
    "truncated": lambda path: os.truncate(path, 4096 * 3),
    "a zeroed page": lambda path: overwrite(path, 4096, b"\0" * 4096),
    "flips": lambda path: overwrite(path, 4096 * 2, (b"\xff" * 64).ljust(4096, b"\0") * 6),
    "another program's": lambda path: path.write_bytes(_foreign(path)),
}


def _foreign(path: Path) -> bytes:
    other = path.with_name("other.db")
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE migrations (name TEXT)")
        connection.commit()
    data = other.read_bytes()
    other.unlink()
    return data


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_file_is_one_clear_error_and_can_be_put_aside(path: Path, kind: str) -> None:
    fill(path)
    DAMAGE[kind](path)
    before = path.read_bytes()
    with pytest.raises(CorruptDatabase) as caught:
        RecordTable(path)
    assert caught.value.path == path
    assert isinstance(caught.value, Internal)
    aside = quarantine(path)
    assert aside == path.with_name("orlop.db.corrupt")
    assert aside.read_bytes() == before
    fill(path)
    path.write_bytes(b"again")
    assert quarantine(path) == path.with_name("orlop.db.corrupt.2")
    assert aside.read_bytes() == before


def test_quarantine_takes_the_side_files_along(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).write_text(suffix)
    aside = quarantine(path)
    assert sorted(os.listdir(path.parent)) == [
        "orlop.db.corrupt",
        "orlop.db.corrupt-shm",
        "orlop.db.corrupt-wal",
    ]
    assert aside.with_name(aside.name + "-wal").read_text() == "-wal"


def test_a_flip_inside_one_record_costs_that_record(path: Path) -> None:
    fill(path)
    data = path.read_bytes()
    overwrite(path, data.index(b"doc123doc123") + 3, b"X")
    with closing(RecordTable(path)) as opened:
        assert [key for key, _ in opened.read("container")] == [
            f"{i:03d}" for i in range(200) if i != 123
        ]
        assert opened.damaged == {("container", "123")}
        opened.write([Put("container", "123", b"new")])
        assert opened.damaged == set()
        assert ("123", b"new") in opened.read("container")


def test_a_newer_schema_is_no_damage(path: Path) -> None:
    fill(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO migrations VALUES (99, 'later')")
        connection.commit()
    with pytest.raises(Unavailable, match="schema version 99"):
        RecordTable(path)


def test_migrations_run_once_each_and_keep_the_records(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(path)
    more = (*table.MIGRATIONS, "CREATE TABLE extra (a); INSERT INTO extra VALUES (1);")
    monkeypatch.setattr(table, "MIGRATIONS", more)
    for _ in range(2):
        with closing(RecordTable(path)) as opened:
            assert len(opened.read("container")) == 200
            rows = opened._connection.execute("SELECT a FROM extra").fetchall()
            versions = opened._connection.execute("SELECT version FROM migrations").fetchall()
            assert (rows, versions) == ([(1,)], [(1,), (2,)])


def test_a_migration_that_fails_leaves_the_old_version(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(path)
    with monkeypatch.context() as patched:
        patched.setattr(table, "MIGRATIONS", (*table.MIGRATIONS, "CREATE TABLE e (a); NONSENSE;"))
        with pytest.raises(CorruptDatabase):
            RecordTable(path)
    with closing(RecordTable(path)) as opened:
        assert len(opened.read("container")) == 200
        tables = opened._connection.execute("SELECT name FROM sqlite_master WHERE name = 'e'")
        assert tables.fetchall() == []


def test_a_path_that_cannot_be_opened_is_no_damage(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        RecordTable(tmp_path / "missing" / "orlop.db")
    with pytest.raises(Unavailable):
        RecordTable(tmp_path)
