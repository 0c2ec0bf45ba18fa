"""R35: containers of older releases go on under this one; releases come from the repository.

One for each older version of the shim protocol that is still spoken: the last commit that had
it. Without ORLOP_CHAOS_FULL only the latest of them.
"""

from __future__ import annotations

import io
import socket
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from supervisor.wire.shim_protocol import OLDEST, VERSION
from tests.api.box import IMAGE, eventually
from tests.chaos.rig import FULL, OBEDIENT, Rig, alive
from tests.support import places
from tests.support.daemon import Daemon

Tell = Callable[[str], None]
ROOT = Path(__file__).parents[2]
PROTOCOL = "supervisor/wire/shim_protocol.py"
RUN = (
    "import sys; sys.path[:] = [{!r}, *filter(None, sys.path)]; "
    "from supervisor.daemon.main import main; sys.exit(main(sys.argv[1:]))"
)
OLDER = range(OLDEST if FULL else VERSION - 1, VERSION)


def git(*words: str) -> bytes:
    """What git answers about this repository."""
    return subprocess.run(["git", "-C", str(ROOT), *words], check=True, capture_output=True).stdout


def unpack_release(version: int, folder: Path) -> str:
    """The sources of the last release whose shims speak `version`; its commit."""
    begun = git("log", "--format=%h", "--reverse", f"-SVERSION = {version + 1}", "--", PROTOCOL)
    commit = begun.split()[0].decode() + "^"
    archive = git("archive", commit, "supervisor", "netplumb", "metrics")
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    assert f"VERSION = {version}\n" in (folder / PROTOCOL).read_text()
    return git("log", "-1", "--format=%h", commit).decode().strip()


@pytest.mark.parametrize("version", OLDER)
def test_an_upgrade_under_running_containers(version: int, tell: Tell) -> None:
    with places.short_folder() as folder:
        commit = unpack_release(version, folder / "release")
        daemon = Daemon(folder)
        rig, ours = Rig(daemon), daemon.command
        arguments = ours[ours.index("supervisor.daemon") + 1 :]
        if "network" not in (folder / "release/supervisor/cli/main.py").read_text():
            at = arguments.index("--bridge")
            del arguments[at : at + 2]  # from before there were networks
        daemon.command = [sys.executable, "-c", RUN.format(str(folder / "release")), *arguments]
        try:
            daemon.start()
            go_on(rig, ours)
        finally:
            daemon.close()
    tell(f"R35: from {commit} (shim protocol {version}) to this: 0 of 3 containers restarted")


def go_on(rig: Rig, ours: list[str]) -> None:
    """Containers of the daemon that runs now are those of the daemon `ours` then."""
    rig.box.build()
    pid = rig.up("runs", Labels={"a": "b"})
    ends = rig.up("ends", "sh", "-c", "echo up; read x; exit 5", OpenStdin=True)
    terminal = rig.up("terminal", "sh", "-c", "echo up; read x; exit 6", OpenStdin=True, Tty=True)
    rig.up("ended", "sh", "-c", "echo up; exit 9")
    eventually(lambda: rig.status("ended") == "exited")
    before = rig.box.inspect("runs")["State"]["StartedAt"]
    rig.daemon.kill()
    eventually(lambda: alive(pid))
    rig.daemon.command = ours
    rig.daemon.start()
    for name, its in (("runs", pid), ("ends", ends), ("terminal", terminal)):
        state = rig.state(name)
        assert state is not None
        assert (state["Status"], state["Pid"]) == ("running", its)
    assert rig.box.inspect("runs")["State"]["StartedAt"] == before
    assert (rig.state("ended") or {})["ExitCode"] == 9
    assert rig.box.ok("exec", "runs", "echo", "in") == "in"
    assert rig.box.logs("runs") == "up\n"
    rig.ask("POST", "/containers/runs/pause")
    rig.ask("POST", "/containers/runs/unpause")
    for name, code in (("ends", 5), ("terminal", 6)):
        tell_to_go(rig, name)
        assert rig.ask("POST", f"/containers/{name}/wait")["StatusCode"] == code
    rig.ask("POST", "/containers/runs/stop?t=20")
    assert (rig.state("runs") or {})["ExitCode"] == 7
    for name in ("runs", "ended"):  # and as containers of this release
        rig.ask("POST", f"/containers/{name}/start")
    eventually(lambda: rig.status("ended") == "exited")
    assert rig.box.ok("run", "--rm", IMAGE, "echo", "new") == "new"
    assert OBEDIENT[0] == rig.box.inspect("runs")["Path"]


def tell_to_go(rig: Rig, name: str) -> None:
    """A line for its input, which only the shim of the older release can bring there."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(rig.daemon.socket))
        path = f"/containers/{name}/attach?stream=1&stdin=1"
        client.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert client.recv(12).startswith(b"HTTP/1.1")
        client.sendall(b"go\n")
        eventually(lambda: rig.status(name) == "exited")
