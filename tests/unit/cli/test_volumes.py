"""`orlop volume …`: what it asks the daemon, and docker's output."""

from __future__ import annotations

import io
import json

import pytest

from tests.unit.cli.conftest import Orlop
from tests.unit.cli.fake_daemon import FakeDaemon

Captured = pytest.CaptureFixture[str]

VIEW = {
    "CreatedAt": "2026-11-21T03:30:26Z",
    "Driver": "local",
    "Labels": {"k": "v", "a": ""},
    "Mountpoint": "/d/volumes/vt/_data",
    "Name": "vt",
    "Options": None,
    "Scope": "local",
}
LIST = {
    "Volumes": [
        {**VIEW, "Name": "z" * 64, "Labels": None},
        VIEW,
    ],
    "Warnings": None,
}


def test_create(daemon: FakeDaemon, orlop: Orlop, capfd: Captured) -> None:
    daemon.on_json("POST", "/volumes/create", VIEW, 201)
    words = ("--label", "k=v", "--label", "a", "-o", "type=tmpfs", "--opt", "o=size=1m,uid=5", "vt")
    assert orlop("volume", "create", *words) == 0
    assert capfd.readouterr().out == "vt\n"
    assert daemon.only("POST", "/volumes/create").body == {
        "Name": "vt",
        "Driver": "local",
        "DriverOpts": {"type": "tmpfs", "o": "size=1m,uid=5"},
        "Labels": {"k": "v", "a": ""},
    }


def test_create_without_a_name(daemon: FakeDaemon, orlop: Orlop, capfd: Captured) -> None:
    daemon.on_json("POST", "/volumes/create", {**VIEW, "Name": "f" * 64}, 201)
    assert orlop("volume", "create") == 0
    assert capfd.readouterr().out == "f" * 64 + "\n"
    assert daemon.only("POST", "/volumes/create").body["Name"] == ""


def test_list(daemon: FakeDaemon, orlop: Orlop, capfd: Captured) -> None:
    daemon.on_json("GET", "/volumes", LIST)
    assert orlop("volume", "ls") == 0
    assert capfd.readouterr().out == f"DRIVER    VOLUME NAME\nlocal     vt\nlocal     {'z' * 64}\n"
    assert orlop("volume", "list", "-q", "-f", "dangling=true", "--filter", "label=k=v") == 0
    assert capfd.readouterr().out == f"vt\n{'z' * 64}\n"
    asked = json.loads(daemon.requests[-1].query["filters"])
    assert asked == {"dangling": {"true": True}, "label": {"k=v": True}}


@pytest.mark.parametrize(
    "shape, line",
    [
        ("{{.Name}} {{.Labels}}", "vt a=,k=v"),
        ('{{.Driver}} {{.Label "k"}}', "local v"),
        ("{{.Mountpoint}}", "/d/volumes/vt/_data"),
        ("table {{.Name}}\t{{.Scope}}", "VOLUME NAME"),
        ("json", '{"Driver":"local","Name":"vt"'),
    ],
)
def test_list_formats(
    daemon: FakeDaemon, orlop: Orlop, capfd: Captured, shape: str, line: str
) -> None:
    daemon.on_json("GET", "/volumes", LIST)
    assert orlop("volume", "ls", "--format", shape) == 0
    assert capfd.readouterr().out.splitlines()[0].startswith(line)


def test_inspect(daemon: FakeDaemon, orlop: Orlop, capfd: Captured) -> None:
    daemon.on_json("GET", "/volumes/vt", VIEW)
    daemon.on_error("GET", "/volumes/none", 404, "get none: no such volume")
    assert orlop("volume", "inspect", "vt") == 0
    text = capfd.readouterr().out
    assert text == json.dumps([VIEW], indent=4) + "\n"
    assert orlop("volume", "inspect", "-f", "{{.Name}} {{.Labels.k}}", "vt", "none") == 1
    assert capfd.readouterr() == (
        "vt v\n",
        "orlop: Error response from daemon: get none: no such volume\n",
    )


def test_remove(daemon: FakeDaemon, orlop: Orlop, capfd: Captured) -> None:
    daemon.on_json("DELETE", "/volumes/vt", None, 204)
    daemon.on_error("DELETE", "/volumes/used", 409, "remove used: volume is in use - [c]")
    assert orlop("volume", "rm", "-f", "used", "vt") == 1
    assert capfd.readouterr() == (
        "vt\n",
        "orlop: Error response from daemon: remove used: volume is in use - [c]\n",
    )
    assert daemon.only("DELETE", "/volumes/vt").query == {"force": "1"}


@pytest.mark.parametrize(
    "words, question, asked",
    [
        ((), "This will remove anonymous local volumes", {}),
        (("-a",), "This will remove all local volumes", {"all": {"true": True}}),
        (("--filter", "label=x"), "anonymous", {"label": {"x": True}}),
    ],
)
def test_prune(
    daemon: FakeDaemon,
    orlop: Orlop,
    capfd: Captured,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    question: str,
    asked: dict[str, dict[str, bool]],
) -> None:
    answer = {"VolumesDeleted": ["vt", "vu"], "SpaceReclaimed": 1234567}
    daemon.on_json("POST", "/volumes/prune", answer)
    monkeypatch.setattr("sys.stdin", io.StringIO("no\n"))
    assert orlop("volume", "prune", *words) == 0
    assert question in capfd.readouterr().out
    assert daemon.requests == []
    monkeypatch.setattr("sys.stdin", io.StringIO("Y\n"))
    assert orlop("volume", "prune", *words) == 0
    out = capfd.readouterr().out
    assert out.endswith("Deleted Volumes:\nvt\nvu\n\nTotal reclaimed space: 1.235MB\n")
    query = daemon.only("POST", "/volumes/prune").query
    assert json.loads(query.get("filters", "{}")) == asked


def test_prune_by_force_of_nothing(daemon: FakeDaemon, orlop: Orlop, capfd: Captured) -> None:
    daemon.on_json("POST", "/volumes/prune", {"VolumesDeleted": [], "SpaceReclaimed": 0})
    assert orlop("volume", "prune", "-f") == 0
    assert capfd.readouterr().out == "Total reclaimed space: 0B\n"


@pytest.mark.parametrize(
    "words, status, said",
    [
        (("volume", "mount"), 1, "unknown command: orlop volume mount"),
        (("volume", "rm"), 1, "requires at least 1 argument"),
        (("volume", "create", "a", "b"), 1, "requires at most 1 argument"),
        (("volume", "create", "-o", "x"), 125, "NAME=value is expected"),
        (("volume", "inspect", " "), 1, "invalid volume name"),
    ],
)
def test_misuse(
    daemon: FakeDaemon,
    orlop: Orlop,
    capfd: Captured,
    words: tuple[str, ...],
    status: int,
    said: str,
) -> None:
    assert orlop(*words) == status
    assert said in capfd.readouterr().err


def test_help(orlop: Orlop, capfd: Captured) -> None:
    assert orlop("volume") == 0
    out = capfd.readouterr().out
    assert "Manage volumes" in out
    assert "prune    Remove unused local volumes" in out
