"""Layers unpacked on a real filesystem: right, confined, bounded, and gone after a failure."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import shutil
import stat
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from supervisor.errors import Internal, InvalidArgument, Unavailable
from supervisor.kernel import mounts
from tests.kernel.forked import in_child
from tests.support.measured_worker import Measured, measure
from tests.support.pace import IN_GUEST, limit
from tests.support.pictures import gnu_tar, one_of_everything, picture
from tests.support.tar_corpus import (
    END,
    Canary,
    Case,
    bombs,
    corpus,
    describe,
    file,
    folder,
    greedy_xz,
    hardlink,
    head,
    hungry,
    pax,
    symlink,
    zeros_gzip,
)

MIB = 1 << 20
# Starting a worker takes a second in the guest: there, those that find holes in a kernel.
CASES = [case.name for case in corpus(Path("/canary")) if case.escapes or not IN_GUEST]
MORE_MEMORY = 64 * MIB


@pytest.fixture
def canary(short_folder: Path) -> Canary:
    return Canary(short_folder / "canary")


def unpack(folder: Path, data: bytes, **arguments: Any) -> Measured:
    """The operation, as the daemon runs it, on a file with `data`."""
    with tempfile.TemporaryFile() as blob:
        blob.write(data)
        blob.seek(0)
        return measure("unpack", {"folder": str(folder), **arguments}, {"input": blob.fileno()})


def unpacked(folder: Path, data: bytes, **arguments: Any) -> dict[str, Any]:
    """`unpack`, which must work."""
    done = unpack(folder, data, **arguments)
    if done.error is not None:
        raise done.error
    assert done.result is not None
    return done.result


# --- hostile tars ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_hostile_tar(name: str, canary: Canary, short_folder: Path) -> None:
    case = next(case for case in corpus(canary.path) if case.name == name)
    layer = short_folder / "layer"
    done = unpack(layer, case.data)
    assert canary.unchanged()
    if case.refused:
        assert isinstance(done.error, InvalidArgument)
        assert re.search(case.refused, done.error.message)
        assert not layer.exists()
    else:
        assert done.error is None
        made = {path: describe(layer / path) for path in case.made}
        assert made == case.made
    if case.damaged:
        assert done.seconds < limit(10.0)


def test_the_corpus_catches_an_extractor_that_only_joins_paths(
    canary: Canary, short_folder: Path
) -> None:
    missed = []
    for case in corpus(canary.path):
        if not case.escapes:
            continue
        shutil.rmtree(canary.path)
        fresh = Canary(canary.path)
        naive = short_folder / "naive"
        naive.mkdir()
        extract_naively(naive, case.data)
        if fresh.unchanged():
            missed.append(case.name)
        shutil.rmtree(naive)
    assert missed == []


def extract_naively(target: Path, data: bytes) -> None:
    """What a hurried programmer writes; it aims at the canary only, as the corpus does."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for info in tar:
            path = os.path.join(target, info.name)
            folder, _, name = path.rpartition("/")
            os.makedirs(folder, exist_ok=True)
            if name == ".wh..wh..opq":
                os.setxattr(folder, "trusted.overlay.opaque", b"y")
            elif name.startswith(".wh."):
                if os.path.lexists(f"{folder}/{name[4:]}"):
                    os.unlink(f"{folder}/{name[4:]}")
            elif info.isdir():
                os.makedirs(path, exist_ok=True)
                os.chmod(path, info.mode)
            elif info.issym():
                if os.path.isdir(path) and not os.path.islink(path):
                    shutil.rmtree(path)
                os.symlink(info.linkname, path)
            elif info.islnk():
                os.link(os.path.join(target, info.linkname), path)
            else:
                content = tar.extractfile(info)
                assert content is not None
                Path(path).write_bytes(content.read())


# --- bombs ----------------------------------------------------------------------------------


@pytest.fixture
def usual(short_folder: Path) -> int:
    """The memory that unpacking next to nothing takes."""
    return unpack(short_folder / "usual", gzip.compress(file("f") + END)).memory


@pytest.mark.parametrize("case", bombs(), ids=lambda case: case.name)
def test_bombs_are_refused_by_what_they_declare(case: Case, short_folder: Path, usual: int) -> None:
    done = unpack(short_folder / "layer", case.data)
    assert isinstance(done.error, InvalidArgument)
    assert re.search(case.refused, done.error.message)
    assert done.memory - usual < MORE_MEMORY
    assert done.seconds < limit(3.0)
    assert not (short_folder / "layer").exists()


@pytest.mark.parametrize("case", hungry(64 * MIB if IN_GUEST else 256 * MIB), ids=lambda c: c.name)
def test_memory_is_bounded(case: Case, short_folder: Path, usual: int) -> None:
    done = unpack(short_folder / "layer", case.data)
    if done.error is not None:  # where a filesystem has less room
        assert case.refused
        assert re.search(case.refused, done.error.message)
    assert done.memory - usual < MORE_MEMORY


def test_a_bomb_from_a_pipe_ends_at_the_size_allowed(short_folder: Path, usual: int) -> None:
    packed = short_folder / "packed"
    packed.write_bytes(zeros_gzip(512 * MIB, head("zeros", size=512 * MIB)))
    with subprocess.Popen(["cat", packed], stdout=subprocess.PIPE) as cat:
        assert cat.stdout is not None
        done = measure(
            "unpack",
            {"folder": str(short_folder / "layer"), "max_size": 100 * MIB},
            {"input": cat.stdout.fileno()},
        )
    assert isinstance(done.error, InvalidArgument)
    assert "more than 104857600 bytes" in done.error.message
    assert done.memory - usual < MORE_MEMORY
    assert not (short_folder / "layer").exists()


def test_files_without_content_end_at_the_number_allowed(short_folder: Path, usual: int) -> None:
    count = 2_000 if IN_GUEST else 20_000
    data = gzip.compress(b"".join(head(f"f{number}") for number in range(count + 1)), 1)
    done = unpack(short_folder / "layer", data, max_entries=count)
    assert isinstance(done.error, InvalidArgument)
    assert f"more than {count} entries" in done.error.message
    assert done.memory - usual < MORE_MEMORY
    assert not (short_folder / "layer").exists()


def test_a_deep_tree(short_folder: Path, usual: int) -> None:
    path = "d/" * 500 + "f"
    done = unpack(short_folder / "layer", pax(path=path) + file("x") + END)
    assert done.error is None
    assert done.memory - usual < MORE_MEMORY
    assert describe(short_folder / "layer" / path) == "file 0644 evil"


def test_a_tree_that_grows_deeper_through_links_goes_with_the_failure(short_folder: Path) -> None:
    # Each link leads further down than any path could name.
    data, top = b"", ""
    for number in range(30):
        data += pax(path=f"{top}{'d/' * 200}f") + file("x")
        data += symlink(f"l{number}", f"{top}{'d/' * 200}")
        top = f"l{number}/"
    done = unpack(short_folder / "layer", data + b"x" * 512)
    assert isinstance(done.error, InvalidArgument)
    assert "invalid tar header" in done.error.message
    assert not (short_folder / "layer").exists()


def test_a_full_disk(short_folder: Path) -> None:
    def body() -> list[Any]:
        mounts.mount("none", str(short_folder), "tmpfs", 0, "size=8m,nr_inodes=1000")
        found: list[Any] = []
        small = b"".join(file(f"f{number}", b"x" * 500_000) for number in range(30))
        empty = b"".join(head(f"f{number}") for number in range(2000))
        large = file("large", bytes(20 * MIB))
        for data in (small, empty, large):
            done = unpack(short_folder / "layer", data + END)
            space = os.statvfs(short_folder)
            found.append([
                type(done.error).__name__, str(done.error),
                os.listdir(short_folder), space.f_bfree == space.f_blocks,
            ])  # fmt: skip
        return found

    for kind, message, left, empty in in_child(body):
        assert kind == Unavailable.__name__
        assert message.startswith("no space left on device")
        assert left == []
        assert empty


# --- the same as others make ----------------------------------------------------------------


@pytest.fixture
def tree(short_folder: Path) -> Path:
    top = short_folder / "tree"
    one_of_everything(top)
    return top


@pytest.mark.parametrize("compression", ["none", "gzip", "bzip2", "xz", "zstd"])
def test_it_is_what_gnu_tar_makes(tree: Path, short_folder: Path, compression: str) -> None:
    data = gnu_tar("--format=posix", "-C", str(tree), "-c", ".")
    packed = compress(data, compression)
    result = unpacked(short_folder / "layer", packed)
    theirs = short_folder / "theirs"
    theirs.mkdir()
    gnu_tar("-C", str(theirs), "-xp", input=data)
    assert picture(short_folder / "layer") == picture(theirs) == picture(tree)
    assert result["diff_id"] == f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert result["tar_size"] == len(data)
    assert result["size"] == 1_000_003 + 1 + 4 + 4
    assert result["entries"] == len(picture(tree)) + 1


def compress(data: bytes, compression: str) -> bytes:
    match compression:
        case "gzip":  # in several members, as pigz and bgzip have it
            parts = [gzip.compress(data[at : at + 300_000]) for at in range(0, len(data), 300_000)]
            return b"".join(parts)
        case "bzip2":
            import bz2

            return bz2.compress(data[:5000]) + bz2.compress(data[5000:])
        case "xz":
            import lzma

            return lzma.compress(data[:5000]) + bytes(4) + lzma.compress(data[5000:])
        case "zstd":
            import zstandard

            packer = zstandard.ZstdCompressor()
            # A skippable frame first, as estargz and zstd:chunked have them.
            skipped = b"\x50\x2a\x4d\x18\x04\0\0\0abcd"
            return skipped + packer.compress(data[:5000]) + packer.compress(data[5000:])
        case _:
            return data


def test_old_gnu_tars(tree: Path, short_folder: Path) -> None:
    data = gnu_tar("--no-xattrs", "--format=gnu", "-C", str(tree), "-c", "usr", "bin")
    unpacked(short_folder / "layer", data)
    theirs = short_folder / "theirs"
    theirs.mkdir()
    gnu_tar("-C", str(theirs), "-xp", input=data)
    ours = picture(short_folder / "layer")
    assert ours == picture(theirs)
    assert any("long" * 60 in name for name in ours)


def test_folders_keep_their_times_in_any_order(short_folder: Path) -> None:
    data = (
        folder("a", mtime=1000) + file("a/f") + folder("b", mtime=2000) + file("a/g")
        + folder("b/c", mtime=3000) + hardlink("b/c/h", "a/f") + file("a/.wh.x", b"")
        + symlink("b/l", "x") + file("a/f", b"again") + file("b/c/d/implied") + folder("a", mtime=9)
    )  # fmt: skip
    layer = short_folder / "layer"
    unpacked(layer, data + END)
    times = {name: (layer / name).stat().st_mtime for name in ("a", "b", "b/c")}
    assert times == {"a": 9, "b": 2000, "b/c": 3000}


def test_nothing_is_inherited_from_folders(short_folder: Path) -> None:
    acl = bytes.fromhex("0200000001000700ffffffff04000500ffffffff20000000ffffffff")
    layer = short_folder / "layer"
    attribute = pax(SCHILY__xattr__system__posix_acl_default=acl)
    data = attribute + folder("d", 0o2755, owner=(0, 7)) + file("d/a") + file("z")
    data += file("d/b", mode=0o666) + folder("d/c")  # after the folder was left
    unpacked(layer, data + END)
    assert os.getxattr(layer / "d", "system.posix_acl_default") == acl
    assert describe(layer / "d") == "folder 2755"
    for name, mode in (("a", 0o644), ("b", 0o666), ("c", 0o755)):
        status = (layer / "d" / name).stat()
        assert (stat.S_IMODE(status.st_mode), status.st_gid) == (mode, 0)
        assert os.listxattr(layer / "d" / name) == []


# --- the operation --------------------------------------------------------------------------


def test_a_wrong_diff_id(short_folder: Path) -> None:
    data = file("f") + END
    right = f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert unpacked(short_folder / "a", data, diff_id=right)["diff_id"] == right
    with pytest.raises(InvalidArgument, match=f"has the diff id {right}, not sha256:0000"):
        unpacked(short_folder / "b", data, diff_id="sha256:" + "0" * 64)
    assert not (short_folder / "b").exists()


def test_the_diff_id_is_of_everything_behind_the_end_mark_too(short_folder: Path) -> None:
    data = file("f") + END + bytes(9000)
    done = unpacked(short_folder / "a", gzip.compress(data))
    assert done["diff_id"] == f"sha256:{hashlib.sha256(data).hexdigest()}"


def test_progress_counts_compressed_bytes(short_folder: Path) -> None:
    data = gzip.compress(file("f", os.urandom(MIB)) + END)
    done = unpack(short_folder / "a", data)
    told = [progress["current"] for progress in done.progress]
    assert told == sorted(told)
    assert told[-1] == len(data)


def test_an_empty_layer(short_folder: Path) -> None:
    assert unpacked(short_folder / "a", gzip.compress(END))["entries"] == 0
    assert unpacked(short_folder / "b", b"")["tar_size"] == 0
    assert describe(short_folder / "a") == "folder 0755"


def test_a_folder_that_is_there_is_left_alone(short_folder: Path) -> None:
    there = short_folder / "there"
    there.mkdir()
    (there / "mine").touch()
    done = unpack(there, file("f") + END)
    assert isinstance(done.error, Internal)
    assert "File exists" in done.error.message
    assert os.listdir(there) == ["mine"]


def test_the_layer_is_no_place_to_run_code_from(short_folder: Path) -> None:
    """What the worker loads late must not come out of the layer that it is confined to."""
    libraries = b"".join(
        file(f"{path}/{name}", b"raise SystemExit(66)")
        for path in ("", "usr/lib/python3.11", str(Path(os.__file__).parent)[1:])
        for name in ("traceback.py", "encodings/idna.py", "lzma.py", "linecache.py", "zstandard.py")
    )
    done = unpack(short_folder / "layer", libraries + b"x" * 512)
    assert isinstance(done.error, InvalidArgument)
    assert done.status == 0


def test_xz_may_take_its_largest_usual_dictionary(short_folder: Path) -> None:
    import lzma

    assert unpacked(short_folder / "a", lzma.compress(file("f") + END, preset=9))["entries"] == 1
    with pytest.raises(InvalidArgument, match="Memory usage limit"):
        unpacked(short_folder / "b", greedy_xz(file("f") + END))


@pytest.fixture(autouse=True)
def removable(short_folder: Path) -> Iterator[None]:
    """rmtree cannot go as deep as some of these trees."""
    yield
    subprocess.run(["rm", "-rf", "--", str(short_folder / "layer")], check=True)
