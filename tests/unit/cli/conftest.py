"""A fake daemon per test, and the command line in this process or in one of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from supervisor.cli.main import main
from tests.unit.cli.fake_daemon import FakeDaemon, running


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[FakeDaemon]:
    with running(tmp_path / "d.sock") as fake:
        yield fake


Orlop = Callable[..., int]


@pytest.fixture
def orlop(daemon: FakeDaemon) -> Orlop:
    """`orlop(*words)` in this process; the exit status. Output is in `capfd`."""

    def call(*words: str) -> int:
        return main(["--host", daemon.address, *words])

    return call


Spawn = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def spawn(daemon: FakeDaemon) -> Iterator[Spawn]:
    """`spawn(*words)`: orlop in a process of its own, with pipes; killed at the end."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*words: str, **options: object) -> subprocess.Popen[bytes]:
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        process: subprocess.Popen[bytes] = subprocess.Popen(
            [sys.executable, "-m", "supervisor.cli", "--host", daemon.address, *words],
            **{**pipes, **options},  # type: ignore[call-overload]
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait(10)
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
