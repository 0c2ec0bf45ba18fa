"""What the tests of a running daemon share: one image, containers that go with their test."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from subprocess import DEVNULL, PIPE, CompletedProcess, Popen
from typing import Any
from urllib.parse import quote

from tests.support.daemon import Daemon, UnixConnection, orlop_command
from tests.support.pace import limit, patience

IMAGE = "box"
FOREVER = ("sleep", "100000")
MOST_SECONDS = 150.0  # less than a test may hang before all of them are ended


def eventually(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until `condition` holds; AssertionError if it does not in time."""
    deadline = time.monotonic() + min(patience(seconds), MOST_SECONDS)
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


class Box:
    """A daemon with an image made from the host's busybox, and short words for its commands."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon

    def build(self) -> None:
        """Make the image that all containers here run from."""
        made = self.orlop("image", "scratch", IMAGE)
        assert made.returncode == 0, made.stderr

    # --- commands

    def orlop(self, *arguments: str, **options: Any) -> CompletedProcess[str]:
        """The orlop command, whatever its status."""
        return self.daemon.orlop(*arguments, **options)

    def ok(self, *arguments: str, **options: Any) -> str:
        """The stripped output of an orlop command that must succeed."""
        done = self.orlop(*arguments, **options)
        assert done.returncode == 0, (arguments, done.returncode, done.stdout, done.stderr)
        return str(done.stdout).strip()

    def run(self, *flags: str, script: str = "", **options: Any) -> CompletedProcess[str]:
        """`orlop run --rm FLAGS box sh -c SCRIPT`, whatever its status."""
        command = ("sh", "-c", script) if script else ()
        return self.orlop("run", "--rm", *flags, IMAGE, *command, **options)

    def output(self, *flags: str, script: str, **options: Any) -> str:
        """The stripped output of a script that must succeed in a container."""
        return self.ok("run", "--rm", *flags, IMAGE, "sh", "-c", script, **options)

    def start(self, *flags: str, script: str = "") -> str:
        """The id of a new container that runs in the background: `script`, or for ever."""
        command = ("sh", "-c", script) if script else FOREVER
        return self.ok("run", "-d", *flags, IMAGE, *command)

    @contextmanager
    def running(self, *arguments: str, **options: Any) -> Iterator[Popen[bytes]]:
        """An orlop command that goes on while the block runs; ended after it."""
        defaults: dict[str, Any] = {"stdin": DEVNULL, "stdout": PIPE, "stderr": PIPE}
        process = Popen(
            [*orlop_command(), *arguments],
            env=self.daemon.environment,
            **{**defaults, **options},
        )
        with process:
            try:
                yield process
            finally:
                process.kill()

    # --- what is known of a container

    def inspect(self, ref: str) -> dict[str, Any]:
        """The API's view of it."""
        status, answer = self.daemon.request("GET", f"/containers/{ref}/json")
        assert status == 200, answer
        return dict(answer)

    def state(self, ref: str) -> dict[str, Any]:
        """The State of that view."""
        return dict(self.inspect(ref)["State"])

    def status(self, ref: str) -> str:
        """One of Docker's words: created, running, paused, restarting, exited, dead."""
        return str(self.state(ref)["Status"])

    def ids(self) -> list[str]:
        """All containers, running or not."""
        _, found = self.daemon.request("GET", "/containers/json?all=1")
        return [container["Id"] for container in found]

    def wait_for(self, ref: str, status: str) -> None:
        """Until it is in `status`."""
        eventually(lambda: self.status(ref) == status)

    def logs(self, ref: str, *flags: str) -> str:
        """Its output so far, both streams."""
        done = self.orlop("logs", *flags, ref)
        return str(done.stdout) + str(done.stderr)

    def wait_for_log(self, ref: str, text: str) -> None:
        """Until it has written `text`."""
        eventually(lambda: text in self.logs(ref))

    def events(self, ref: str) -> list[dict[str, Any]]:
        """What has happened to it until now, oldest first."""
        filters = quote(json.dumps({"container": [ref]}))
        path = f"/events?since=0&until={time.time():.9f}&filters={filters}"
        connection = UnixConnection(self.daemon.socket, limit(10))
        with closing(connection):
            connection.request("GET", path, headers={"Connection": "close"})
            return [json.loads(line) for line in connection.getresponse().read().splitlines()]

    def cgroup_file(self, ref: str, controller: str, v1: str, v2: str) -> str:
        """A file of its cgroup as the host sees it: `v1` of `controller`, or `v2`."""
        lines = Path(f"/proc/{self.state(ref)['Pid']}/cgroup").read_text().splitlines()
        for line in lines:
            _, names, path = line.split(":", 2)
            if ONLY_V2 and not names:
                return Path(f"/sys/fs/cgroup{path}/{v2}").read_text().strip()
            if not ONLY_V2 and controller in names.split(","):
                return Path(f"/sys/fs/cgroup/{controller}{path}/{v1}").read_text().strip()
        raise AssertionError(f"no {controller} in {lines}")

    def remove_all(self) -> None:
        """Every container goes, running or not."""
        for container in self.ids():
            status, answer = self.daemon.request("DELETE", f"/containers/{container}?force=1&v=1")
            assert status in {204, 404, 409}, answer
        eventually(lambda: not self.ids())


ONLY_V2 = Path("/sys/fs/cgroup/cgroup.controllers").exists()


def has_controller(name: str) -> bool:
    """This host can limit by the controller `name`."""
    if ONLY_V2:
        return name in Path("/sys/fs/cgroup/cgroup.controllers").read_text().split()
    return os.path.ismount(f"/sys/fs/cgroup/{name}")


def one_line(text: str) -> str:
    """`text` without its line end; AssertionError if it is not exactly one line."""
    lines = text.splitlines()
    assert len(lines) == 1, text
    assert "Traceback" not in text
    return lines[0]
