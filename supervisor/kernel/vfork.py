"""A child that runs Python in its parent's memory until it executes a program: vfork(2).

A fork of an interpreter copies page tables, and then each page that a reference count lies on;
execve throws all of that away. Here nothing is copied: the parent stands still (CLONE_VFORK)
while the child runs a function of it on a stack of its own, and goes on when that has called
execve or _exit. What the child has changed in memory stays changed, what it has changed in the
kernel (descriptors, namespaces, ids, working folder) is its own.

    parent                       child
     │ clone3 ────────────────►  │ "returns" from libc's syscall() into a ctypes callback,
     ┊ (stands still)            │ whose address is on top of the new stack
     ┊                           │ run() … execve, or _exit
     │ ◄───────────────────────  │
     │ puts back what the interpreter knew of its own stack

A child that is killed before it executes leaves the parent's memory as it was in the middle of
whatever it did, the interpreter's own included: only who would end the parent as well may be
able to kill it.

Only where `possible()`: this needs to know how libc's syscall() returns, and how large CPython's
PyThreadState is.
"""

import ctypes
import functools
import os
import sys
from _thread import get_ident
from collections.abc import Callable
from ctypes import c_char, c_int, c_size_t, c_ulong, c_void_p
from signal import SIGCHLD

from supervisor.errors import KernelError
from supervisor.kernel._call import SYS, libc, prototype, syscall_prototype
from supervisor.kernel.namespaces import (
    CLONE_CLEAR_SIGHAND,
    CLONE_INTO_CGROUP,
    CLONE_PIDFD,
    CLONE_VFORK,
    CLONE_VM,
    CloneArgs,
    clone3,
)

STACK_SIZE = 1 << 20  # only what is used of it is ever memory
GUARD_SIZE = 1 << 12
_MACHINE = os.uname().machine
_PROT_NONE, _PROT_READ_WRITE = 0, 3
_MAP_PRIVATE_ANONYMOUS_STACK = 0x02 | 0x20 | 0x4000 | 0x20000  # and MAP_NORESERVE
_MAP_FAILED = c_void_p(-1).value

# PyThreadState by version: its size, and where in it thread_id and exc_info are
# (Include/cpython/pystate.h).
_THREAD_STATE = {(3, 11): (360, 152, 120), (3, 12): (288, 136, 104), (3, 13): (304, 152, 120)}
_EXC_INFO_SIZE = 16  # _PyErr_StackItem
# glibc's syscall() from its system call on: syscall; cmp $-4095,%rax; jae +1; ret.
_PLAIN_RETURN = bytes.fromhex("0f05 483d01f0ffff 7301 c3")
_SYSCALL_LENGTH = 64

_clone3 = syscall_prototype(c_void_p, c_size_t)
_mmap = prototype("mmap", c_void_p, c_size_t, c_int, c_int, c_int, c_size_t, restype=c_void_p)
_mprotect = prototype("mprotect", c_void_p, c_size_t, c_int)
_thread_state = ctypes.pythonapi.PyThreadState_Get
_thread_state.argtypes = ()
_thread_state.restype = c_void_p
_Entry = ctypes.CFUNCTYPE(None)

_stacks: list[int] = []  # free ones; each lives as long as the process


@functools.cache
def possible() -> bool:
    """Whether this interpreter on this libc can do it."""
    if _MACHINE != "x86_64" or sys.implementation.name != "cpython":
        return False
    layout = _THREAD_STATE.get(sys.version_info[:2])
    if layout is None:
        return False
    _, thread_id, _ = layout
    found = c_ulong.from_address(_thread_state() + thread_id).value
    code = ctypes.string_at(ctypes.cast(libc["syscall"], c_void_p).value or 0, _SYSCALL_LENGTH)
    return found == get_ident() and _PLAIN_RETURN in code


def vfork(
    run: Callable[[], None], flags: int = 0, *, exit_signal: int = SIGCHLD, cgroup_fd: int = -1
) -> tuple[int, int]:
    """`run()` in a child, until it executes a program or exits; the child's pid and pidfd.

    `run` must not return (a return is `_exit(127)`), and must leave what it finds in memory as
    it would want to find it: sockets are closed by their numbers, for an object that says
    "closed" says it to the parent, too. Signal handlers of the parent are not the child's.
    `flags` are CLONE_* ones; `cgroup_fd`, a v2 cgroup's folder, adds CLONE_INTO_CGROUP. In a
    user namespace of its own the child could be traced from inside, and the parent's memory
    with it: that is the caller's to avoid.

    Only for a process with one thread, where `possible()`. May be used again by the child.
    """
    entry = _Entry(functools.partial(_run, run))
    stack = _stacks.pop() if _stacks else _new_stack()
    # The callback begins as any function does: a return address on a stack of 16 × n - 8.
    top = stack + STACK_SIZE - 64
    c_void_p.from_address(top).value = ctypes.cast(entry, c_void_p).value
    pidfd = c_int(-1)
    args = CloneArgs(
        flags=flags | CLONE_VM | CLONE_VFORK | CLONE_PIDFD | CLONE_CLEAR_SIGHAND,
        pidfd=ctypes.addressof(pidfd),
        exit_signal=exit_signal,
        stack=stack,
        stack_size=top - stack,
    )
    if cgroup_fd >= 0:
        args.flags |= CLONE_INTO_CGROUP
        args.cgroup = cgroup_fd
    try:
        pid = _clone_and_put_back(ctypes.addressof(args), ctypes.sizeof(args))
        number = ctypes.get_errno()
    finally:
        _stacks.append(stack)
    if pid < 0:
        raise KernelError("clone3", "vfork", number)
    return pid, pidfd.value


def spawn(
    run: Callable[[], None],
    flags: int = 0,
    *,
    share: bool,
    exit_signal: int = SIGCHLD,
    cgroup_fd: int = -1,
) -> tuple[int, int]:
    """As `vfork` where that is possible and `share` allows it; in a fork where not.

    Without `share` the caller goes on beside the child.
    """
    if share and possible():
        return vfork(run, flags, exit_signal=exit_signal, cgroup_fd=cgroup_fd)
    pid, pidfd = clone3(flags, exit_signal=exit_signal, cgroup_fd=cgroup_fd)
    if pid == 0:
        _run(run)
    return pid, pidfd


def _clone_and_put_back(arguments: int, size: int) -> int:
    """clone3, after which the interpreter stands where it stood: in this very frame.

    The child's frames lie above ours when it is gone. They stay in memory, as do the references
    that they hold: some kilobytes.
    """
    length, _, exc_info = _THREAD_STATE[sys.version_info[:2]]
    state = _thread_state()
    # The exception being handled, which a generator has a place of its own for.
    handled = c_void_p.from_address(state + exc_info).value or 0
    kept = (c_char * (length + _EXC_INFO_SIZE))()
    copy = ctypes.addressof(kept)
    copy_handled = copy + length
    number = SYS["clone3"]
    ctypes.memmove(copy_handled, handled, _EXC_INFO_SIZE)
    # Three calls of C functions from one frame, nothing between: the state is the same in each.
    ctypes.memmove(copy, state, length)
    pid = _clone3(number, arguments, size)
    ctypes.memmove(state, copy, length)
    ctypes.memmove(handled, copy_handled, _EXC_INFO_SIZE)
    return int(pid)


def _run(run: Callable[[], None]) -> None:
    """The first frame of the child."""
    try:
        run()
    finally:
        os._exit(127)  # there is nothing to return to


def _new_stack() -> int:
    """The address of a new stack, its lowest page a guard."""
    stack = _mmap(None, STACK_SIZE, _PROT_READ_WRITE, _MAP_PRIVATE_ANONYMOUS_STACK, -1, 0)
    if stack in (None, _MAP_FAILED):
        raise KernelError("mmap", "a stack", ctypes.get_errno())
    if _mprotect(stack, GUARD_SIZE, _PROT_NONE) < 0:
        raise KernelError("mprotect", "a stack", ctypes.get_errno())
    return int(stack)
