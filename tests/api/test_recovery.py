"""The supervisor ends, dies, is another version, or finds what belongs to nobody."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from supervisor.store.table import Put, RecordTable
from supervisor.wire.shim_protocol import VERSION
from tests.api.box import FOREVER, IMAGE, Box, eventually
from tests.support import procfs
from tests.support.daemon import Daemon
from tests.support.pace import limit

QUICK = (
    "from supervisor.engine import reconcile; reconcile.INTERVAL = 0.2; "
    "import sys; from supervisor.daemon.main import main; sys.exit(main(sys.argv[1:]))"
)
SPEAKS = (
    "from supervisor.wire import shim_protocol as p; p.OLDEST, p.VERSION = {}, {}; "
    "import sys; from supervisor.daemon.main import main; sys.exit(main(sys.argv[1:]))"
)
STRANGE = "ab" * 32  # an id that no container has
NOTES_ITS_STOP = "trap 'echo told; exit 7' TERM; echo ready; while :; do sleep 0.05; done"


def crash(box: Box, *pids: int) -> None:
    """The supervisor is killed, then these; a container may end with its shim before its turn."""
    box.daemon.kill()
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def records(box: Box) -> RecordTable:
    """The database of a daemon that does not run."""
    return RecordTable(box.daemon.data_root / "orlop.db")


@contextmanager
def program(box: Box, text: str) -> Iterator[None]:
    """The block's starts of the daemon are of this program."""
    command = box.daemon.command
    start = command.index("-m")
    box.daemon.command = [*command[:start], "-c", text, *command[start + 2 :]]
    try:
        yield
    finally:
        box.daemon.command = command


# --- policies


def test_what_starts_with_the_daemon(new_daemon: Callable[..., Daemon]) -> None:
    box = Box(new_daemon("--on-exit", "stop"))
    box.build()
    after_a_restart_of_the_host(box)
    after_a_stop_of_all(box)


def after_a_restart_of_the_host(box: Box) -> None:
    plain, goes_on = box.start(), box.start("--restart", "unless-stopped")
    stopped = {
        policy: box.start("--restart", policy) for policy in ("always", "unless-stopped", "no")
    }
    box.ok("stop", "-t", "0", *stopped.values())
    never = box.ok("create", "--restart", "always", IMAGE, *FOREVER)
    pids = [box.state(ref)["Pid"] for ref in (plain, goes_on)]
    crash(box, *[procfs.parent(pid) for pid in pids], *pids)
    table = records(box)
    [(key, this_boot)] = table.read("host")
    table.write([Put("host", key, b"another-boot")])
    table.close()
    box.daemon.start()
    ended = box.state(plain)
    assert (ended["Status"], ended["ExitCode"]) == ("exited", 137)
    assert "the host was restarted" in ended["Error"]
    eventually(lambda: box.state(goes_on)["Pid"] not in (0, *pids))
    box.wait_for(stopped["always"], "running")
    assert box.status(stopped["unless-stopped"]) == box.status(stopped["no"]) == "exited"
    assert box.status(never) == "created"
    table = records(box)
    assert table.read("host") == [(key, this_boot)]
    table.close()
    box.remove_all()


def after_a_stop_of_all(box: Box) -> None:
    polite = box.start("--restart", "unless-stopped", script=NOTES_ITS_STOP)
    deaf = box.start("--stop-timeout", "0")
    crashing = box.start("--restart", "always", script="exit 1")
    by_user = box.start("--restart", "unless-stopped")
    box.wait_for_log(polite, "ready")
    box.ok("stop", "-t", "0", by_user)
    assert box.daemon.stop() == 0
    assert "all containers are stopped first" in box.daemon.log
    eventually(lambda: box.daemon.processes() == [])
    box.daemon.start()
    eventually(lambda: box.logs(polite).count("ready") == 2)
    assert box.logs(polite).count("told") == 1
    assert [box.status(ref) for ref in (deaf, by_user)] == ["exited", "exited"]
    assert box.state(deaf)["ExitCode"] == 137
    eventually(lambda: box.inspect(crashing)["RestartCount"] > 0)


# --- leftovers


def pretend_shim(bundle: Path) -> subprocess.Popen[bytes]:
    """A process that looks like a shim of `bundle`, and answers nobody."""
    name = "import ctypes; ctypes.CDLL(None).prctl(15, b'orlop-shim', 0, 0, 0); "
    wait = "print(1, flush=True); import time; time.sleep(1000)"
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", name + wait], cwd=bundle, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"1\n"
    return process


def groups(box: Box, name: str) -> list[Path]:
    """The folders of a group in each hierarchy that has the daemon's."""
    parents = [root / box.daemon.cgroup_parent for root in procfs.cgroup_roots()]
    return [folder / name for folder in parents if folder.exists()]


def test_what_belongs_to_nobody_goes(new_box: Box) -> None:
    unacknowledged(new_box)
    left_by_others(new_box)


def unacknowledged(box: Box) -> None:
    """The supervisor died after the end was written down, and before the shim heard of that."""
    ref = box.start()
    pid = box.state(ref)["Pid"]
    shim = procfs.parent(pid)
    os.kill(shim, signal.SIGSTOP)
    crash(box, pid)
    table = records(box)
    [(key, document)] = table.read("container")
    # That it runs is written a little later than told.
    ended = document.replace(b'"phase":"starting"', b'"phase":"running"')
    ended = ended.replace(b'"phase":"running"', b'"phase":"exited"')
    ended = ended.replace(b'"live":true', b'"live":false')
    assert ended != document
    table.write([Put("container", key, ended)])
    table.close()
    os.kill(shim, signal.SIGCONT)
    with program(box, QUICK):
        box.daemon.start()
    eventually(lambda: not Path(f"/proc/{shim}").exists())
    assert f"shim process {shim} was left over: removed" in box.daemon.log
    box.remove_all()


def left_by_others(box: Box) -> None:
    runs, rests = box.start(), box.start()
    box.ok("stop", "-t", "0", rests)
    bundles = box.daemon.data_root / "containers"
    (bundles / "not-an-id").mkdir()
    held = subprocess.Popen(["sleep", "1000"])
    shim, foreign = pretend_shim(bundles / rests), pretend_shim(box.daemon.folder)
    try:
        for group in groups(box, STRANGE):
            group.mkdir()
            if (group / "cgroup.kill").exists():
                (group / "cgroup.procs").write_text(str(held.pid))
        for group in groups(box, rests):
            group.mkdir()
        (bundles / STRANGE / "upper").mkdir(parents=True)
        (bundles / rests / "shim.sock").touch()
        # Starts go on all the while, and nothing of theirs is taken for a leftover.
        for _ in range(3):
            assert box.run(script="sleep 0.3; echo here").stdout == "here\n"
        assert held.wait(limit(20)) == -signal.SIGKILL
        assert shim.wait(limit(20)) == -signal.SIGKILL
        gone = [*groups(box, STRANGE), *groups(box, rests), bundles / STRANGE]
        eventually(lambda: not any(path.exists() for path in gone))
        eventually(lambda: not (bundles / rests / "shim.sock").exists())
        assert foreign.poll() is None
        assert (bundles / "not-an-id").exists()
        assert box.status(runs) == "running"
        box.ok("start", rests)
        for kind in ("cgroup", "shim", "socket", "bundle"):
            assert f"INFO orlop.reconcile {kind} " in box.daemon.log
        assert "cannot be removed" not in box.daemon.log
    finally:
        for process in (held, shim, foreign):
            process.kill()
            process.communicate()
        (bundles / "not-an-id").rmdir()


# --- versions, and a database that is no good


def test_versions_and_damage(new_box: Box) -> None:
    box = new_box
    ref = box.start("--name", "old")
    pid = box.state(ref)["Pid"]
    box.daemon.stop()
    damaged(box, pid)
    with program(box, SPEAKS.format(1, VERSION - 1)):  # the shim is newer than the daemon
        box.daemon.start()
    newer = f"is left alone: the container's shim speaks version {VERSION} of the "
    assert newer in box.daemon.log
    for words in (("stop", "old"), ("exec", "old", "true"), ("rm", "-f", "old"), ("kill", "old")):
        assert "use the orlop that started the container" in box.orlop(*words).stderr
    refused = box.orlop("run", "--rm", IMAGE, "true")
    assert "use the orlop that started the container" in refused.stderr
    assert refused.returncode == 125
    assert (box.status("old"), box.state("old")["Pid"]) == ("running", pid)
    box.daemon.stop()
    with program(box, SPEAKS.format(1, VERSION + 1)):  # and now older
        box.daemon.start()
    assert box.ok("exec", ref, "echo", "again") == "again"
    assert box.state(ref)["Pid"] == pid
    box.ok("stop", "-t", "0", ref)


def damaged(box: Box, pid: int) -> None:
    """The file is kept, and everything else is as it was."""
    path = box.daemon.data_root / "orlop.db"
    bad = b"nonsense" + path.read_bytes()[8:]
    path.write_bytes(bad)
    box.daemon.log_path.unlink()
    box.daemon.start()
    assert f"the database {path} is damaged" in box.daemon.log
    assert "Traceback" not in box.daemon.log
    assert path.with_name("orlop.db.corrupt").read_bytes() == bad
    assert (box.status("old"), box.state("old")["Pid"]) == ("running", pid)
    assert box.ok("exec", "old", "echo", "up") == "up"
    box.daemon.stop()
