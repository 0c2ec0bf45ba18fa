"""One operation in a worker process, with what it cost: time, CPU and the most memory it had.

The starter is a bare interpreter. What a process had before its execve counts into the
maximum that the kernel keeps, so a starter as large as a test run would hide the worker's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supervisor.errors import BY_CODE, OrlopError
from supervisor.store.work import BOOT, _site_packages

ROOT = str(Path(__file__).resolve().parents[2])
STARTER = """
import array, json, os, socket, sys, time
boot, root, site, request, names = sys.argv[1:]
ours, theirs = socket.socketpair()
begin = time.monotonic()
pid = os.fork()
if pid == 0:
    os.set_inheritable(theirs.fileno(), True)
    os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", boot, root, site,
                              str(theirs.fileno()), str(os.getppid())])
theirs.close()
fds = array.array("i", map(int, names.split()))
rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)] if fds else []
ours.sendmsg([request.encode() + b"\\n"], rights)
said = b""
while data := ours.recv(65536):
    said += data
_, status, usage = os.wait4(pid, 0)
print(json.dumps({
    "said": [json.loads(line) for line in said.splitlines()],
    "status": os.waitstatus_to_exitcode(status),
    "seconds": time.monotonic() - begin,
    "cpu": usage.ru_utime + usage.ru_stime,
    "memory": usage.ru_maxrss * 1024,
}))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What came of an operation: `result` or `error`, and its cost (seconds, bytes)."""

    result: dict[str, Any] | None
    error: OrlopError | None
    progress: tuple[dict[str, Any], ...]
    status: int
    seconds: float
    cpu: float
    memory: int


def measure(
    operation: str, arguments: Mapping[str, Any], fds: Mapping[str, int], *, timeout: float = 120
) -> Measured:
    """Run the operation as the daemon does."""
    request = {"operation": operation, "arguments": dict(arguments), "fds": list(fds)}
    numbers = " ".join(str(fd) for fd in fds.values())
    command = [sys.executable, "-I", "-S", "-c", STARTER, BOOT, ROOT, _site_packages()]
    done = subprocess.run(
        [*command, json.dumps(request), numbers],
        pass_fds=tuple(fds.values()),
        capture_output=True,
        timeout=timeout,
        env={"PATH": os.defpath, "LANG": "C.UTF-8"},
    )
    assert done.returncode == 0, done.stderr.decode()
    found = json.loads(done.stdout)
    last = found["said"][-1] if found["said"] else {}
    error = last.get("error")
    return Measured(
        result=last.get("result"),
        error=BY_CODE[error["code"]](error["message"]) if error else None,
        progress=tuple(said["progress"] for said in found["said"] if "progress" in said),
        status=found["status"],
        seconds=found["seconds"],
        cpu=found["cpu"],
        memory=found["memory"],
    )
