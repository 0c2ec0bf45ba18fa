"""The image commands, `info` and `version`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.cli.conftest import Orlop
from tests.unit.cli.fake_daemon import FakeDaemon

ID = "c" * 64
Captured = pytest.CaptureFixture[str]


IMAGES = [
    {
        "Id": "sha256:" + "b" * 64,
        "RepoTags": ["imp:1", "r:5000/x:2"],
        "Created": 0,
        "Size": 2690939,
    },
    {"Id": "sha256:" + "d" * 64, "RepoTags": [], "Created": 0, "Size": 682696},
]


@pytest.mark.parametrize("words", [["images"], ["image", "ls"]])
def test_images(daemon: FakeDaemon, orlop: Orlop, capfd: Captured, words: list[str]) -> None:
    daemon.on_json("GET", "/images/json", IMAGES)
    assert orlop(*words) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].split() == ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]
    assert [line.split()[:3] for line in lines[1:]] == [
        ["imp", "1", "b" * 12],
        ["r:5000/x", "2", "b" * 12],
        ["<none>", "<none>", "d" * 12],
    ]
    assert [line.split()[-1] for line in lines[1:]] == ["2.69MB", "2.69MB", "683kB"]
    assert orlop(*words, "-q", "--no-trunc", "imp*") == 0
    assert capfd.readouterr().out.splitlines()[2] == "sha256:" + "d" * 64
    assert daemon.requests[-1].query == {"filters": '{"reference":{"imp*":true}}'}


@pytest.mark.parametrize("words", [["rmi"], ["image", "rm"]])
def test_image_removal(daemon: FakeDaemon, orlop: Orlop, capfd: Captured, words: list[str]) -> None:
    done = [{"Untagged": "r/img:1"}, {"Deleted": "sha256:bad"}]
    daemon.on_json("DELETE", "/images/r/img:1", done)
    daemon.on_error("DELETE", "/images/nope", 404, "No such image: nope:latest")
    assert orlop(*words, "-f", "r/img:1", "nope") == 1
    assert capfd.readouterr() == (
        "Untagged: r/img:1\nDeleted: sha256:bad\n",
        "orlop: Error response from daemon: No such image: nope:latest\n",
    )
    assert daemon.only("DELETE", "/images/r/img:1").query == {"force": "1"}


def test_image_scratch(
    daemon: FakeDaemon,
    orlop: Orlop,
    capfd: Captured,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program = tmp_path / "bin" / "prog"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"/nowhere:{program.parent}")
    monkeypatch.chdir(tmp_path)
    daemon.on_json("POST", "/orlop/images/scratch", {"Id": "sha256:1"}, 201)
    assert orlop("image", "scratch", "busy:1") == 0
    assert orlop("image", "scratch", "busy:2", "prog", "bin/prog") == 0
    assert capfd.readouterr().out == "sha256:1\nsha256:1\n"
    assert [(r.query, r.body) for r in daemon.requests] == [
        ({"name": "busy:1"}, {"binaries": []}),
        ({"name": "busy:2"}, {"binaries": [str(program), str(program)]}),
    ]
    assert orlop("image", "scratch", "busy:3", "nope") == 1
    assert capfd.readouterr().err == "orlop: no such program: nope\n"


def test_image_without_and_with_an_unknown_command(orlop: Orlop, capfd: Captured) -> None:
    assert orlop("image") == 0
    assert "  scratch  Make an image" in capfd.readouterr().out
    assert orlop("image", "build") == 1
    assert "unknown command: orlop image build" in capfd.readouterr().err


def test_image_inspect(daemon: FakeDaemon, orlop: Orlop, capfd: Captured) -> None:
    daemon.on_json("GET", "/images/busybox/json", {"Id": "sha256:1"})
    assert orlop("image", "inspect", "--format", "{{.Id}}", "busybox") == 0
    assert capfd.readouterr().out == "sha256:1\n"


def test_info(daemon: FakeDaemon, orlop: Orlop, capfd: Captured) -> None:
    answer = {"Containers": 2, "MemTotal": 25276514304, "Warnings": ["no swap limit"]}
    daemon.on_json("GET", "/info", answer)
    assert orlop("info") == 0
    assert capfd.readouterr().out == (
        "Containers: 2\nTotal Memory: 23.54GiB\nWARNING: no swap limit\n"
    )
    assert orlop("info", "-f", "{{.Containers}}") == 0
    assert capfd.readouterr().out == "2\n"


def test_version_shows_the_client_even_without_a_daemon(
    daemon: FakeDaemon, orlop: Orlop, capfd: Captured
) -> None:
    daemon.on_json("GET", "/version", {"Version": "9.9", "ApiVersion": "1.51", "Os": "linux"})
    assert orlop("version") == 0
    out = capfd.readouterr().out
    client, server = out.split("\n\n")
    assert client.startswith("Client:\n Version:             ")
    assert [line.split(":") for line in server.replace(" ", "").splitlines()] == [
        ["Server", ""],
        ["Version", "9.9"],
        ["APIversion", "1.51"],
        ["OS", "linux"],
    ]
    assert orlop("version", "--format", "{{.Server.Version}}") == 0
    assert capfd.readouterr().out == "9.9\n"
    daemon.on_error("GET", "/version", 503, "not yet")
    assert orlop("version") == 1
    out, err = capfd.readouterr()
    assert out.startswith("Client:\n")
    assert "not yet" in err
