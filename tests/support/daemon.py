"""A daemon for one test or module: started, talked to, stopped, and checked for what it leaves."""

from __future__ import annotations

import http.client
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from tests.support import leaks, places, procfs
from tests.support.pace import patience

START_SECONDS = 30.0  # on an idle host
STOP_SECONDS = 20.0
WARDEN = Path(__file__).with_name("warden.py")
# The stock docker command speaks this to us; Docker 20.10 of Debian 12 knows no newer one.
DOCKER_API_VERSION = "1.41"


class UnixConnection(http.client.HTTPConnection):
    """HTTP to a unix socket."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Open the socket; http.client calls it when it needs to."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Warden:
    """Our end of `warden.py`: processes are started below it and reaped by it."""

    def __init__(self, command: Sequence[str] = (sys.executable, "-IS", str(WARDEN))) -> None:
        # In a session of its own it outlives a kill of the run's whole group, and cleans up.
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        self._unread = b""
        self._exits: dict[int, int] = {}

    @property
    def pid(self) -> int:
        """The warden's own pid: everything it started is below it."""
        return self._process.pid

    def start(self, command: Sequence[str], environment: dict[str, str], output: Path) -> int:
        """Start `command`; its pid."""
        job = {"command": command, "environment": environment, "output": str(output)}
        self._stream(self._process.stdin).write(json.dumps(job).encode() + b"\n")
        self._stream(self._process.stdin).flush()
        while True:
            word, *rest = self._line(patience(START_SECONDS)).split(" ", 1)
            if word == "started":
                pid = int(rest[0])
                self._exits.pop(pid, None)  # of an earlier process that had it
                return pid
            if word == "failed":
                raise OSError(rest[0])
            self._note(rest[0])

    def wait(self, pid: int, seconds: float) -> int:
        """The exit status of `pid` as Popen.returncode; TimeoutError."""
        deadline = time.monotonic() + seconds
        while pid not in self._exits:
            _, rest = self._line(deadline - time.monotonic()).split(" ", 1)
            self._note(rest)
        return self._exits[pid]

    def ended(self, pid: int) -> bool:
        """`pid` has ended."""
        with suppress(TimeoutError):
            self.wait(pid, 0)
        return pid in self._exits

    def close(self) -> None:
        """Kill whatever is left below it, then end it."""
        self._stream(self._process.stdin).close()
        self._process.wait(patience(STOP_SECONDS))
        self._stream(self._process.stdout).close()

    @staticmethod
    def _stream(stream: IO[bytes] | None) -> IO[bytes]:
        assert stream is not None
        return stream

    def _note(self, text: str) -> None:
        pid, status = text.split()
        self._exits[int(pid)] = int(status)

    def _line(self, seconds: float) -> str:
        """The next line it says; TimeoutError."""
        output = self._stream(self._process.stdout).fileno()
        deadline = time.monotonic() + seconds
        while b"\n" not in self._unread:
            ready, _, _ = select.select([output], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError
            data = os.read(output, 1 << 16)
            if not data:
                raise EOFError("the warden has ended")
            self._unread += data
        line, self._unread = self._unread.split(b"\n", 1)
        return line.decode()


class Daemon:
    """`python -m supervisor.daemon` with roots, a cgroup parent and a socket of its own.

    It has no default network, unless it is `networked`: for namespaces that are the test's own.
    """

    def __init__(
        self,
        folder: Path,
        arguments: Sequence[str] = (),
        program: Sequence[str] = ("-m", "supervisor.daemon"),
        *,
        networked: bool = False,
        warden: Warden | None = None,
    ) -> None:
        self.folder = folder
        self.data_root = folder / "data"
        self.run_root = folder / "run"
        self.socket = folder / "orlop.sock"
        self.host = f"unix://{self.socket}"
        self.cgroup_parent = places.random_name()
        self.command = [
            *(sys.executable, *program),
            *("--data-root", str(self.data_root), "--run-root", str(self.run_root)),
            *("--host", self.host, "--cgroup-parent", self.cgroup_parent),
            *("--metrics-addr", "off"),
            *(() if networked else ("--bridge", "none")),
            *arguments,
        ]
        self.log_path = folder / "daemon.log"
        self.settings: dict[str, str] = {}  # environment variables of the daemon alone
        self.pid = 0
        self.warden = warden or Warden()

    # --- its life

    def start(self) -> None:
        """Start it (again) and wait until its socket answers."""
        environment = {**os.environ, **self.settings}
        self.pid = self.warden.start(self.command, environment, self.log_path)
        deadline = time.monotonic() + patience(START_SECONDS)
        while not self._answers():
            if self.warden.ended(self.pid):
                raise AssertionError(f"the daemon ended instead of starting:\n{self.log}")
            if time.monotonic() > deadline:
                raise AssertionError(f"the daemon's socket does not answer:\n{self.log}")
            time.sleep(0.01)

    def stop(self, seconds: float = 0.0) -> int:
        """Ask it to end by SIGTERM; its exit status. Containers go on."""
        os.kill(self.pid, signal.SIGTERM)
        return self.warden.wait(self.pid, seconds or patience(STOP_SECONDS))

    def kill(self) -> None:
        """End it by SIGKILL, as a crash does. Containers go on."""
        os.kill(self.pid, signal.SIGKILL)
        self.warden.wait(self.pid, patience(STOP_SECONDS))

    @property
    def running(self) -> bool:
        """It was started and has not ended."""
        return self.pid > 0 and not self.warden.ended(self.pid)

    @property
    def log(self) -> str:
        """What it wrote to its output and error output."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def processes(self) -> list[procfs.Process]:
        """Itself, its zygote, shims and containers, wherever a crash has left them."""
        return [p for p in procfs.descendants(self.warden.pid) if not p.zombie]

    def idle_shims(self) -> int:
        """How many wait for another container, each with a connection to it."""
        found = 0
        for process in self.processes():
            with suppress(OSError):
                command = Path(f"/proc/{process.pid}/cmdline").read_bytes()
                found += command.rstrip(b"\0") == b"orlop-shim"
        return found

    def open_files(self) -> int:
        """Its own descriptors, but for those to idle shims, of which it keeps some."""
        return len(os.listdir(f"/proc/{self.pid}/fd")) - self.idle_shims()

    # --- talking to it

    def request(
        self, method: str, path: str, body: object = None, *, timeout: float = 60.0
    ) -> tuple[int, Any]:
        """One HTTP request; the status and the body, decoded when it is JSON."""
        connection = UnixConnection(self.socket, timeout)
        try:
            connection.request(
                method,
                path,
                body=None if body is None else json.dumps(body).encode(),
                headers={"Content-Type": "application/json", "Connection": "close"},
            )
            response = connection.getresponse()
            data = response.read()
            is_json = response.headers.get_content_type() == "application/json"
            try:
                return response.status, json.loads(data) if is_json and data else data
            except ValueError:  # several documents, one a line
                return response.status, data
        finally:
            connection.close()

    @property
    def environment(self) -> dict[str, str]:
        """For clients: both commands find this daemon, and docker no configuration of the user."""
        path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"
        return {
            **os.environ,
            "PATH": path,
            "ORLOP_HOST": self.host,
            "DOCKER_HOST": self.host,
            "DOCKER_CONFIG": str(self.folder / "docker-config"),
            "DOCKER_API_VERSION": DOCKER_API_VERSION,
            "DOCKER_CLI_HINTS": "false",
        }

    def docker(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run the stock docker command; output is captured, `options` are subprocess.run's."""
        return self._run(["docker", *arguments], options)

    def orlop(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run the orlop command, in the same way."""
        return self._run([*orlop_command(), *arguments], options)

    def _run(self, command: list[str], options: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        defaults: dict[str, Any] = {
            "env": self.environment,
            "capture_output": True,
            "text": True,
            "timeout": 60.0,
        }
        if "input" not in options:
            defaults["stdin"] = subprocess.DEVNULL
        return subprocess.run(command, **{**defaults, **options})

    # --- its end

    def close(self) -> None:
        """Remove its containers, stop it, end what is left; AssertionError names what was."""
        left: list[str] = []
        try:
            if self.running:
                left += self._remove_containers()
                status = self.stop()
                if status != 0:
                    left.append(f"exit status {status} after SIGTERM")
            left += self._left_processes()
        finally:
            self.warden.close()
        left += self._left_cgroups()
        left += [str(m) for m in procfs.mounts() if Path(m.target).is_relative_to(self.folder)]
        left += self._left_folders()
        if left:
            raise AssertionError("\n".join(["the daemon left:", *left, "its log:", self.log]))

    def _answers(self) -> bool:
        try:
            return self.request("GET", "/_ping", timeout=patience(START_SECONDS))[0] == 200
        except (FileNotFoundError, ConnectionRefusedError, ConnectionResetError):
            return False

    def _remove_containers(self) -> list[str]:
        _, containers = self.request("GET", "/containers/json?all=1")
        failures = []
        for container in containers:
            path = f"/containers/{container['Id']}?force=1&v=1"
            status, answer = self.request("DELETE", path)
            if status not in {204, 404}:
                failures.append(f"container {container['Id']}: {status} {answer}")
        return failures

    def _left_processes(self) -> list[str]:
        deadline = time.monotonic() + patience(STOP_SECONDS / 4)
        while (found := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.01)
        return [f"process {process}" for process in found]

    def _left_cgroups(self) -> list[str]:
        """Cgroups below the parent; the parent itself is the daemon's to keep, and removed here."""
        deepest_first = sorted(leaks.cgroups(self.cgroup_parent), key=len, reverse=True)
        for folder in deepest_first:
            with suppress(OSError):
                os.rmdir(folder)
        return [f"cgroup {f}" for f in deepest_first if Path(f).name != self.cgroup_parent]

    def _left_folders(self) -> list[str]:
        below = [*self.data_root.glob("containers/*"), *self.data_root.glob("trash/*")]
        return [f"folder {path}" for path in below]


def orlop_command() -> list[str]:
    """The orlop command, also where the project is not installed."""
    return [
        sys.executable,
        "-c",
        "import sys; from supervisor.cli.main import main; sys.exit(main())",
    ]


@contextmanager
def running_daemon(arguments: Sequence[str] = ()) -> Iterator[Daemon]:
    """A started daemon; closed and checked at the end."""
    with places.short_folder() as folder:
        daemon = Daemon(folder, arguments)
        try:
            daemon.start()
            yield daemon
        finally:
            daemon.close()
