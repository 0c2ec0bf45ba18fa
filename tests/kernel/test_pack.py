"""Overlays packed into layers and unpacked again, on the real overlayfs; and what they changed."""

from __future__ import annotations

import hashlib
import io
import os
import random
import shutil
import stat
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from supervisor.errors import Conflict, InvalidArgument
from supervisor.kernel import mounts
from tests.kernel.forked import in_child
from tests.support.measured_worker import measure
from tests.support.pace import IN_GUEST
from tests.support.pictures import gnu_tar, one_of_everything, picture

SEEDS = range(3 if IN_GUEST else 12)
MODIFIED, ADDED, DELETED = range(3)


def operation(name: str, fds: dict[str, int] | None = None, **arguments: Any) -> dict[str, Any]:
    """Run it as the daemon does; its result, or its error."""
    done = measure(name, arguments, fds or {})
    if done.error is not None:
        raise done.error
    assert done.result is not None
    return done.result


def pack(folder: Path, name: str = "pack", **arguments: Any) -> tuple[bytes, dict[str, Any]]:
    """The tar of a folder, and what is told of it."""
    with open(folder.parent / "packed", "w+b") as output:
        result = operation(name, {"output": output.fileno()}, folder=str(folder), **arguments)
        output.seek(0)
        data = output.read()
    assert result["tar_size"] == len(data)
    assert result["diff_id"] == f"sha256:{hashlib.sha256(data).hexdigest()}"
    return data, result


def unpack(folder: Path, data: bytes) -> dict[str, Any]:
    blob = folder.parent / "blob"
    blob.write_bytes(data)
    with open(blob, "rb") as file:
        return operation("unpack", {"input": file.fileno()}, folder=str(folder))


def changes(upper: Path, lowers: Sequence[Path]) -> list[tuple[int, str]]:
    result = operation("changes", upper=str(upper), lowers=[str(lower) for lower in lowers])
    return [(kind, path) for kind, path in result["changes"]]


def members(data: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {info.name: info for info in tar}


class Box:
    """An overlay's folders, and the overlay while the block lasts. In a mount namespace."""

    def __init__(self, top: Path, lowers: int = 1) -> None:
        self.lowers = [top / f"lower{number}" for number in range(lowers)]
        self.upper, self.work, self.merged = (top / name for name in ("upper", "work", "merged"))
        for folder in (*self.lowers, self.upper, self.work, self.merged):
            folder.mkdir()

    @contextmanager
    def mounted(self, upper: Path | None = None) -> Iterator[Path]:
        """The overlay; with `upper`, this read-only above the lowers instead of ours."""
        lowers = ":".join(map(str, self.lowers if upper is None else [upper, *self.lowers]))
        options = f"lowerdir={lowers},redirect_dir=off,metacopy=off,index=off"
        if upper is None:
            options += f",upperdir={self.upper},workdir={self.work}"
        mounts.mount("overlay", str(self.merged), "overlay", 0, options)
        try:
            yield self.merged
        finally:
            mounts.umount(str(self.merged))

    def pack(self, **arguments: Any) -> tuple[bytes, dict[str, Any]]:
        return pack(self.upper, lowers=[str(lower) for lower in self.lowers], **arguments)

    def changes(self) -> list[tuple[int, str]]:
        return changes(self.upper, self.lowers)


def seen(top: Path) -> dict[str, tuple[Any, ...]]:
    """A picture with whole seconds, as layers have them, without the notes of overlayfs."""
    return {
        name: (*fields[:4], fields[4] // 10**9, fields[5], without_notes(fields[6]))
        for name, fields in picture(top).items()
    }


def without_notes(xattrs: dict[str, bytes]) -> dict[str, bytes]:
    return {
        name: value for name, value in xattrs.items() if not name.startswith("trusted.overlay.")
    }


# --- the whole way --------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_a_layer_shows_what_the_container_saw(seed: int, short_folder: Path) -> None:
    def body() -> None:
        box = Box(short_folder, lowers=3)
        chance = random.Random(seed)
        for lower in reversed(box.lowers):
            one_of_everything(lower / "all")
            grow(lower, chance, 25)
        with box.mounted(box.upper) as merged:
            before = seen(merged)
        with box.mounted() as merged:
            change(merged, chance, 60)
            after = seen(merged)
        data, told = box.pack()
        layer = short_folder / "layer"
        assert unpack(layer, data)["diff_id"] == told["diff_id"]
        with box.mounted(layer) as merged:
            assert seen(merged) == after
        assert pack(layer, lowers=[str(lower) for lower in box.lowers])[0] == data
        check_changes(box.changes(), before, after)

    in_child(body)


def grow(top: Path, chance: random.Random, steps: int) -> None:
    """Fill a folder with something."""
    for _ in range(steps):
        folder = chance.choice([top, *(path for path in top.rglob("?") if is_folder(path))])
        path = folder / chance.choice("abcdef")
        if not os.path.lexists(path):
            make(path, chance)


def make(path: Path, chance: random.Random) -> None:
    match chance.randrange(7):
        case 0:
            path.symlink_to(chance.choice(["a", "/a/b", "..", "no where"]))
        case 1:
            os.mkfifo(path)
        case 2 | 3 | 4:
            path.mkdir(mode=chance.choice([0o755, 0o1777, 0o700]))
        case _:
            path.write_bytes(chance.randbytes(chance.randrange(2000)))
            path.chmod(chance.choice([0o644, 0o755, 0o4755, 0]))


def change(top: Path, chance: random.Random, steps: int) -> None:
    """What containers do to their root."""
    for _ in range(steps):
        paths = sorted(top.rglob("?"))
        path = chance.choice(paths or [top / "a"])
        if not os.path.lexists(path):
            path.mkdir()
        if chance.randrange(2):
            change_attributes(path, chance)
        else:
            change_names(top, path, chance)


def change_attributes(path: Path, chance: random.Random) -> None:
    match chance.randrange(4):
        case 0:
            os.chown(path, chance.randrange(3), 0, follow_symlinks=False)
        case 1 if not path.is_symlink():
            path.chmod(chance.choice([0o750, 0o711, 0o2755]))
        case 2 if is_file(path):
            with path.open("ab") as file:
                file.write(b"more")
        case _ if is_file(path):
            os.setxattr(path, "user.note", chance.randbytes(3))


def change_names(top: Path, path: Path, chance: random.Random) -> None:
    other = top / chance.choice("abcdef")
    match chance.randrange(6):
        case 0:
            remove(path)
        case 1:
            remove(path)
            make(path, chance)
        case 2 if is_folder(path):  # with other content than before
            remove(path)
            path.mkdir()
            make(path / chance.choice("abcdef"), chance)
        case 3 if is_file(path) and not os.path.lexists(other):
            os.link(path, other)
        case 4 if not is_folder(path) and not os.path.lexists(other):
            path.rename(other)
        case _ if is_folder(path):
            inner = path / chance.choice("abcdef")
            if not os.path.lexists(inner):
                make(inner, chance)


def is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def remove(path: Path) -> None:
    if is_folder(path):
        shutil.rmtree(path)
    else:
        path.unlink()


def check_changes(
    found: list[tuple[int, str]],
    before: dict[str, tuple[Any, ...]],
    after: dict[str, tuple[Any, ...]],
) -> None:
    """Against the two pictures: what was there before, what is now."""
    kinds = {path[1:]: kind for kind, path in found}
    assert len(kinds) == len(found)
    assert {path for path, kind in kinds.items() if kind == ADDED} == after.keys() - before.keys()
    gone = before.keys() - after.keys()
    tops = {path for path in gone if path.rpartition("/")[0] in ("", *after)}
    # Below a file in place of a folder nothing is told.
    tops = {
        path for path in tops if not path.rpartition("/")[0] or stat.S_ISDIR(after[up(path)][0])
    }
    assert {path for path, kind in kinds.items() if kind == DELETED} == tops
    differ = {path for path in before.keys() & after.keys() if before[path] != after[path]}
    modified = {path for path, kind in kinds.items() if kind == MODIFIED}
    assert differ <= modified <= before.keys() & after.keys()
    for path in kinds:  # parents are told too, and first
        while path := up(path):
            assert path in kinds
    order = [path for _, path in found]
    assert order == sorted(order, key=lambda path: path.split("/"))


def up(path: str) -> str:
    return path.rpartition("/")[0]


def test_a_plain_tree_is_what_gnu_tar_makes_of_it(short_folder: Path) -> None:
    tree = short_folder / "tree"
    one_of_everything(tree)
    data, told = pack(tree, "pack_tree")
    theirs = short_folder / "theirs"
    theirs.mkdir()
    gnu_tar("-C", str(theirs), "-xp", input=data)
    whole_seconds = {
        name: (*fields[:4], fields[4] // 10**9 * 10**9, *fields[5:])
        for name, fields in picture(tree).items()
    }
    assert picture(theirs) == whole_seconds
    ours = short_folder / "ours"
    unpack(ours, data)
    assert picture(ours) == whole_seconds
    assert told["entries"] == len(whole_seconds)
    assert told["size"] == 1_000_003 + 1 + 4 + 4
    assert pack(ours, "pack_tree")[0] == data


# --- layers ---------------------------------------------------------------------------------


def in_box(short_folder: Path, body: Any) -> Any:
    return in_child(lambda: body(Box(short_folder)))


def test_whiteouts_and_opaque_folders(short_folder: Path) -> None:
    def body(box: Box) -> Any:
        lower = box.lowers[0]
        for name in ("gone", "folder", "again", "kept"):
            (lower / name).mkdir()
            (lower / name / "f").write_text("old")
        with box.mounted() as merged:
            (merged / "gone/f").unlink()
            shutil.rmtree(merged / "folder")
            shutil.rmtree(merged / "again")
            (merged / "again").mkdir()
            (merged / "again/g").write_text("new")
            (merged / "new").mkdir()
            (merged / "new/h").touch()
        # With other options of overlayfs every new folder is marked.
        os.setxattr(box.upper / "new", "trusted.overlay.opaque", b"y")
        return list(members(box.pack()[0]))

    assert in_box(short_folder, body) == [
        "again", "again/.wh..wh..opq", "again/g", ".wh.folder", "gone", "gone/.wh.f", "new", "new/h"
    ]  # fmt: skip


def test_hard_links_and_attributes_of_an_upper(short_folder: Path) -> None:
    def body(box: Box) -> None:
        capability = bytes.fromhex("0100000200200000000000000000000000000000")
        (box.lowers[0] / "lower").write_text("x")
        with box.mounted() as merged:
            (merged / "one").write_text("content")
            os.link(merged / "one", merged / "two")
            os.setxattr(merged / "one", "security.capability", capability)
            os.setxattr(merged / "lower", "user.note", b"1")
            os.setxattr(merged / "lower", "trusted.note", b"2")
        found = members(box.pack()[0])
        assert found["one"].size == 7
        assert (found["two"].type, found["two"].linkname) == (tarfile.LNKTYPE, "one")
        names = {key for info in found.values() for key in info.pax_headers if "xattr" in key}
        prefix = "SCHILY.xattr."
        assert names == {
            f"{prefix}{n}" for n in ("security.capability", "user.note", "trusted.note")
        }

    in_box(short_folder, body)


def test_paths_to_leave_out(short_folder: Path) -> None:
    def body(box: Box) -> list[str]:
        (box.lowers[0] / "etc").mkdir()
        (box.lowers[0] / "etc/hosts").write_text("of the image")
        for name in ("etc/hosts", "etc/hostname", "mine"):
            (box.upper / name).parent.mkdir(exist_ok=True)
            (box.upper / name).write_text("")
        return list(members(box.pack(without=["/etc/hosts", "/etc/hostname", "/dev"])[0]))

    assert in_box(short_folder, body) == ["etc", "etc/hosts", "mine"]


def test_names_that_mean_deletions_cannot_be_packed(short_folder: Path) -> None:
    upper = short_folder / "upper"
    (upper / "d").mkdir(parents=True)
    (upper / "d/.wh.f").touch()
    for name in ("pack", "pack_tree"):
        with pytest.raises(InvalidArgument, match=r"/d/.wh.f: a layer cannot have it"):
            pack(upper, name)


def test_content_that_is_elsewhere_is_not_packed(short_folder: Path) -> None:
    for name in ("redirect", "metacopy"):
        upper = short_folder / name
        (upper / "d").mkdir(parents=True)
        os.setxattr(upper / "d", f"trusted.overlay.{name}", b"x")
        with pytest.raises(Conflict, match=f"/d has the attribute trusted.overlay.{name}"):
            pack(upper)


def test_a_plain_tree_has_no_whiteouts(short_folder: Path) -> None:
    upper = short_folder / "upper"
    upper.mkdir()
    os.mknod(upper / "f", stat.S_IFCHR, 0)
    assert list(members(pack(upper)[0])) == [".wh.f"]
    with pytest.raises(InvalidArgument, match="device 0:0"):
        pack(upper, "pack_tree")


def test_what_is_no_file_of_a_layer_is_left_out(short_folder: Path) -> None:
    import socket

    upper = short_folder / "upper"
    upper.mkdir()
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(upper / "socket"))
        (upper / "f").touch()
        assert list(members(pack(upper)[0])) == ["f"]


def test_no_device_is_opened_and_no_time_changes(short_folder: Path) -> None:
    upper = short_folder / "upper"
    upper.mkdir()
    (upper / "f").write_text("x")
    os.utime(upper / "f", ns=(1, 2))
    # Opening a tty that hangs would; a number that no driver has would fail.
    os.mknod(upper / "nothing", stat.S_IFBLK, os.makedev(4000, 4000))
    os.mkfifo(upper / "fifo")
    assert list(members(pack(upper)[0])) == ["f", "fifo", "nothing"]
    assert (upper / "f").stat().st_atime_ns == 1


def test_a_tree_deeper_than_any_path(short_folder: Path) -> None:
    upper = short_folder / "upper"
    upper.mkdir()
    deepen(upper, 2100)
    try:
        for name, arguments in (
            ("pack", {"folder": str(upper)}), ("changes", {"upper": str(upper), "lowers": []})
        ):  # fmt: skip
            with (
                open("/dev/null", "wb") as output,
                pytest.raises(InvalidArgument, match=r"deep|long"),
            ):
                operation(name, {"output": output.fileno()}, **arguments)
        assert operation("usage", folder=str(upper))["inodes"] > 1900
    finally:
        subprocess.run(["rm", "-rf", str(upper)], check=True)


def deepen(top: Path, depth: int) -> None:
    """Folders inside each other; too deep to be named in one go."""
    code = (
        f"import os; os.chdir({str(top)!r})\nfor _ in range({depth}): os.mkdir('d'); os.chdir('d')"
    )
    subprocess.run(["python3", "-c", code], check=True)


def test_a_full_pipe_does_not_lose_anything(short_folder: Path) -> None:
    upper = short_folder / "upper"
    upper.mkdir()
    content = os.urandom(3_000_000)
    (upper / "f").write_bytes(content)
    with subprocess.Popen(
        ["sha256sum"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as sums:
        assert sums.stdin is not None
        told = operation("pack", {"output": sums.stdin.fileno()}, folder=str(upper))
        sums.stdin.close()
        assert sums.stdout is not None
        assert told["diff_id"] == f"sha256:{sums.stdout.read().split()[0]}"


# --- changes --------------------------------------------------------------------------------


def test_changes_as_docker_tells_them(short_folder: Path) -> None:
    def body(box: Box) -> Any:
        lower = box.lowers[0]
        for folder in ("etc", "var/log", "opt/a/b", "same"):
            (lower / folder).mkdir(parents=True)
        for file in ("etc/passwd", "etc/group", "var/log/x", "opt/a/b/f", "opt/a/g", "touched"):
            (lower / file).write_text("x")
        with box.mounted() as merged:
            with (merged / "etc/passwd").open("a") as file_:
                file_.write("more")
            (merged / "etc/group").chmod(0o644)  # copied up, and the same
            (merged / "var/log/new").write_text("y")
            shutil.rmtree(merged / "opt/a")
            (merged / "data").mkdir()
            (merged / "data/f").touch()
            (merged / "same").chmod(0o755)
        return box.changes()

    assert in_box(short_folder, body) == [
        [ADDED, "/data"], [ADDED, "/data/f"],
        [MODIFIED, "/etc"], [MODIFIED, "/etc/group"], [MODIFIED, "/etc/passwd"],
        [MODIFIED, "/opt"], [DELETED, "/opt/a"],
        [MODIFIED, "/var"], [MODIFIED, "/var/log"], [ADDED, "/var/log/new"],
    ]  # fmt: skip


def test_changes_of_an_opaque_folder(short_folder: Path) -> None:
    def body(box: Box) -> Any:
        lower = box.lowers[0]
        (lower / "d/sub").mkdir(parents=True)
        for file in ("d/gone", "d/kept", "d/sub/f", "d/sub/g"):
            (lower / file).write_text("x")
        with box.mounted() as merged:
            shutil.rmtree(merged / "d")
            (merged / "d/sub").mkdir(parents=True)
            for file in ("d/kept", "d/new", "d/sub/g"):
                (merged / file).write_text("y")
        return box.changes()

    assert in_box(short_folder, body) == [
        [MODIFIED, "/d"], [DELETED, "/d/gone"], [MODIFIED, "/d/kept"], [ADDED, "/d/new"],
        [MODIFIED, "/d/sub"], [DELETED, "/d/sub/f"], [MODIFIED, "/d/sub/g"],
    ]  # fmt: skip


def test_what_a_lower_layer_deleted_is_added_again(short_folder: Path) -> None:
    def body() -> Any:
        box = Box(short_folder, lowers=2)
        over, base = box.lowers
        for name in ("file", "d/inner"):
            (base / name).parent.mkdir(exist_ok=True)
            (base / name).write_text("x")
        os.mknod(over / "file", stat.S_IFCHR, 0)
        (over / "d").mkdir()
        os.setxattr(over / "d", "trusted.overlay.opaque", b"y")
        with box.mounted() as merged:
            assert sorted(path.name for path in merged.rglob("*")) == ["d"]
            (merged / "file").write_text("y")
            (merged / "d/inner").write_text("y")
        return box.changes()

    assert in_child(body) == [[MODIFIED, "/d"], [ADDED, "/d/inner"], [ADDED, "/file"]]


def test_no_changes(short_folder: Path) -> None:
    upper = short_folder / "upper"
    upper.mkdir()
    assert changes(upper, []) == []


# --- usage ----------------------------------------------------------------------------------


def test_usage(short_folder: Path) -> None:
    top = short_folder / "top"
    (top / "d").mkdir(parents=True)
    (top / "f").write_bytes(b"x" * 100_000)
    os.link(top / "f", top / "d/again")
    os.symlink("f", top / "l")
    with open(top / "holes", "wb") as holes:
        holes.truncate(1 << 30)
    told = operation("usage", folder=str(top))
    assert told["inodes"] == 5
    assert told["bytes"] == 100_000 + (1 << 30)
    measured = subprocess.run(["du", "-s", "-B1", str(top)], capture_output=True, check=True)
    assert told["size"] == int(measured.stdout.split()[0])
