"""A process's own attributes, and signals by pidfd: prctl(2), pidfd_open(2), keyctl(2)."""

from __future__ import annotations

# The C functions below `signal`, whose wrappers make enums of every value: resetting takes
# 25 microseconds instead of 150, in each start of a container.
import ctypes
import errno
import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import c_char_p, c_int, c_size_t, c_uint, c_ulong, c_void_p

from supervisor.errors import KernelError
from supervisor.kernel._call import (
    SYS,
    check,
    encode,
    failed,
    prototype,
    syscall,
    syscall_prototype,
)

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_KEEPCAPS = 8
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38

_KEYCTL_JOIN_SESSION_KEYRING = 1
_SIG_SETMASK = 2
_SIGSET_SIZE = 8
_CHANGEABLE_SIGNALS = [n for n in range(1, 65) if n not in (9, 19)]  # SIGKILL, SIGSTOP
_NO_ID = 0xFFFFFFFF
_LAST_FD = 0x7FFFFFFF

_setfsuid = prototype("setfsuid", c_uint)
_setfsgid = prototype("setfsgid", c_uint)
_prctl = prototype("prctl", c_int, c_ulong, c_ulong, c_ulong, c_ulong)
_prctl_text = prototype("prctl", c_int, c_char_p)
_pidfd_open = syscall_prototype(c_int, c_uint)
_pidfd_send_signal = syscall_prototype(c_int, c_int, c_void_p, c_uint)
_close_range = syscall_prototype(c_uint, c_uint, c_uint)
_rt_sigaction = syscall_prototype(c_int, c_char_p, c_void_p, c_size_t)
_rt_sigprocmask = syscall_prototype(c_int, c_char_p, c_void_p, c_size_t)


def pidfd_open(pid: int) -> int:
    """A pidfd (always close-on-exec); readable once the process is dead."""
    return check(_pidfd_open(SYS["pidfd_open"], pid, 0), "pidfd_open", str(pid))


def pidfd_send_signal(fd: int, sig: int) -> None:
    """Signal exactly that process; ESRCH when it is reaped, 0 only asks."""
    check(_pidfd_send_signal(SYS["pidfd_send_signal"], fd, sig, None, 0), "pidfd_send_signal")


def set_parent_death_signal(sig: int) -> None:
    """The signal this process gets when the *thread* that made it dies; 0 for none.

    Forgotten on execve of a set-id or file-capability program, and by a credential change
    that makes the process undumpable: set it after those. The parent may be dead already.
    """
    check(_prctl(_PR_SET_PDEATHSIG, sig, 0, 0, 0), "prctl", "PR_SET_PDEATHSIG")


def set_child_subreaper(enabled: bool) -> None:
    """Become the parent of orphaned descendants. Not inherited by children."""
    check(_prctl(_PR_SET_CHILD_SUBREAPER, int(enabled), 0, 0, 0), "prctl", "PR_SET_CHILD_SUBREAPER")


def set_no_new_privileges() -> None:
    """No execve gives privileges any more; there is no way back."""
    check(_prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl", "PR_SET_NO_NEW_PRIVS")


def set_dumpable(enabled: bool) -> None:
    """False: /proc/PID belongs to root and only CAP_SYS_PTRACE may trace; execve resets it."""
    check(_prctl(_PR_SET_DUMPABLE, int(enabled), 0, 0, 0), "prctl", "PR_SET_DUMPABLE")


def set_process_name(name: str) -> None:
    """The thread's name in /proc/PID/comm; the kernel keeps the first 15 bytes."""
    data = encode(name, "prctl")
    check(_prctl_text(_PR_SET_NAME, data), "prctl", "PR_SET_NAME")


def set_keep_capabilities(enabled: bool) -> None:
    """Keep the permitted set when all user ids leave 0; execve clears the setting."""
    check(_prctl(_PR_SET_KEEPCAPS, int(enabled), 0, 0, 0), "prctl", "PR_SET_KEEPCAPS")


def set_filesystem_ids(uid: int, gid: int) -> None:
    """The ids this thread has for files only (setfsuid(2)): new files belong to them.

    Leaving 0 drops the file-system capabilities (CAP_CHOWN, CAP_DAC_OVERRIDE, …) from the
    effective set, which may be raised again, and coming back restores them. A change of
    either id also forgets the parent-death signal and makes the process undumpable.
    """
    _setfsgid(gid)
    _setfsuid(uid)
    # Both return the id from before, whether they worked or not: ask by an impossible id.
    if (_setfsuid(_NO_ID), _setfsgid(_NO_ID)) != (uid, gid):
        raise KernelError("setfsuid", f"{uid}:{gid}", errno.EPERM)


def close_range(first: int, last: int) -> None:
    """Close every fd from `first` to `last`, both included (Linux 5.9)."""
    check(_close_range(SYS["close_range"], first, last, 0), "close_range")


def close_all_but(*keep: int) -> None:
    """Close every fd but 0 to 2 and those; a number below 0 stands for none."""
    first = 3
    for fd in sorted(keep):
        if fd > first:
            close_range(first, fd - 1)
        first = max(first, fd + 1)
    close_range(first, _LAST_FD)


def reset_signals() -> None:
    """Every signal's disposition to default and the mask to empty, for an execve.

    Also those that the interpreter ignores (SIGPIPE, SIGXFSZ), which execve would pass on,
    and the two that libc keeps to itself. The interpreter does not hear of it: a child by
    `vfork` has that in common with its parent.
    """
    default = bytes(32)  # struct kernel_sigaction: SIG_DFL, no flags, no restorer, no mask
    number = SYS["rt_sigaction"]
    for signal in _CHANGEABLE_SIGNALS:
        if _rt_sigaction(number, signal, default, None, _SIGSET_SIZE) < 0:
            check(-1, "rt_sigaction", str(signal))
    empty = bytes(_SIGSET_SIZE)
    result = _rt_sigprocmask(SYS["rt_sigprocmask"], _SIG_SETMASK, empty, None, _SIGSET_SIZE)
    check(result, "rt_sigprocmask")


def descriptors() -> set[int]:
    """This process's open ones."""
    return {int(name) for name in os.listdir("/proc/self/fd") if _is_open(int(name))}


def _is_open(fd: int) -> bool:
    """Not so the one that the list was read by."""
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def has_children() -> bool:
    """Whether there is a process to reap, now or later."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def start_time(pid: int) -> int:
    """When the process started, in clock ticks since boot (proc_pid_stat(5), field 22).

    With the boot id and the pid it names a process for good; pids alone are used again.
    """
    return _stat_field(pid, 22)


def exit_status(pid: int) -> int:
    """How a zombie ended, in the form of waitpid(2) (proc_pid_stat(5), field 52).

    0 to whom may not trace it.
    """
    return _stat_field(pid, 52)


def _stat_field(pid: int | str, number: int) -> int:
    path = f"/proc/{pid}/stat"
    try:
        with open(path, "rb") as file:
            # The name in field 2 may hold spaces and parentheses: count from its end.
            return int(file.read().rpartition(b")")[2].split()[number - 3])
    except OSError as error:
        raise failed(error, "read", path) from None
    except IndexError:  # died between open and read
        raise KernelError("read", path, errno.ESRCH) from None


def boot_id() -> str:
    """What this boot of the kernel is called: another one after each restart (random(4))."""
    path = "/proc/sys/kernel/random/boot_id"
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip()
    except OSError as error:
        raise failed(error, "read", path) from None


def set_oom_score_adj(value: int, proc: int | None = None) -> None:
    """This process's OOM preference, -1000–1000; going down needs CAP_SYS_RESOURCE.

    `proc` is a folder's fd, of a proc(5) to use in the place of /proc.
    """
    path = "/proc/self/oom_score_adj"
    try:
        name = path if proc is None else "self/oom_score_adj"
        fd = os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=proc)
        try:
            os.write(fd, b"%d" % value)
        finally:
            os.close(fd)
    except OSError as error:
        raise failed(error, "write", path) from None


def join_new_session_keyring() -> None:
    """Leave the inherited session keyring for a new anonymous one (session-keyring(7))."""
    check(syscall("keyctl", _KEYCTL_JOIN_SESSION_KEYRING, None), "keyctl", "JOIN_SESSION_KEYRING")


def set_command_line(text: str) -> None:
    """Replace what `ps` and /proc/PID/cmdline show, in the memory where the kernel looks.

    Fields 48 and 49 of proc_pid_stat(5) say where that is; a longer text is cut. Children
    made by fork show it too. Without it a container's PID 1 that is Orlop's own would show
    paths of the host.
    """
    start, end = command_line_place()
    if 0 < start < end:
        # As long as the place, so that nothing of the old text is left.
        ctypes.memmove(
            start, text.encode()[: end - start - 1].ljust(end - start, b"\0"), end - start
        )


@contextmanager
def command_line_as(text: str) -> Iterator[None]:
    """Show this command line for the time of the block, and in children begun in it for theirs."""
    start, end = command_line_place()
    kept = ctypes.string_at(start, end - start)
    set_command_line(text)
    try:
        yield
    finally:
        ctypes.memmove(start, kept, end - start)


@functools.cache
def command_line_place() -> tuple[int, int]:
    """Where the command line begins and ends in memory; forks have it in the same place."""
    return _stat_field("self", 48), _stat_field("self", 49)
