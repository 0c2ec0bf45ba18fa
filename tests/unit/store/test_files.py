"""Atomic writes and deletions."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from supervisor.store.files import discard, empty_trash, write_atomic, write_synced


@pytest.fixture
def trash(tmp_path: Path) -> Path:
    trash = tmp_path / "trash"
    trash.mkdir()
    return trash


def test_write_atomic_replaces_and_sets_the_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    write_atomic(path, b"new", 0o640)
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["file"]


def test_write_atomic_keeps_the_old_file_when_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_write_atomic_syncs_the_file_before_the_rename_and_the_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    synced: list[tuple[bool, bool]] = []
    real = os.fsync

    def fsync(fd: int) -> None:
        synced.append((stat.S_ISDIR(os.fstat(fd).st_mode), path.exists()))
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    write_atomic(path, b"new")
    assert synced == [(False, False), (True, True)]


def test_write_synced_makes_new_files_only(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("target")
    for name in ("link", "."):
        with pytest.raises(OSError, match="exists"):
            write_synced(tmp_path / name, b"x")
    assert not (tmp_path / "target").exists()


def test_discard_hides_at_once_and_tolerates_absence(tmp_path: Path, trash: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "inner").mkdir(parents=True)
    assert discard(folder, trash)
    assert not folder.exists()
    assert not discard(folder, trash)
    folder.mkdir()
    assert discard(folder, trash)  # the same name twice
    assert len(os.listdir(trash)) == 2


def test_discard_without_a_trash_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    with pytest.raises(FileNotFoundError):
        discard(tmp_path / "x", tmp_path / "nowhere")
    assert (tmp_path / "x").exists()


def test_emptying_never_follows_a_link(tmp_path: Path, trash: Path) -> None:
    canary = tmp_path / "canary"
    (canary / "sub").mkdir(parents=True)
    (canary / "file").write_bytes(b"alive")
    folder = trash / "x"
    folder.mkdir()
    (folder / "dir-link").symlink_to(canary)
    (folder / "file-link").symlink_to(canary / "file")
    (trash / "top-link").symlink_to(canary)
    (folder / "dangling").symlink_to("nowhere")
    os.mkfifo(folder / "fifo")
    assert empty_trash(trash) == ()
    assert os.listdir(trash) == []
    assert (canary / "file").read_bytes() == b"alive"
    assert (canary / "sub").is_dir()


def test_emptying_a_tree_deeper_than_any_path_or_stack(trash: Path) -> None:
    depth = 1100  # past the limits of a path, of the stack and of open files
    fd = os.open(trash, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d" * 200, dir_fd=fd)
        inner = os.open("d" * 200, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(os.open("leaf", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)
    before = len(os.listdir("/proc/self/fd"))
    assert empty_trash(trash) == ()
    assert os.listdir(trash) == []
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_cannot_be_deleted_is_told_and_the_rest_goes(
    trash: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "bad", "c"):
        (trash / name).touch()
    real = os.unlink

    def unlink(name: str, *, dir_fd: int) -> None:
        if name == "bad":
            raise PermissionError(1, "Operation not permitted", name)
        real(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", unlink)
    failures = empty_trash(trash)
    assert [error.filename for error in failures] == ["bad"]
    assert os.listdir(trash) == ["bad"]


def test_two_emptying_the_same_trash(trash: Path) -> None:
    for i in range(30):
        for j in range(10):
            folder = trash / str(i) / str(j)
            folder.mkdir(parents=True)
            (folder / "file").touch()
    failures: list[OSError] = []
    threads = [
        threading.Thread(target=lambda: failures.extend(empty_trash(trash))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert os.listdir(trash) == []
