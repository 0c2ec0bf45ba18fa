"""What the chapters share: the supervisor, the commands shown, the checks counted."""

from __future__ import annotations

import json
import shlex
import subprocess
import textwrap
from pathlib import Path
from typing import Any

from supervisor.kernel.cgroups import detect
from tests.api.network_box import Machine
from tests.support.daemon import Daemon
from tests.support.leaks import Snapshot

IMAGE = "busybox"
WIDTH = 96


class Stage:
    """Prints what happens, and keeps the score: `passed` and the claims that `failed`."""

    def __init__(self, daemon: Daemon, machine: Machine, before: Snapshot) -> None:
        self.daemon = daemon
        self.machine = machine
        self.before = before
        self.layout = detect()
        self.passed = 0
        self.failed: list[str] = []

    def chapter(self, title: str, text: str) -> None:
        """A heading, and in plain words what is about to be shown."""
        print(f"\n== {title} ==")
        print(textwrap.fill(text, WIDTH))

    def note(self, text: str) -> None:
        """A line of evidence."""
        print(f"    {text}", flush=True)

    def check(self, claim: str, true: bool) -> None:
        """Say whether `claim` holds."""
        print(f"  {'ok   ' if true else 'FALSE'} {claim}", flush=True)
        if true:
            self.passed += 1
        else:
            self.failed.append(claim)

    def orlop(self, *arguments: str, shown: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command as a user would, and show it with what it prints."""
        if shown:
            print(f"  $ {shlex.join(['orlop', *arguments])}", flush=True)
        done = self.daemon.orlop(*arguments)
        if shown:
            for line in (done.stdout + done.stderr).splitlines():
                self.note(line)
        return done

    def run(self, *arguments: str) -> str:
        """Standard output of `orlop run --rm … IMAGE sh -c SCRIPT`; the last word is the script."""
        *options, script = arguments
        return self.orlop("run", "--rm", *options, IMAGE, "sh", "-c", script).stdout

    def start(self, *arguments: str) -> str:
        """The id of a container in the background; arguments as for `run`."""
        *options, script = arguments
        return self.orlop("run", "-d", *options, IMAGE, "sh", "-c", script).stdout.strip()

    def inspect(self, container: str) -> Any:
        """The container as the API has it."""
        return json.loads(self.orlop("inspect", container, shown=False).stdout)[0]

    def pid(self, container: str) -> int:
        """The container's PID 1 as the host numbers it."""
        return int(self.inspect(container)["State"]["Pid"])

    def remove(self, *containers: str) -> None:
        """Remove containers, running or not."""
        self.check("removed", self.orlop("rm", "-f", *containers, shown=False).returncode == 0)

    def layer(self) -> Path:
        """The image's one unpacked layer."""
        (folder,) = self.daemon.data_root.glob("layers/*")
        return folder
