"""Failpoints: what ORLOP_FAILPOINTS says, what a point does, and that names and code agree."""

from __future__ import annotations

import ast
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor import failpoints
from supervisor.daemon.main import main
from supervisor.errors import InvalidArgument
from supervisor.failpoints.registry import CANNOT_FAIL, POINTS, parse, switch_on

ROOT = Path(failpoints.__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def off_again() -> Iterator[None]:
    yield
    failpoints.arm({})


def names_in_code() -> list[str]:
    """The name of every `failpoints.hit("…")` there is."""
    found = []
    for path in (ROOT / "supervisor").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name("failpoints"), attr="hit")):
                    assert isinstance(node.args[0], ast.Constant), f"{path}:{node.lineno}"
                    found.append(str(node.args[0].value))
    return found


def test_every_name_is_in_the_code_once_and_the_reverse() -> None:
    assert sorted(names_in_code()) == sorted(POINTS)


def test_names_of_those_that_cannot_fail_are_names() -> None:
    assert set(POINTS) >= CANNOT_FAIL


def test_every_name_is_in_the_documentation() -> None:
    text = (ROOT / "docs/chaos.md").read_text()
    assert [name for name in POINTS if f"`{name}`" not in text] == []


def test_unarmed_nothing_happens() -> None:
    switch_on("")
    for name in POINTS:
        failpoints.hit(name)


def test_an_error_is_the_kernels() -> None:
    switch_on("start.cgroup=error:ENOSPC")
    failpoints.hit("start.limits")
    for _ in range(3):
        with pytest.raises(
            OSError, match=r"No space left on device \(failpoint start.cgroup\)"
        ) as e:
            failpoints.hit("start.cgroup")
        assert e.value.errno == errno.ENOSPC


@pytest.mark.parametrize("text", ["error:EIO*2@1", "error:EIO@1*2"])
def test_so_often_and_not_the_first_time(text: str) -> None:
    switch_on(f"start.cgroup={text}")
    outcomes = []
    for _ in range(5):
        try:
            failpoints.hit("start.cgroup")
        except OSError:
            outcomes.append("failed")
        else:
            outcomes.append("well")
    assert outcomes == ["well", "failed", "failed", "well", "well"]


def test_a_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    switch_on("rm.snapshot=delay:0.5")
    failpoints.hit("rm.snapshot")
    assert slept == [0.5]


def test_a_kill() -> None:
    code = (
        "from supervisor import failpoints\n"
        "from supervisor.failpoints.registry import switch_on\n"
        "switch_on('create.record=kill@1')\n"
        "failpoints.hit('create.record'); print('once', flush=True)\n"
        "failpoints.hit('create.record'); print('twice', flush=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=ROOT)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, b"once\n")


@pytest.mark.parametrize(
    "text, told",
    [
        ("no.such=kill", "no failpoint 'no.such'; there are create.record, create.folders, "),
        ("create.record", "'create.record': give kill, error:ERRNO or delay:SECONDS"),
        ("create.record=explode", "give kill, error:ERRNO or delay:SECONDS"),
        ("create.record=kill:9", "give kill, error:ERRNO or delay:SECONDS"),
        ("create.record=error:EWHAT", "no errno 'EWHAT'; give one such as error:ENOSPC"),
        ("create.record=error", "no errno ''; give one such as error:ENOSPC"),
        ("create.record=error:errorcode", "no errno 'errorcode'"),
        ("create.record=delay:soon", "a delay is from 0 to 3600 seconds, as delay:0.5"),
        ("create.record=delay:-1", "a delay is from 0 to 3600 seconds"),
        ("create.record=delay:nan", "a delay is from 0 to 3600 seconds"),
        ("create.record=kill*", "then *TIMES or @SKIPPED"),
        ("create.record=kill*x", "then *TIMES or @SKIPPED"),
        ("create.record=kill@x*2", "then *TIMES or @SKIPPED"),
        ("create.record=kill*2*3", "then *TIMES or @SKIPPED"),
        ("create.record=error:EIO*", "no errno 'EIO*'"),
        ("create.record=kill;create.record=kill", "create.record is given twice"),
        ("rm.answer=error:EIO", "rm.answer cannot fail: give kill or delay:SECONDS"),
    ],
)
def test_what_is_wrong_is_said(text: str, told: str) -> None:
    with pytest.raises(InvalidArgument) as e:
        parse(text)
    assert e.value.message.startswith("ORLOP_FAILPOINTS: ")
    assert told in e.value.message


def test_spaces_and_empty_entries_are_fine() -> None:
    assert [p.name for p in parse(" create.record=kill ;; rm.snapshot=delay:1;")] == [
        "create.record",
        "rm.snapshot",
    ]


def test_a_daemon_refuses_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(os.environ, failpoints.VARIABLE, "create.recrod=kill")
    assert main(["--data-root", "/nonexistent/orlop"]) == 1
    told = capsys.readouterr().err
    assert told.startswith(
        "orlop daemon: ORLOP_FAILPOINTS: no failpoint 'create.recrod'; there are"
    )
    assert told.count("\n") == 1
    assert not Path("/nonexistent").exists()
