"""`orlop top` on a terminal, of a real daemon: the table, a container's log, a command in it."""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.api.box import Box
from tests.support.daemon import Daemon, orlop_command, running_daemon
from tests.support.pace import limit
from tests.unit.cli.test_terminal import Screen

HERE = ("--metrics-addr", "127.0.0.1:0")
ENTER, ESCAPE, CLEAR_LINE, INTERRUPT = b"\r", b"\x1b", b"\x15", b"\x03"


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """A daemon with metrics."""
    with running_daemon(HERE) as daemon:
        yield daemon


@pytest.fixture
def terminal() -> Iterator[Screen]:
    made = Screen()
    yield made
    made.close()


def started(box: Box, terminal: Screen, *words: str) -> subprocess.Popen[bytes]:
    """`orlop top` on the terminal."""
    return subprocess.Popen(
        [*orlop_command(), "top", *words],
        env={**box.daemon.environment, "TERM": "xterm-256color"},
        **terminal.stdio(),
    )


@contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Whatever happens in the block."""
    try:
        yield
    finally:
        process.kill()


def seen(terminal: Screen, text: bytes) -> None:
    """Read until it is shown; what is drawn again each second is no progress."""
    shown, deadline = b"", time.monotonic() + limit(20)
    while text not in shown:
        ready, _, _ = select.select([terminal.master], [], [], deadline - time.monotonic())
        assert ready, f"{text!r} did not come after {shown[-2000:]!r}"
        shown += os.read(terminal.master, 1 << 16)
        assert time.monotonic() < deadline, f"{text!r} did not come after {shown[-2000:]!r}"


def test_the_table_a_log_and_a_command(box: Box, terminal: Screen) -> None:
    box.start("--name", "web", script="echo said-by-it; exec sleep 100000")
    with started(box, terminal) as process, ended(process):
        seen(terminal, b"1 running")
        seen(terminal, b"web")
        terminal.type(ENTER)
        seen(terminal, b"said-by-it")
        terminal.type(b"e")
        seen(terminal, b"on this terminal")
        terminal.type(CLEAR_LINE)
        seen(terminal, b"command and its words")  # the field is empty
        terminal.type(b"sh -c 'echo i$((40+2))'" + ENTER)
        seen(terminal, b"i42")
        seen(terminal, b"exit status 0")
        terminal.type(ESCAPE)
        seen(terminal, b"1 running")
        terminal.type(b"q")
        seen(terminal, b"\x1b[?1049l")
        assert process.wait(limit(20)) == 0
    assert terminal.is_as_before()


def test_interrupted_it_leaves_the_terminal_as_it_was(box: Box, terminal: Screen) -> None:
    with started(box, terminal, "--sort", "name") as process, ended(process):
        seen(terminal, b"no container runs")
        terminal.type(INTERRUPT)
        seen(terminal, b"\x1b[?1049l")
        process.wait(limit(20))
    assert terminal.is_as_before()
