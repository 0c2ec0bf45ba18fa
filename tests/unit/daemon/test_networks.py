"""What the daemon gives the engine of networks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from supervisor.daemon import networks
from supervisor.daemon.config import Config, merge
from supervisor.daemon.main import parser
from supervisor.daemon.networks import networks_of
from supervisor.errors import Unavailable


@pytest.mark.parametrize(
    "words, icc",
    [(["--icc=false"], False), (["--icc"], True), (["--icc", "true"], True), ([], None)],
)
def test_icc_as_dockerd_has_it(words: list[str], icc: bool | None) -> None:
    assert parser().parse_args(words).icc is icc


def test_icc_is_true_or_false(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["--icc=maybe"])
    assert "'maybe': give true or false" in capsys.readouterr().err


def engine(opened: list[tuple[object, ...]]) -> Any:
    return SimpleNamespace(
        host=SimpleNamespace(database=None, dns=()),
        networks=SimpleNamespace(stack=None, defaults=None, why_none=""),
        network_runs=SimpleNamespace(open=lambda *how: opened.append(how)),
        userns="ids",
    )


async def test_a_host_that_has_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[object, ...]] = []
    life: list[str] = []

    @asynccontextmanager
    async def open_it(_settings: object, _database: object) -> AsyncIterator[str]:
        life.append("open")
        yield "the stack"
        life.append("closed")

    monkeypatch.setattr(networks, "open_network_stack", open_it)
    made = engine(opened)
    config = merge(Config(), {"warm_sandboxes": 5, "dns": ["10.0.0.53"]})
    async with networks_of(made, config):
        assert (made.networks.stack, made.host.dns) == ("the stack", ("10.0.0.53",))
        assert opened == [("the stack", 5, "ids")]
        assert made.networks.defaults.bridge == "orlop0"
        assert life == ["open"]
    assert life == ["open", "closed"]


async def test_a_host_that_has_none(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    opened: list[tuple[object, ...]] = []

    class Refusing:
        async def __aenter__(self) -> None:
            raise Unavailable("this host has no container networks: no nftables")

        async def __aexit__(self, *_: object) -> None: ...

    monkeypatch.setattr(networks, "open_network_stack", lambda *_: Refusing())
    made = engine(opened)
    async with networks_of(made, Config()):
        assert made.networks.stack is None
        assert not made.networks.defaults.has_bridge, "as with --bridge none"
        assert "no nftables" in made.networks.why_none
        assert opened == []
    assert "no nftables: containers have their loopback" in caplog.text
