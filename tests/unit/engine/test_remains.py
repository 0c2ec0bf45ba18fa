"""Finding shims and mounts of bundles."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from supervisor.engine import remains
from supervisor.engine.remains import Mount, ShimProcess
from supervisor.kernel import mounts, process

ID = "ab" * 32


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(process, "start_time", lambda pid: pid * 10)
    (tmp_path / "self").mkdir()
    return tmp_path


def add(proc: Path, pid: int, comm: str, cwd: str | None) -> None:
    (proc / str(pid)).mkdir()
    (proc / str(pid) / "comm").write_text(f"{comm}\n")
    if cwd is not None:
        os.symlink(cwd, proc / str(pid) / "cwd")


def test_shims_are_known_by_name_and_folder(proc: Path) -> None:
    root = Path("/var/lib/orlop")
    add(proc, 1, "systemd", "/")
    add(proc, 2, "orlop-shim", f"{root}/containers/{ID}")
    add(proc, 3, "orlop-shim", "/")  # a fork that waits for a container
    add(proc, 4, "orlop-shim", f"/srv/other/containers/{ID}")
    add(proc, 5, "orlop-shim", f"{root}/trash/0123")
    add(proc, 6, "orlop-shim", f"{root}/containers/{ID} (deleted)")
    add(proc, 7, "orlop-shim", None)  # a zombie
    add(proc, 8, "orlop-shimmer", f"{root}/containers/{ID}")
    add(proc, 9, "sleep", f"{root}/containers/{ID}")
    assert sorted(remains.shims(root, proc), key=lambda one: one.pid) == [
        ShimProcess(2, 20, ID),
        ShimProcess(5, 50, ""),
        ShimProcess(6, 60, ""),
    ]


def test_what_a_process_was_it_may_be_no_more(proc: Path) -> None:
    root = Path("/var/lib/orlop")
    add(proc, 2, "orlop-shim", f"{root}/containers/{ID}")
    shim = ShimProcess(2, 20, ID)
    assert remains.still(shim, root, proc)
    assert not remains.still(ShimProcess(2, 21, ID), root, proc)  # the pid is another's
    assert not remains.still(ShimProcess(3, 30, ID), root, proc)  # ended
    (proc / "2" / "cwd").unlink()
    os.symlink(f"{root}/containers/{'e' * 64}", proc / "2" / "cwd")
    assert not remains.still(shim, root, proc)  # it has the next container
    assert not remains.still(ShimProcess(2, 20, ""), root, proc)


def test_mounts_inside_bundles_inner_ones_first() -> None:
    root = Path("/data")
    places = ["/", "/data", "/data/containers", f"/data/containers/{ID}", "/data/layers/x"]
    places += [f"/data/containers/{ID}/merged", "/data/trash/0123/upper", "/database/containers/x"]
    like = mounts.mountinfo()[0]
    table = [like._replace(mount_point=place) for place in places]
    assert remains.mounted(root, table) == [
        Mount("/data/trash/0123/upper", ""),
        Mount(f"/data/containers/{ID}/merged", ID),
        Mount(f"/data/containers/{ID}", ID),
    ]


def test_folders_that_are_bundles(tmp_path: Path) -> None:
    for name in (ID, "lost+found", ID[:12], ID.upper()):
        (tmp_path / "containers" / name).mkdir(parents=True)
    assert list(remains.folders(tmp_path)) == [ID]


def test_what_shims_share_with_nobody(proc: Path) -> None:
    rollup = "5500-7f Rollup\nRss: 900 kB\nPrivate_Clean: 4 kB\nPrivate_Dirty: 30 kB\n"
    for pid in (2, 3):
        add(proc, pid, "orlop-shim", f"/data/containers/{ID}")
        (proc / str(pid) / "smaps_rollup").write_text(rollup)
    ended = ShimProcess(4, 40, ID)
    shims = [*remains.shims(Path("/data"), proc), ended]
    assert remains.own_memory(shims, proc) == 2 * 34 * 1024
