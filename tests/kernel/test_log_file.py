"""The shim's log file on a disk that fills up, and its rotation."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.shim.log_file import LogFile
from supervisor.spec.types import Log
from supervisor.wire import stdcopy


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", disk], check=True)
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_full_disk_drops_counts_and_recovers(small: Path) -> None:
    path = small / "log"
    log = LogFile(Log(path=str(path), max_size=1 << 20, max_files=2))
    for _ in range(40):
        log.write(stdcopy.STDOUT, b"x" * 4000 + b"\n")
    assert log.dropped > 0
    path.write_bytes(b"")
    log.retry_at = 0.0
    dropped = log.dropped
    log.write(stdcopy.STDOUT, b"again\n")
    log.close()
    assert path.read_bytes().endswith(b" stdout F again\n")
    assert log.dropped == dropped


def test_there_is_a_file_once_there_is_something_to_write(tmp_path: Path) -> None:
    path = tmp_path / "log"
    silent = LogFile(Log(path=str(path), max_size=200, max_files=3))
    silent.close()
    assert not path.exists()
    torn = LogFile(Log(path=str(path), max_size=200, max_files=3))
    torn.write(stdcopy.STDOUT, b"no newline")
    torn.close()
    assert path.read_bytes().endswith(b" stdout P no newline\n")


def test_rotation_keeps_the_newest_files(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = LogFile(Log(path=str(path), max_size=200, max_files=3))
    for number in range(40):
        log.write(stdcopy.STDOUT, b"line %d\n" % number)
    log.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["log", "log.1", "log.2"]
    whole = b"".join((tmp_path / n).read_bytes() for n in ("log.2", "log.1", "log"))
    numbers = [int(line.split()[-1]) for line in whole.splitlines()]
    assert numbers == list(range(numbers[0], 40))
