"""`orlop container …` and `orlop system prune`: what they ask the daemon, and docker's output."""

from __future__ import annotations

import io
import json

import pytest

from supervisor.cli.commands.containers import _TOP
from supervisor.cli.main import COMMANDS
from tests.unit.cli.conftest import Orlop
from tests.unit.cli.fake_daemon import Exchange, FakeDaemon

Captured = pytest.CaptureFixture[str]


def answering(daemon: FakeDaemon) -> None:
    daemon.on_json(
        "POST", "/containers/prune", {"ContainersDeleted": ["c1", "c2"], "SpaceReclaimed": 1000}
    )
    daemon.on_json("POST", "/networks/prune", {"NetworksDeleted": ["n1"]})
    daemon.on_json("POST", "/volumes/prune", {"VolumesDeleted": ["v1"], "SpaceReclaimed": 20})
    rows = [{"Untagged": "a:1"}, {"Deleted": "sha256:1"}]
    daemon.on_json("POST", "/images/prune", {"ImagesDeleted": rows, "SpaceReclaimed": 3})


def asked(daemon: FakeDaemon) -> list[tuple[str, object]]:
    return [
        (r.path.split("/")[1], json.loads(r.query.get("filters", "{}"))) for r in daemon.requests
    ]


def test_containers(
    daemon: FakeDaemon, orlop: Orlop, capfd: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(daemon)
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert orlop("container", "prune") == 0
    assert capfd.readouterr().out.startswith("WARNING! This will remove all stopped containers.\n")
    assert daemon.requests == []
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert orlop("container", "prune", "--filter", "until=1h", "--filter", "label!=a=b") == 0
    out = capfd.readouterr().out
    assert out.endswith("[y/N] Deleted Containers:\nc1\nc2\n\nTotal reclaimed space: 1kB\n")
    assert asked(daemon) == [("containers", {"until": {"1h": True}, "label!": {"a=b": True}})]


def test_system(daemon: FakeDaemon, orlop: Orlop, capfd: Captured) -> None:
    answering(daemon)
    assert orlop("system", "prune", "-f") == 0
    assert capfd.readouterr().out == (
        "Deleted Containers:\nc1\nc2\n\nDeleted Networks:\nn1\n\n"
        "Deleted Images:\nuntagged: a:1\ndeleted: sha256:1\n\nTotal reclaimed space: 1.003kB\n"
    )
    assert asked(daemon) == [
        ("containers", {}),
        ("networks", {}),
        ("images", {"dangling": {"true": True}}),
    ]


def test_system_with_everything(daemon: FakeDaemon, orlop: Orlop, capfd: Captured) -> None:
    answering(daemon)
    assert orlop("system", "prune", "-af", "--volumes", "--filter", "label=x") == 0
    assert "Deleted Volumes:\nv1\n\n" in capfd.readouterr().out
    label = {"label": {"x": True}}
    assert asked(daemon) == [
        ("containers", label),
        ("networks", label),
        ("volumes", label),
        ("images", {**label, "dangling": {"false": True}}),
    ]


def test_what_system_prune_warns_of(
    daemon: FakeDaemon, orlop: Orlop, capfd: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    for words in ((), ("-a", "--volumes", "--filter", "label=x")):
        monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
        assert orlop("system", "prune", *words) == 0
    plain, _, full = capfd.readouterr().out.partition("[y/N] ")
    assert plain == (
        "WARNING! This will remove:\n  - all stopped containers\n"
        "  - all networks not used by at least one container\n  - all dangling images\n\n"
        "Are you sure you want to continue? "
    )
    assert "  - all anonymous volumes not used by at least one container\n" in full
    assert "  - all images without at least one container associated to them\n" in full
    assert "\n\n  Items to be pruned will be filtered with:\n  - label=x\n\nAre you" in full
    assert daemon.requests == []


@pytest.mark.parametrize("status, ends", [(501, 0), (503, 0), (500, 1)])
def test_a_daemon_without_networks_has_none_to_prune(
    daemon: FakeDaemon, orlop: Orlop, capfd: Captured, status: int, ends: int
) -> None:
    answering(daemon)

    def refuse(exchange: Exchange) -> None:
        exchange.reply({"message": "no networks"}, status)

    daemon.on("POST", "/networks/prune", refuse)
    assert orlop("system", "prune", "-f") == ends
    assert ("Total" in capfd.readouterr().out) is (ends == 0)


def test_until_says_nothing_about_volumes(
    daemon: FakeDaemon, orlop: Orlop, capfd: Captured
) -> None:
    assert orlop("system", "prune", "-f", "--volumes", "--filter", "until=1h") == 1
    assert 'the "until" filter is not supported with "--volumes"' in capfd.readouterr().err
    assert daemon.requests == []


def test_the_group_has_all_commands_about_containers(
    daemon: FakeDaemon, orlop: Orlop, capfd: Captured
) -> None:
    assert orlop("container") == 0
    out = capfd.readouterr().out
    for name in ("ls", "inspect", "prune", *(name for name in _TOP if name in COMMANDS)):
        assert f"\n  {name} " in out
    daemon.on_json("GET", "/containers/json", [])
    for words in (
        ("container", "ls", "-q"),
        ("container", "list", "-q"),
        ("container", "ps", "-q"),
    ):
        assert orlop(*words) == 0
    daemon.on_json("DELETE", "/containers/a", None, 204)
    assert orlop("container", "rm", "a") == 0
    assert orlop("container", "remove", "a") == 0
    assert capfd.readouterr().out == "a\na\n"
    assert orlop("container", "nope") == 1
    assert "unknown command: orlop container nope" in capfd.readouterr().err


def test_inspect_is_about_containers_only(
    daemon: FakeDaemon, orlop: Orlop, capfd: Captured
) -> None:
    daemon.on_json("GET", "/containers/a/json", {"Id": "x"})
    daemon.on_json("GET", "/containers/b/json", {"message": "No such container: b"}, 404)
    assert orlop("container", "inspect", "-f", "{{.Id}}", "a", "b") == 1
    captured = capfd.readouterr()
    assert captured.out == "x\n"
    assert captured.err == "orlop: Error response from daemon: No such container: b\n"
    assert len(daemon.requests) == 2
