"""supervisor.kernel.inotify."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.errors import KernelError
from supervisor.kernel import inotify
from supervisor.kernel.inotify import Inotify, InotifyEvent
from tests.kernel.forked import error_of, is_cloexec


@pytest.fixture
def watch() -> Iterator[Inotify]:
    with Inotify() as watch:
        yield watch


def test_events_of_a_folder(watch: Inotify, tmp_path: Path) -> None:
    wd = watch.add(str(tmp_path), inotify.IN_CREATE | inotify.IN_DELETE | inotify.IN_CLOSE_WRITE)
    (tmp_path / "file").touch()
    (tmp_path / "file").unlink()
    (tmp_path / "folder").mkdir()
    assert watch.read() == [
        InotifyEvent(wd, inotify.IN_CREATE, "file"),
        InotifyEvent(wd, inotify.IN_CLOSE_WRITE, "file"),
        InotifyEvent(wd, inotify.IN_DELETE, "file"),
        InotifyEvent(wd, inotify.IN_CREATE | inotify.IN_ISDIR, "folder"),
    ]


@pytest.mark.parametrize("name", ["n" * 255, "x", "exactly16bytes_x", "a b\n", "\udcff"])
def test_names(name: str, watch: Inotify, tmp_path: Path) -> None:
    watch.add(str(tmp_path), inotify.IN_CREATE)
    os.close(os.open(f"{tmp_path}/{name}", os.O_WRONLY | os.O_CREAT))
    assert [event.name for event in watch.read()] == [name]


def test_events_of_a_file_have_no_name(watch: Inotify, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    wd = watch.add(str(tmp_path / "file"), inotify.IN_MODIFY)
    (tmp_path / "file").write_text("x")
    assert watch.read() == [InotifyEvent(wd, inotify.IN_MODIFY, "")]


def test_nothing_waits_and_then_something_does(watch: Inotify, tmp_path: Path) -> None:
    watch.add(str(tmp_path), inotify.IN_CREATE)
    assert watch.read() == []
    assert select.select([watch.fd], [], [], 0)[0] == []
    (tmp_path / "x").touch()
    assert select.select([watch.fd], [], [], 5)[0] == [watch.fd]


def test_many_events_are_all_read(watch: Inotify, tmp_path: Path) -> None:
    watch.add(str(tmp_path), inotify.IN_CREATE)
    names = {f"{number:0200}" for number in range(500)}
    for name in names:
        (tmp_path / name).touch()
    found: list[str] = []
    while events := watch.read():
        found += [event.name for event in events]
    assert len(found) == len(names)
    assert set(found) == names


def test_a_removed_watch_says_so_last(watch: Inotify, tmp_path: Path) -> None:
    wd = watch.add(str(tmp_path), inotify.IN_CREATE)
    watch.remove(wd)
    (tmp_path / "x").touch()
    assert watch.read() == [InotifyEvent(wd, inotify.IN_IGNORED, "")]
    assert error_of(watch.remove, wd) == "EINVAL"


def test_high_mask_bits_pass(watch: Inotify, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    mask = inotify.IN_ONESHOT | inotify.IN_MODIFY
    wd = watch.add(str(tmp_path / "file"), mask)
    (tmp_path / "file").write_text("x")
    assert [event.mask for event in watch.read()] == [inotify.IN_MODIFY, inotify.IN_IGNORED]
    assert wd > 0
    only_folders = inotify.IN_ONLYDIR | inotify.IN_CREATE
    assert error_of(watch.add, str(tmp_path / "file"), only_folders) == "ENOTDIR"


def test_what_is_not_there(watch: Inotify, tmp_path: Path) -> None:
    with pytest.raises(KernelError) as caught:
        watch.add(str(tmp_path / "none"), inotify.IN_CREATE)
    assert caught.value.path == str(tmp_path / "none")


def test_the_descriptor(tmp_path: Path) -> None:
    watch = Inotify()
    assert is_cloexec(watch.fd)
    assert not os.get_blocking(watch.fd)
    watch.close()
    watch.close()
    assert watch.fd == -1
    assert error_of(watch.read) == "EBADF"
