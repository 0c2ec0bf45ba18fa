"""S2: a process on its way into a container still has the memory of its shim.

The container's root has all capabilities of its user namespace here, more than any container, and
the process stands still for as long as it wants.
"""

from __future__ import annotations

import ctypes
import json
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from supervisor.kernel import mounts, namespaces, process, vfork
from supervisor.kernel._call import libc
from tests.kernel.forked import in_child, map_ids

MAPPED = ((0, 300_000, 65_536),)
SECRET = b"what only the shim may know"
PTRACE_ATTACH, PTRACE_SEIZE = 16, 0x4206
PIDFD_GETFD, PROCESS_MADVISE, KCMP = 438, 440, 312
MADV_COLD = 20
WALL = 0x40000000
READ = ("mem", "environ", "maps", "smaps", "pagemap", "auxv", "stack", "syscall", "io")
LINKS = ("exe", "root", "cwd", "fd/0", "ns/user", "ns/net")
WRITE = ("mem", "clear_refs", "coredump_filter", "oom_score_adj")


class Piece(ctypes.Structure):
    """struct iovec"""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def successes(pid: int, address: int) -> list[str]:
    """What of all that looks into a process, or changes it, works on `pid`."""
    found = []
    tries: dict[str, Callable[[], bool]] = {
        "process_vm_readv": lambda: _copies("process_vm_readv", pid, address),
        "process_vm_writev": lambda: _copies("process_vm_writev", pid, address),
        "pidfd_getfd": lambda: libc.syscall(PIDFD_GETFD, process.pidfd_open(pid), 0, 0) >= 0,
        "process_madvise": lambda: _advises(pid, address),
        "kcmp": lambda: libc.syscall(KCMP, os.getpid(), pid, 1, 0, 0) >= 0,
        **{f"read {name}": _reads(pid, name) for name in READ},
        **{f"link {name}": _follows(pid, name) for name in LINKS},
        **{f"write {name}": _opens(pid, name) for name in WRITE},
        "map_files": lambda: bool(os.listdir(f"/proc/{pid}/map_files")),
        # Last: it stops the process.
        "PTRACE_SEIZE": lambda: libc.ptrace(PTRACE_SEIZE, pid, None, None) == 0,
        "PTRACE_ATTACH": lambda: libc.ptrace(PTRACE_ATTACH, pid, None, None) == 0,
    }
    for name, one in tries.items():
        try:
            if one():
                found.append(name)
        except OSError:
            pass
    return found


def _copies(call: str, pid: int, address: int) -> bool:
    here = ctypes.create_string_buffer(SECRET, len(SECRET))
    ours = Piece(ctypes.addressof(here), len(SECRET))
    theirs = Piece(address, len(SECRET))
    length = getattr(libc, call)(pid, ctypes.byref(ours), 1, ctypes.byref(theirs), 1, 0)
    return bool(length == len(SECRET))


def _advises(pid: int, address: int) -> bool:
    page = Piece(address & ~4095, 4096)
    pidfd = process.pidfd_open(pid)
    return bool(libc.syscall(PROCESS_MADVISE, pidfd, ctypes.byref(page), 1, MADV_COLD, 0) >= 0)


def _reads(pid: int, name: str) -> Callable[[], bool]:
    def read() -> bool:
        with open(f"/proc/{pid}/{name}", "rb", buffering=0) as file:
            return name == "mem" or bool(file.read(64))

    return read


def _follows(pid: int, name: str) -> Callable[[], bool]:
    return lambda: bool(os.readlink(f"/proc/{pid}/{name}"))


def _opens(pid: int, name: str) -> Callable[[], bool]:
    def write() -> bool:
        os.close(os.open(f"/proc/{pid}/{name}", os.O_WRONLY))
        return True

    return write


class Pipe:
    """One direction, a line at a time."""

    def __init__(self) -> None:
        self.out, self.into = os.pipe()

    def say(self, *words: object) -> None:
        os.write(self.into, json.dumps(words).encode() + b"\n")

    def hear(self) -> Any:
        line = b""
        while not line.endswith(b"\n"):
            line += os.read(self.out, 1)
        return json.loads(line)

    def close(self) -> None:
        os.close(self.out)
        os.close(self.into)


def attacked(*, share: bool, dumpable: bool) -> list[str]:
    """What the container's root can do to a process that has been born into the container, has
    the ids of its root, and has not executed a program yet."""

    def body() -> list[str]:
        process.set_dumpable(False)
        secret = ctypes.create_string_buffer(SECRET, len(SECRET))
        orders, report, done = pipes = Pipe(), Pipe(), Pipe()
        flags = namespaces.CLONE_NEWUSER | namespaces.CLONE_NEWPID | namespaces.CLONE_NEWNS
        container, pidfd = namespaces.clone3(flags)
        if container == 0:
            orders.hear()
            _be_root()
            mounts.mount("proc", "/proc", "proc")
            report.say("ready")
            (pid,) = orders.hear()
            report.say(*successes(pid, ctypes.addressof(secret)))
            done.say()
            with suppress(ChildProcessError):
                os.waitpid(pid, WALL)  # whoever traces it hears of its end first
            orders.hear()  # its end would be that of the other, wherever that is
            os._exit(0)
        map_ids(container, MAPPED)
        orders.say()
        report.hear()

        def victim() -> None:
            _be_root()
            process.set_dumpable(dumpable)
            orders.say(2)  # the first that is born there after its init
            done.hear()
            os._exit(0)

        def stage() -> None:
            namespaces.setns(pidfd, flags)
            pid, _ = vfork.spawn(victim, namespaces.CLONE_PARENT, share=share, exit_signal=0)
            os.write(kept.into, json.dumps([pid]).encode() + b"\n")
            os._exit(0)

        kept = Pipe()
        staged, other = vfork.spawn(stage, share=share)
        (pid,) = kept.hear()
        found = report.hear()
        for one in (staged, pid):
            os.waitpid(one, 0)
        orders.say()
        os.waitpid(container, 0)
        for fd in (other, pidfd):
            os.close(fd)
        for pipe in (*pipes, kept):
            pipe.close()
        assert secret.raw == SECRET
        process.set_dumpable(True)
        return list(found)

    found: list[str] = in_child(body)
    return found


def _be_root() -> None:
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


@pytest.mark.parametrize("share", [True, False])
def test_root_of_a_user_namespace_cannot_look_into_it(*, share: bool) -> None:
    assert attacked(share=share, dumpable=False) == []


def test_the_same_finds_all_in_one_that_is_dumpable() -> None:
    found = attacked(share=True, dumpable=True)
    assert {"process_vm_readv", "process_vm_writev", "PTRACE_SEIZE", "read mem"} <= set(found)
    assert {"pidfd_getfd", "link fd/0", "link exe", "write oom_score_adj"} <= set(found)
