"""A process that starts others and reaps all orphans below it, as PID 1 does on a real machine.

Runs as a program (`python -IS warden.py`). Each line on standard input is a JSON object
{"command": [...], "environment": {...}, "output": PATH}; the answers on standard output are

  started PID
  exited PID STATUS     for a command that was started here; STATUS as Popen.returncode
  failed TEXT           it could not be started

Orphans are reaped without a word. At the end of standard input, so also when the test run dies,
every process below is killed and the warden ends.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36


def start(line: str) -> int:
    """Fork and exec what `line` asks for; its pid. Its process group is its own."""
    job = json.loads(line)
    output = os.open(job["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.posix_spawnp(
            job["command"][0],
            job["command"],
            job["environment"],
            file_actions=[
                (os.POSIX_SPAWN_DUP2, null, 0),
                (os.POSIX_SPAWN_DUP2, output, 1),
                (os.POSIX_SPAWN_DUP2, output, 2),
            ],
            setpgroup=0,
            setsigdef=[signal.SIGINT, signal.SIGPIPE],
        )
    finally:
        os.close(output)
        os.close(null)


def reap(started: set[int]) -> None:
    """Reap whatever has ended, and tell of those in `started`."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        if pid in started:
            started.remove(pid)
            print(f"exited {pid} {os.waitstatus_to_exitcode(status)}", flush=True)


def kill_all() -> None:
    """Kill children until none is left: the orphans of the killed become children here."""
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    while pids := [int(pid) for pid in children.read_text().split()]:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for pid in pids:
            os.waitpid(pid, 0)


def serve(signalled_fd: int) -> None:
    """Do what standard input asks for until it ends; an ended child is announced on the fd."""
    started: set[int] = set()
    waiting = b""
    while True:
        ready, _, _ = select.select([0, signalled_fd], [], [])
        if signalled_fd in ready:
            os.read(signalled_fd, 512)
            reap(started)
        if 0 in ready:
            data = os.read(0, 1 << 16)
            if not data:
                break
            *lines, waiting = (waiting + data).split(b"\n")
            for line in lines:
                try:
                    pid = start(line.decode())
                except OSError as error:
                    print(f"failed {error}", flush=True)
                    continue
                started.add(pid)
                print(f"started {pid}", flush=True)


def main() -> None:
    """Serve standard input until it ends."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's ^C is the test run's to handle
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    wake_up, signalled = os.pipe()
    os.set_blocking(signalled, False)
    signal.set_wakeup_fd(signalled, warn_on_full_buffer=False)
    try:
        serve(wake_up)
    except BrokenPipeError:
        pass  # the test run is gone, and hears nothing more
    finally:
        kill_all()


if __name__ == "__main__":
    main()
