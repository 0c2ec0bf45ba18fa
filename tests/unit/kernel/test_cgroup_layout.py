"""Which hierarchies a host has, from a tree of files in place of /proc and /sys."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from supervisor.errors import KernelError
from supervisor.kernel.cgroups import Hierarchy, Layout, detect


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "cgroup").mkdir()
    (tmp_path / "proc/self").mkdir(parents=True)
    return tmp_path / "cgroup"


def mount(root: Path, *lines: tuple[str, str, str]) -> None:
    """Pretend that (folder below root, type, superblock options) are mounted."""
    text = ["22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda rw"]
    for number, (folder, fstype, options) in enumerate(lines, 30):
        point = Path(os.path.normpath(root / folder))
        point.mkdir(exist_ok=True)
        text.append(
            f"{number} 22 0:{number} / {point} rw shared:{number} - {fstype} c rw,{options}"
        )
    (root.parent / "proc/self/mountinfo").write_text("\n".join(text) + "\n")


def found(root: Path) -> Layout:
    return detect(str(root), str(root.parent / "proc"))


def test_unified(root: Path) -> None:
    mount(root, ("", "cgroup2", "nsdelegate"))
    (root / "cgroup.controllers").write_text("cpuset cpu io memory hugetlb pids misc\n")
    assert found(root) == Layout(
        kind="unified",
        unified=str(root),
        controllers=frozenset({"cpu", "cpuset", "io", "memory", "pids"}),
    )


def test_unified_without_the_memory_controller(root: Path) -> None:
    mount(root, ("", "cgroup2", "nsdelegate"))
    (root / "cgroup.controllers").write_text("cpu pids\n")
    assert found(root).controllers == frozenset({"cpu", "pids"})


def test_hybrid_with_shared_hierarchies(root: Path) -> None:
    """As systemd has it; named and unused hierarchies do not count."""
    mount(
        root,
        ("unified", "cgroup2", "nsdelegate"),
        ("systemd", "cgroup", "xattr,name=systemd"),
        ("cpu,cpuacct", "cgroup", "cpu,cpuacct"),
        ("memory", "cgroup", "memory"),
        ("freezer", "cgroup", "freezer"),
    )
    both = f"{root}/cpu,cpuacct"
    assert found(root) == Layout(
        kind="hybrid",
        unified=f"{root}/unified",
        v1={"cpu": both, "cpuacct": both, "memory": f"{root}/memory"},
        controllers=frozenset({"cpu", "cpuacct", "memory"}),
    )


def test_v1_alone(root: Path) -> None:
    mount(root, ("pids", "cgroup", "pids"))
    assert found(root).kind == "v1"


def test_none(root: Path) -> None:
    mount(root)
    assert found(root) == Layout(kind="none")


def test_mounts_elsewhere_and_second_mounts_do_not_count(root: Path) -> None:
    mount(root, ("../cgroup-other", "cgroup2", "rw"))
    assert found(root).kind == "none"
    mount(root, ("a", "cgroup2", "rw"), ("b", "cgroup2", "rw"))
    (root / "a/cgroup.controllers").write_text("\n")
    assert found(root).unified == f"{root}/a"


def test_without_proc(root: Path) -> None:
    with pytest.raises(KernelError, match="mountinfo"):
        found(root)


@pytest.mark.parametrize("parent", ["", "/", "a//b", "/a", "../a", "a/.", "a/"])
def test_a_parent_that_is_no_name_is_refused(parent: str) -> None:
    with pytest.raises(KernelError, match="Invalid argument"):
        Hierarchy(Layout(kind="none"), parent)


def test_a_host_without_cgroups_has_groups_without_folders() -> None:
    hierarchy = Hierarchy(Layout(kind="none"))
    hierarchy.prepare()
    group = hierarchy.create("a")
    assert (group.write(()), group.memory().limit, hierarchy.names()) == ([], 0, [])
    with pytest.raises(KernelError, match="cgroup v2 is not mounted"):
        group.kill()
    watch = group.oom_watch()
    assert watch.oom_kills() == 0
    watch.close()
    group.remove()
    hierarchy.remove()
