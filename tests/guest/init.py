"""PID 1 of the guest: make a usual root with a pure cgroup v2 hierarchy, run one command, end.

Runs as `python -IS` from a copy in the run folder; imports nothing but the standard library.
The job is a JSON file named by the kernel's parameter `orlopjob`, which the kernel hands on in
the environment:

  command, directory, environment   what to run, where, with what
  run                                the run folder as the host names it
  writable                           the host's folders that are mounted writable
  modules                            folder of the kernel's modules, or null

The kernel's root is hostfs, read-only. Over it comes an overlay whose upper is a tmpfs: whatever
the command writes is gone with the guest, but for the writable folders. /tmp, /var/tmp and /run
are tmpfs of their own, since an overlay cannot be another's upper; one that holds the working
directory stays on the overlay.

ttyS0 and ttyS1 carry the command's output and error output, ttyS2 its status as `status=N`.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import tty
from pathlib import Path
from typing import Any, BinaryIO

libc = ctypes.CDLL(None, use_errno=True)
SYS_PIVOT_ROOT, SYS_FINIT_MODULE = 155, 313  # User-Mode Linux is x86_64 only
MNT_DETACH = 2
SIOCSIFFLAGS, IFF_UP, IFF_RUNNING = 0x8914, 0x1, 0x40
LINUX_REBOOT_CMD_POWER_OFF = 0x4321FEDC
# What Debian's kernel has as modules; the built one has them built in.
MODULES = (
    *("overlay", "veth", "bridge", "br_netfilter", "tun", "dummy", "macvlan", "vxlan", "8021q"),
    *("sch_netem", "sch_tbf", "nf_conntrack", "loop", "fuse"),
)
SCRATCH = ("/tmp", "/var/tmp", "/run")


def check(result: int, what: str) -> None:
    """Raise what errno says when `result` is -1."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(source: str, target: str, fstype: str, data: str = "") -> None:
    """mount(2) on `target`, which is made if it is missing."""
    os.makedirs(target, exist_ok=True)
    words = [text.encode() for text in (source, target, fstype)]
    check(libc.mount(*words, ctypes.c_ulong(0), data.encode()), f"mount {fstype} on {target}")


def load_modules(folder: str) -> None:
    """Load MODULES and what they depend on; one that is loaded or missing will do."""
    lines = Path(folder, "modules.dep").read_text().splitlines()
    needs = {path: rest.split() for path, _, rest in (line.partition(":") for line in lines)}
    by_name = {os.path.basename(path).removesuffix(".ko"): path for path in needs}
    for path in (by_name[name] for name in MODULES if name in by_name):
        for file in (*reversed(needs[path]), path):
            fd = os.open(f"{folder}/{file}", os.O_RDONLY | os.O_CLOEXEC)
            libc.syscall(SYS_FINIT_MODULE, fd, b"", 0)
            os.close(fd)


def enter_root(job: dict[str, Any]) -> None:
    """Build the new root at /tmp/root and make it ours; the kernel's root is left behind."""
    mount("scratch", "/tmp", "tmpfs")
    for name in ("upper", "work", "root"):
        os.mkdir(f"/tmp/{name}")
    mount("root", "/tmp/root", "overlay", "lowerdir=/,upperdir=/tmp/upper,workdir=/tmp/work")
    os.chdir("/tmp/root")
    mount("proc", "proc", "proc")
    mount("sysfs", "sys", "sysfs")
    mount("cgroup2", "sys/fs/cgroup", "cgroup2", "nsdelegate")
    mount("devtmpfs", "dev", "devtmpfs")
    mount("devpts", "dev/pts", "devpts", "ptmxmode=666,gid=5,mode=620")
    mount("shm", "dev/shm", "tmpfs", "mode=1777")
    mount("mqueue", "dev/mqueue", "mqueue")
    for folder in SCRATCH:
        if not f"{job['directory']}/".startswith(f"{folder}/"):
            mount("scratch", folder[1:], "tmpfs", "mode=1777" if "tmp" in folder else "mode=755")
    if job["modules"]:
        mount("modules", f"lib/modules/{os.uname().release}", "hostfs", job["modules"])
    for folder in job["writable"]:
        mount("writable", folder[1:], "hostfs", folder)
    check(libc.syscall(SYS_PIVOT_ROOT, b".", b"."), "pivot_root")
    check(libc.umount2(b".", MNT_DETACH), "umount of the kernel's root")
    os.chdir("/")


def finish_devices() -> None:
    """What udev and ifupdown do elsewhere: /dev's links, a host name, the loopback interface."""
    for name, target in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
        os.symlink(f"/proc/self/fd{target}", f"/dev/{name}")
    socket.sethostname("guest")
    with socket.socket() as control:
        request = struct.pack("16sH14x", b"lo", IFF_UP | IFF_RUNNING)
        fcntl.ioctl(control, SIOCSIFFLAGS, request)


def run(job: dict[str, Any], output: BinaryIO, errors: BinaryIO) -> int:
    """Run the command, reaping whatever is orphaned meanwhile; its status as a shell's."""
    try:
        process = subprocess.Popen(
            job["command"],
            cwd=job["directory"],
            env=job["environment"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            bufsize=0,
        )
    except OSError as error:
        errors.write(f"guest: {error}\n".encode())
        return 127 if isinstance(error, FileNotFoundError) else 126
    # Pipes, not the serial lines themselves: a command must not find a terminal.
    pumps = [
        threading.Thread(target=shutil.copyfileobj, args=ends)
        for ends in ((process.stdout, output), (process.stderr, errors))
    ]
    for pump in pumps:
        pump.start()
    pid = status = 0
    while pid != process.pid:
        pid, status = os.wait()
    libc.kill(-1, signal.SIGKILL)  # else a daemon left over would hold the pipes open
    for pump in pumps:
        pump.join()
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def main() -> None:
    """All of the above, then power off."""
    with open(os.environ["orlopjob"], "rb") as file:  # noqa: SIM112 - the kernel's spelling
        job = json.load(file)
    if job["modules"]:
        load_modules(job["modules"])
    enter_root(job)
    finish_devices()
    lines = [open(f"/dev/ttyS{n}", "r+b", buffering=0) for n in range(3)]  # noqa: SIM115
    for line in lines:
        tty.setraw(line.fileno())
    status = run(job, lines[0], lines[1])
    lines[2].write(b"status=%d\n" % status)
    for line in lines:
        termios.tcdrain(line.fileno())
    libc.reboot(LINUX_REBOOT_CMD_POWER_OFF)


if __name__ == "__main__":
    if os.getpid() != 1:
        sys.exit("the guest's kernel runs this, see run.py")
    main()
