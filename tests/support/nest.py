"""A warden that has the daemon loaded and forks it: a start costs no interpreter and no imports.

For tests that start a daemon dozens of times. What it is told and answers is the warden's. The
commands of its jobs are `… -m supervisor.daemon ARGS`. With OWN_MOUNTS in its environment a daemon
has a mount namespace of its own; CONSTANT says which numbers of its code are others
("supervisor.engine.engine.KILL_SECONDS=1", each a word).
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from supervisor.daemon.main import main
from tests.support import warden

# Wherever it is started, from this checkout.
_RUN = (
    "import sys, runpy; sys.path.insert(0, sys.argv[1]); "
    "runpy.run_module(sys.argv[2], None, '__main__')"
)
OWN_MOUNTS, CONSTANT = "ORLOP_NEST_OWN_MOUNTS", "ORLOP_NEST_CONSTANT"
CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 0x40000
COMMAND = (sys.executable, "-c", _RUN, str(Path(__file__).parents[2]), "tests.support.nest")


def start(line: str) -> int:
    """Fork a daemon; its pid. Its process group is its own."""
    job = json.loads(line)
    output = os.open(job["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    pid = os.fork()
    if pid == 0:
        _become(job["command"], job["environment"], output)
    os.close(output)
    return pid


def _become(command: Sequence[str], environment: dict[str, str], output: int) -> None:
    status = 1
    try:
        os.setpgid(0, 0)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        null = os.open(os.devnull, os.O_RDONLY)
        for target, source in ((0, null), (1, output), (2, output)):
            os.dup2(source, target)
        os.closerange(3, 256)  # the warden's own
        os.environ.clear()
        os.environ.update(environment)
        if OWN_MOUNTS in environment:
            _leave_mounts()
        for setting in environment.get(CONSTANT, "").split():
            name, _, value = setting.partition("=")
            module, _, constant = name.rpartition(".")
            assert hasattr(sys.modules[module], constant)
            setattr(sys.modules[module], constant, float(value))
        status = main(command[command.index("supervisor.daemon") + 1 :])
        sys.stderr.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def _leave_mounts() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    private = ctypes.c_ulong(MS_REC | MS_PRIVATE)
    if libc.unshare(CLONE_NEWNS) or libc.mount(b"none", b"/", None, private, None):
        raise OSError(ctypes.get_errno(), "a mount namespace of its own")


if __name__ == "__main__":
    warden.start = start
    gc.collect()
    gc.freeze()
    warden.main()
