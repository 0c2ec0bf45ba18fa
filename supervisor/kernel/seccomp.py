"""Filters of system calls: seccomp(2), classic BPF programs made by `supervisor.spec.seccomp`."""

from __future__ import annotations

import ctypes
import errno
from ctypes import c_char_p, c_uint, c_void_p

from supervisor.errors import KernelError
from supervisor.kernel._call import SYS, check, syscall_prototype

_SET_MODE_FILTER = 1
_GET_ACTION_AVAIL = 2
_RET_ERRNO = 0x00050000
_INSTRUCTION_SIZE = 8
_MAX_INSTRUCTIONS = 4096  # BPF_MAXINSNS

_seccomp = syscall_prototype(c_uint, c_uint, c_void_p)


class _Program(ctypes.Structure):
    """struct sock_fprog (linux/filter.h)."""

    _fields_ = (("count", ctypes.c_ushort), ("instructions", c_char_p))


def is_available() -> bool:
    """Whether this kernel filters by programs (CONFIG_SECCOMP_FILTER; asked since Linux 4.14)."""
    number = SYS.get("seccomp")
    if number is None:
        return False
    action = ctypes.c_uint32(_RET_ERRNO)
    return bool(_seccomp(number, _GET_ACTION_AVAIL, 0, ctypes.addressof(action)) == 0)


def install(program: bytes, flags: int = 0) -> None:
    """Have the kernel ask `program` (struct sock_filter, 8 bytes each) at each system call.

    For this thread, its children and what they execute, for good. Needs no_new_privs or
    CAP_SYS_ADMIN (EACCES). EINVAL for a program that the kernel does not accept.
    """
    count = len(program) // _INSTRUCTION_SIZE
    if len(program) % _INSTRUCTION_SIZE or not 0 < count <= _MAX_INSTRUCTIONS:
        raise KernelError("seccomp", f"a filter of {len(program)} bytes", errno.EINVAL)
    argument = _Program(count, program)  # refers to `program`, whose NULs do not end it
    number = SYS.get("seccomp")
    if number is None:
        raise KernelError("seccomp", "SECCOMP_SET_MODE_FILTER", errno.ENOSYS)
    result = _seccomp(number, _SET_MODE_FILTER, flags, ctypes.addressof(argument))
    check(result, "seccomp", "SECCOMP_SET_MODE_FILTER")
