"""Copying into and out of a container's filesystem, by the worker that does it."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import tarfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio

from supervisor.errors import InvalidArgument, NotFound, OrlopError, Unavailable
from supervisor.kernel.inotify import IN_OPEN, Inotify
from supervisor.oci.tar import TarReader
from supervisor.snapshot.tar_in import Extraction, Rules
from supervisor.snapshot.tar_places import Beneath
from supervisor.store.work import work
from supervisor.store.work_pipes import draw, feed
from tests.support import procfs
from tests.support.flipper import flipping
from tests.support.pace import limit
from tests.support.tar_corpus import Canary, corpus
from tests.support.tree_rig import (
    Tree,
    content_of,
    export,
    get,
    make_tar,
    member,
    put,
    read_tar,
    running,
)

CAPABILITY = bytes.fromhex("0000000200040000000000000000000000000000")  # cap_net_bind_service=p


@pytest.fixture
def tree(short_folder: Path) -> Tree:
    tree = Tree(short_folder / "tree")
    for name in ("etc", "var", "run", "tmp", "proc"):
        (tree.lower / name).mkdir()
    (tree.lower / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\nweb:x:33:34::/:/bin/sh\n")
    (tree.lower / "var/run").symlink_to("/run")
    (tree.lower / "run/pid").write_text("7")
    (tree.lower / "abs").symlink_to("/etc/passwd")
    (tree.lower / "out").symlink_to("../../../../etc")
    (tree.lower / "dangling").symlink_to("var/run/new/file")
    (tree.lower / "loop").symlink_to("loop")
    return tree


# --- stat -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path,name,kind,target",
    [
        ("/etc", "etc", stat.S_IFDIR, ""),
        ("etc", "etc", stat.S_IFDIR, ""),
        ("/etc/", "etc", stat.S_IFDIR, ""),
        ("/etc/.", ".", stat.S_IFDIR, ""),
        ("/", "/", stat.S_IFDIR, ""),
        ("/etc/passwd", "passwd", stat.S_IFREG, ""),
        ("/../../etc/passwd", "passwd", stat.S_IFREG, ""),
        ("/nope/../etc", "etc", stat.S_IFDIR, ""),
        ("/var/run", "run", stat.S_IFLNK, "/run"),
        ("/var/run/", "run", stat.S_IFDIR, ""),
        ("/var/run/pid", "pid", stat.S_IFREG, ""),
        ("/abs", "abs", stat.S_IFLNK, "/etc/passwd"),
        ("/out", "out", stat.S_IFLNK, "/etc"),
        ("/out/passwd", "passwd", stat.S_IFREG, ""),
        ("/dangling", "dangling", stat.S_IFLNK, "/run/new/file"),
    ],
)
async def test_stat(tree: Tree, path: str, name: str, kind: int, target: str) -> None:
    found = await tree.stat(path)
    assert (found["name"], stat.S_IFMT(found["mode"]), found["link_target"]) == (name, kind, target)


@pytest.mark.parametrize(
    "path,error,message",
    [
        ("/nope", NotFound, "Could not find the file /nope"),
        ("/etc/nope/x", NotFound, "Could not find"),
        ("/dangling/", NotFound, "Could not find"),
        ("/etc/passwd/", InvalidArgument, "not a directory"),
        ("/etc/passwd/x", InvalidArgument, "not a directory"),
        ("/loop", InvalidArgument, "too many levels"),
        ("/loop/x", InvalidArgument, "too many levels"),
        ("", InvalidArgument, "invalid path"),
        ("/a\0b", InvalidArgument, "invalid path"),
    ],
)
async def test_stat_of_what_is_not_there(
    tree: Tree, path: str, error: type[OrlopError], message: str
) -> None:
    with pytest.raises(error, match=message):
        await tree.stat(path)


# --- get ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path,base",
    [
        ("/etc", "etc"),
        ("/etc/", "etc"),
        ("/etc/.", "."),
        ("/var/run/", "run"),
        ("/var/run/.", "."),
        ("/", "/"),
        ("/etc/passwd", "passwd"),
        ("/var/run", "run"),
    ],
)
async def test_every_name_in_a_tar_is_base_or_below_it(tree: Tree, path: str, base: str) -> None:
    raw = await tree.get(path)
    names = [tarfile.TarInfo.frombuf(raw[:512], "utf-8", "strict").name.rstrip("/") or "/"]
    names += list(read_tar(raw))[1:]
    assert names[0] == base
    prefix = base.rstrip("/") + "/"
    assert all(name.startswith(prefix) for name in names[1:])


async def test_what_is_in_a_tar_is_what_is_there(tree: Tree) -> None:
    top = tree.lower / "top"
    top.mkdir(mode=0o2750)
    top.chmod(0o2750)
    os.chown(top, 5, 6)
    big = os.urandom(700_001)
    (top / "big").write_bytes(big)
    (top / "empty").write_bytes(b"")
    (top / "prog").write_bytes(b"#!")
    os.setxattr(top / "prog", "security.capability", CAPABILITY)
    os.chmod(top / "prog", 0o4755)
    os.utime(top / "prog", ns=(1, 1_500_000_000_123_456_789))
    os.link(top / "big", top / "other")
    (top / "link").symlink_to("/etc/passwd")
    os.mkfifo(top / "fifo", 0o640)
    os.mknod(top / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(top / "socket"))
    with open(top / "sparse", "wb") as sparse:
        sparse.truncate(3_000_000)
    deep = "/".join(["d" * 100] * 30)
    (top / deep).mkdir(parents=True)
    os.mkdir(os.fsencode(top) + b"/not-\xff-utf8")

    raw = await tree.get("/top")
    found = read_tar(raw)
    assert (found["top"].mode, found["top"].uid, found["top"].gid) == (0o2750, 5, 6)
    assert content_of(raw, "top/big") == big
    assert (found["top/other"].type, found["top/other"].linkname) == (tarfile.LNKTYPE, "top/big")
    assert content_of(raw, "top/sparse") == bytes(3_000_000)
    assert (found["top/prog"].mode, found["top/prog"].mtime) == (0o4755, 1_500_000_000)
    capability = found["top/prog"].pax_headers["SCHILY.xattr.security.capability"]
    assert capability.encode("utf-8", "surrogateescape") == CAPABILITY
    assert (found["top/link"].type, found["top/link"].linkname) == (tarfile.SYMTYPE, "/etc/passwd")
    assert (found["top/fifo"].type, found["top/fifo"].mode) == (tarfile.FIFOTYPE, 0o640)
    null = found["top/null"]
    assert (null.type, null.devmajor, null.devminor) == (tarfile.CHRTYPE, 1, 3)
    assert "top/socket" not in found
    assert f"top/{deep}" in found
    assert "top/not-\udcff-utf8" in found
    assert list(found) == sorted(found, key=lambda name: name.split("/"))


async def test_a_socket_alone_is_refused(tree: Tree) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tree.lower / "s"))
    with pytest.raises(InvalidArgument, match="socket"):
        await tree.get("/s")


async def test_reading_changes_nothing_and_mounts_are_seen(tree: Tree, short_folder: Path) -> None:
    (short_folder / "vol").mkdir()
    (short_folder / "vol/file").write_text("v")
    (short_folder / "hosts").write_text("127.0.0.1 localhost")
    tree.fields["mounts"] = [
        {"destination": "/data/deep", "source": str(short_folder / "vol"), "options": ["rbind"]},
        {"destination": "/etc/hosts", "source": str(short_folder / "hosts"), "options": ["bind"]},
        {"destination": "/gone", "source": str(short_folder / "no"), "options": ["bind"]},
        {"destination": "/etc/passwd/x", "source": str(short_folder / "vol"), "options": []},
    ]
    assert "data/deep/file" in read_tar(await tree.get("/data"))
    assert content_of(await tree.get("/etc"), "etc/hosts") == b"127.0.0.1 localhost"
    assert list(tree.upper.iterdir()) == []
    tree.fields["mounts"].pop()
    with pytest.raises(OrlopError, match="the source of the mount at /gone does not exist"):
        await tree.put("/tmp", make_tar([member("x")]))


async def test_a_file_that_shrinks_and_grows_meanwhile(tree: Tree) -> None:
    path = tree.upper / "log"
    path.write_bytes(b"x" * 4_000_000)
    view = tree.view()
    async with draw("archive_get", {"view": view, "path": "/log"}) as output:
        pieces = [await anext(output)]
        path.write_bytes(b"short")
        pieces += [piece async for piece in output]
    raw = b"".join(pieces)
    assert read_tar(raw)["log"].size == 4_000_000
    assert len(content_of(raw, "log")) == 4_000_000


async def test_folders_without_end_are_refused(tree: Tree) -> None:
    fd = os.open(tree.lower / "tmp", os.O_RDONLY)
    for _ in range(2100):
        os.mkdir("d", dir_fd=fd)
        inner = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)
    with pytest.raises(InvalidArgument, match="more than 2000 folders deep"):
        await tree.get("/tmp")
    _remove_deep(tree.lower / "tmp")


def _remove_deep(path: Path) -> None:
    """What shutil.rmtree, which recurses, could not take away."""
    fd = os.open(path, os.O_RDONLY)
    while True:
        try:
            os.rename("d/d", "next", src_dir_fd=fd, dst_dir_fd=fd)
        except FileNotFoundError:
            break
        os.rmdir("d", dir_fd=fd)
        os.rename("next", "d", src_dir_fd=fd, dst_dir_fd=fd)
    os.close(fd)


# --- put ------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
async def test_put_makes_what_the_tar_has(tree: Tree, mode: str) -> None:
    big = os.urandom(1_000_003)
    tar = make_tar(
        [
            member("d/", type=tarfile.DIRTYPE, mode=0o1711, uid=3, gid=4, mtime=1_000_000_000),
            member("d/big", big, mode=0o4640, uid=1000, gid=1001, mtime=1_234_567_890),
            member("d/hard", type=tarfile.LNKTYPE, linkname="d/big"),
            member("d/link", type=tarfile.SYMTYPE, linkname="../../..//etc", uid=9, mtime=5),
            member("implied/folder/file", b"x"),
            member("d/fifo", type=tarfile.FIFOTYPE, mode=0o622, mtime=7),
            member("d/zero", type=tarfile.CHRTYPE, devmajor=1, devminor=5, mode=0o666),
            member(".wh.file", b"a plain name here"),
            member("/abs", b"below the folder all the same"),
        ],
        mode,
    )
    await tree.put("/var/run/", tar)
    top = tree.upper / "run"
    folder = (top / "d").stat()
    assert stat.S_IMODE(folder.st_mode) == 0o1711
    assert (folder.st_uid, folder.st_gid, folder.st_mtime) == (3, 4, 1_000_000_000)
    status = (top / "d/big").stat()
    assert (top / "d/big").read_bytes() == big
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o4640, 1000, 1001)
    assert (status.st_mtime, status.st_nlink) == (1_234_567_890, 2)
    link = (top / "d/link").lstat()
    assert (os.readlink(top / "d/link"), link.st_uid, link.st_mtime) == ("../../..//etc", 9, 5)
    assert stat.S_IMODE((top / "implied/folder").stat().st_mode) == 0o755
    assert stat.S_ISFIFO((top / "d/fifo").stat().st_mode)
    assert (top / "d/zero").stat().st_rdev == os.makedev(1, 5)
    assert (top / ".wh.file").read_bytes() == b"a plain name here"
    assert (top / "abs").exists()
    assert not (tree.upper / "abs").exists()


async def test_put_merges_folders_and_replaces_files(tree: Tree) -> None:
    (tree.lower / "etc/own").write_text("stays")
    (tree.lower / "etc/to-outside").symlink_to("/run/pid")
    before = (tree.lower / "etc/passwd").stat().st_ino
    tar = make_tar(
        [
            member("etc", type=tarfile.DIRTYPE, mode=0o700),
            member("etc/passwd", b"new"),
            member("etc/to-outside", b"a file now"),
            member("abs", type=tarfile.SYMTYPE, linkname="/new"),
        ]
    )
    await tree.put("/", tar)
    assert (tree.upper / "etc/passwd").read_bytes() == b"new"
    assert (tree.lower / "etc/passwd").stat().st_ino == before
    assert not (tree.upper / "etc/to-outside").is_symlink()
    assert (tree.lower / "run/pid").read_text() == "7"
    assert not (tree.upper / "run").exists(), "written through a link"
    assert stat.S_IMODE((tree.upper / "etc").stat().st_mode) == 0o700
    names = read_tar(await tree.get("/etc"))
    assert {"etc/own", "etc/passwd"} <= set(names)
    assert os.readlink(tree.upper / "abs") == "/new"


@pytest.mark.parametrize(
    "members,message",
    [
        ([member("etc", b"x")], 'cannot overwrite directory "/etc" with non-directory'),
        (
            [member("etc/passwd", type=tarfile.DIRTYPE)],
            'cannot overwrite non-directory "/etc/passwd" with directory',
        ),
        ([member("abs", type=tarfile.DIRTYPE)], "cannot overwrite non-directory"),
        ([member(".", b"x")], "cannot overwrite directory"),
    ],
)
async def test_put_keeps_types_where_asked(tree: Tree, members: list[Any], message: str) -> None:
    tar = make_tar(members)
    with pytest.raises(InvalidArgument, match=message):
        await tree.put("/", tar)
    assert (await tree.stat("/etc/passwd"))["size"] == 45
    if members[0][0] != ".":
        await tree.put("/", tar, keep_types=False)
        found = await tree.stat("/" + members[0][0])
        wanted = stat.S_IFDIR if members[0][1].get("type") == tarfile.DIRTYPE else stat.S_IFREG
        assert stat.S_IFMT(found["mode"]) == wanted


@pytest.mark.parametrize(
    "members",
    [
        [member("../escape", b"x")],
        [member("a/../../escape", b"x")],
        [member("x", type=tarfile.LNKTYPE, linkname="../../etc/passwd")],
        [member("x", type=tarfile.LNKTYPE, linkname="no/such/file")],
        [member("x", type=tarfile.SYMTYPE, linkname="")],
        [member("x", type=tarfile.CHRTYPE, devmajor=0, devminor=0)],
        [member("etc/passwd/x", b"x")],
        [member("loop/x", b"x")],
        [member("a" * 300, b"x")],
    ],
)
async def test_put_refuses_what_cannot_be(tree: Tree, members: list[Any]) -> None:
    with pytest.raises(InvalidArgument):
        await tree.put("/", make_tar([member("fine", b"1"), *members]))


@pytest.mark.parametrize("cut", [1, 511, 512, 700, 1111])
async def test_put_of_a_truncated_tar_leaves_no_part_of_a_file(tree: Tree, cut: int) -> None:
    tar = make_tar([member("whole", b"x" * 600)])
    with pytest.raises(InvalidArgument):
        await tree.put("/tmp", tar[:cut])
    assert not (tree.upper / "tmp").exists() or not list((tree.upper / "tmp").iterdir())


async def test_put_of_nothing(tree: Tree) -> None:
    await tree.put("/tmp", b"")
    await tree.put("/tmp", make_tar([]))
    await tree.put("/tmp", make_tar([member("x", b"1")])[:-512] + b"trailing" * 1000)
    assert (tree.upper / "tmp/x").read_bytes() == b"1"


@pytest.mark.parametrize(
    "path,error,message",
    [
        ("/nope", NotFound, "Could not find the file /nope"),
        ("/etc/passwd", InvalidArgument, "extraction point is not a directory"),
        ("/abs", InvalidArgument, "extraction point is not a directory"),
        ("/dangling", NotFound, "Could not find"),
    ],
)
async def test_put_where_it_cannot_go(
    tree: Tree, path: str, error: type[OrlopError], message: str
) -> None:
    with pytest.raises(error, match=message):
        await tree.put(path, make_tar([member("x", b"1")]))


async def test_put_as_the_container_s_user(tree: Tree) -> None:
    tar = make_tar([member("d", type=tarfile.DIRTYPE, uid=7), member("d/f", b"1", uid=7)])
    await tree.put("/tmp", tar, user="web")
    for path in ("tmp/d", "tmp/d/f"):
        status = (tree.upper / path).stat()
        assert (status.st_uid, status.st_gid) == (33, 34)
    with pytest.raises(InvalidArgument, match="unable to find user nobody-there"):
        await tree.put("/tmp", tar, user="nobody-there")
    (tree.upper / "etc").mkdir()
    os.mkfifo(tree.upper / "etc/passwd")  # does not hold up anybody
    with pytest.raises(InvalidArgument, match="unable to find user web"):
        await tree.put("/tmp", tar, user="web")


async def test_a_device_for_an_account_file_is_not_even_opened(short_folder: Path) -> None:
    for name in ("etc", "tmp"):
        (short_folder / name).mkdir()
    passwd = short_folder / "etc/passwd"
    tar = make_tar([member("x", b"1")])
    view = {"lowers": [str(short_folder)], "write": True}
    with Inotify() as watch:
        for kind in (stat.S_IFREG, stat.S_IFCHR):
            passwd.unlink(missing_ok=True)
            os.mknod(passwd, kind | 0o644, os.makedev(1, 3))
            watch.add(str(passwd), IN_OPEN)
            with pytest.raises(InvalidArgument, match="unable to find user web"):
                await put(view, "/tmp", tar, user="web")
            opened = any(event.mask & IN_OPEN for event in watch.read())
            assert opened == (kind == stat.S_IFREG)


async def test_a_read_only_root_and_a_read_only_mount(tree: Tree, short_folder: Path) -> None:
    for name in ("ro", "rw"):
        (short_folder / name).mkdir()
    tree.fields |= {
        "read_only": True,
        "mounts": [
            {"destination": "/ro", "source": str(short_folder / "ro"), "options": ["rbind", "ro"]},
            {"destination": "/rw", "source": str(short_folder / "rw"), "options": ["rbind", "rw"]},
        ],
    }
    tar = make_tar([member("x", b"1")])
    with pytest.raises(InvalidArgument, match="container rootfs is marked read-only"):
        await tree.put("/tmp", tar)
    with pytest.raises(InvalidArgument, match="mounted volume is marked read-only"):
        await tree.put("/ro", tar)
    await tree.put("/rw", tar)
    assert (short_folder / "rw/x").read_bytes() == b"1"
    tree.fields["read_only"] = False
    with pytest.raises(InvalidArgument, match="is on a filesystem that is mounted read-only"):
        await tree.put("/", make_tar([member("ro/x", b"1")]))


async def test_ids_that_a_user_namespace_does_not_have(tree: Tree) -> None:
    tree.fields["ids"] = 1000
    await tree.put("/tmp", make_tar([member("x", b"1", uid=999)]))
    assert (tree.upper / "tmp/x").stat().st_uid == 999
    with pytest.raises(InvalidArgument, match="uid 1000 does not exist in the container"):
        await tree.put("/tmp", make_tar([member("y", b"1", uid=1000)]))


async def test_a_disk_that_is_full(tree: Tree, short_folder: Path) -> None:
    # The root is a small tmpfs in the worker's own namespace: nothing is filled for others.
    with running(tree, script=lambda: _mount_small("/tmp")) as view:
        with pytest.raises(Unavailable, match="no space left on device"):
            await put(view, "/tmp", make_tar([member("x", b"1" * 1_000_000)]))
        await put(view, "/tmp", make_tar([member("y", b"1" * 1000)]))


def _mount_small(target: str) -> None:
    from supervisor.kernel import mounts

    mounts.mount("tmpfs", target, "tmpfs", 0, "size=64k")


# --- hostile neighbours ---------------------------------------------------------------------


async def test_a_flipper_leads_nothing_out_of_the_root(short_folder: Path) -> None:
    """A folder that is a link out of the container every other moment, during put and get."""
    root, outside = short_folder / "root", short_folder / "outside"
    for folder in (root / "d", root / "tmp", outside):
        folder.mkdir(parents=True)
    (root / "d/x").write_text("inside")
    (outside / "x").write_text("secret")
    (root / "evil").symlink_to(outside)
    view = {"lowers": [str(root)]}
    tar = make_tar([member(f"d/f{number}", b"1") for number in range(2000)])
    with flipping(root / "d", root / "evil"):
        for _ in range(2):
            with suppress(InvalidArgument):  # what it makes fail is its own
                await put({**view, "write": True}, "/", tar)
            with suppress(InvalidArgument, NotFound):
                raw = await get(view, "/d/")
                assert b"secret" not in raw
            raw = await get(view, "/")
            assert b"secret" not in raw
            raw = await export(view)
            assert b"secret" not in raw
    assert [path.name for path in outside.iterdir()] == ["x"]


def test_the_flipper_catches_what_joins_paths(short_folder: Path) -> None:
    """The test above can fail: the naive way to do the same is led out at once."""
    root, outside = short_folder / "root", short_folder / "outside"
    for folder in (root / "d", outside):
        folder.mkdir(parents=True)
    (root / "d/x").write_text("inside")
    (outside / "x").write_text("secret")
    (root / "evil").symlink_to(outside)
    read = set()
    with flipping(root / "d", root / "evil"):
        for number in range(2000):
            path = root / "d"
            with suppress(OSError):
                if not path.is_symlink():
                    read.add((path / "x").read_text())
                    (path / f"f{number}").write_text("1")
    assert read == {"inside", "secret"}
    assert len(list(outside.iterdir())) > 1


async def test_a_worker_that_is_killed_leaves_no_part_of_a_file(tree: Tree) -> None:
    tar = make_tar([member("first", b"1"), member("second", b"2" * 10_000_000)])
    half = trio.Event()

    async def pieces() -> Any:
        yield tar[: len(tar) // 2]
        half.set()
        await trio.sleep_forever()

    arguments = {"view": tree.view(write=True), "path": "/tmp", "keep_types": True, "user": ""}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed, "archive_put", arguments, pieces())
        await half.wait()
        with trio.fail_after(10):
            while not (tree.upper / "tmp/first").exists():
                await trio.sleep(0.01)
        await trio.sleep(0.1)
        nursery.cancel_scope.cancel()
    assert [path.name for path in (tree.upper / "tmp").iterdir()] == ["first"]
    await tree.put("/tmp", tar)
    assert (tree.upper / "tmp/second").stat().st_size == 10_000_000


async def test_a_large_upload_takes_no_more_memory_than_a_small_one(tree: Tree) -> None:
    size = 200_000_000
    info = tarfile.TarInfo("big")
    info.size = size
    header = info.tobuf()
    peaks: list[int] = []

    async def pieces() -> Any:
        yield header
        block = bytes(1 << 20)
        for number in range(size // len(block)):
            if number % 50 == 0:
                peaks.append(_worker_memory())
            yield block
        yield bytes(size % len(block) + (-size % 512) + 1024)

    arguments = {"view": tree.view(write=True), "path": "/tmp", "keep_types": True, "user": ""}
    await feed("archive_put", arguments, pieces())
    assert (tree.upper / "tmp/big").stat().st_size == size
    assert max(peaks) - min(peak for peak in peaks if peak) < 16 * 1024, peaks


def _worker_memory() -> int:
    """The peak resident size of our worker so far, KiB."""
    for child in procfs.descendants(os.getpid()):
        with suppress(OSError):
            status = Path(f"/proc/{child.pid}/status").read_text()
            if "orlop-worker" in status.partition("\n")[0]:
                return int(status.partition("VmHWM:")[2].split()[0])
    return 0


async def test_no_operation_takes_what_is_none() -> None:
    with pytest.raises(OrlopError, match="there is no operation"):
        await work("archive_nope", {})


# --- hostile archives -----------------------------------------------------------------------


@pytest.mark.parametrize("keep_types", [True, False])
async def test_hostile_tars_put_into_a_container(tree: Tree, keep_types: bool) -> None:
    canary = Canary(tree.lower.parent.parent / "canary")
    for case in corpus(canary.path):
        refused = ""
        try:
            with trio.fail_after(limit(20)):
                await tree.put("/tmp", case.data, keep_types=keep_types)
        except (InvalidArgument, NotFound) as error:
            refused = error.message
        # Whiteouts are plain names here; what a layer may not have, a copy may.
        assert canary.unchanged(), case.name
        assert refused or not case.damaged, case.name
        await _clear(tree)


def test_hostile_tars_on_the_host(short_folder: Path) -> None:
    """As `orlop cp` takes what a container sends; without the worker, as in the command."""
    canary = Canary(short_folder / "canary")
    for number, case in enumerate(corpus(canary.path)):
        top = short_folder / f"{number}"
        top.mkdir()
        fd = os.open(top, os.O_PATH)
        extraction = Extraction(
            Beneath(fd, str(top)), Rules(owner=lambda _: None, devices=False, set_ids=False)
        )
        reader = TarReader()
        try:
            for event in reader.feed(case.data):
                extraction.take(event)
            extraction.finish()
        except (OrlopError, OSError):
            pass
        finally:
            extraction.abandon()
            os.close(fd)
        assert canary.unchanged(), case.name
        for path in top.rglob("*"):
            mode = path.lstat().st_mode
            assert not stat.S_ISCHR(mode), case.name
            assert not stat.S_ISBLK(mode), case.name
            assert not stat.S_ISREG(mode) or not mode & 0o6000, case.name


async def _clear(tree: Tree) -> None:
    """As if nothing had been copied."""
    for path in tree.upper.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
