"""Which files of a group are read when, on a folder that looks like a group."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from metrics.parse import group
from metrics.serve.files import _TURNS, Budget, GroupFiles
from tests.unit.metrics import trees

BUSY = "usage_usec 9\nuser_usec 0\nsystem_usec 0\n"


@pytest.fixture
def folders(tmp_path: Path) -> trees.Folders:
    return trees.v2(tmp_path / "web")


@pytest.fixture
def files(folders: trees.Folders) -> Iterator[GroupFiles]:
    made = GroupFiles(folders, Budget())
    yield made
    made.close()


def write(folders: trees.Folders, name: str, text: str) -> None:
    Path(folders.unified, name).write_text(text)


def rested(files: GroupFiles) -> None:
    """Read until only what others do to it is read."""
    for glance in (True, False):
        files.read(glance=glance)
        files.read(glance=glance, thorough=True)


def test_what_reads_as_before_is_the_same_object(files: GroupFiles) -> None:
    for glance in (True, False):
        rested(files)
        first = files.read(glance=glance)
        assert files.read(glance=glance) is first
        assert files.read(glance=glance) == first


def test_a_glance_is_of_a_few(files: GroupFiles, folders: trees.Folders) -> None:
    for _ in range(3):  # opened first, then kept open
        assert set(files.read(glance=True)) == {"cpu", "memory", "io"}
    assert len(files.read(glance=False)) > 10
    write(folders, "memory.current", "77\n")
    assert files.read(glance=True)["memory"] == b"77\n"


@pytest.mark.parametrize("name", ["memory.stat", "memory.events", "cpu.pressure", "io.stat"])
def test_what_others_do_to_a_group_at_rest_is_read(
    files: GroupFiles, folders: trees.Folders, name: str
) -> None:
    rested(files)
    before = files.read(glance=False)
    write(folders, name, "changed")
    assert b"changed" in files.read(glance=False).values()
    assert b"changed" not in before.values()


@pytest.mark.parametrize("name", ["pids.current", "cgroup.procs", "memory.peak"])
@pytest.mark.parametrize("awake", ["cpu.stat", "memory.current", "io.stat"])
def test_what_its_tasks_do_is_read_when_they_did_anything(
    files: GroupFiles, folders: trees.Folders, name: str, awake: str
) -> None:
    rested(files)
    write(folders, name, "changed")
    write(folders, awake, BUSY)
    assert b"changed" in files.read(glance=False).values()


def test_at_rest_it_is_not_but_now_and_then_or_on_demand(
    files: GroupFiles, folders: trees.Folders
) -> None:
    rested(files)
    write(folders, "pids.current", "77\n")
    seen = [files.read(glance=False)["pids"] == b"77\n" for _ in range(_TURNS)]
    assert seen == [False] * (_TURNS - 1) + [True]
    write(folders, "pids.current", "78\n")
    assert files.read(glance=False, thorough=True)["pids"] == b"78\n"


def test_background_samples_do_not_hide_that_it_was_awake(
    files: GroupFiles, folders: trees.Folders
) -> None:
    rested(files)
    write(folders, "cpu.stat", BUSY)
    write(folders, "pids.current", "77\n")
    files.read(glance=True)
    assert files.read(glance=False)["pids"] == b"77\n"


def test_what_is_left_out_is_not_opened(folders: trees.Folders) -> None:
    files = GroupFiles(folders, Budget())
    try:
        before = len(os.listdir("/proc/self/fd"))
        files.leave_out({"memory_stat", "io"})
        for _ in range(3):
            assert not {"memory_stat", "io"} & set(files.read(glance=False))
        opened = len(os.listdir("/proc/self/fd")) - before
        assert opened == len(group.files(folders)) - 2
        files.leave_out(frozenset())
        for _ in range(3):
            assert {"memory_stat", "io"} <= set(files.read(glance=False))
    finally:
        files.close()


def test_a_long_file_is_read_to_its_end(files: GroupFiles, folders: trees.Folders) -> None:
    for lines in (10_000, 3, 2_000):
        write(folders, "cgroup.procs", "1234\n" * lines)
        assert files.read(glance=False, thorough=True)["procs"].count(b"\n") == lines
