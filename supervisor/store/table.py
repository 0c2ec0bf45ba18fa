"""The SQLite file behind `supervisor.store.database`: one table of records. Blocking.

WAL with synchronous=FULL: a commit that returned survives a power cut. One connection,
used by one thread. Every record carries a CRC, since SQLite checks its pages' structure
but not what is in them: a flipped bit costs one record, which is told, not all of them.
"""

from __future__ import annotations

import os
import sqlite3
import zlib
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import msgspec

from supervisor import failpoints
from supervisor.errors import Internal, OrlopError, Unavailable

MIGRATIONS = (
    """
    CREATE TABLE records (
        kind TEXT NOT NULL, key TEXT NOT NULL, doc BLOB NOT NULL, crc INTEGER NOT NULL,
        PRIMARY KEY (kind, key)
    );
    """,
)
"""Schema version N is what the first N scripts make; the table `migrations` says which ran."""

_SIDE_FILES = ("-wal", "-shm")
_ROWS = 64
_CORRUPT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class CorruptDatabase(Internal):
    """The database file is damaged; `path` names it. `quarantine` it and start anew."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"the database {path} is damaged: {why}")
        self.path = path


class Put(msgspec.Struct, frozen=True):
    """Store `doc` under `kind` and `key`, whatever was there."""

    kind: str
    key: str
    doc: bytes


class Delete(msgspec.Struct, frozen=True):
    """Remove the record, if there is one."""

    kind: str
    key: str


class RecordTable:
    """An open database file; construction raises CorruptDatabase or Unavailable."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damaged: set[tuple[str, str]] = set()
        try:
            # Made by us first: SQLite gives the -wal and -shm files the same mode.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._connection = _connect(path)
        except (sqlite3.Error, OSError) as error:
            raise self._error(error) from error
        try:
            self._check()
            self._migrate()
        except sqlite3.Error as error:
            self._connection.close()
            # The statements are right; so the tables in the file are not ours.
            if _code(error) == sqlite3.SQLITE_ERROR:
                raise CorruptDatabase(path, str(error)) from error
            raise self._error(error) from error
        except BaseException:
            self._connection.close()
            raise

    def write(self, operations: Iterable[Put | Delete]) -> None:
        """Carry out all operations in one durable transaction; none of them if it raises.

        Only the last operation on a record counts, and rows go in by the dozen: each
        statement gives up the interpreter's lock, and a busy event loop may keep it for
        5 ms before giving it back.
        """
        last = {(op.kind, op.key): op for op in operations}
        puts = [op for op in last.values() if isinstance(op, Put)]
        deletes = [op for op in last.values() if isinstance(op, Delete)]
        statements = [
            *(_upsert(puts[i : i + _ROWS]) for i in range(0, len(puts), _ROWS)),
            *(_delete(deletes[i : i + _ROWS]) for i in range(0, len(deletes), _ROWS)),
        ]
        try:
            if statements:
                failpoints.hit("database.commit")
            self._run(statements)
        except (sqlite3.Error, OSError) as error:
            raise self._error(error) from error
        if statements:
            failpoints.hit("database.committed")
        if self.damaged:
            self.damaged -= set(last)

    def _run(self, statements: list[tuple[str, list[str | bytes | int]]]) -> None:
        if not statements:
            return
        if len(statements) == 1:  # a transaction of its own
            self._connection.execute(*statements[0])
            return
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            for sql, values in statements:
                self._connection.execute(sql, values)
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def read(self, kind: str) -> list[tuple[str, bytes]]:
        """All records of a kind, by key. Damaged ones are left out and noted in `damaged`."""
        sql = "SELECT key, doc, crc FROM records WHERE kind = ? ORDER BY key"
        records = []
        try:
            for key, doc, crc in self._connection.execute(sql, (kind,)):
                if isinstance(doc, bytes) and crc == _crc(kind, key, doc):
                    records.append((key, doc))
                else:
                    self.damaged.add((kind, key))
        except sqlite3.Error as error:
            raise self._error(error) from error
        return records

    def close(self) -> None:
        """Check the WAL in and close the file."""
        self._connection.close()

    def _check(self) -> None:
        (verdict,) = self._connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise CorruptDatabase(self.path, verdict)

    def _migrate(self) -> None:
        connection = self._connection
        connection.execute(
            "CREATE TABLE IF NOT EXISTS migrations (version INTEGER PRIMARY KEY, at TEXT NOT NULL)"
        )
        (version,) = connection.execute(
            "SELECT coalesce(max(version), 0) FROM migrations"
        ).fetchone()
        if version > len(MIGRATIONS):
            raise Unavailable(
                f"the database {self.path} has schema version {version}; this orlop knows "
                f"{len(MIGRATIONS)}: use the newer orlop that wrote it"
            )
        for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
            note = f"INSERT INTO migrations VALUES ({number}, datetime('now'));"  # noqa: S608 # an int
            connection.executescript(f"BEGIN IMMEDIATE; {script} {note} COMMIT;")

    def _error(self, error: sqlite3.Error | OSError) -> OrlopError:
        if _code(error) in _CORRUPT:
            return CorruptDatabase(self.path, str(error))
        # Full disk, I/O error, read-only: nothing was written, and it may work later.
        return Unavailable(f"the database {self.path} cannot be used: {error}")


def quarantine(path: Path) -> Path:
    """Rename a damaged database aside, with its side files; gives the new name.

    The first free of PATH.corrupt, PATH.corrupt.2, …; `sqlite3 PATH.corrupt .recover`
    still finds its WAL.
    """
    number, target = 1, path.with_name(f"{path.name}.corrupt")
    while target.exists() or has_side_files(target):
        number += 1
        target = path.with_name(f"{path.name}.corrupt.{number}")
    # Side files first: a kill in between must not leave a WAL beside a new database.
    for suffix in (*_SIDE_FILES, ""):
        source = path.with_name(path.name + suffix)
        if source.exists():
            source.rename(target.with_name(target.name + suffix))
    return target


def has_side_files(path: Path) -> bool:
    """Whether SQLite's log or its index lies beside the database `path`."""
    return any(path.with_name(path.name + suffix).exists() for suffix in _SIDE_FILES)


def _code(error: BaseException) -> int:
    """SQLite's primary result code, 0 if the error is not SQLite's own."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF


def _connect(path: Path) -> sqlite3.Connection:
    # Opened, used and closed by one thread; Python's own check of that stays on.
    connection = sqlite3.connect(path, isolation_level=None, timeout=5.0)
    try:
        with closing(connection.cursor()) as cursor:
            cursor.execute("PRAGMA journal_mode = WAL")
            cursor.execute("PRAGMA synchronous = FULL")
            # A burst must not leave a WAL of its size behind for ever.
            cursor.execute("PRAGMA journal_size_limit = 16777216")
    except BaseException:
        connection.close()
        raise
    return connection


def _upsert(puts: list[Put]) -> tuple[str, list[str | bytes | int]]:
    rows = ",".join(["(?,?,?,?)"] * len(puts))
    sql = (
        f"INSERT INTO records VALUES {rows} "  # noqa: S608 # placeholders only
        "ON CONFLICT (kind, key) DO UPDATE SET doc = excluded.doc, crc = excluded.crc"
    )
    values: list[str | bytes | int] = []
    for put in puts:
        values += (put.kind, put.key, put.doc, _crc(put.kind, put.key, put.doc))
    return sql, values


def _delete(deletes: list[Delete]) -> tuple[str, list[str | bytes | int]]:
    rows = ",".join(["(?,?)"] * len(deletes))
    sql = f"DELETE FROM records WHERE (kind, key) IN (VALUES {rows})"  # noqa: S608 # as above
    return sql, [text for op in deletes for text in (op.kind, op.key)]


def _crc(kind: str, key: str, doc: bytes) -> int:
    return zlib.crc32(doc, zlib.crc32(f"{kind}\0{key}\0".encode()))
