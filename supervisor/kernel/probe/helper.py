"""The helper process in which features are tried, and its answer."""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import sys
import time
from collections.abc import Sequence

from supervisor.errors import KernelError
from supervisor.kernel.cgroups import files
from supervisor.kernel.cgroups.layout import detect

Outcome = tuple[bool, str]
"""Whether it works, and in words what was found."""

SECONDS = 30.0
_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(__file__))))
_BOOT = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from supervisor.kernel.probe import trials; trials.main()"
)
_COMMAND = ("-I", "-S", "-c", _BOOT, _ROOT)


def run_trials(only: Sequence[str] = ()) -> dict[str, Outcome]:
    """Start the helper and wait for its answer; {} when it gives none in time. Never raises.

    `only` names the features to try, () = all that there are.
    """
    try:
        reader, writer = os.pipe2(os.O_CLOEXEC)
    except OSError:
        return {}
    pid = _spawn(writer, only)
    os.close(writer)
    try:
        return _outcomes(_read_all(reader, time.monotonic() + SECONDS))
    finally:
        os.close(reader)
        if pid:
            _end(pid)


def group_name(pid: int) -> str:
    """The cgroup that a helper makes for its trials."""
    return f"orlop-probe-{pid}"


def _spawn(stdout: int, only: Sequence[str]) -> int:
    """Start the helper (the process is not copied for it); 0 when that fails."""
    try:
        return os.posix_spawn(
            sys.executable,
            [sys.executable, *_COMMAND, *only],
            {"PATH": os.defpath, "LANG": "C.UTF-8"},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, stdout, 1),
                (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
            ],
        )
    except OSError:
        return 0


def _read_all(fd: int, deadline: float) -> bytes:
    data = b""
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    while poller.poll(max(0.0, deadline - time.monotonic()) * 1000):
        piece = os.read(fd, 65536)
        if not piece:
            return data
        data += piece
    return b""


def _outcomes(data: bytes) -> dict[str, Outcome]:
    try:
        return {name: (works, found) for name, (works, found) in json.loads(data).items()}
    except (ValueError, TypeError, AttributeError):  # cut short, or something else's output
        return {}


def _end(pid: int) -> None:
    """Kill the helper if it still runs (its children die with it), and reap it."""
    os.kill(pid, signal.SIGKILL)  # our own unreaped child: the pid cannot be another's
    os.waitpid(pid, 0)
    try:
        unified = detect().unified
    except KernelError:
        return
    folder = f"{unified}/{group_name(pid)}"
    if unified and os.path.isdir(folder):
        remove_group(folder)


def remove_group(folder: str) -> None:
    """Kill and remove what a helper made; a group that stays busy is left."""
    try:
        files.write(f"{folder}/cgroup.kill", "1")
    except KernelError:
        pass  # it is gone, or the kernel is older than 5.14 and the members die by themselves
    for _ in range(100):
        try:
            files.remove_folder(folder)
        except KernelError as error:
            if error.errno != errno.EBUSY:
                return
            time.sleep(0.01)
        else:
            return
