"""Namespaces and clone3(2): namespaces(7), user_namespaces(7), include/uapi/linux/sched.h."""

from __future__ import annotations

import ctypes
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import c_char_p, c_int, c_size_t, c_uint64, c_ulong, c_void_p
from signal import SIGCHLD

from supervisor.errors import KernelError
from supervisor.kernel._call import SYS, check, encode, failed, prototype, syscall_prototype
from supervisor.kernel.paths import DIRECTORY

CLONE_VM = 0x100
CLONE_FS = 0x200
CLONE_FILES = 0x400
CLONE_PIDFD = 0x1000
CLONE_VFORK = 0x4000
CLONE_PARENT = 0x8000
CLONE_NEWNS = 0x20000
CLONE_NEWCGROUP = 0x2000000
CLONE_NEWUTS = 0x4000000
CLONE_NEWIPC = 0x8000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
CLONE_CLEAR_SIGHAND = 0x100000000  # clone3 only
CLONE_INTO_CGROUP = 0x200000000  # clone3 only
_PIDFD_GET_CGROUP_NAMESPACE = 0xFF01
_PIDFD_GET_MNT_NAMESPACE = 0xFF03

NAMESPACE_FLAGS: dict[str, int] = {
    "pid": CLONE_NEWPID,
    "mount": CLONE_NEWNS,
    "network": CLONE_NEWNET,
    "uts": CLONE_NEWUTS,
    "ipc": CLONE_NEWIPC,
    "cgroup": CLONE_NEWCGROUP,
    "user": CLONE_NEWUSER,
}
PROC_NAMES: dict[str, str] = {
    "pid": "pid",
    "mount": "mnt",
    "network": "net",
    "uts": "uts",
    "ipc": "ipc",
    "cgroup": "cgroup",
    "user": "user",
}


class CloneArgs(ctypes.Structure):
    """struct clone_args, in its third size (Linux 5.7: with `cgroup`)."""

    _fields_ = (
        ("flags", c_uint64),
        ("pidfd", c_uint64),
        ("child_tid", c_uint64),
        ("parent_tid", c_uint64),
        ("exit_signal", c_uint64),
        ("stack", c_uint64),
        ("stack_size", c_uint64),
        ("tls", c_uint64),
        ("set_tid", c_uint64),
        ("set_tid_size", c_uint64),
        ("cgroup", c_uint64),
    )


_clone3 = syscall_prototype(c_void_p, c_size_t)
_clone = syscall_prototype(c_ulong, c_void_p, c_void_p, c_void_p, c_void_p)
_unshare = prototype("unshare", c_int)
_setns = prototype("setns", c_int, c_int)
_sethostname = prototype("sethostname", c_char_p, c_size_t)
_setdomainname = prototype("setdomainname", c_char_p, c_size_t)

# What os.fork does around fork(2): import lock, at-fork hooks, the GIL made anew in the child.
_before_fork = ctypes.pythonapi.PyOS_BeforeFork
_after_fork_parent = ctypes.pythonapi.PyOS_AfterFork_Parent
_after_fork_child = ctypes.pythonapi.PyOS_AfterFork_Child
for _hook in (_before_fork, _after_fork_parent, _after_fork_child):
    _hook.argtypes = ()
    _hook.restype = None


def clone3(flags: int, *, exit_signal: int = SIGCHLD, cgroup_fd: int = -1) -> tuple[int, int]:
    """Fork with CLONE_* flags; (pid, pidfd) in the parent, (0, -1) in the child.

    `cgroup_fd`, a v2 cgroup's folder, adds CLONE_INTO_CGROUP. The pidfd is close-on-exec.
    With CLONE_PARENT (the caller's parent reaps the child) `exit_signal` must be 0; a pid
    namespace's PID 1 may not use it (EINVAL).

    Only for a process with one thread: no other thread exists in the child, whatever
    locks it held. glibc's own at-fork handlers do not run. For a child that shares
    memory (CLONE_VM) see `vfork`.
    """
    pidfd = c_int(-1)
    args = CloneArgs(
        flags=flags | CLONE_PIDFD, pidfd=ctypes.addressof(pidfd), exit_signal=exit_signal
    )
    if cgroup_fd >= 0:
        args.flags |= CLONE_INTO_CGROUP
        args.cgroup = cgroup_fd
    _before_fork()
    pid = _clone3(SYS["clone3"], ctypes.addressof(args), ctypes.sizeof(args))
    if pid == 0:
        _after_fork_child()
        return 0, -1
    number = ctypes.get_errno()  # before any at-fork hook makes calls of its own
    _after_fork_parent()
    if pid < 0:
        raise KernelError("clone3", "", number)
    return pid, pidfd.value


def clone(flags: int) -> int:
    """Fork with CLONE_* flags by the older call: the child's pid, 0 in the child.

    For a process whose filter of system calls has no clone3, whose flags no filter can see.
    As for `clone3` there must be one thread; the child's end is told by no signal but what
    CLONE_PARENT brings.
    """
    _before_fork()
    pid = int(_clone(SYS["clone"], flags, None, None, None, None))
    if pid == 0:
        _after_fork_child()
        return 0
    number = ctypes.get_errno()
    _after_fork_parent()
    if pid < 0:
        raise KernelError("clone", "", number)
    return pid


def unshare(flags: int) -> None:
    """unshare(2): leave namespaces for new ones (CLONE_NEWPID: for the children only)."""
    check(_unshare(flags), "unshare")


def setns(fd: int, flags: int) -> None:
    """setns(2): join the namespace at `fd`, or all `flags` say of a pidfd's process."""
    check(_setns(fd, flags), "setns")


def cgroup_namespace(pidfd: int) -> int:
    """An fd of the cgroup namespace that the process `pidfd` is in (Linux 6.11, linux/pidfd.h)."""
    return _namespace(pidfd, _PIDFD_GET_CGROUP_NAMESPACE, "PIDFD_GET_CGROUP_NAMESPACE")


def mount_namespace_of(pidfd: int) -> int:
    """An fd of the mount namespace that the process `pidfd` is in (as above)."""
    return _namespace(pidfd, _PIDFD_GET_MNT_NAMESPACE, "PIDFD_GET_MNT_NAMESPACE")


def _namespace(pidfd: int, request: int, name: str) -> int:
    try:
        return fcntl.ioctl(pidfd, request)
    except OSError as error:
        raise failed(error, "ioctl", name) from None


@contextmanager
def mount_namespace(fd: int) -> Iterator[None]:
    """Be in that mount namespace for the time of the block, and stand in its root.

    Children cloned in it with CLONE_NEWNS have a copy of it. Root and working folder are
    afterwards what they were. Only for a process of one thread.
    """
    own = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    root, folder = os.open("/", DIRECTORY), os.open(".", DIRECTORY)
    try:
        setns(fd, CLONE_NEWNS)
        try:
            yield
        finally:
            setns(own, CLONE_NEWNS)
            os.fchdir(root)
            os.chroot(".")
            os.fchdir(folder)
    finally:
        for opened in (own, root, folder):
            os.close(opened)


def namespace_inode(pid: int, oci_type: str) -> int:
    """The number that tells namespaces apart, as in "net:[4026531840]"."""
    path = f"/proc/{pid}/ns/{PROC_NAMES[oci_type]}"
    try:
        return os.stat(path).st_ino
    except OSError as error:
        raise failed(error, "stat", path) from None


def sethostname(name: str) -> None:
    """Set the UTS namespace's host name (at most 64 bytes)."""
    data = encode(name, "sethostname")
    check(_sethostname(data, len(data)), "sethostname", name)


def setdomainname(name: str) -> None:
    """Set the UTS namespace's NIS domain name (at most 64 bytes)."""
    data = encode(name, "setdomainname")
    check(_setdomainname(data, len(data)), "setdomainname", name)
