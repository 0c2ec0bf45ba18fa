"""`orlop doctor`: every feature, why it matters, how to fix what is missing."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from supervisor.cli.main import main

FEATURES = (
    SimpleNamespace(name="overlay", status="ok", found="5.10", why="images", fix=""),
    SimpleNamespace(name="psi", status="warn", found="off", why="pressure", fix="boot with psi=1"),
)
MISSING = SimpleNamespace(name="pidfd", status="fail", found="no", why="reaping", fix="Linux 5.4")


@pytest.fixture
def probed(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.setattr("supervisor.cli.commands.doctor.probe", lambda: request.param)


@pytest.mark.parametrize("probed", [FEATURES], indirect=True)
@pytest.mark.usefixtures("probed")
def test_warnings_are_status_0(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    assert capfd.readouterr().out == (
        "ok    overlay  5.10\n"
        "               why: images\n"
        "warn  psi      off\n"
        "               why: pressure\n"
        "               fix: boot with psi=1\n"
        "\n1 ok, 1 warn, 0 fail\n"
    )


@pytest.mark.parametrize("probed", [(*FEATURES, MISSING)], indirect=True)
@pytest.mark.usefixtures("probed")
def test_a_missing_feature_is_status_1_in_json_too(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 1
    shown = json.loads(capfd.readouterr().out)
    assert shown == [vars(feature) for feature in (*FEATURES, MISSING)]
