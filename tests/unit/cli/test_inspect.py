"""`orlop inspect` and its templates."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.cli.conftest import Orlop
from tests.unit.cli.fake_daemon import FakeDaemon

ID = "c" * 64
Captured = pytest.CaptureFixture[str]


def test_inspect_prints_an_array(daemon: FakeDaemon, orlop: Orlop, capfd: Captured) -> None:
    view = {"Id": ID, "State": {"Pid": 5}, "Name": "/wéb"}
    daemon.on_json("GET", "/containers/web/json", view)
    assert orlop("inspect", "web") == 0
    out = capfd.readouterr().out
    assert out.startswith('[\n    {\n        "Id": "ccc')
    assert "wéb" in out
    assert json.loads(out) == [view]


def test_inspect_falls_back_to_images_and_tells_what_is_missing(
    daemon: FakeDaemon, orlop: Orlop, capfd: Captured
) -> None:
    for name in ("r/busy:1", "nope"):
        daemon.on_error("GET", f"/containers/{name}/json", 404, f"No such container: {name}")
    daemon.on_json("GET", "/images/r/busy:1/json", {"Id": "sha256:1"})
    daemon.on_error("GET", "/images/nope/json", 404, "No such image: nope:latest")
    daemon.on_error("GET", "/networks/nope", 404, "network nope not found")
    daemon.on_error("GET", "/volumes/nope", 404, "get nope: no such volume")
    assert orlop("inspect", "nope", "r/busy:1") == 1
    out, err = capfd.readouterr()
    assert json.loads(out) == [{"Id": "sha256:1"}]
    assert err == "orlop: No such object: nope\n"
    assert orlop("inspect", "--type", "container", "nope") == 1
    assert capfd.readouterr().out == "[]\n"
    assert orlop("inspect", "--type", "plugin", "nope") == 125


@pytest.mark.parametrize(
    "template, shown",
    [
        ("{{.State.OOMKilled}} {{.State.ExitCode}}", "true 137"),
        ("{{json .State}}", '{"OOMKilled":true,"ExitCode":137}'),
        ("<{{ .Name }}>", "</wéb>"),
        ("{{json .Name}}", '"/wéb"'),
        ("{{.Args}} {{.Labels}} {{.Health}}", "[a b] map[k:v l:w] <no value>"),
        (r"{{.Name}}\n", r"/wéb\n"),
        ("json", '{"Name":"/wéb"'),
        ('{{range .Args}}{{.}},{{end}}{{index .Labels "k"}}', "a,b,v"),
        ("{{.}}", "map[Args:[a b] Health:<nil>"),
    ],
)
def test_inspect_templates(
    daemon: FakeDaemon, orlop: Orlop, capfd: Captured, template: str, shown: str
) -> None:
    view: dict[str, Any] = {
        "Name": "/wéb",
        "State": {"OOMKilled": True, "ExitCode": 137},
        "Args": ["a", "b"],
        "Labels": {"l": "w", "k": "v"},
        "Health": None,
    }
    daemon.on_json("GET", "/containers/web/json", view)
    assert orlop("inspect", "-f", template, "web") == 0
    assert capfd.readouterr().out.startswith(shown)


@pytest.mark.parametrize(
    "template, message",
    [
        ("{{range .X}}{{end}}", "there is no field 'X'; there are Name, State"),
        ("{{.State.Nope}}", "there is no field 'Nope'"),
        ("{{.Name.X}}", "there is no field 'X'"),
        ("{{.Name", "unclosed action"),
        ("{{}}", "line 1, column 3: missing value for command"),
    ],
)
def test_templates_that_are_not_understood(
    daemon: FakeDaemon, orlop: Orlop, capfd: Captured, template: str, message: str
) -> None:
    daemon.on_json("GET", "/containers/web/json", {"Name": "/w", "State": {"Pid": 5}})
    assert orlop("inspect", "-f", template, "web") == 1
    assert message in capfd.readouterr().err
