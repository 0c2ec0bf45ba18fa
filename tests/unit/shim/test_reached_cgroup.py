"""What a shim opens of a cgroup that is not all there yet: nothing stays open."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.kernel import process
from supervisor.shim import cgroup
from supervisor.spec.types import SPEC_VERSION, CgroupPaths, Overlay, Process, Spec


def spec(unified: Path | str, **v1: Path) -> Spec:
    paths = CgroupPaths(unified=str(unified), v1={name: str(path) for name, path in v1.items()})
    return Spec(
        version=SPEC_VERSION,
        id="a",
        process=Process(args=("true",)),
        root=Overlay(lower=("/",)),
        cgroup=paths,
    )


@pytest.fixture
def made(tmp_path: Path) -> Path:
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "tasks").touch()
    return tmp_path


def test_one_hierarchy_lacks(made: Path) -> None:
    before = process.descriptors()
    for lacking in (
        spec("", cpu=made / "first", memory=made / "second"),
        spec(made / "second", cpu=made / "first"),
    ):
        with pytest.raises(OSError, match="second"):
            cgroup.reach(lacking)
        assert process.descriptors() == before


def test_all_is_there(made: Path) -> None:
    before = process.descriptors()
    reached = cgroup.reach(spec(made / "first", cpu=made / "first", cpuacct=made / "first"))
    assert len(reached.tasks) == 1
    assert process.descriptors() - before == {*reached.tasks, reached.unified}
    assert reached.folders == {}  # it has no cgroup namespace of its own
    reached.close()
    assert process.descriptors() == before


def test_there_is_none() -> None:
    before = process.descriptors()
    reached = cgroup.reach(spec(""))
    assert (reached.folders, reached.tasks, reached.unified) == ({}, (), -1)
    reached.close()
    assert process.descriptors() == before
