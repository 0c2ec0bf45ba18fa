"""What the attacks here share: a compiled prober, containers by the API alone, and a canary."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from supervisor.wire.stdcopy import STDERR, STDOUT, Decoder
from tests.api.box import FOREVER, IMAGE, Box
from tests.support import places
from tests.support.daemon import Daemon, UnixConnection
from tests.support.pace import limit

SOURCE = Path(__file__).with_name("prober.c")
PROBER = "/probe/prober"
UNCONFINED = {"SecurityOpt": ["seccomp=unconfined"]}

# What a runtime could pass on by mistake from whoever started the daemon.
DIRT = """
import os, resource, signal, sys
from supervisor.kernel import capabilities
folder, *command = sys.argv[1:]
for number in range(500):
    fd = os.open(folder + "/secret", os.O_RDWR) if number % 2 else os.open("/", os.O_RDONLY)
    os.set_inheritable(fd, True)
for name in "HUP QUIT USR1 USR2 PIPE CHLD TSTP TTIN TTOU WINCH XFSZ".split():
    signal.signal(getattr(signal, "SIG" + name), signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGALRM, signal.SIGRTMIN + 5})
os.umask(0)
os.setgroups([0, 4, 27, 54321])
resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
effective, permitted, _ = capabilities.get_capabilities()
capabilities.set_capabilities(effective, permitted, permitted)
capabilities.raise_ambient(permitted)
os.environ["LD_LIBRARY_PATH"] = os.environ["HOST_SECRET"] = "of the host"
os.execv(folder + "/prober", ["prober", "keep", *command])
"""


class Result(NamedTuple):
    """How a program inside ended, and what it wrote."""

    code: int
    out: str
    err: str


@dataclass
class Cell:
    """Containers of one daemon by requests only: a tenth of what a command costs."""

    box: Box
    probe: Path

    @property
    def daemon(self) -> Daemon:
        """Whose containers they are."""
        return self.box.daemon

    def create(self, *words: str, host: dict[str, Any] | None = None, **body: Any) -> str:
        """The id of a new container, which has the prober."""
        given = host or {}
        binds = [f"{self.probe}:/probe:ro", *given.get("Binds", ())]
        body = {"Image": IMAGE, "Cmd": words or FOREVER, **body}
        body["HostConfig"] = {**given, "Binds": binds}
        status, answer = self.daemon.request("POST", "/containers/create", body)
        assert status == 201, answer
        return str(answer["Id"])

    def start(self, *words: str, host: dict[str, Any] | None = None, **body: Any) -> str:
        """The id of a running one."""
        ref = self.create(*words, host=host, **body)
        status, answer = self.daemon.request("POST", f"/containers/{ref}/start")
        assert status == 204, answer
        return ref

    def run(self, *words: str, host: dict[str, Any] | None = None, **body: Any) -> Result:
        """What a container did, from its start to its end."""
        ref = self.start(*words, host=host, **body)
        _, answer = self.daemon.request("POST", f"/containers/{ref}/wait", timeout=limit(60))
        query = "stdout=1&stderr=1"
        _, log = self.daemon.request("GET", f"/containers/{ref}/logs?{query}")
        self.daemon.request("DELETE", f"/containers/{ref}?v=1")
        tty = bool(body.get("Tty"))
        return Result(answer["StatusCode"], *_streams(log, framed=not tty))

    def sh(self, script: str, host: dict[str, Any] | None = None, **body: Any) -> Result:
        """The same of a script."""
        return self.run("sh", "-c", script, host=host, **body)

    def execute(self, ref: str, *words: str, **body: Any) -> Result:
        """What an exec session did."""
        body = {"Cmd": words, "AttachStdout": True, "AttachStderr": True, **body}
        status, answer = self.daemon.request("POST", f"/containers/{ref}/exec", body)
        assert status == 201, answer
        path = f"/exec/{answer['Id']}"
        tty = bool(body.get("Tty"))
        with closing(UnixConnection(self.daemon.socket, limit(60))) as connection:
            start = json.dumps({"Detach": False, "Tty": tty})
            connection.request("POST", f"{path}/start", start, {"Content-Type": "application/json"})
            response = connection.getresponse()
            data = response.read()
            assert response.status == 200, data
        _, view = self.daemon.request("GET", f"{path}/json")
        return Result(view["ExitCode"], *_streams(data, framed=not tty))

    def outside(self, *words: str) -> str:
        """What a command on the host writes, whatever its status."""
        return subprocess.run(words, capture_output=True, text=True).stdout


def _streams(data: bytes, *, framed: bool) -> tuple[str, str]:
    if not framed:
        return data.decode(errors="replace").replace("\r\n", "\n"), ""
    found = {STDOUT: b"", STDERR: b""}
    for stream, piece in Decoder().feed(data):
        found[stream] += piece
    return found[STDOUT].decode(errors="replace"), found[STDERR].decode(errors="replace")


@contextmanager
def dirty_cell() -> Iterator[Cell]:
    """A daemon that was started with all that it must not pass on: DIRT."""
    with places.short_folder() as folder:
        probe = folder / "probe"
        probe.mkdir()
        compile_prober(probe / "prober")
        (folder / "prober").hardlink_to(probe / "prober")
        (folder / "secret").write_text("of the host")
        daemon = Daemon(folder, ("--userns", "host"))  # see conftest.daemon
        daemon.command = [sys.executable, "-c", DIRT, str(folder), *daemon.command]
        try:
            daemon.start()
            box = Box(daemon)
            box.build()
            yield Cell(box, probe)
        finally:
            daemon.close()


def everywhere(cell: Cell, *words: str, **body: Any) -> dict[str, str]:
    """What a command says as PID 1, below an init, in a terminal, and in exec sessions."""
    user = {"User": body["User"]} if "User" in body else {}
    found = {
        "PID 1": cell.run(*words, **body).out,
        "init": cell.run(*words, host={"Init": True}, **body).out,
        "terminal": cell.run(*words, Tty=True, **body).out,
    }
    ref = cell.start(**body)
    found["exec"] = cell.execute(ref, *words, **user).out
    found["exec in a terminal"] = cell.execute(ref, *words, Tty=True, **user).out
    return found


def links(pid: int) -> list[str]:
    """Where a process's descriptors lead; none of one that has ended."""
    found = []
    with suppress(OSError):
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                found.append(os.readlink(fd))
    return found


def compile_prober(target: Path) -> None:
    """Compile it; not setuid, and for all to execute."""
    command = ["gcc", "-O1", "-static", "-o", str(target), str(SOURCE)]
    subprocess.run(command, check=True)
    target.chmod(0o755)


class Canary:
    """What of the host an attack may not change, and the supervisor, which it may not end."""

    FILES = (
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/hostname",
        "/proc/sys/kernel/modprobe",
        "/proc/sys/kernel/panic",
        "/proc/sys/kernel/shmmax",
        "/proc/sys/fs/suid_dumpable",
        "/proc/sys/net/ipv4/ip_forward",
        "/proc/sys/vm/overcommit_memory",
        "/sys/kernel/uevent_helper",
    )

    def __init__(self, daemon: Daemon, trees: Sequence[Path] = ()) -> None:
        self._daemon, self._trees = daemon, trees
        self._pid, self._log = daemon.pid, len(daemon.log)
        self._before = self._look()

    def check(self) -> None:
        """AssertionError where something has changed."""
        assert self._daemon.pid == self._pid
        assert self._daemon.request("GET", "/_ping")[0] == 200
        assert "Traceback" not in self._daemon.log[self._log :]
        after = self._look()
        for name in self.FILES:  # what an attack has reached does not stay changed
            if name in after and after[name] != self._before[name]:
                Path(name).write_bytes(self._before[name])
        assert after == self._before

    def _look(self) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for name in self.FILES:
            if os.path.exists(name):
                found[name] = Path(name).read_bytes()
        for tree in self._trees:
            for path in sorted(tree.rglob("*")):
                found[str(path)] = path.read_bytes() if path.is_file() else b"no file"
        return found
