"""Trees of host files: links on the way, the folder, the tar."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tarfile
from pathlib import Path

import pytest

from supervisor.errors import Internal, InvalidArgument
from supervisor.store.tree import Entry, Kind, Tree


def entries(tree: Tree) -> dict[str, Entry]:
    return {entry.path: entry for entry in tree}


def test_parents_are_added_and_come_first() -> None:
    tree = Tree()
    tree.file("b/c/d", b"x")
    tree.folder("a", 0o700)
    tree.folder("a")
    assert [(e.path, e.kind) for e in tree] == [
        ("a", Kind.FOLDER),
        ("b", Kind.FOLDER),
        ("b/c", Kind.FOLDER),
        ("b/c/d", Kind.FILE),
    ]
    assert entries(tree)["a"].mode == 0o700


def test_a_name_is_one_thing_only() -> None:
    tree = Tree()
    tree.link("lib", "usr/lib")
    tree.link("lib", "usr/lib")
    with pytest.raises(Internal):
        tree.link("lib", "elsewhere")
    with pytest.raises(Internal):
        tree.file("lib/x", b"")
    assert "lib/x" not in tree


def test_a_link_of_the_host_goes_before_an_empty_folder() -> None:
    tree = Tree()
    tree.folder("home")
    tree.folder("var/tmp")
    tree.link("home", "var/home")
    assert entries(tree)["home"].kind is Kind.LINK
    with pytest.raises(Internal):
        tree.link("var", "elsewhere")


def test_mirror_brings_the_links_on_the_way_along(tmp_path: Path) -> None:
    host = tmp_path.resolve()
    (host / "usr" / "bin").mkdir(parents=True)
    program = host / "usr" / "bin" / "program-1.2"
    program.write_bytes(b"#")
    program.chmod(0o4711)
    (host / "usr" / "bin" / "program").symlink_to("program-1.2")
    (host / "bin").symlink_to("usr/bin")
    (host / "sbin").symlink_to(f"{host}/bin")
    tree = Tree()
    assert tree.mirror(f"{host}/sbin/./../bin/program") == str(program)
    below = str(host)[1:]
    found = entries(tree)
    links = {path.removeprefix(f"{below}/"): e.target for path, e in found.items() if e.target}
    assert links == {"sbin": f"{host}/bin", "bin": "usr/bin", "usr/bin/program": "program-1.2"}
    copied = found[f"{below}/usr/bin/program-1.2"]
    assert (copied.source, copied.mode) == (str(program), 0o755)


def test_mirror_refuses_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "fifo")
    for name in ("loop", "fifo", "missing", "."):
        with pytest.raises(InvalidArgument):
            Tree().mirror(str(tmp_path / name))


def sample(host: Path) -> Tree:
    source = host / "source"
    source.write_bytes(b"copied" * 1000)
    tree = Tree()
    tree.folder("tmp", 0o1777)
    tree.file("etc/passwd", b"root", 0o644)
    tree.copy("bin/program", str(source), 0o755)
    tree.link("bin/sh", "/bin/program")
    tree.link(f"long/{'n' * 150}", "t" * 150)
    return tree


def test_made_and_packed_are_the_same(tmp_path: Path) -> None:
    umask = os.umask(0o077)
    try:
        size = sample(tmp_path).make(tmp_path / "root")
    finally:
        os.umask(umask)
    assert size == 4 + 6000
    packed = io.BytesIO()
    diff_id, tar_size = sample(tmp_path).pack(tmp_path / "root", packed)
    assert tar_size == len(packed.getvalue())
    assert diff_id.encoded == hashlib.sha256(packed.getvalue()).hexdigest()
    packed.seek(0)
    with tarfile.open(fileobj=packed) as tar:
        members = tar.getmembers()
        assert [m.name for m in members] == [e.path for e in sample(tmp_path)]
        for member in members:
            path = tmp_path / "root" / member.name
            status = path.lstat()
            assert (member.mtime, member.uid, member.gid) == (0, 0, 0)
            assert (member.uname, member.gname) == ("", "")
            assert status.st_mtime == 0
            assert member.mode == stat.S_IMODE(status.st_mode)
            if member.isfile():
                extracted = tar.extractfile(member)
                assert extracted is not None
                assert extracted.read() == path.read_bytes()
            elif member.issym():
                assert member.linkname == str(path.readlink())
            else:
                assert member.isdir()
                assert path.is_dir()
    assert (tmp_path / "root").stat().st_mtime == 0
    assert stat.S_IMODE((tmp_path / "root").stat().st_mode) == 0o755


def test_the_same_content_has_the_same_diff_id(tmp_path: Path) -> None:
    digests = []
    for name in ("one", "two"):
        tree = sample(tmp_path)
        tree.make(tmp_path / name)
        os.utime(tmp_path / "source", (1, 1))
        digests.append(tree.pack(tmp_path / name, io.BytesIO()))
    assert digests[0] == digests[1]
    other = sample(tmp_path)
    other.file("etc/group", b"")
    other.make(tmp_path / "three")
    assert other.pack(tmp_path / "three", io.BytesIO()) != digests[0]
