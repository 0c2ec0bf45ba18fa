"""`orlop cp`, `export` and `diff` against daemons that answer whatever they like."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from pathlib import Path

import pytest

from supervisor.wire.path_stat import HEADER, PathStat
from tests.support.tree_rig import Member, make_tar, member
from tests.unit.cli.conftest import Orlop, Spawn
from tests.unit.cli.fake_daemon import Exchange, FakeDaemon

ARCHIVE = "/containers/web/archive"


def status(mode: int = 0o40755, target: str = "") -> str:
    return PathStat(name="x", size=0, mode=mode, mtime="", link_target=target).encode()


def serve(daemon: FakeDaemon, *members: Member, mode: int = 0o40755, cut: int = 0) -> None:
    """GET gives a tar of these."""

    def answer(exchange: Exchange) -> None:
        exchange.begin(200, **{HEADER: status(mode), "content-type": "application/x-tar"})
        data = make_tar(members)
        exchange.piece(data[: len(data) - cut])
        if not cut:
            exchange.end()
        else:
            exchange.socket.shutdown(2)

    daemon.on("GET", ARCHIVE, answer)


def hostile(*members: Member) -> list[Member]:
    return [member("x", type=tarfile.DIRTYPE, mode=0o755), *members]


@pytest.mark.parametrize(
    "members",
    [
        hostile(member("../escape", b"evil")),
        hostile(member("x/../../escape", b"evil")),
        hostile(member("/escape", b"evil")),
        hostile(member("elsewhere/escape", b"evil")),
        hostile(
            member("x/l", type=tarfile.SYMTYPE, linkname="../.."), member("x/l/escape", b"evil")
        ),
        hostile(
            member("x/l", type=tarfile.SYMTYPE, linkname="OUTSIDE"), member("x/l/escape", b"evil")
        ),
        hostile(
            member("x/l", type=tarfile.SYMTYPE, linkname="OUTSIDE/kept"),
            member("x/l", b"evil"),
            member("x/h", type=tarfile.LNKTYPE, linkname="../../kept"),
        ),
        hostile(member("x/h", type=tarfile.LNKTYPE, linkname="x/../../../kept")),
        hostile(member("x/h", type=tarfile.LNKTYPE, linkname="/etc/passwd")),
        hostile(member("x", type=tarfile.SYMTYPE, linkname="OUTSIDE"), member("x/escape", b"1")),
    ],
)
def test_a_hostile_tar_makes_nothing_outside(
    daemon: FakeDaemon, orlop: Orlop, tmp_path: Path, members: list[Member]
) -> None:
    outside = tmp_path / "outside"
    (outside / "dst").mkdir(parents=True)
    (outside / "kept").write_text("kept")
    made = [
        (name, {**fields, **_pointing(fields, outside)}, content)
        for name, fields, content in members
    ]
    serve(daemon, *made)
    orlop("cp", "web:/x", str(outside / "dst"))
    assert sorted(os.listdir(outside)) == ["dst", "kept"]
    assert (outside / "kept").read_text() == "kept"
    assert (outside / "kept").stat().st_nlink == 1


def _pointing(fields: dict[str, object], outside: Path) -> dict[str, object]:
    if "linkname" not in fields:
        return {}
    return {"linkname": str(fields["linkname"]).replace("OUTSIDE", str(outside))}


def test_the_hostile_tars_catch_a_naive_extraction(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "dst").mkdir(parents=True)
    tar = make_tar(
        hostile(
            member("x/l", type=tarfile.SYMTYPE, linkname=str(outside)), member("x/l/escape", b"1")
        )
    )
    with tarfile.open(fileobj=io.BytesIO(tar)) as found:
        for info in found:
            path = outside / "dst" / info.name
            if info.isdir():
                path.mkdir()
            elif info.issym():
                path.symlink_to(info.linkname)
            else:
                path.write_text("evil")
    assert (outside / "escape").exists()


def test_what_is_there_is_replaced_and_not_written_through(
    daemon: FakeDaemon, orlop: Orlop, tmp_path: Path
) -> None:
    (tmp_path / "kept").write_text("kept")
    (tmp_path / "dst/x").mkdir(parents=True)
    (tmp_path / "dst/x/f").symlink_to(tmp_path / "kept")
    os.link(tmp_path / "kept", tmp_path / "dst/x/g")
    serve(daemon, *hostile(member("x/f", b"new"), member("x/g", b"new")))
    assert orlop("cp", "web:/x", str(tmp_path / "dst")) == 0
    assert (tmp_path / "kept").read_text() == "kept"
    assert not (tmp_path / "dst/x/f").is_symlink()
    assert [(tmp_path / "dst/x" / name).read_text() for name in "fg"] == ["new", "new"]


def test_a_link_on_the_host_that_stays_inside_is_followed(
    daemon: FakeDaemon, orlop: Orlop, tmp_path: Path
) -> None:
    (tmp_path / "dst/x/real").mkdir(parents=True)
    (tmp_path / "dst/x/l").symlink_to("real")
    serve(daemon, *hostile(member("x/l/f", b"1")))
    assert orlop("cp", "web:/x", str(tmp_path / "dst")) == 0
    assert (tmp_path / "dst/x/real/f").read_bytes() == b"1"


def test_set_ids_and_owners_only_with_archive(
    daemon: FakeDaemon, orlop: Orlop, tmp_path: Path
) -> None:
    serve(daemon, member("x", b"#!", mode=0o6755, uid=os.getuid(), gid=os.getgid()), mode=0o100755)
    assert orlop("cp", "web:/x", str(tmp_path / "one")) == 0
    assert stat.S_IMODE((tmp_path / "one").stat().st_mode) == 0o755
    assert orlop("cp", "-a", "web:/x", str(tmp_path / "two")) == 0
    assert stat.S_IMODE((tmp_path / "two").stat().st_mode) == 0o6755


def test_an_answer_that_is_cut_off(
    daemon: FakeDaemon, orlop: Orlop, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    serve(daemon, member("x", b"y" * 5000), mode=0o100644, cut=8000)
    assert orlop("cp", "web:/x", str(tmp_path / "new")) == 1
    assert "lost the daemon" in capfd.readouterr().err
    assert not list(tmp_path.glob("new*"))


@pytest.mark.parametrize("header", [{}, {HEADER: "?"}])
def test_an_answer_without_a_status(
    daemon: FakeDaemon,
    orlop: Orlop,
    tmp_path: Path,
    header: dict[str, str],
    capfd: pytest.CaptureFixture[str],
) -> None:
    def answer(exchange: Exchange) -> None:
        exchange.begin(200, **header)
        exchange.piece(make_tar([]))
        exchange.end()

    daemon.on("GET", ARCHIVE, answer)
    assert orlop("cp", "web:/x", str(tmp_path / "new")) == 1
    assert "makes no sense" in capfd.readouterr().err


def test_what_is_sent_into_a_container(daemon: FakeDaemon, orlop: Orlop, tmp_path: Path) -> None:
    daemon.on("HEAD", ARCHIVE, lambda exchange: exchange.reply(status=200, **{HEADER: status()}))
    daemon.on_json("PUT", ARCHIVE)
    (tmp_path / "f").write_bytes(b"z" * 600_000)
    assert orlop("cp", "-a", str(tmp_path / "f"), "web:/tmp") == 0
    request = daemon.only("PUT", ARCHIVE)
    assert request.query == {
        "path": "/tmp",
        "noOverwriteDirNonDir": "true",
        "copyUIDGID": "true",
    }
    with tarfile.open(fileobj=io.BytesIO(request.raw)) as tar:
        (info,) = tar.getmembers()
    assert (info.name, info.size, info.uid) == ("f", 600_000, os.getuid())


def test_a_link_in_the_container_is_where_the_copy_goes(
    daemon: FakeDaemon, orlop: Orlop, tmp_path: Path
) -> None:
    def answer(exchange: Exchange) -> None:
        link = exchange.request.query["path"] == "/var/run"
        what = status(0o120777, "/run") if link else status()
        exchange.reply(status=200, **{HEADER: what})

    daemon.on("HEAD", ARCHIVE, answer)
    daemon.on_json("PUT", ARCHIVE)
    (tmp_path / "f").write_bytes(b"")
    assert orlop("cp", str(tmp_path / "f"), "web:/var/run") == 0
    assert daemon.only("PUT", ARCHIVE).query["path"] == "/run"


def test_a_daemon_that_refuses_early(
    daemon: FakeDaemon, orlop: Orlop, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    daemon.on("HEAD", ARCHIVE, lambda exchange: exchange.reply(status=200, **{HEADER: status()}))
    daemon.on_error("PUT", ARCHIVE, 400, "container rootfs is marked read-only")
    (tmp_path / "f").write_bytes(b"1")
    assert orlop("cp", str(tmp_path / "f"), "web:/") == 1
    assert "container rootfs is marked read-only" in capfd.readouterr().err


def test_a_tar_from_stdin_and_to_stdout(daemon: FakeDaemon, spawn: Spawn) -> None:
    daemon.on("HEAD", ARCHIVE, lambda exchange: exchange.reply(status=200, **{HEADER: status()}))
    daemon.on_json("PUT", ARCHIVE)
    tar = make_tar([member("x", b"1" * 300_000)])
    process = spawn("cp", "-", "web:/tmp")
    assert process.communicate(tar, timeout=20) == (b"", b"")
    assert daemon.only("PUT", ARCHIVE).raw == tar
    serve(daemon, member("x", b"1" * 300_000))
    assert spawn("cp", "web:/x", "-").communicate(timeout=20) == (tar, b"")


def test_diff(daemon: FakeDaemon, orlop: Orlop, capfd: pytest.CaptureFixture[str]) -> None:
    changes = [{"Path": "/a", "Kind": 0}, {"Path": "/b c", "Kind": 1}, {"Path": "/d", "Kind": 2}]
    daemon.on_json("GET", "/containers/web/changes", changes)
    assert orlop("diff", "web") == 0
    assert capfd.readouterr().out == "C /a\nA /b c\nD /d\n"


def test_export_leaves_what_is_there_alone_unless_it_is_whole(
    daemon: FakeDaemon, orlop: Orlop, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_text("kept")
    whole = [True]

    def answer(exchange: Exchange) -> None:
        exchange.begin(200)
        exchange.piece(b"tar")
        if whole[0]:
            exchange.end()
        else:
            exchange.socket.shutdown(2)

    daemon.on("GET", "/containers/web/export", answer)
    whole[0] = False
    assert orlop("export", "-o", str(path), "web") == 1
    assert path.read_text() == "kept"
    whole[0] = True
    assert orlop("export", "-o", str(path), "web") == 0
    assert path.read_text() == "tar"
    assert [entry.name for entry in tmp_path.iterdir() if entry.name != "d.sock"] == ["file"]
