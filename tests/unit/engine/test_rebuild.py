"""Which records a start finds: those of rows, those of copies, those that are lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from supervisor.engine.rebuild import Loaded, load
from supervisor.engine.record import Record, decode
from supervisor.lifecycle.machine import Phase
from supervisor.store import record_copies
from supervisor.wire.shim_protocol import SOCKET_NAME
from tests.unit.engine.test_record import record

ONE, TWO, THREE = (letter * 64 for letter in "abc")


class Root:
    """A data root with containers, and the rows of its database."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[str, bytes] = {}
        self.damaged: list[str] = []
        self.fresh = False

    def add(
        self, key: str, name: str, *, row: bool = True, copy: bool = True, **state: Any
    ) -> Record:
        made = record(id=key, name=name)
        made.state = replace(made.state, **state)
        bundle = self.bundle(key)
        bundle.mkdir(parents=True, exist_ok=True)
        if row:
            self.rows[key] = made.encode()
        if copy:
            record_copies.add(bundle, made.encode())
        return made

    def bundle(self, key: str) -> Path:
        return self.path / "containers" / key

    def load(self) -> Loaded:
        rows = [(key, doc) for key, doc in self.rows.items() if key not in self.damaged]
        return load(self.path, rows, self.damaged, fresh=self.fresh)


@pytest.fixture
def root(tmp_path: Path) -> Root:
    (tmp_path / "containers").mkdir()
    return Root(tmp_path)


def shown(loaded: Loaded) -> dict[str, tuple[str, Phase, int]]:
    return {one.id: (one.name, one.state.phase, one.state.run) for one in loaded.records}


def restored(loaded: Loaded) -> list[str]:
    assert all(one in loaded.records for one in loaded.restored)
    return [one.id for one in loaded.restored]


def test_rows_that_can_be_read(root: Root) -> None:
    root.add(ONE, "one")
    root.add(TWO, "two", phase=Phase.EXITED, run=3)
    loaded = root.load()
    assert shown(loaded) == {ONE: ("one", Phase.CREATED, 0), TWO: ("two", Phase.EXITED, 3)}
    assert (loaded.restored, loaded.unreadable) == ([], set())


def test_all_rows_are_lost(root: Root) -> None:
    root.add(ONE, "one", row=False)
    root.add(TWO, "two", row=False, phase=Phase.EXITED, run=3)
    root.fresh = True
    loaded = root.load()
    assert shown(loaded) == {ONE: ("one", Phase.CREATED, 0), TWO: ("two", Phase.EXITED, 3)}
    assert (restored(loaded), loaded.unreadable) == ([ONE, TWO], set())


def test_the_latest_rows_are_lost(root: Root) -> None:
    """With the database's log: what nobody was told of has no copy."""
    root.add(ONE, "one")
    root.add(TWO, "two", row=False)
    root.add(THREE, "half-made", row=False, copy=False)
    loaded = root.load()
    assert set(shown(loaded)) == {ONE, TWO}
    assert (restored(loaded), loaded.unreadable) == ([TWO], set())


def test_rows_of_removed_containers_go_with_the_latest_that_are_lost(root: Root) -> None:
    root.add(ONE, "web")
    (root.bundle(ONE) / record_copies.FILE_NAME).unlink()
    root.bundle(ONE).rmdir()
    assert set(shown(root.load())) == {ONE}, "somebody may have taken its bundle away"
    root.add(TWO, "web", row=False)
    loaded = root.load()
    assert shown(loaded) == {TWO: ("web", Phase.CREATED, 0)}
    assert (restored(loaded), loaded.removed) == ([TWO], [ONE])


@pytest.mark.parametrize("how", ["damaged", "nonsense", "version"])
def test_one_row_that_cannot_be_read(root: Root, how: str) -> None:
    root.add(ONE, "one")
    root.add(TWO, "two")
    if how == "damaged":
        root.damaged = [ONE]
    elif how == "nonsense":
        root.rows[ONE] = b"{"
    else:
        root.rows[ONE] = root.rows[ONE].replace(b'"version":1', b'"version":99')
    loaded = root.load()
    assert set(shown(loaded)) == {ONE, TWO}
    assert (restored(loaded), loaded.unreadable) == ([ONE], set())


@pytest.mark.parametrize("copy", [None, b"", b"\n00000000 {}\n", "of another"])
def test_neither_row_nor_copy(root: Root, copy: bytes | str | None) -> None:
    """Such a container is left alone."""
    root.add(ONE, "one", copy=False)
    if isinstance(copy, bytes):
        (root.bundle(ONE) / record_copies.FILE_NAME).write_bytes(copy)
    elif copy is not None:
        record_copies.add(root.bundle(ONE), root.add(TWO, "two").encode())
    root.damaged = [ONE]
    loaded = root.load()
    assert ONE not in shown(loaded)
    assert loaded.unreadable == {ONE}


def test_bundles_without_copies_when_all_rows_are_lost(root: Root) -> None:
    """They may be containers from before there were copies."""
    root.add(ONE, "one", row=False, copy=False)
    root.fresh = True
    loaded = root.load()
    assert (loaded.records, loaded.unreadable) == ([], {ONE})


def test_a_record_gets_the_copy_that_it_has_not(root: Root) -> None:
    made = root.add(ONE, "one", copy=False)
    root.load()
    assert record_copies.latest(root.bundle(ONE)) == made.encode()
    root.add(TWO, "two", copy=False)
    root.bundle(TWO).rmdir()
    assert set(shown(root.load())) == {ONE, TWO}, "one without a bundle is no matter"


def test_a_row_that_is_behind_a_shim(root: Root) -> None:
    root.add(ONE, "one", row=False, phase=Phase.RUNNING, run=2, live=True, pid=7)
    root.add(ONE, "one", copy=False, phase=Phase.EXITED, run=1)
    assert shown(root.load())[ONE] == ("one", Phase.EXITED, 1), "nothing says that it ran again"
    (root.bundle(ONE) / SOCKET_NAME).touch()
    loaded = root.load()
    assert shown(loaded)[ONE] == ("one", Phase.RUNNING, 2)
    assert restored(loaded) == [ONE]


def test_a_row_that_is_as_its_shim(root: Root) -> None:
    """The row is the record: a copy may be of a transaction that failed."""
    root.add(ONE, "other", row=False, phase=Phase.RUNNING, run=2, live=True)
    root.add(ONE, "one", copy=False, phase=Phase.RUNNING, run=2, live=True, pid=7)
    (root.bundle(ONE) / SOCKET_NAME).touch()
    loaded = root.load()
    assert shown(loaded)[ONE][0] == "one"
    assert loaded.restored == []


def test_a_name_that_another_has_meanwhile(root: Root) -> None:
    root.add(ONE, "web")
    root.add(TWO, "web", row=False)
    loaded = root.load()
    assert shown(loaded)[ONE][0] == "web"
    assert shown(loaded)[TWO][0] == f"{TWO[:12]}_web"
    names = [decode(one.encode()).name for one in loaded.restored]
    assert names == [f"{TWO[:12]}_web"], "and so it will be written"
