"""A supervisor that is killed."""

from __future__ import annotations

import os
import signal
import time

from tests.demo.stage import Stage

CODE = 42
WAIT_SECONDS = 20.0


def exit_codes(stage: Stage) -> None:
    """Containers go on without the supervisor, and nothing of what happened is lost."""
    stage.chapter(
        "The supervisor is killed",
        "Two containers run; the supervisor is killed by SIGKILL. One container ends while nobody "
        "watches but its shim. A new supervisor knows its exit code, and finds the other running.",
    )
    script = "trap 'exit 42' TERM; echo ready; while :; do sleep 0.05; done"
    ends, stays = stage.start("--name", "ends", script), stage.start("--name", "stays", script)
    pids = {name: stage.pid(name) for name in (ends, stays)}
    while not all("ready" in stage.orlop("logs", n, shown=False).stdout for n in pids):
        time.sleep(0.01)
    stage.daemon.kill()
    stage.note("supervisor: killed")
    stage.check("both containers run on", all(alive(pid) for pid in pids.values()))
    os.kill(pids[ends], signal.SIGTERM)
    record = stage.daemon.data_root / "containers" / ends / "exit.json"
    deadline = time.monotonic() + WAIT_SECONDS
    while not record.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    stage.note(f"exit record: {record.read_text()[:72]}…")
    began = time.monotonic()
    stage.daemon.start()
    stage.note(f"supervisor: started again, answers after {time.monotonic() - began:.2f} s")
    stage.orlop("ps", "-a")
    code = stage.orlop("wait", "ends").stdout.strip()
    stage.check(f"the exit code was kept: {code}", code == str(CODE))
    stage.check("the other is the same process still", stage.pid(stays) == pids[stays])
    stage.orlop("stop", "stays")
    code = stage.orlop("wait", "stays").stdout.strip()
    stage.check(f"and can be stopped; its code: {code}", code == str(CODE))


def alive(pid: int) -> bool:
    """The process exists."""
    return os.path.exists(f"/proc/{pid}")
