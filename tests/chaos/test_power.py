"""A machine whose power is cut, and one whose clock jumps: the guest, with a disk that stays."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support import places
from tests.support.pace import limit

Tell = Callable[[str], None]
ROOT = Path(__file__).parents[2]
CUTS = 4
SECONDS = 300


@contextmanager
def guest(disk: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A boot over that disk; it is ended with the block."""
    command = [
        *(sys.executable, str(ROOT / "tests/guest/run.py"), "--timeout", str(limit(SECONDS))),
        *("--mem", "1G", "--disk-file", str(disk), "--rw", str(disk.parent)),
        *("--directory", str(ROOT), "--", sys.executable, "-m", "tests.chaos.in_guest", *words),
    ]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, cwd=ROOT, text=True
    ) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)  # which kills the guest's kernel


def said(process: subprocess.Popen[str]) -> Iterator[list[Any]]:
    """What the guest says, line by line."""
    assert process.stdout is not None
    for line in process.stdout:
        yield json.loads(line)


def test_power_cuts(tell: Tell) -> None:
    """What was acknowledged is there; what ran has ended, and its policy applies."""
    chance = random.Random(6)
    acknowledged, clocks = 0, ""
    with places.short_folder() as folder:
        disk = folder / "disk"
        disk.touch()
        with disk.open("r+b") as file:
            file.truncate(512 << 20)
        for cut in range(CUTS):
            done = churn(disk, cut, chance.randrange(1, 25))
            acknowledged += len(done)
            clocks = compare(done, found(disk))
    tell(
        f"R6, R40: {CUTS} power cuts, {acknowledged} acknowledged states: 0 lost, 0 empty files, 0 "
        f"wrong blobs; what ran is told as ended by the restart, policies applied"
    )
    tell(f"R25: a clock that jumps by a day: stops of 2 s and at once took {clocks}")


def churn(disk: Path, cut: int, count: int) -> list[list[Any]]:
    """So many acknowledgments, then the power is cut."""
    done: list[list[Any]] = []
    with guest(disk, "churn", str(cut)) as process:
        for line in said(process):
            done.append(line)
            if len(done) > count:
                break
    assert len(done) > count, "the guest ended by itself"
    return [line for line in done if line[0] != "image"]


def found(disk: Path) -> list[list[Any]]:
    """What the next boot finds."""
    with guest(disk, "look") as process:
        lines = list(said(process))
    assert lines[-1:] == [["done"]], lines
    return lines[:-1]


def compare(done: list[list[Any]], lines: list[list[Any]]) -> str:
    """All is as it was acknowledged; how long stops took while the clock jumped."""
    states = {name: rest for kind, name, *rest in lines if kind == "found"}
    assert not [line for line in lines if line[0] in {"empty", "wrong"}]
    for kind, name, *rest in done:
        if kind == "removed":
            assert name not in states, name
            continue
        status, code, error = states[name]
        if kind == "made":
            assert status == "created"
        elif kind == "ended":
            assert (status, code) == ("exited", rest[0])
        elif rest == ["unless-stopped"]:
            assert status == "running"
        else:
            assert (status, code) == ("exited", 137)
            assert "the host was restarted" in error
    jumps = [seconds for kind, *_, seconds in lines if kind == "jumped"]
    assert len(jumps) == 4
    stops = {
        name: (took, code) for kind, name, took, code in (x for x in lines if x[0] == "stopped")
    }
    assert stops["deaf"][1] == 137
    assert 2 <= stops["deaf"][0] < 2 + limit(3)
    assert stops["polite"][1] == 7
    assert stops["polite"][0] < limit(10)
    return " and ".join(f"{took:.1f} s" for took, _ in stops.values())
