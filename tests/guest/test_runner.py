"""The guest's runner: what it promises of status, streams and this machine's files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support import procfs

pytestmark = pytest.mark.kernel

RUNNER = Path(__file__).with_name("run.py")


def guest(*arguments: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, RUNNER, "--timeout", str(seconds), "--mem", "512M", *arguments],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )


def test_the_hierarchy_is_v2_alone_and_streams_and_status_are_the_commands() -> None:
    script = "pwd; cat /sys/fs/cgroup/cgroup.controllers; mount -t cgroup; echo oops >&2; exit 7"
    done = guest("--", "sh", "-c", script)
    assert done.returncode == 7
    directory, controllers = done.stdout.splitlines()
    assert directory == os.getcwd()
    assert {"cpu", "io", "memory", "pids"} <= set(controllers.split())
    assert done.stderr == "oops\n"


def test_files_are_a_copy_but_for_the_writable_folder(tmp_path: Path) -> None:
    shared, private = tmp_path / "shared", tmp_path / "private"
    for folder in (shared, private):
        folder.mkdir()
        (folder / "old").write_text("old")
    script = "cat shared/old; for d in shared private; do echo new >$d/old; done"
    # /tmp would be a tmpfs in the guest if the working directory were not below it.
    done = guest("--rw", str(shared), "--directory", str(tmp_path), "--", "sh", "-c", script)
    assert (done.returncode, done.stdout, done.stderr) == (0, "old", "")
    assert (shared / "old").read_text() == "new\n"
    assert (private / "old").read_text() == "old"


def test_a_signal_ends_the_command() -> None:
    assert guest("--", "sh", "-c", "kill -9 $$").returncode == 137


def test_a_command_that_does_not_exist() -> None:
    assert guest("--", "no-such-command").returncode == 127


def test_time_is_up() -> None:
    done = guest("--", "sleep", "1000", seconds=6)
    assert done.returncode == 124
    assert "sleep" in done.stderr  # in the list of tasks


def test_the_guest_dies() -> None:
    done = guest("--", "sh", "-c", "echo c >/proc/sysrq-trigger; sleep 100")
    assert done.returncode == 125
    assert "Kernel panic" in done.stderr


def test_the_guest_ends_with_its_runner(tmp_path: Path) -> None:
    script = f"echo up >{tmp_path}/up; sleep 1000"
    options = ("--timeout", "60", "--mem", "512M", "--rw", tmp_path, "--directory", "/")
    command = (sys.executable, RUNNER, *options, "--", "sh", "-c", script)
    with subprocess.Popen(command) as runner:
        deadline = time.monotonic() + 30
        while not (tmp_path / "up").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        below = procfs.descendants(runner.pid)
        runner.send_signal(signal.SIGTERM)
        assert runner.wait(10) == 128 + signal.SIGTERM
    assert below
    assert [p for p in procfs.descendants(os.getpid()) if not p.zombie] == []


def test_bad_options() -> None:
    assert guest("--mem", "lots", "--", "true").returncode == 2
