"""The daemon's own conditions, and what it says where they do not hold."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import supervisor
from supervisor.daemon.main import main


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    return [
        *("--data-root", str(tmp_path / "data"), "--run-root", str(tmp_path / "run")),
        *("--host", f"unix://{tmp_path}/s", "--cgroup-parent", "orlop-test-none"),
    ]


def test_without_root(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert main(arguments) == 1
    assert "needs root" in capsys.readouterr().err


def test_another_package_named_supervisor(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delattr(supervisor, "DISTRIBUTION")
    assert main(arguments) == 1
    assert "virtual environment of its own" in capsys.readouterr().err


@pytest.mark.parametrize(
    "more, said",
    [
        (["--host", "tcp://127.0.0.1:1"], "whoever can connect would be root"),
        (["--data-root", "relative"], "absolute path"),
        (["--cgroup-parent", "../up"], "relative name"),
        (["--bip", "10.0.0.0/24"], "stands for the subnet"),
        (["--default-address-pool", "10.0.0.0/8"], "give base=SUBNET,size=LENGTH"),
        (["--dns", "resolver.lan"], "give an IP address"),
        (["--warm-sandboxes", "-1"], "give 0 to"),
        (["--config", "/no/such/file"], "/no/such/file"),
    ],
)
def test_wrong_settings(
    arguments: list[str], more: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, *more]) == 1
    assert said in capsys.readouterr().err
