#!/usr/bin/env python3
"""Run a command in a User-Mode Linux guest: a real kernel with a pure cgroup v2 hierarchy.

  tests/guest/run.py --timeout 60 -- .venv/bin/python -m pytest tests/kernel

The guest is an ordinary process; it boots in about a second over a copy-on-write view of this
machine's own files. Nothing that the command writes reaches them, but what is below a --rw
folder. In the guest ORLOP_GUEST is 1, /tmp and /run are tmpfs, and /dev/ubda is the disk asked
for with --disk, empty, or the --disk-file, which stays: to end the guest is to cut its power.
One processor only: more make switches between threads 50 times slower.

Exit status: the command's (128+N when signal N ended it); 124 when the time was up, after a
list of the guest's tasks; 125 when the guest died or could not boot, after its last messages.
It keeps tests from this machine's files; it is no prison for hostile code.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import random
import re
import resource
import selectors
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.guest import kernel as guest_kernel

libc = ctypes.CDLL(None, use_errno=True)
TIME_IS_UP, GUEST_DIED = 124, 125
PR_SET_PDEATHSIG = 1
CLONE_NEWNS, MS_BIND, MS_REC, MS_PRIVATE = 0x20000, 0x1000, 0x4000, 0x40000
SYS_MOUNT_SETATTR, AT_FDCWD, AT_RECURSIVE, MOUNT_ATTR_RDONLY = 442, -100, 0x8000, 1


class StoppedError(Exception):
    """A signal asked this runner to end; the guest ends with it."""


def check(result: int, what: str) -> None:
    """Raise what errno says when `result` is -1."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(source: str, target: str, fstype: str | None, flags: int, data: str = "") -> None:
    """mount(2)."""
    kind = fstype.encode() if fstype else None
    words = (source.encode(), target.encode(), kind)
    check(libc.mount(*words, ctypes.c_ulong(flags), data.encode()), f"mount on {target}")


def set_read_only(folder: str, read_only: bool) -> None:
    """Make the mount at `folder`, and all below it, read-only or writable."""
    on, off = (MOUNT_ATTR_RDONLY, 0) if read_only else (0, MOUNT_ATTR_RDONLY)
    attributes = struct.pack("QQQQ", on, off, 0, 0)
    result = libc.syscall(
        SYS_MOUNT_SETATTR, AT_FDCWD, folder.encode(), AT_RECURSIVE, attributes, ctypes.c_size_t(32)
    )
    check(result, f"mount_setattr {folder}")


class Guest:
    """One boot: the run folder, the kernel's process, and the lines between it and us."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.kernel = guest_kernel.find()
        self.writable = [os.path.realpath(folder) for folder in options.rw]
        self.run = Path(tempfile.mkdtemp(prefix="orlop-guest."))
        # What the guest says: output, errors, status, and the kernel's own messages.
        self.ours, self.theirs = zip(*(socket.socketpair() for _ in range(4)), strict=True)
        self.status = bytearray()
        self.messages = bytearray()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Boot; the kernel's process dies with us."""
        self.process = subprocess.Popen(
            [str(self.kernel), *self._parameters()],
            cwd=self.kernel.parent,
            env={
                "PATH": os.defpath,
                "HOME": str(self.run),
                "TMPDIR": str(self.run),  # the guest's memory is a file there
                "LD_LIBRARY_PATH": ".",
            },
            stdin=subprocess.DEVNULL,
            stdout=self.theirs[3],
            stderr=self.theirs[3],
            pass_fds=[end.fileno() for end in self.theirs],
            preexec_fn=self._enter,
        )
        for end in self.theirs:
            end.close()

    def _parameters(self) -> list[str]:
        output, errors, status, console = (end.fileno() for end in self.theirs)
        return [
            f"mem={self.options.mem}",
            "seccomp=auto",  # the faster way of catching system calls, where the host has it
            *("root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro"),
            *("panic=-1", "noreboot", f"init={self.run}/init", f"orlopjob={self.run}/job"),
            *(f"uml_dir={self.run}/", "umid=guest"),
            *("con=null", f"con0=null,fd:{console}"),
            *("ssl=null", f"ssl0=fd:{output}", f"ssl1=fd:{errors}", f"ssl2=fd:{status}"),
            *([f"ubd0={self.run}/disk"] if self.options.disk else []),
            *([f"ubd0={self.options.disk_file}"] if self.options.disk_file else []),
        ]

    def _enter(self) -> None:
        """In the child before exec: the host's files become read-only for it."""
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        # Moving between processors costs it more than it gains.
        os.sched_setaffinity(0, {random.choice(sorted(os.sched_getaffinity(0)))})
        check(libc.unshare(CLONE_NEWNS), "unshare")
        mount("none", "/", None, MS_REC | MS_PRIVATE)
        for folder in self.writable:
            mount(folder, folder, None, MS_BIND | MS_REC)
        set_read_only("/", True)
        for folder in self.writable:
            set_read_only(folder, False)
        mount("run", str(self.run), "tmpfs", 0, "size=95%")
        self._write_files()

    def _write_files(self) -> None:
        job = {
            "command": self.options.command,
            "directory": self.options.directory,
            "environment": {**os.environ, "ORLOP_GUEST": "1"},
            "run": str(self.run),
            "writable": self.writable,
            "modules": str(guest_kernel.modules(self.kernel) or "") or None,
        }
        source = Path(__file__).with_name("init.py").read_text()
        (self.run / "job").write_text(json.dumps(job))
        (self.run / "init").write_text(f"#!{os.path.realpath(sys.executable)} -IS\n{source}")
        (self.run / "init").chmod(0o755)
        if self.options.disk:
            (self.run / "disk").touch()
            os.truncate(self.run / "disk", self.options.disk)

    def stream(self, seconds: float) -> bool:
        """Pass on what the guest says until it ends: True, or until time is up: False."""
        deadline = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            sinks = (sys.stdout.buffer, sys.stderr.buffer, self.status, self.messages)
            for end, sink in zip(self.ours, sinks, strict=True):
                selector.register(end, selectors.EVENT_READ, sink)
            # All ends are the guest's alone, so they close with it.
            while selector.get_map():
                ready = selector.select(max(0.0, deadline - time.monotonic()))
                if not ready and time.monotonic() >= deadline:
                    return False
                for key, _ in ready:
                    data = os.read(key.fd, 1 << 16)
                    if not data:
                        selector.unregister(key.fileobj)
                    elif isinstance(key.data, bytearray):
                        key.data.extend(data)
                        if key.data is self.messages and self.options.verbose:
                            os.write(2, data)
                    else:
                        key.data.write(data)
                        key.data.flush()
        return True

    def list_tasks(self) -> None:
        """Have the kernel write its tasks to its messages (sysrq t, by its own console)."""
        assert self.process is not None
        path = f"/proc/{self.process.pid}/root{self.run}/guest/mconsole"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as console:
            if console.connect_ex(path) == 0:
                console.send(struct.pack("=III512s", 0xCAFEBABE, 2, 7, b"sysrq t"))

    def close(self) -> None:
        """End the guest, whatever it does, and remove its folder."""
        if self.process:
            self.process.kill()
            self.process.wait()
        for end in (*self.ours, *self.theirs):
            end.close()
        shutil.rmtree(self.run, ignore_errors=True)

    def report(self, what: str) -> None:
        """Its last messages on standard error, then `what` happened."""
        if not self.options.verbose:
            sys.stderr.write(self.messages[-100_000:].decode(errors="replace"))
        sys.stderr.write(f"guest: {what}; above, the last messages of {self.kernel}\n")


def stop(number: int, frame: FrameType | None) -> None:
    """Signal handler: unwind, so that the guest is ended and its folder removed."""
    raise StoppedError(number)


def run(options: argparse.Namespace) -> int:
    """Boot, stream, and the exit status as the module's docstring has it."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, stop)
    guest = Guest(options)
    try:
        guest.start()
        in_time = guest.stream(options.timeout)
        done = re.search(rb"status=(\d+)\n", guest.status)
        if done:
            return int(done[1])
        if in_time:
            guest.report("it ended before the command did")
            return GUEST_DIED
        guest.list_tasks()
        guest.stream(5)  # a busy machine takes its time to write them
        guest.report(f"{options.timeout:g} seconds were up")
        return TIME_IS_UP
    except StoppedError as signalled:
        return 128 + int(signalled.args[0])
    finally:
        guest.close()


def size(text: str) -> int:
    """Bytes of `512M` or `2G`."""
    found = re.fullmatch(r"(\d+)([MG])", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 512M or 2G")
    return int(found[1]) << {"M": 20, "G": 30}[found[2]]


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--timeout", type=float, required=True, help="seconds, boot included")
    parser.add_argument("--mem", type=size, default="2G", help="the guest's memory [%(default)s]")
    parser.add_argument("--disk", type=size, help="an empty disk of this size as /dev/ubda")
    parser.add_argument(
        "--disk-file", type=os.path.realpath, help="this file, below a --rw folder, as /dev/ubda"
    )
    parser.add_argument("--rw", action="append", default=[], help="a folder that stays writable")
    parser.add_argument("--directory", default=os.getcwd(), help="where it runs [%(default)s]")
    parser.add_argument("--verbose", action="store_true", help="show the kernel's messages")
    parser.add_argument("command", nargs="+")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    try:
        sys.exit(run(parse(sys.argv[1:])))
    except (guest_kernel.NoKernelError, subprocess.SubprocessError) as error:
        sys.exit(f"guest: {error}")
