"""supervisor.kernel.mounts on the real kernel, each test in its own mount namespace."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from supervisor.errors import KernelError
from supervisor.kernel import mounts
from supervisor.kernel.mounts import AT_FDCWD, MountInfo
from tests.kernel.forked import (
    OUTER,
    become_root_of,
    error_of,
    in_child,
    is_cloexec,
    overlay_of,
    tmpfs,
    user_namespace,
)

TMPFS_MAGIC = 0x01021994
PROC_MAGIC = 0x9FA0


def mounted_at(path: Path | str) -> list[MountInfo]:
    return [entry for entry in mounts.mountinfo() if entry.mount_point == str(path)]


@pytest.fixture
def layers(short_folder: Path) -> Path:
    """A folder with what an overlay needs; the lower layer has mount points and a marker."""
    for name in ("lower", "lower/proc", "lower/tmp", "upper", "work"):
        (short_folder / name).mkdir()
    (short_folder / "lower/marker").write_text("lower")
    return short_folder


# --- mount(2) and umount2(2) ----------------------------------------------------------------


def test_mount_flags_data_and_umount(tmp_path: Path) -> None:
    def body() -> None:
        flags = mounts.MS_NOSUID | mounts.MS_NODEV
        mounts.mount("mine", str(tmp_path), "tmpfs", flags, "size=64k,mode=700")
        (entry,) = mounted_at(tmp_path)
        assert (entry.fstype, entry.source) == ("tmpfs", "mine")
        assert {"nosuid", "nodev", "rw"} <= set(entry.options)
        assert {"size=64k", "mode=700"} <= set(entry.super_options)
        mounts.umount(str(tmp_path))
        assert mounted_at(tmp_path) == []

    in_child(body)


def test_errors_name_the_target() -> None:
    with pytest.raises(KernelError) as caught:
        mounts.mount("none", "/no/such/folder", "tmpfs")
    assert str(caught.value) == "mount /no/such/folder: No such file or directory"
    with pytest.raises(KernelError) as caught:
        mounts.umount("/no/such/folder")
    assert (caught.value.syscall, caught.value.path) == ("umount2", "/no/such/folder")


def test_umount_can_refuse_a_symlink(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "link").symlink_to("m")

    def body() -> None:
        mounts.mount("none", str(tmp_path / "m"), "tmpfs")
        with pytest.raises(KernelError):
            mounts.umount(str(tmp_path / "link"), mounts.UMOUNT_NOFOLLOW)
        assert len(mounted_at(tmp_path / "m")) == 1

    in_child(body)


# --- filesystem contexts and detached mounts ------------------------------------------------


def test_every_descriptor_is_close_on_exec() -> None:
    def body() -> None:
        context = mounts.fsopen("tmpfs")
        mounts.fsconfig_create(context)
        detached = mounts.fsmount(context)
        plain = mounts.open_tree(AT_FDCWD, "/", 0)
        clone = mounts.open_tree(detached, "", 0)
        fds = (context, detached, plain, clone)
        assert [is_cloexec(fd) for fd in fds] == [True] * 4
        for fd in fds:
            os.close(fd)

    in_child(body)


def test_a_detached_mount_goes_with_its_descriptor() -> None:
    def body() -> None:
        before = mounts.mountinfo()
        fd = tmpfs()
        os.close(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=fd))
        assert os.listdir(f"/proc/self/fd/{fd}") == ["file"]
        assert mounts.mountinfo() == before
        os.close(fd)
        assert mounts.mountinfo() == before

    in_child(body)


def test_parameters_and_attributes(tmp_path: Path) -> None:
    def body() -> None:
        context = mounts.fsopen("tmpfs")
        mounts.fsconfig_string(context, "source", "mine")
        mounts.fsconfig_string(context, "size", "128k")
        mounts.fsconfig_flag(context, "ro")
        mounts.fsconfig_create(context)
        fd = mounts.fsmount(context, mounts.MOUNT_ATTR_NOEXEC | mounts.MOUNT_ATTR_NOSYMFOLLOW)
        mounts.move_mount(fd, AT_FDCWD, str(tmp_path))
        os.close(fd)
        os.close(context)
        (entry,) = mounted_at(tmp_path)
        assert entry.source == "mine"
        assert {"noexec", "nosymfollow"} <= set(entry.options)
        assert {"ro", "size=128k"} <= set(entry.super_options)

    in_child(body)


def test_a_bad_parameter_is_told_in_the_filesystems_words() -> None:
    context = mounts.fsopen("tmpfs")
    try:
        with pytest.raises(KernelError) as caught:
            mounts.fsconfig_string(context, "size", "much")
        assert caught.value.syscall == "fsconfig"
        assert str(caught.value).startswith("fsconfig size: tmpfs: Bad value for 'size'")
        # The log was read: the next error does not repeat it.
        with pytest.raises(KernelError) as caught:
            mounts.fsconfig_flag(context, "no_such_flag")
        assert "Bad value" not in str(caught.value)
        assert "no_such_flag" in str(caught.value)
    finally:
        os.close(context)


def test_a_layer_that_is_no_folder_is_told_in_overlays_words(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    fd = os.open(tmp_path / "file", os.O_PATH)
    context = mounts.fsopen("overlay")
    try:
        with pytest.raises(KernelError) as caught:
            mounts.fsconfig_fd(context, "lowerdir+", fd)
        assert "overlay: " in caught.value.path
        assert "not a directory" in caught.value.path
    finally:
        os.close(context)
        os.close(fd)


def test_nothing_can_be_mounted_before_it_is_made() -> None:
    context = mounts.fsopen("overlay")
    assert error_of(mounts.fsmount, context) == "EINVAL"
    os.close(context)


def test_an_unknown_filesystem() -> None:
    assert error_of(mounts.fsopen, "no_such_fs") == "ENODEV"


# --- open_tree and move_mount ---------------------------------------------------------------


def test_a_clone_has_the_mounts_below_only_when_recursive(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()

    def body() -> dict[str, bool]:
        mounts.mount("none", str(tmp_path / "below"), "tmpfs")
        (tmp_path / "below/file").touch()
        found = {}
        for name, flag in (("plain", 0), ("recursive", mounts.AT_RECURSIVE)):
            fd = mounts.open_tree(AT_FDCWD, str(tmp_path), mounts.OPEN_TREE_CLONE | flag)
            below = os.open("below", os.O_PATH, dir_fd=fd)
            found[name] = bool(os.listdir(f"/proc/self/fd/{below}"))
            os.close(below)
            os.close(fd)
        return found

    assert in_child(body) == {"plain": False, "recursive": True}


@pytest.mark.parametrize("target", ["descriptor", "absolute", "relative"])
def test_move_mount_onto(target: str, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()

    def body() -> None:
        fd = tmpfs()
        folder = os.open(tmp_path, os.O_PATH)
        point = os.open(tmp_path / "m", os.O_PATH)
        to: dict[str, tuple[int, str]] = {
            "descriptor": (point, ""),
            "absolute": (AT_FDCWD, str(tmp_path / "m")),
            "relative": (folder, "m"),
        }
        mounts.move_mount(fd, *to[target])
        assert mounts.statfs_magic(fd) == TMPFS_MAGIC
        for each in (fd, folder, point):
            os.close(each)
        (entry,) = mounted_at(tmp_path / "m")
        assert entry.fstype == "tmpfs"

    in_child(body)


def test_move_mount_does_not_follow_the_last_link(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "link").symlink_to("m")

    def body() -> None:
        fd = tmpfs()
        with pytest.raises(KernelError):
            mounts.move_mount(fd, AT_FDCWD, str(tmp_path / "link"))
        assert mounted_at(tmp_path / "m") == []
        mounts.move_mount(fd, AT_FDCWD, str(tmp_path / "link"), mounts.MOVE_MOUNT_T_SYMLINKS)
        assert len(mounted_at(tmp_path / "m")) == 1
        os.close(fd)

    in_child(body)


def test_a_moved_mount_dies_with_the_namespace_it_moved_to(tmp_path: Path) -> None:
    """One detached mount serves one start: its maker's fd leads to nothing mounted later."""

    def body() -> str:
        fd = tmpfs()
        in_child(lambda: mounts.move_mount(fd, AT_FDCWD, str(tmp_path)))
        name = error_of(mounts.move_mount, fd, AT_FDCWD, str(tmp_path))
        os.close(fd)
        return name

    assert in_child(body) == "EINVAL"


# --- mount_setattr --------------------------------------------------------------------------


def test_attributes_are_set_and_cleared_recursively(tmp_path: Path) -> None:
    def body() -> None:
        mounts.mount("none", str(tmp_path), "tmpfs")
        (tmp_path / "below").mkdir()
        mounts.mount("none", str(tmp_path / "below"), "tmpfs")
        fd = mounts.open_tree(AT_FDCWD, str(tmp_path), 0)
        read_only = mounts.MOUNT_ATTR_RDONLY
        mounts.mount_setattr(fd, "", set=read_only | mounts.MOUNT_ATTR_NODEV, recursive=True)
        os.close(fd)
        for path in (tmp_path, tmp_path / "below"):
            assert {"ro", "nodev"} <= set(mounted_at(path)[0].options)
            with pytest.raises(OSError, match="Read-only"):
                (path / "x").touch()
        mounts.mount_setattr(AT_FDCWD, str(tmp_path), clear=read_only)
        (tmp_path / "x").touch()
        assert "ro" in mounted_at(tmp_path / "below")[0].options

    in_child(body)


def test_propagation(tmp_path: Path) -> None:
    def body() -> list[str]:
        mounts.mount("none", str(tmp_path), "tmpfs")
        tags = []
        for kind in (mounts.MS_SHARED, mounts.MS_PRIVATE, mounts.MS_UNBINDABLE):
            mounts.mount_setattr(AT_FDCWD, str(tmp_path), propagation=kind)
            tags.append(" ".join(mounted_at(tmp_path)[0].tags).partition(":")[0])
        return tags

    assert in_child(body) == ["shared", "", "unbindable"]


def test_an_idmapped_mount_shifts_owners_both_ways(short_folder: Path) -> None:
    """ext4 and tmpfs know idmapping, as do most disk filesystems."""
    (short_folder / "root").touch()
    (short_folder / "user").touch()
    os.chown(short_folder / "user", 1000, 1001)

    def body() -> None:
        users = user_namespace()
        fd = mounts.open_tree(AT_FDCWD, str(short_folder), mounts.OPEN_TREE_CLONE)
        mounts.mount_setattr(fd, "", userns_fd=users)
        assert owner("root", fd) == (OUTER, OUTER)
        assert owner("user", fd) == (OUTER + 1000, OUTER + 1001)
        # Host root is not in the map, so it cannot make a file that would belong to it.
        with pytest.raises(OSError, match="too large"):
            os.open("new", os.O_WRONLY | os.O_CREAT, dir_fd=fd)
        os.chown("root", OUTER + 5, OUTER + 6, dir_fd=fd)
        # A mount's idmapping is for good.
        assert error_of(mounts.mount_setattr, fd, "", userns_fd=users) == "EPERM"
        os.close(fd)
        os.close(users)

    in_child(body)
    assert os.stat(short_folder / "root").st_uid == 5
    assert os.stat(short_folder / "root").st_gid == 6


def test_only_a_detached_mount_can_be_idmapped(tmp_path: Path) -> None:
    def body() -> str:
        mounts.mount("none", str(tmp_path), "tmpfs")
        users = user_namespace()
        try:
            return error_of(mounts.mount_setattr, AT_FDCWD, str(tmp_path), userns_fd=users)
        finally:
            os.close(users)

    assert in_child(body) == "EINVAL"


def owner(name: str, dir_fd: int) -> tuple[int, int]:
    found = os.stat(name, dir_fd=dir_fd)
    return found.st_uid, found.st_gid


# --- a container's root ---------------------------------------------------------------------


@pytest.mark.parametrize("onto", ["/", "/proc", "/tmp"])
def test_a_detached_overlay_becomes_the_root(onto: str, layers: Path) -> None:
    """Also straight onto "/": paths go on to start at the old root until pivot_root."""

    def body() -> None:
        fd = overlay_of(layers)
        become_root_of(fd, onto)
        os.close(fd)
        assert sorted(os.listdir("/")) == ["marker", "proc", "tmp"]
        assert sorted(os.listdir("/..")) == ["marker", "proc", "tmp"]
        Path("/marker").write_text("upper")
        mounts.mount("proc", "/proc", "proc")
        assert [m.mount_point for m in mounts.mountinfo()] == ["/", "/proc"]

    before = mounts.mountinfo()
    in_child(body)
    assert mounts.mountinfo() == before
    assert (layers / "upper/marker").read_text() == "upper"
    assert (layers / "lower/marker").read_text() == "lower"


def test_moving_onto_the_root_leaves_absolute_paths_alone(layers: Path) -> None:
    def body() -> None:
        fd = overlay_of(layers)
        mounts.move_mount(fd, AT_FDCWD, "/")
        assert Path("/proc/self/mountinfo").exists()
        assert not Path("/marker").exists()
        os.close(fd)

    in_child(body)


def not_attached(fd: int) -> None:
    os.fchdir(fd)


def shared(fd: int) -> None:
    mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_SHARED)
    mounts.move_mount(fd, AT_FDCWD, "/")
    os.fchdir(fd)


@pytest.mark.parametrize("prepare", [not_attached, shared])
def test_pivot_root_refuses(prepare: Callable[[int], None], layers: Path) -> None:
    def body() -> str:
        fd = overlay_of(layers)
        prepare(fd)
        try:
            return error_of(mounts.pivot_root, ".", ".")
        finally:
            os.close(fd)

    assert in_child(body) == "EINVAL"


# --- reading --------------------------------------------------------------------------------


def test_statfs_magic() -> None:
    for path, magic in (("/proc/self", PROC_MAGIC), ("/sys", 0x62656572)):
        fd = os.open(path, os.O_PATH)
        assert mounts.statfs_magic(fd) == magic
        os.close(fd)
    assert error_of(mounts.statfs_magic, -1) == "EBADF"


@pytest.mark.parametrize("name", ["a b", "a\\b", "a\tb\n", "#a", "\\040", "é", "\udcff"])
def test_mountinfo_of_odd_names(name: str, tmp_path: Path) -> None:
    point = f"{tmp_path}/{name}"
    os.mkdir(point)

    def body() -> bool:
        mounts.mount(name.replace("\n", ""), point, "tmpfs")
        (entry,) = mounted_at(point)
        return entry.source == name.replace("\n", "")

    assert in_child(body)


def test_mountinfo_of_another_process() -> None:
    assert mounts.mountinfo(os.getpid()) == mounts.mountinfo()
    with pytest.raises(KernelError) as caught:
        mounts.mountinfo(2**22 + 1)
    assert caught.value.path == f"/proc/{2**22 + 1}/mountinfo"


def test_mountinfo_has_all_fields() -> None:
    (entry,) = (m for m in mounts.mountinfo() if m.mount_point == "/proc")
    assert (entry.root, entry.fstype) == ("/", "proc")
    assert entry.mount_id > 0
    assert entry.parent_id > 0
    major, minor = entry.device.split(":")
    assert os.makedev(int(major), int(minor)) == os.stat("/proc").st_dev


def test_a_path_with_nul_never_reaches_the_kernel() -> None:
    assert error_of(mounts.mount, "none", "/tmp\0x", "tmpfs") == "EINVAL"
    assert error_of(mounts.umount, "/tmp\0x") == "EINVAL"
    assert error_of(mounts.open_tree, AT_FDCWD, "/\0x", 0) == "EINVAL"
