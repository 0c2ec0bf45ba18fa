"""Bytes that were logged, whatever was rotated meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from supervisor.engine.log_growth import LogGrowth
from supervisor.shim.log_file import LogFile
from supervisor.spec.types import Log
from supervisor.wire import stdcopy

Make = Callable[..., tuple[LogFile, str]]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def make(**limits: int) -> tuple[LogFile, str]:
        path = str(tmp_path / "log")
        return LogFile(Log(path=path, **{"max_size": 1 << 20, "max_files": 3, **limits})), path

    return make


def size(path: str) -> int:
    return Path(path).stat().st_size


def test_what_was_there_before_does_not_count(make: Make) -> None:
    file, path = make()
    file.write(stdcopy.STDOUT, b"old\n")
    growth = LogGrowth()
    growth.begin("a", path)
    assert growth.grown("a", path) == 0
    before = size(path)
    file.write(stdcopy.STDOUT, b"new line\n")
    assert growth.grown("a", path) == size(path) - before > 0
    assert growth.grown("a", path) == 0
    file.close()


def test_a_log_that_is_not_there_yet(make: Make, tmp_path: Path) -> None:
    growth = LogGrowth()
    growth.begin("a", str(tmp_path / "log"))
    file, path = make(max_size=400)
    for _ in range(12):  # it is rotated before the first look
        file.write(stdcopy.STDOUT, b"x" * 40 + b"\n")
    assert Path(f"{path}.1").exists()
    assert growth.grown("a", path) == size(path) + sum(
        size(f"{path}.{number}") for number in (1, 2) if Path(f"{path}.{number}").exists()
    )
    file.close()


@pytest.mark.parametrize("lines_a_look", [1, 5, 9])
def test_rotation_loses_nothing(make: Make, lines_a_look: int) -> None:
    file, path = make(max_size=1000, max_files=4)
    growth = LogGrowth()
    growth.begin("a", path)
    total = written = 0
    for number in range(90):
        before = file.size
        file.write(stdcopy.STDOUT, b"y" * (10 + number % 30) + b"\n")
        written += file.size - before if file.size > before else file.size
        if number % lines_a_look == 0:
            total += growth.grown("a", path)
    total += growth.grown("a", path)
    assert Path(f"{path}.3").exists()
    assert total == written
    file.close()


def test_who_is_not_watched(make: Make) -> None:
    file, path = make()
    growth = LogGrowth()
    growth.begin("a", path)
    growth.end("a")
    growth.end("b")
    file.write(stdcopy.STDOUT, b"line\n")
    assert growth.grown("a", path) == growth.grown("b", path) == 0
    assert growth.containers() == ()
    file.close()
