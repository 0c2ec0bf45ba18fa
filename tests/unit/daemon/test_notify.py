"""What systemd is told, and that the unit asks for what the daemon does."""

from __future__ import annotations

import configparser
import os
import socket
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

import supervisor
from supervisor.daemon import main
from supervisor.daemon.notify import notify, watchdog_seconds
from supervisor.engine.closing import LONGEST

UNIT = Path(supervisor.__file__).parents[1] / "packaging" / "orlop.service"


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    monkeypatch.chdir(tmp_path)
    listener.bind("notify")
    listener.setblocking(False)
    monkeypatch.setenv("NOTIFY_SOCKET", "notify")
    return listener


def test_a_message_arrives(systemd: socket.socket) -> None:
    with systemd:
        notify("READY=1")
        assert systemd.recv(100) == b"READY=1"


def test_the_watchdog_is_half_of_what_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    for asked, seconds in (("30000000", 15.0), ("x", 0.0), ("0", 0.0)):
        monkeypatch.setenv("WATCHDOG_USEC", asked)
        assert watchdog_seconds() == seconds
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid() + 1))
    assert watchdog_seconds() == 0.0


async def test_the_watchdog_is_fed_twice_in_its_time(
    systemd: socket.socket, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    with systemd:
        with trio.move_on_after(59):
            await main._feed_watchdog()
        for _ in range(4):
            assert systemd.recv(100) == b"WATCHDOG=1"
        with pytest.raises(BlockingIOError):
            systemd.recv(100)


def test_the_unit() -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(UNIT.read_text())
    service = unit["Service"]
    assert service["Type"] == "notify"
    assert service["KillMode"] == "process"
    assert service["Delegate"] == "yes"
    assert int(service["WatchdogSec"]) > 0
    assert int(service["TimeoutStopSec"]) > LONGEST + 10
