"""Where a copy goes: docker's table of sources and destinations."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from supervisor.cli import copy_plan
from supervisor.cli.copy_plan import Place, Plan, follow, plan, renamed, split, split_argument
from supervisor.cli.failures import Failure


@pytest.mark.parametrize(
    "argument,expected",
    [
        ("web:/etc", ("web", "/etc")),
        ("web:etc", ("web", "etc")),
        ("web:", ("web", "")),
        ("/a:b", ("", "/a:b")),
        ("./a:b", ("", "./a:b")),
        ("../a:b", ("", "../a:b")),
        ("file", ("", "file")),
        ("-", ("", "-")),
        (":x", ("", "x")),
        ("web:a:b", ("web", "a:b")),
    ],
)
def test_arguments(argument: str, expected: tuple[str, str]) -> None:
    assert split_argument(argument) == expected


@pytest.mark.parametrize(
    "path,expected",
    [
        ("/a/b", ("/a", "b")),
        ("/a/b/", ("/a", "b")),
        ("/a/b/.", ("/a/b", ".")),
        ("/a", ("/", "a")),
        ("/", ("/", "/")),
        ("/.", ("/", ".")),
        ("a", (".", "a")),
        ("a/./b", ("a", "b")),
        ("a/../b", (".", "b")),
        ("//a//b", ("/a", "b")),
    ],
)
def test_split_as_docker(path: str, expected: tuple[str, str]) -> None:
    assert split(path) == expected


FILE, FOLDER = Place("/src/f"), Place("/src/d", True, True)
CONTENT = Place("/src/d/.", True, True)


@pytest.mark.parametrize(
    "source,destination,expected",
    [
        (FILE, Place("/dst", True, True), Plan("/dst", "f")),
        (FILE, Place("/dst/", True, True), Plan("/dst/", "f")),
        (FILE, Place("/dst/old"), Plan("/dst", "old")),
        (FILE, Place("/dst/new", False), Plan("/dst", "new")),
        (FILE, Place("/dst/new/", False), "no such directory"),
        (FOLDER, Place("/dst", True, True), Plan("/dst", "d")),
        (FOLDER, Place("/dst/old"), "cannot copy directory"),
        (FOLDER, Place("/dst/new", False), Plan("/dst", "new")),
        (FOLDER, Place("/dst/new/", False), Plan("/dst", "new")),
        (CONTENT, Place("/dst", True, True), Plan("/dst", ".")),
        (CONTENT, Place("/dst/new", False), Plan("/dst", "new")),
        (CONTENT, Place("/dst/old"), "cannot copy directory"),
        (Place("/src/target", True, False, "link"), Place("/d", True, True), Plan("/d", "link")),
        (Place("/src/target", True, False, "link"), Place("/d/n", False), Plan("/d", "n")),
        (FILE, Place("/new", False), Plan("/", "new")),
    ],
)
def test_the_table(source: Place, destination: Place, expected: Plan | str) -> None:
    if isinstance(expected, Plan):
        assert plan(source, destination) == expected
        return
    with pytest.raises(Failure, match=expected):
        plan(source, destination)


@pytest.mark.parametrize(
    "asked,target,expected",
    [
        ("/l", "/t", ("/t", "l")),
        ("/l/", "/t", ("/t/", "l")),
        ("/l/.", "/t", ("/t/.", "")),
        ("/a/x", "/b/x", ("/b/x", "")),
        ("/l/", "/", ("/", "l")),
    ],
)
def test_what_a_link_leads_to_keeps_the_name_asked_for(
    asked: str, target: str, expected: tuple[str, str]
) -> None:
    assert follow(asked, target) == expected


@pytest.mark.parametrize(
    "path,old,new,expected",
    [
        ("etc", "etc", "x", "x"),
        ("etc/", "etc", "x", "x"),
        ("etc/a/b", "etc", "x", "x/a/b"),
        ("./", ".", ".", "."),
        ("./a", ".", "x", "x/a"),
        ("/", "/", "x", "x"),
        ("/bin/sh", "/", "x", "x/bin/sh"),
        ("etc/etc/etc", "etc", "x", "x/etc/etc"),
    ],
)
def test_renamed(path: str, old: str, new: str, expected: str) -> None:
    assert renamed(path, old, new) == expected


@pytest.mark.parametrize("path", ["passwd", "etcx", "../etc/x", "/etc/x", "", "x/etc/a"])
def test_a_name_that_was_not_asked_for_is_refused(path: str) -> None:
    with pytest.raises(Failure, match="not asked for"):
        renamed(path, "etc", "x")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "d/sub").mkdir(parents=True)
    (tmp_path / "f").write_text("f")
    (tmp_path / "ld").symlink_to("d")
    (tmp_path / "lf").symlink_to("f")
    (tmp_path / "dangling").symlink_to("d/new")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "d/back").symlink_to("..")
    monkeypatch.chdir(tmp_path / "d")
    return tmp_path


@pytest.mark.parametrize(
    "path,follow_link,expected,is_folder,name",
    [
        ("../f", False, "f", False, ""),
        ("sub", False, "d/sub", True, ""),
        (".", False, "d/.", True, ""),
        ("..", False, "", True, ""),
        ("../ld", False, "ld", False, ""),
        ("../ld/", False, "ld/", True, ""),
        ("../ld/.", False, "d/.", True, ""),
        ("../ld", True, "d", True, "ld"),
        ("../lf", True, "f", False, "lf"),
        ("back/f", False, "f", False, ""),
        ("back/ld/sub/../../f", False, "f", False, ""),
    ],
)
def test_local_sources(
    here: Path, path: str, follow_link: bool, expected: str, is_folder: bool, name: str
) -> None:
    found = copy_plan.local_source(path, follow_link=follow_link)
    assert found == Place(os.path.join(here, expected).rstrip("/") + "/" * expected.endswith("/"),
                          True, is_folder, name)  # fmt: skip


@pytest.mark.parametrize("path", ["nope", "../f/", "../f/.", "nope/x", "../loop"])
def test_local_sources_that_are_none(here: Path, path: str) -> None:
    with pytest.raises(OSError, match=r"No such file|Not a directory|Too many"):
        copy_plan.local_source(path, follow_link=path == "../loop")


@pytest.mark.parametrize(
    "path,expected",
    [
        ("new", Place("new", False)),
        ("new/", Place("new/", False)),
        ("sub", Place("sub", True, True)),
        ("../f", Place("../f", True, False)),
        ("../ld", Place("../d", True, True)),
        ("../dangling", Place("../d/new", False)),
    ],
)
def test_local_destinations(here: Path, path: str, expected: Place) -> None:
    found = copy_plan.local_destination(path)
    assert (found.exists, found.is_folder) == (expected.exists, expected.is_folder)
    wanted = os.path.normpath(here / "d" / expected.path)
    assert os.path.normpath(found.path) == wanted
    assert found.path.endswith("/") == expected.path.endswith("/")


@pytest.mark.parametrize(
    "path,message",
    [
        ("", "can not be empty"),
        ("no/where", "does not exist"),
        ("../f/x", "Not a directory|not a directory"),
        ("/dev/null", "must be a directory or a regular file"),
        ("../loop", "too many symlinks"),
    ],
)
def test_local_destinations_that_cannot_be(here: Path, path: str, message: str) -> None:
    with pytest.raises((Failure, OSError), match=message):
        copy_plan.local_destination(path)
