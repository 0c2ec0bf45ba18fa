"""Filling a volume with what the image has: all that belongs to a file, nothing of the host."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trio

from supervisor.errors import InvalidArgument, OrlopError
from supervisor.kernel.process import set_parent_death_signal
from supervisor.snapshot.copy_up import COPIED, COPYING, DATA, finish, undo
from supervisor.store.work import work

HOSTS_OWN = "of the host"


class Image:
    """Layers, a data root's folders, and a file of the host that nothing may show."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lower = folder / "lower"
        self.top = folder / "top"
        for name in ("lower", "top", "scratch", "trash", "volumes", "host"):
            (folder / name).mkdir()
        (folder / "host/secret").write_text(HOSTS_OWN)

    def volume(self, name: str = "v1") -> Path:
        (self.folder / "volumes" / name / DATA).mkdir(parents=True)
        return self.folder / "volumes" / name / DATA

    async def fill(self, path: str, name: str = "v1", **more: Any) -> bool:
        folder = str(self.folder / "volumes" / name)
        result = await work(
            "copy_up",
            {
                "lowers": [str(self.top), str(self.lower)],
                "volumes": [{"path": path, "folder": folder, **more}],
                "scratch": str(self.folder / "scratch"),
                "trash": str(self.folder / "trash"),
            },
        )
        return bool(result["filled"])


@pytest.fixture
def image(short_folder: Path) -> Image:
    return Image(short_folder)


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


async def test_everything_that_belongs_to_a_file(image: Image) -> None:
    source = image.lower / "data"
    (source / "sub").mkdir(parents=True)
    (source / "file").write_bytes(b"content")
    os.chown(source / "file", 1234, 5678)
    (source / "file").chmod(0o4751)
    os.setxattr(source / "file", "user.mime", b"text")
    os.setxattr(
        source / "file", "security.capability", bytes.fromhex("0100000200200000" + "00" * 12)
    )
    os.link(source / "file", source / "sub/linked")
    (source / "link").symlink_to("/absolute")
    os.lchown(source / "link", 7, 8)
    os.mkfifo(source / "fifo")
    os.mknod(source / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.chown(source / "sub", 11, 12)
    (source / "sub").chmod(0o2770)
    os.utime(source / "file", ns=(10**18, 10**18 + 5))
    os.utime(source / "sub", ns=(10**18, 10**18 + 7))
    os.chown(source, 99, 98)
    source.chmod(0o1777)
    os.setxattr(source, "user.of", b"the folder")
    data = image.volume()

    assert await image.fill("/data")

    assert names(data) == ["fifo", "file", "link", "null", "sub"]
    file = (data / "file").lstat()
    assert (data / "file").read_bytes() == b"content"
    assert (file.st_uid, file.st_gid, stat.S_IMODE(file.st_mode)) == (1234, 5678, 0o4751)
    assert file.st_mtime_ns == 10**18 + 5
    assert os.getxattr(data / "file", "user.mime") == b"text"
    assert os.getxattr(data / "file", "security.capability").startswith(b"\x01\0\0\x02")
    assert (data / "sub/linked").stat().st_ino == file.st_ino
    assert (data / "link").readlink() == Path("/absolute")
    assert (data / "link").lstat().st_gid == 8
    assert stat.S_ISFIFO((data / "fifo").lstat().st_mode)
    assert (data / "null").lstat().st_rdev == os.makedev(1, 3)
    sub = (data / "sub").stat()
    assert (sub.st_uid, stat.S_IMODE(sub.st_mode), sub.st_mtime_ns) == (11, 0o2770, 10**18 + 7)
    whole = data.stat()
    assert (whole.st_uid, whole.st_gid, stat.S_IMODE(whole.st_mode)) == (99, 98, 0o1777)
    assert os.getxattr(data, "user.of") == b"the folder"
    assert names(data.parent) == [DATA]


async def test_layers_are_seen_as_the_container_sees_them(image: Image) -> None:
    (image.lower / "data").mkdir()
    (image.lower / "data/gone").touch()
    (image.lower / "data/changed").write_text("old")
    (image.top / "data").mkdir(mode=0o700)
    os.mknod(image.top / "data/gone", stat.S_IFCHR, 0)
    (image.top / "data/changed").write_text("new")
    data = image.volume()
    assert await image.fill("/data")
    assert names(data) == ["changed"]
    assert (data / "changed").read_text() == "new"
    assert stat.S_IMODE(data.stat().st_mode) == 0o700


async def test_an_empty_folder_gives_its_owner_and_mode(image: Image) -> None:
    (image.lower / "data").mkdir()
    (image.lower / "data").chmod(0o1777)
    os.chown(image.lower / "data", 70, 70)
    data = image.volume()
    assert await image.fill("/data")
    assert (data.stat().st_uid, stat.S_IMODE(data.stat().st_mode)) == (70, 0o1777)


async def test_a_volume_that_has_something_stays_as_it_is(image: Image) -> None:
    (image.lower / "data").mkdir(mode=0o700)
    (image.lower / "data/file").touch()
    data = image.volume()
    (data / "mine").touch()
    assert not await image.fill("/data")
    assert names(data) == ["mine"]


@pytest.mark.parametrize("path", ["/none", "/none/deeper", "/file/below", "/dangling", "/loop"])
async def test_where_the_image_has_nothing(image: Image, path: str) -> None:
    (image.lower / "file").touch()
    (image.lower / "dangling").symlink_to("/nowhere")
    (image.lower / "loop").symlink_to("loop")
    data = image.volume()
    assert not await image.fill(path)
    assert names(data) == []


async def test_a_file_is_in_the_way(image: Image) -> None:
    (image.lower / "file").touch()
    image.volume()
    with pytest.raises(InvalidArgument, match="cannot mount volume over existing file"):
        await image.fill("/file")


@pytest.mark.parametrize(
    "target",
    ["{host}", "../../../../../../../../../..{host}", "/proc/self/root{host}", "/proc/1/cwd"],
)
@pytest.mark.parametrize("path", ["/way", "/way/", "/deep/../way", "/deep/up/way", "/../../way"])
async def test_nothing_of_the_host_is_copied(image: Image, target: str, path: str) -> None:
    """A link of the image's, whatever its text says, leads to the image's own files."""
    (image.lower / "deep").mkdir()
    (image.lower / "deep/up").symlink_to("../../../..")
    (image.lower / "way").symlink_to(target.format(host=image.folder / "host"))
    data = image.volume()
    assert not await image.fill(path)
    assert names(data) == []


async def test_a_link_to_another_folder_of_the_image(image: Image) -> None:
    (image.lower / "real").mkdir()
    (image.lower / "real/file").touch()
    (image.lower / "way").symlink_to("/real")
    data = image.volume()
    assert await image.fill("/way")
    assert names(data) == ["file"]


async def test_links_are_copied_and_never_followed(image: Image) -> None:
    (image.lower / "data").mkdir()
    (image.lower / "data/secret").symlink_to(image.folder / "host/secret")
    (image.lower / "data/host").symlink_to(image.folder / "host")
    data = image.volume()
    assert await image.fill("/data")
    assert (data / "secret").is_symlink()
    assert (data / "host").is_symlink()


async def test_holes_stay_holes(image: Image) -> None:
    (image.lower / "data").mkdir()
    with open(image.lower / "data/sparse", "wb") as file:
        file.write(b"head")
        file.seek(1 << 40)
        file.write(b"tail")
        file.truncate((1 << 40) + (1 << 30))
    data = image.volume()
    assert await image.fill("/data")
    status = (data / "sparse").stat()
    assert (status.st_size, status.st_blocks < 100) == ((1 << 40) + (1 << 30), True)
    with open(data / "sparse", "rb") as file:
        assert file.read(4) == b"head"
        file.seek(1 << 40)
        assert file.read(4) == b"tail"


async def test_too_deep_is_refused_and_leaves_nothing(image: Image) -> None:
    deep = os.open(image.lower, os.O_RDONLY)
    for name in ["data", *["d"] * 1100]:
        os.mkdir(name, dir_fd=deep)
        inner = os.open(name, os.O_RDONLY, dir_fd=deep)
        os.close(deep)
        deep = inner
    os.close(deep)
    data = image.volume()
    with pytest.raises(InvalidArgument, match="nested more than 1000 deep"):
        await image.fill("/data")
    assert names(data) == []
    assert names(data.parent) == [DATA]
    _flatten(image.lower / "data")
    _flatten(next((image.folder / "trash").iterdir()))


def _flatten(folder: Path) -> None:
    """Remove what is too deep for shutil.rmtree."""
    subprocess.run(["/bin/rm", "-rf", str(folder)], check=True)


async def test_a_copy_that_broke_off_is_begun_anew(image: Image) -> None:
    (image.lower / "data").mkdir()
    (image.lower / "data/file").touch()
    data = image.volume()
    (data.parent / COPYING).mkdir()
    (data.parent / COPYING / "half").touch()
    assert await image.fill("/data")
    assert names(data) == ["file"]
    assert not (data.parent / COPIED).exists()


async def test_a_part_of_a_volume(image: Image) -> None:
    (image.lower / "data").mkdir()
    (image.lower / "data/file").touch()
    data = image.volume()
    (data / "part").mkdir()
    (data / "out").symlink_to(image.folder / "host")
    for subpath, filled in (("part", True), ("missing", False), ("out", False), ("../..", False)):
        found = await image.fill("/data", "v1/_data", plain=True, subpath=subpath)
        assert (subpath, found) == (subpath, filled)
    assert names(data / "part") == ["file"]
    assert names(image.folder / "host") == ["secret"]


@contextmanager
def hostile(act: Callable[[], None]) -> Iterator[None]:
    """A process that does the same thing over and over, as fast as it can."""
    pid = os.fork()
    if pid == 0:
        set_parent_death_signal(signal.SIGKILL)
        while True:
            with suppress(OSError):
                act()
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


FILES = 300


@pytest.mark.parametrize("kind", ["folders", "files"])
async def test_a_hostile_container_gets_nothing_written_elsewhere(image: Image, kind: str) -> None:
    host = image.folder / "host"
    for number in range(FILES):
        if kind == "folders":
            (image.lower / f"data/{number}").mkdir(parents=True)
            (image.lower / f"data/{number}/stolen").touch()
        else:
            (image.lower / "data").mkdir(exist_ok=True)
            (image.lower / f"data/{number}").write_text("image's")
    data = image.volume()
    for attempt in range(10):
        part = data / f"part{attempt}"
        part.mkdir()

        def replace_folders(part: Path = part) -> None:
            for name in os.listdir(part):
                os.rename(f"{part}/{name}", f"{data}/{os.urandom(8).hex()}")
                os.symlink(host, f"{part}/{name}")

        def place_links(part: Path = part) -> None:
            for number in range(FILES if os.listdir(part) else 0):
                with suppress(FileExistsError):
                    os.symlink(host / f"stolen{number}", f"{part}/{number}")

        # What is in the way is told, and not replaced.
        with hostile(replace_folders if kind == "folders" else place_links), suppress(OrlopError):
            await image.fill("/data", "v1/_data", plain=True, subpath=part.name)
        assert names(host) == ["secret"]
    assert (host / "secret").read_text() == HOSTS_OWN


async def test_a_copy_that_was_killed_is_all_or_nothing(image: Image) -> None:
    (image.lower / "data").mkdir()
    for number in range(3000):
        (image.lower / f"data/{number}").touch()
    data = image.volume()
    with trio.move_on_after(0.15):
        await image.fill("/data")
    # As the next start of the daemon has it.
    undo(str(data.parent), str(image.folder / "trash"))
    finish(str(data.parent), str(image.folder / "trash"))
    assert len(names(data)) in (0, 3000)
    await image.fill("/data")
    assert len(names(data)) == 3000
    assert names(data.parent) == [DATA]
