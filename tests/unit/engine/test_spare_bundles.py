"""Bundles made ahead of need: of the kinds asked for last, whole, and nobody's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from supervisor.engine.spare_bundles import KEPT, MOST_KINDS, Kind, SpareBundles, make
from supervisor.engine.stubs import Folder, Stubs

PLAIN = Kind(
    Stubs(Folder(0o755), ("proc",), (("etc", Folder(0o750), ("hosts",)),)),
    (("config.json", 0o600), ("hosts", 0o644)),
)


def kind(number: int) -> Kind:
    return Kind(Stubs(Folder(0o755), (f"folder{number}",), ()))


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    found = tmp_path / "spares", tmp_path / "trash"
    for folder in found:
        folder.mkdir()
    return found


@pytest.fixture
def spares(places: tuple[Path, Path]) -> SpareBundles:
    return SpareBundles(*places)


def tree(folder: str | Path) -> dict[str, int]:
    base = Path(folder)
    return {str(p.relative_to(base)): p.lstat().st_mode & 0o7777 for p in base.rglob("*")}


def test_nothing_is_made_before_it_is_asked_for(
    spares: SpareBundles, places: tuple[Path, Path]
) -> None:
    spares.fill()
    assert os.listdir(places[0]) == []


def test_a_spare_is_what_would_be_made(spares: SpareBundles, tmp_path: Path) -> None:
    assert spares.take(PLAIN) == ""
    spares.fill()
    spare = spares.take(PLAIN)
    assert tree(spare) == tree(make(PLAIN, tmp_path, tmp_path))
    assert tree(spare) == {
        "upper": 0o755,
        "upper/proc": 0o755,
        "upper/etc": 0o750,
        "upper/etc/hosts": 0o644,
        "work": 0o700,
        "config.json": 0o600,
        "hosts": 0o644,
    }


def test_each_is_given_once_and_replaced(spares: SpareBundles, places: tuple[Path, Path]) -> None:
    spares.take(PLAIN)
    for _ in range(2):
        spares.fill()
        assert len(os.listdir(places[0])) == KEPT
        taken = [spares.take(PLAIN) for _ in range(KEPT + 1)]
        assert len(set(taken)) == KEPT + 1
        assert taken[-1] == ""
        for path in taken[:-1]:
            os.rename(path, f"{places[1]}/{Path(path).name}")


def test_only_the_last_kinds_are_kept(spares: SpareBundles, places: tuple[Path, Path]) -> None:
    for number in range(MOST_KINDS + 1):
        spares.take(kind(number))
        spares.fill()
    assert len(os.listdir(places[0])) == MOST_KINDS * KEPT
    assert len(os.listdir(places[1])) == KEPT
    assert spares.take(kind(0)) == ""
    assert spares.take(kind(MOST_KINDS)) != ""


def test_what_a_kill_has_left_is_swept(spares: SpareBundles, places: tuple[Path, Path]) -> None:
    make(PLAIN, *places)
    (places[0] / "half").mkdir()
    spares.sweep()
    assert os.listdir(places[0]) == []
    assert len(os.listdir(places[1])) == 2


def test_the_end_leaves_none(spares: SpareBundles, places: tuple[Path, Path]) -> None:
    spares.take(PLAIN)
    spares.fill()
    spares.close()
    spares.fill()
    assert spares.take(PLAIN) == ""
    spares.fill()
    assert os.listdir(places[0]) == []


def test_a_disk_that_takes_nothing_is_no_error(
    spares: SpareBundles, places: tuple[Path, Path]
) -> None:
    spares.take(PLAIN)
    places[0].rmdir()
    spares.fill()
    places[0].mkdir()
    spares.fill()
    assert spares.take(PLAIN) != ""


def test_one_that_fails_half_way_is_thrown_away(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Kind(PLAIN.upper, (("config.json", 0o600), ("config.json", 0o600)))
    with pytest.raises(FileExistsError):
        make(broken, *places)
    assert os.listdir(places[0]) == []
    assert len(os.listdir(places[1])) == 1
