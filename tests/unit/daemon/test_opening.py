"""A data root whose records cannot be used: damaged ones are kept, newer not touched."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import trio

from supervisor.daemon.config import Config
from supervisor.daemon.main import serve
from supervisor.daemon.opening import claimed, open_database
from supervisor.daemon.pulse import Pulse
from supervisor.errors import Conflict, Unavailable
from supervisor.kernel.cgroups import Hierarchy, Layout
from supervisor.store.database import Database
from supervisor.store.layout import DataRoot
from supervisor.store.table import MIGRATIONS

ID = "ab" * 32


@pytest.fixture
async def root(tmp_path: Path) -> DataRoot:
    """A data root that was in use, with one container."""
    root = DataRoot(tmp_path / "data")
    root.prepare()
    database = await Database.open(root.db)
    await database.put("container", ID, b"{}")
    await database.settle()
    await database.close()
    root.bundle(ID).mkdir()
    (root.bundle(ID) / "upper").mkdir()
    return root


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in folder.rglob("*")
        if not path.name.endswith(("-shm", "-wal"))
    }


async def refused(root: DataRoot) -> str:
    before = contents(root.path)
    with pytest.raises(Unavailable) as caught:
        await open_database(root)
    assert contents(root.path) == before
    assert "\n" not in caught.value.message
    return caught.value.message


async def test_a_good_one_is_opened(root: DataRoot) -> None:
    database = await open_database(root)
    assert await database.all("container") == [(ID, b"{}")]
    await database.close()


BEGUN_ANEW = "the records of 1 containers are lost: their copies are looked for"


async def opened_anew(root: DataRoot) -> None:
    """The database is new, and that is said until somebody calls it complete."""
    database = await open_database(root)
    assert database.fresh
    assert await database.all("container") == []
    await database.close()
    assert root.bundle(ID).is_dir()


async def test_a_damaged_one(root: DataRoot, caplog: pytest.LogCaptureFixture) -> None:
    damaged = b"nonsense" + root.db.read_bytes()[8:]
    root.db.write_bytes(damaged)
    await opened_anew(root)
    assert Path(f"{root.db}.corrupt").read_bytes() == damaged
    assert f"it is kept as {root.db}.corrupt" in caplog.text
    assert BEGUN_ANEW in caplog.text


async def test_one_with_a_damaged_page(root: DataRoot, caplog: pytest.LogCaptureFixture) -> None:
    data = root.db.read_bytes()
    damaged = data[:4096] + bytes(b ^ 0x55 for b in data[4096:])
    root.db.write_bytes(damaged)
    await opened_anew(root)
    assert Path(f"{root.db}.corrupt").read_bytes() == damaged
    assert BEGUN_ANEW in caplog.text


@pytest.mark.parametrize("beginning", [None, b"", bytes(4096)])
async def test_the_log_of_a_damaged_one_is_kept(root: DataRoot, beginning: bytes | None) -> None:
    log = Path(f"{root.db}-wal")
    for number, aside in enumerate((".corrupt", ".corrupt.2")):
        log.write_bytes(b"what was not yet written into the file %d" % number)
        if beginning is None:
            root.db.unlink()
        else:
            root.db.write_bytes(beginning)
        await opened_anew(root)
        kept = Path(f"{root.db}{aside}-wal").read_bytes()
        assert kept == b"what was not yet written into the file %d" % number


async def test_one_that_is_gone(root: DataRoot, caplog: pytest.LogCaptureFixture) -> None:
    root.db.unlink()
    for _ in range(2):  # nor is it forgotten the next time
        caplog.clear()
        await opened_anew(root)
        assert BEGUN_ANEW in caplog.text


async def test_a_new_data_root(tmp_path: Path) -> None:
    root = DataRoot(tmp_path / "data")
    root.prepare()
    database = await open_database(root)
    assert database.fresh
    await database.close()


async def test_a_newer_schema_stops_the_daemon_before_it_does_anything(
    root: DataRoot, tmp_path: Path
) -> None:
    newer = len(MIGRATIONS) + 1
    with closing(sqlite3.connect(root.db)) as connection, connection:
        connection.execute("INSERT INTO migrations VALUES (?, 'later')", (newer,))
    said = await refused(root)
    assert f"has schema version {newer}; this orlop knows {len(MIGRATIONS)}" in said
    root.release()
    config = Config(
        data_root=str(root.path), run_root=str(tmp_path / "run"), host=(f"unix://{tmp_path}/s",)
    )
    before = contents(root.path)
    with pytest.raises(Unavailable, match=f"schema version {newer}"), trio.fail_after(10):
        await serve(config, Pulse())
    assert contents(root.path) | {"lock": b""} == before | {"lock": b""}
    assert sorted(os.listdir(tmp_path)) == ["data"]


def test_groups_are_one_daemon_s(tmp_path: Path) -> None:
    (tmp_path / "orlop").mkdir()
    (tmp_path / "other").mkdir()
    layout = Layout(kind="unified", unified=str(tmp_path))
    with claimed(Hierarchy(layout, "orlop")):
        with pytest.raises(Conflict, match="give this one a --cgroup-parent of its own"):
            claimed(Hierarchy(layout, "orlop")).__enter__()
        with claimed(Hierarchy(layout, "other")):
            pass
    with claimed(Hierarchy(layout, "orlop")), claimed(Hierarchy(Layout(kind="none"))):
        pass
