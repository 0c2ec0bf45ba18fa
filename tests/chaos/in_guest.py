"""What runs in the guest whose power is cut: `python -m tests.chaos.in_guest churn|look`.

Its daemon has its data root on /dev/ubda, which the next boot has as well. Each line on the output
is a JSON list: what was acknowledged, or found.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.api.box import IMAGE, Box, eventually
from tests.support.daemon import Daemon

DISK = Path("/mnt/disk")
RESTARTING = quote(json.dumps({"status": ["restarting"]}))  # as the policy wants it
SLEEPS = ("sh", "-c", "echo up; while :; do sleep 1000; done")
STOPS = ("sh", "-c", "trap 'exit 7' TERM; echo up; while :; do sleep 0.1; done")


def say(*words: object) -> None:
    """One line, at once."""
    print(json.dumps(words), flush=True)


@contextmanager
def daemon_on_disk() -> Iterator[Box]:
    """A daemon on the disk, which is formatted if it is new."""
    DISK.mkdir(parents=True, exist_ok=True)
    if subprocess.run(["mount", "/dev/ubda", DISK], stderr=subprocess.DEVNULL).returncode:
        subprocess.run(["mkfs.ext4", "-q", "-F", "/dev/ubda"], check=True)
        subprocess.run(["mount", "/dev/ubda", DISK], check=True)
    DISK.chmod(0o755)
    daemon = Daemon(DISK)
    daemon.start()
    yield Box(daemon)


def ask(box: Box, method: str, path: str, body: object = None) -> Any:
    """The answer to a request that must succeed."""
    status, answer = box.daemon.request(method, path, body)
    assert status < 400, (path, status, answer)
    return answer


def make(box: Box, name: str, command: tuple[str, ...], policy: str = "no") -> None:
    """One container, not started."""
    host = {"RestartPolicy": {"Name": policy}}
    body = {"Image": IMAGE, "Cmd": command, "HostConfig": host, "Labels": {"name": name}}
    ask(box, "POST", f"/containers/create?name={name}", body)


def churn(cut: str) -> None:
    """Until the power is cut: whatever is said was acknowledged before."""
    chance = random.Random(cut)
    with daemon_on_disk() as box:
        if not ask(box, "GET", "/images/json"):
            box.build()
        say("image")
        number = 0
        while True:
            number += 1
            name = f"c{cut}-{number}"
            match chance.randrange(4):
                case 0:
                    make(box, name, SLEEPS, chance.choice(("no", "unless-stopped")))
                    say("made", name)
                case 1:
                    policy = chance.choice(("no", "unless-stopped"))
                    make(box, name, SLEEPS, policy)
                    ask(box, "POST", f"/containers/{name}/start")
                    say("started", name, policy)
                case 2:
                    code = number % 200
                    make(box, name, ("sh", "-c", f"exit {code}"))
                    ask(box, "POST", f"/containers/{name}/start")
                    ask(box, "POST", f"/containers/{name}/wait")
                    say("ended", name, code)
                case 3:
                    make(box, name, SLEEPS)
                    ask(box, "DELETE", f"/containers/{name}")
                    say("removed", name)


def look() -> None:
    """What the daemon finds after the power was cut; then the same disk is used again."""
    with daemon_on_disk() as box:
        eventually(lambda: not ask(box, "GET", f"/containers/json?filters={RESTARTING}"), 30)
        for one in ask(box, "GET", "/containers/json?all=1"):
            seen = box.inspect(one["Id"])
            state = seen["State"]
            name = seen["Name"].removeprefix("/")
            say("found", name, state["Status"], state["ExitCode"], state["Error"])
        for path in empty_files(box.daemon.data_root):
            say("empty", str(path))
        for path in wrong_blobs(box.daemon.data_root):
            say("wrong", str(path))
        assert box.ok("run", "--rm", IMAGE, "echo", "again") == "again"
        jump(box)
        for one in ask(box, "GET", "/containers/json?all=1"):
            ask(box, "DELETE", f"/containers/{one['Id']}?force=1")
        box.daemon.stop()
        subprocess.run(["umount", DISK], check=True)
    say("done")


def empty_files(root: Path) -> list[Path]:
    """Files of the daemon's that were named before they were written; config.json is no record."""
    written = ("images/*", "networks/*", "blobs/*/*", "containers/*/exit.json", "volumes/*/*.json")
    found = [path for pattern in written for path in root.glob(pattern)]
    return [path for path in found if path.is_file() and not path.stat().st_size]


def wrong_blobs(root: Path) -> list[Path]:
    """Blobs that are not what they are called."""
    blobs = root.glob("blobs/sha256/*")
    return [p for p in blobs if hashlib.sha256(p.read_bytes()).hexdigest() != p.name]


def jump(box: Box) -> None:
    """R25: the clock goes a day back and a day on in the middle of a stop and of a pause."""
    for name in ("deaf", "polite"):
        make(box, name, SLEEPS if name == "deaf" else STOPS)
        ask(box, "POST", f"/containers/{name}/start")
        box.wait_for_log(name, "up")
    crashing = ("sh", "-c", "exit 3")
    for days in (-1, 1, 1, -1):
        before = time.monotonic()
        make(box, "loop", crashing, "always")
        ask(box, "POST", "/containers/loop/start")
        time.clock_settime(time.CLOCK_REALTIME, time.time() + days * 86400)
        eventually(lambda: box.inspect("loop")["RestartCount"] >= 3, 30)
        ask(box, "DELETE", "/containers/loop?force=1")
        say("jumped", days, time.monotonic() - before)
    timed_stop(box, "deaf", 2)
    timed_stop(box, "polite", 20)


def timed_stop(box: Box, name: str, grace: int) -> None:
    """A stop that the clock jumps in."""
    time.clock_settime(time.CLOCK_REALTIME, time.time() - 86400)
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        time.sleep(0.3)
        time.clock_settime(time.CLOCK_REALTIME, time.time() + 2 * 86400)
        os._exit(0)
    ask(box, "POST", f"/containers/{name}/stop?t={grace}")
    os.waitpid(child, 0)
    time.clock_settime(time.CLOCK_REALTIME, time.time() - 86400)
    say("stopped", name, time.monotonic() - began, box.state(name)["ExitCode"])


if __name__ == "__main__":
    if sys.argv[1] == "churn":
        churn(sys.argv[2])
    else:
        look()
