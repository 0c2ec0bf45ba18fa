"""R47: each system call that a start makes fails in turn, by strace's hand.

Of shim and init (the program is traced, too), and of the supervisor. Whatever the start is
answered: the container can be removed, another one starts, and nothing is left.
"""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.client import HTTPException
from pathlib import Path

import pytest

from tests.api.box import eventually
from tests.chaos.rig import FULL, Gone, Refused, Rig
from tests.support import procfs
from tests.support.nest import CONSTANT
from tests.support.pace import limit

Tell = Callable[[str], None]
# These tell no error, or their caller cannot live without them: strace itself says so of some.
NEVER_FAIL = {
    *("brk", "mmap", "mprotect", "munmap", "madvise", "arch_prctl", "rseq", "set_robust_list"),
    *("exit", "exit_group", "restart_syscall", "rt_sigreturn", "set_tid_address", "sched_yield"),
    *("getpid", "gettid", "getppid", "getpgid", "getuid", "geteuid", "getgid", "getegid", "umask"),
    *("futex", "clock_nanosleep"),
    "fcntl",  # locks are given back without fail
    "wait4",  # and who waits for a child of its own is told
}
MOST_OF_EACH = 50
# An event loop does not outlive them: the supervisor dies, or stands still until somebody ends it.
OF_THE_LOOP = {"epoll_ctl", "epoll_wait"}
# What a broken connection leaves goes at the second look; a shim that is silent is given up.
SOON = "supervisor.engine.reconcile.INTERVAL=0.5 supervisor.engine.container.SILENT_SECONDS=3"
CALL = re.compile(r"^(\d+) +(\w+)\(", re.MULTILINE)
SLEEPS = ("sh", "-c", "echo up; sleep 1000")
# Without ORLOP_CHAOS_FULL these are enough.
FEW = {
    "shim": [("clone3", 1), ("open_tree", 1), ("pivot_root", 1), ("sendmsg", 1), ("execve", 1)],
    # What is sent, with a descriptor and without one, asks for a shim and for the start.
    "supervisor": [("mkdir", 1), ("openat", 1), ("sendmsg", 1), ("sendto", 1), ("fdatasync", 1)],
}


@contextmanager
def traced(pids: list[int], output: Path, *options: str) -> Iterator[None]:
    """strace follows these processes for the length of the block."""
    assert pids
    words = [word for pid in pids for word in ("-p", str(pid))]
    with subprocess.Popen(
        ["strace", "-f", "-o", str(output), *options, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as strace:
        try:
            wait_attached(strace, len(pids))
            yield
        finally:
            strace.send_signal(signal.SIGINT)
            assert strace.stderr is not None
            strace.stderr.read()


def wait_attached(strace: subprocess.Popen[bytes], count: int) -> None:
    """Until it says so of each."""
    assert strace.stderr is not None
    said, deadline = b"", time.monotonic() + limit(20)
    while said.count(b" attached") < count:
        assert time.monotonic() < deadline, said
        if select.select([strace.stderr], [], [], 1.0)[0]:
            data = os.read(strace.stderr.fileno(), 4096)
            assert data, said
            said += data


def shims_to_be(rig: Rig) -> list[int]:
    """The zygote and its spares, and shims that wait for their next container."""
    found = []
    for process in procfs.descendants(os.getpid()):
        with suppress(OSError):  # it has ended meanwhile
            words = Path(f"/proc/{process.pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
            if words[0].startswith(b"orlop-zygote") or words == [b"orlop-shim"]:
                found.append(process.pid)
    return found


WHOSE: dict[str, Callable[[Rig], list[int]]] = {
    "shim": shims_to_be,
    "supervisor": lambda rig: [rig.daemon.pid],
}


def traceable(rig: Rig, whose: str) -> list[int]:
    """The processes that the next start's calls are of, once they are there."""
    eventually(lambda: WHOSE[whose](rig))
    return WHOSE[whose](rig)


def start(rig: Rig) -> str:
    """Make and start a container; what was answered."""
    try:
        rig.create("failing", *SLEEPS)
        rig.ask("POST", "/containers/failing/start")
    except Refused:
        return "refused"
    except Gone:
        return "died"
    except AssertionError as error:
        if "the daemon lives" not in str(error):
            raise
        return "hung up"  # it was the client's own connection that failed
    return "started"


def calls_of_a_start(rig: Rig, whose: str, folder: Path) -> list[tuple[str, int]]:
    """(name, number) of each system call, a process' own calls of that name counted from 1."""
    output = folder / "trace"
    with traced(traceable(rig, whose), output):
        assert start(rig) == "started"
    rig.ask("DELETE", "/containers/failing?force=1")
    counts = Counter(CALL.findall(output.read_text(errors="replace")))
    most: Counter[str] = Counter()
    for (_, name), count in counts.items():
        if name not in NEVER_FAIL and not (whose == "supervisor" and name in OF_THE_LOOP):
            most[name] = max(most[name], count)
    found = [(n, count + 1) for n in sorted(most) for count in range(min(most[n], MOST_OF_EACH))]
    assert set(FEW[whose]) <= set(found), "these are not all that a start makes"
    return found


def fail_in(rig: Rig, whose: str, name: str, number: int) -> str:
    """Have that call fail in a start; what was answered, after all of it is gone again."""
    inject = ("-e", f"trace={name}", "-e", f"inject={name}:error=EIO:when={number}")
    with traced(traceable(rig, whose), Path(os.devnull), *inject):
        answer = start(rig)
    if rig.daemon.running and not serves(rig):
        rig.daemon.kill()  # the event loop's own calls failed: systemd's watchdog sees to that
        answer = "stood still"
    if not rig.daemon.running:
        rig.daemon.start()
    eventually(partial(removed, rig, "failing"), 30)
    rig.up("next", *SLEEPS)
    rig.ask("DELETE", "/containers/next?force=1")
    return answer


def serves(rig: Rig) -> bool:
    """It answers, after what it may be in the middle of."""
    try:
        return bool(rig.daemon.request("GET", "/_ping", timeout=limit(5))[0] == 200)
    except (OSError, HTTPException):
        return False


def removed(rig: Rig, name: str) -> bool:
    """It is gone now, or was before."""
    with suppress(Refused):
        rig.ask("DELETE", f"/containers/{name}?force=1", expected={204, 404})
        return True
    return False


@pytest.mark.parametrize("whose", list(WHOSE))
def test_each_system_call_of_a_start_fails(
    rig: Rig, nested: tuple[Rig, list[set[str]]], tell: Tell, whose: str, tmp_path: Path
) -> None:
    calls = calls_of_a_start(rig, whose, tmp_path) if FULL else FEW[whose]
    rig.daemon.kill()
    rig.daemon.settings = {CONSTANT: SOON}
    rig.daemon.start()
    at_rest = nested[1][-1]
    answers: Counter[str] = Counter()
    wrong, ended = [], []
    for name, number in calls:
        try:
            answer = fail_in(rig, whose, name, number)
            answers[answer] += 1
            if answer in ("died", "stood still"):
                ended.append(f"{name} {number}")
            rig.settled(at_rest)
        except AssertionError as error:
            wrong.append(f"{name} {number}: {error!s:.3000}")
            rig.daemon.kill()
            rig.daemon.start()
    assert not wrong, "\n\n".join(wrong)
    assert answers["refused"]
    told = f"{dict(answers)}, 0 left{', the supervisor ended by ' * bool(ended)}{', '.join(ended)}"
    tell(f"R47: {len(calls)} system calls of the {whose} fail in a start: {told}")
