"""What entries of a layer mean: whiteouts, clean paths, what is refused."""

from __future__ import annotations

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.errors import InvalidArgument
from supervisor.oci.layer import Action, Step, clean, decide, kept_xattrs
from supervisor.oci.tar import Entry, Type


@pytest.mark.parametrize(
    "path, cleaned",
    [
        ("etc/passwd", "etc/passwd"), ("./etc/passwd", "etc/passwd"), ("/etc/passwd", "etc/passwd"),
        ("//etc///passwd//", "etc/passwd"), ("etc/./passwd", "etc/passwd"), ("a/../b", "b"),
        ("a/b/../../c", "c"), (".", ""), ("./", ""), ("/", ""), ("", ""), ("a/..", ""),
        ("..a/b..", "..a/b.."), ("...", "..."), (".a", ".a"), ("a/.b/..c", "a/.b/..c"),
        ("caf\udce9", "caf\udce9"), (" ", " "), ("a\\..\\b", "a\\..\\b"),
    ],
)  # fmt: skip
def test_clean_paths(path: str, cleaned: str) -> None:
    assert clean(path) == cleaned


@pytest.mark.parametrize("path", ["..", "../a", "a/../../b", "/..", "/../etc", "a/../..", "./.."])
def test_a_path_that_leads_out_is_refused(path: str) -> None:
    with pytest.raises(InvalidArgument, match="leads out of the layer"):
        clean(path)


@given(st.lists(st.sampled_from(["a", "b", "..", ".", "", "...", "..a"]), max_size=9))
def test_clean_is_lexical(parts: list[str]) -> None:
    path = "/".join(parts)
    try:
        cleaned = clean(path)
    except InvalidArgument:
        depth = 0
        for part in parts:
            depth += {"..": -1, ".": 0, "": 0}.get(part, 1)
            if depth < 0:
                return
        raise
    assert cleaned == posixpath.normpath("/" + path).strip("/")
    assert clean(cleaned) == cleaned


def step(path: str, type: Type = Type.FILE, link: str = "") -> Step:
    return decide(Entry(path, type, link=link))


def test_what_is_made() -> None:
    assert step("etc/passwd") == Step(Action.WRITE, "etc", "passwd")
    assert step("top") == Step(Action.WRITE, "", "top")
    assert step("./", Type.FOLDER) == Step(Action.WRITE, "", "")
    assert step("a/l", Type.HARDLINK, "/b//c") == Step(Action.WRITE, "a", "l", "b/c")
    assert step("a/l", Type.SYMLINK, "../../../etc") == Step(Action.WRITE, "a", "l")


def test_whiteouts() -> None:
    assert step("a/.wh.b") == Step(Action.WHITEOUT, "a", "b")
    assert step(".wh.b", Type.CHAR) == Step(Action.WHITEOUT, "", "b")
    assert step("a/.wh..b") == Step(Action.WHITEOUT, "a", ".b")
    assert step("a/.wh.....") == Step(Action.WHITEOUT, "a", "....")
    assert step("a/.wh..wh..opq") == Step(Action.OPAQUE, "a", "")
    assert step(".wh..wh..opq") == Step(Action.OPAQUE, "", "")
    # Names that only look like it.
    assert step("a/x.wh.b") == Step(Action.WRITE, "a", "x.wh.b")
    assert step("a/.whb") == Step(Action.WRITE, "a", ".whb")


@pytest.mark.parametrize(
    "path", [".wh..wh.aufs", "a/.wh..wh.plnk/1.2", ".wh..wh.orph", "a/.wh..wh.", ".wh..wh..opq/x"]
)
def test_names_of_the_aufs_driver_are_passed_over(path: str) -> None:
    assert step(path).action is Action.SKIP


@pytest.mark.parametrize("path", ["a/.wh.", ".wh.", "a/.wh..", ".wh...", "a/.wh./"])
def test_a_whiteout_of_nothing_is_refused(path: str) -> None:
    with pytest.raises(InvalidArgument, match="whiteout of nothing"):
        step(path)


def test_nothing_is_inside_of_a_whiteout() -> None:
    with pytest.raises(InvalidArgument, match="inside of a whiteout"):
        step("a/.wh.b/c")


def test_the_device_that_is_a_whiteout_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="0:0"):
        decide(Entry("null", Type.CHAR))
    assert decide(Entry("null", Type.CHAR, devmajor=1, devminor=3)).action is Action.WRITE
    assert decide(Entry("disk", Type.BLOCK)).action is Action.WRITE


@pytest.mark.parametrize("type", [type for type in Type if type is not Type.FOLDER])
def test_the_root_is_a_folder(type: Type) -> None:
    with pytest.raises(InvalidArgument, match="root"):
        step("./", type, "x")


def test_no_hard_link_leads_out() -> None:
    for link in ("../etc/passwd", "a/../../b", "", "/"):
        with pytest.raises(InvalidArgument):
            step("l", Type.HARDLINK, link)


def test_notes_of_overlayfs_are_dropped() -> None:
    xattrs = {
        "trusted.overlay.opaque": b"y",
        "trusted.overlay.redirect": b"/etc",
        "trusted.overlay.overlay.opaque": b"y",
        "user.overlay.metacopy": b"",
        "user.overlaid": b"1",
        "security.capability": b"2",
        "trusted.other": b"3",
    }
    assert kept_xattrs(xattrs) == [
        ("security.capability", b"2"),
        ("trusted.other", b"3"),
        ("user.overlaid", b"1"),
    ]
