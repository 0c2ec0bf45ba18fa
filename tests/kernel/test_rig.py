"""The tests' own fixtures: they must notice what they are there to notice."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support import leaks, places, procfs
from tests.support.daemon import Daemon, Warden

FAKE = ("-m", "tests.kernel.fake_daemon")
SLEEPING_ORPHAN = "import os, time\nif os.fork() == 0:\n    time.sleep(60)\n"


def left_since(before: leaks.Snapshot) -> list[str]:
    return before.left(leaks.Snapshot.take())


def test_nothing_is_left_by_nothing() -> None:
    assert left_since(leaks.Snapshot.take()) == []


def test_a_descriptor_is_noticed() -> None:
    before = leaks.Snapshot.take()
    fd = os.open("/", os.O_RDONLY)
    try:
        assert f"descriptors: {fd} /" in left_since(before)
    finally:
        os.close(fd)


def test_an_orphan_is_noticed_and_reaped() -> None:
    before = leaks.Snapshot.take()
    subprocess.run([sys.executable, "-IS", "-c", SLEEPING_ORPHAN], check=True)
    (orphan,) = procfs.descendants(os.getpid())
    assert any(f"processes: {orphan.pid} " in entry for entry in left_since(before))
    os.kill(orphan.pid, 9)
    assert leaks.settle(before, (), seconds=5) == []


@pytest.mark.cgroup
def test_a_cgroup_is_noticed_in_every_hierarchy(cgroup_name: str) -> None:
    roots = procfs.cgroup_roots()
    assert roots
    before = leaks.Snapshot.take()
    for root in roots:
        folder = root / cgroup_name
        folder.mkdir()
        try:
            assert f"cgroups: {folder}" in left_since(before)
        finally:
            folder.rmdir()


def test_a_mount_is_noticed(tmp_path: Path) -> None:
    """In a child's mount namespace: this machine's own stays as it is."""
    child = os.fork()
    if child == 0:
        try:
            libc = ctypes.CDLL(None)
            libc.unshare(0x20000)  # CLONE_NEWNS
            libc.mount(b"none", b"/", None, ctypes.c_ulong(0x44000), None)  # MS_REC|MS_PRIVATE
            before = leaks.Snapshot.take()
            libc.mount(b"none", bytes(tmp_path), b"tmpfs", ctypes.c_ulong(0), None)
            os._exit(0 if any(f"tmpfs at {tmp_path}" in x for x in left_since(before)) else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.cgroup
def test_beside_another_run_only_what_is_marked_counts(cgroup_name: str) -> None:
    root = procfs.cgroup_roots()[0]
    before = leaks.Snapshot.take()
    folders = [root / cgroup_name, root / "orlop-test-another-run"]
    for folder in folders:
        folder.mkdir()
    try:
        assert before.left(leaks.Snapshot.take(), places.marks()) == [f"cgroups: {folders[0]}"]
    finally:
        for folder in folders:
            folder.rmdir()


def test_two_runs_know_of_each_other(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    first = leaks.Presence(lock)
    assert first.alone()
    second = leaks.Presence(lock)
    assert not first.alone()
    assert not second.alone()
    second.close()
    assert first.alone()
    first.close()


class TestWarden:
    """The process that stands in for PID 1."""

    def test_it_reports_the_exit_status(self, tmp_path: Path) -> None:
        warden = Warden()
        pid = warden.start(["sh", "-c", "echo said; exit 7"], dict(os.environ), tmp_path / "out")
        assert warden.wait(pid, 5) == 7
        warden.close()
        assert (tmp_path / "out").read_text() == "said\n"

    def test_it_adopts_reaps_and_finally_kills(self, tmp_path: Path) -> None:
        warden = Warden()
        command = [sys.executable, "-IS", "-c", SLEEPING_ORPHAN * 2]
        assert warden.wait(warden.start(command, dict(os.environ), tmp_path / "out"), 5) == 0
        orphans = procfs.descendants(warden.pid)
        assert len(orphans) >= 2
        os.kill(orphans[0].pid, 9)
        deadline = time.monotonic() + 5
        while procfs.process(orphans[0].pid) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert procfs.process(orphans[0].pid) is None
        warden.close()
        assert [p for p in orphans if procfs.process(p.pid)] == []

    def test_a_pid_that_is_used_again_is_another_process(self, tmp_path: Path) -> None:
        said = ("started 7", "exited 7 3"), ("started 7",)
        script = "\n".join(f"input(); print({chr(10).join(lines)!r}, flush=True)" for lines in said)
        script += "\nimport sys; sys.stdin.read()"  # until it is closed
        warden = Warden((sys.executable, "-c", script))
        assert warden.wait(warden.start([], {}, tmp_path), 20) == 3
        assert not warden.ended(warden.start([], {}, tmp_path))
        warden.close()

    def test_nothing_outlives_a_kill_of_the_runs_group(self, tmp_path: Path) -> None:
        script = (
            "import os, pathlib, time; from tests.support.daemon import Warden; "
            "pid = Warden().start(['sleep', '1000'], dict(os.environ), pathlib.Path('/dev/null')); "
            "print(pid, flush=True); time.sleep(1000)"
        )
        run = subprocess.Popen(
            [sys.executable, "-c", script],
            stdout=subprocess.PIPE,
            start_new_session=True,
            cwd=Path(__file__).parents[2],
        )
        assert run.stdout is not None
        with run, run.stdout:
            pid = int(run.stdout.readline())
            os.killpg(run.pid, signal.SIGKILL)
        deadline = time.monotonic() + 20
        while (found := procfs.process(pid)) and not found.zombie:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def test_a_command_that_does_not_exist(self, tmp_path: Path) -> None:
        warden = Warden()
        with pytest.raises(OSError, match="no-such-command"):
            warden.start(["no-such-command"], dict(os.environ), tmp_path / "out")
        warden.close()


class TestDaemon:
    """The daemon fixture, with a stand-in for the daemon."""

    def test_it_answers_restarts_and_leaves_nothing(self, short_folder: Path) -> None:
        daemon = Daemon(short_folder, program=FAKE)
        daemon.start()
        assert daemon.request("GET", "/containers/json") == (200, [])
        daemon.kill()
        assert daemon.warden.ended(daemon.pid)
        daemon.start()
        assert daemon.running
        assert daemon.stop() == 0
        daemon.close()

    @pytest.mark.cgroup
    @pytest.mark.parametrize(
        "kind, complaint",
        [
            ("process", "process "),
            ("cgroup", "cgroup /sys/fs/cgroup/"),
            ("folder", "containers/left"),
            ("status", "exit status 3 after SIGTERM"),
        ],
    )
    def test_it_complains_of_what_is_left(
        self, short_folder: Path, kind: str, complaint: str
    ) -> None:
        daemon = Daemon(short_folder, ["--leave", kind], program=FAKE)
        daemon.start()
        with pytest.raises(AssertionError, match=complaint):
            daemon.close()
        assert leaks.cgroups(daemon.cgroup_parent) == []

    def test_it_tells_why_the_daemon_did_not_start(self, short_folder: Path) -> None:
        daemon = Daemon(short_folder, ["--leave", "early"], program=FAKE)
        with pytest.raises(AssertionError, match="no room on this deck"):
            daemon.start()
        daemon.close()
