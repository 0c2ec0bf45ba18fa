"""A running container's filesystem, as a worker enters it: whose it is, and until when."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from supervisor.errors import Conflict
from supervisor.kernel import mounts
from supervisor.kernel.process import start_time
from supervisor.snapshot.ids import IDENTITY, IdMaps, read_maps
from supervisor.store.work import work
from supervisor.store.work_pipes import draw
from tests.support.tree_rig import Tree, content_of, export, get, make_tar, member, put, read_tar
from tests.support.tree_rig import running as running_in


@pytest.fixture
def tree(short_folder: Path) -> Tree:
    tree = Tree(short_folder / "tree")
    for name in ("etc", "tmp", "proc", "vol", "jail", "dev", "sys"):
        (tree.lower / name).mkdir()
    (tree.lower / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\n")
    (tree.lower / "jail/etc").mkdir()
    return tree


def _mount_all() -> None:
    mounts.mount("tmpfs", "/vol", "tmpfs", 0, None)
    mounts.mount("proc", "/proc", "proc", 0, None)
    mounts.mount("tmpfs", "/dev", "tmpfs", 0, None)
    Path("/vol/inside").write_text("seen only from within")
    os.mkfifo("/dev/fifo")
    Path("/etc/hosts").write_text("")
    mounts.mount("/vol/inside", "/etc/hosts", None, mounts.MS_BIND)


async def test_mounts_of_a_running_container_are_seen_and_written_to(tree: Tree) -> None:
    with running_in(tree, script=_mount_all) as view:
        assert content_of(await get(view, "/vol"), "vol/inside") == b"seen only from within"
        assert content_of(await get(view, "/etc"), "etc/hosts") == b"seen only from within"
        await put(view, "/vol", make_tar([member("new", b"1")]))
        await put(view, "/etc", make_tar([member("new", b"1")]))
        assert "vol/new" in read_tar(await get(view, "/vol"))
    assert (tree.upper / "etc/new").read_bytes() == b"1"
    assert not (tree.upper / "vol/new").exists()


async def test_the_kernel_s_own_filesystems_are_empty_folders(tree: Tree) -> None:
    with running_in(tree, script=_mount_all) as view:
        names = read_tar(await get(view, "/"))
        assert {"/proc", "/dev", "/vol/inside"} <= set(names)
        assert not [name for name in names if name.startswith(("/proc/", "/dev/"))]
        assert list(read_tar(await get(view, "/proc"))) == ["proc"]
        for path in ("/proc/self", "/proc/self/root/etc", "/proc/cpuinfo", "/proc/kmsg"):
            with pytest.raises(Exception, match=r"Could not find the file|symbolic links"):
                await get(view, path)
        with pytest.raises(Exception, match="kernel's own"):
            await put(view, "/proc/sys", make_tar([member("x", b"1")]))


async def test_an_export_has_nothing_of_what_is_mounted(tree: Tree) -> None:
    with running_in(tree, script=_mount_all) as view:
        raw = await export({**view, "bare": True})
        found = read_tar(raw)
        assert {"proc", "dev", "vol", "etc/hosts", "etc/passwd"} <= set(found)
        assert not [name for name in found if name.startswith(("proc/", "dev/", "vol/", "/", "."))]
        assert found["etc/hosts"].size == 0
        assert "" not in found


async def test_the_root_is_the_container_s_wherever_its_process_went(tree: Tree) -> None:
    with running_in(tree, script=lambda: os.chroot("/jail")) as view:
        assert "etc/passwd" in read_tar(await get(view, "/etc"))


async def test_another_process_of_that_number_is_not_entered(tree: Tree) -> None:
    with running_in(tree) as view, pytest.raises(Conflict, match="has ended"):
        await get({**view, "start": view["start"] + 1}, "/etc")
    with pytest.raises(Conflict, match="has ended"):
        await get(view, "/etc")


async def test_a_zombie_is_not_entered(tree: Tree) -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    try:
        with pytest.raises(Conflict, match="has ended"):
            await get({"pid": pid, "start": start_time(pid)}, "/")
    finally:
        os.waitpid(pid, 0)


async def test_a_copy_outlives_the_container(tree: Tree) -> None:
    def script() -> None:
        _mount_all()
        Path("/vol/big").write_bytes(b"x" * 3_000_000)

    with running_in(tree, script=script) as view:
        arguments = {"view": view, "path": "/vol"}
        async with draw("archive_get", arguments) as output:
            pieces = [await anext(output)]
            os.kill(view["pid"], signal.SIGKILL)
            os.waitid(os.P_PID, view["pid"], os.WEXITED | os.WNOWAIT)
            pieces += [piece async for piece in output]
    assert content_of(b"".join(pieces), "vol/big") == b"x" * 3_000_000


async def test_a_namespace_that_is_passed_in_needs_no_process(tree: Tree) -> None:
    with running_in(tree, script=_mount_all) as view:
        namespace = os.open(f"/proc/{view['pid']}/ns/mnt", os.O_RDONLY)
    try:
        fields = {"uids": IDENTITY.uids, "gids": IDENTITY.gids}
        arguments = {"view": fields, "path": "/vol/inside"}
        found = await work("archive_stat", arguments, fds={"namespace": namespace})
        assert found["size"] == len("seen only from within")
    finally:
        os.close(namespace)


async def test_the_daemon_s_own_mounts_do_not_change(tree: Tree) -> None:
    before = mounts.mountinfo()
    await tree.get("/")
    await tree.put("/tmp", make_tar([member("x", b"1")]))
    with running_in(tree) as view:
        await get(view, "/")
        await export({**view, "bare": True})
    assert mounts.mountinfo() == before


def test_id_maps() -> None:
    maps = IdMaps([(0, 100_000, 1000), (5000, 7, 1)], [(0, 200_000, 1000)])
    assert maps.outside(0, 0) == (100_000, 200_000)
    assert maps.outside(5000, 999) == (7, 200_999)
    assert maps.inside(100_999, 200_000) == (999, 0)
    assert maps.inside(7, 0) == (5000, 65534)
    for uid, gid in ((1000, 0), (0, 1000)):
        with pytest.raises(Exception, match="1000 does not exist in the container"):
            maps.outside(uid, gid)
    assert read_maps(os.getpid()).identity
    assert IDENTITY.outside(12, 34) == (12, 34)
