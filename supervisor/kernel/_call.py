"""The way into the kernel: libc by ctypes, one error check, system call numbers.

`PyDLL` keeps the GIL while the call runs: these calls are short, and clone3 must not let
another thread run between the fork and the interpreter's own after-fork steps.
Every path is `os.fsencode`d, so a str with surrogate escapes names any file.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from ctypes import c_int, c_long
from typing import Any

from supervisor.errors import KernelError

libc = ctypes.PyDLL(None, use_errno=True)

# asm/unistd.h: numbers from 424 on are the same on every architecture.
_COMMON = {
    "pidfd_send_signal": 424,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "pidfd_open": 434,
    "clone3": 435,
    "close_range": 436,
    "openat2": 437,
    "mount_setattr": 442,
}
_X86_64 = {
    "rt_sigaction": 13,
    "rt_sigprocmask": 14,
    "clone": 56,
    "capget": 125,
    "capset": 126,
    "pivot_root": 155,
    "keyctl": 250,
    "seccomp": 317,
    "bpf": 321,
}
_AARCH64 = {
    "pivot_root": 41,
    "capget": 90,
    "capset": 91,
    "rt_sigaction": 134,
    "rt_sigprocmask": 135,
    "clone": 220,
    "keyctl": 219,
    "seccomp": 277,
    "bpf": 280,
}
_OF_MACHINE = {"x86_64": _X86_64, "aarch64": _AARCH64}

_ENCODING, _ERRORS = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()

SYS: dict[str, int] = _COMMON | _OF_MACHINE.get(os.uname().machine, {})


def prototype(symbol: str, *argtypes: Any, restype: Any = c_int) -> Any:
    """libc's function `symbol` with its argument types declared (cheaper, and checked)."""
    function = libc[symbol]
    function.argtypes = argtypes
    function.restype = restype
    return function


def syscall_prototype(*argtypes: Any) -> Any:
    """libc's `syscall` for one system call; the first argument stays its number."""
    return prototype("syscall", c_long, *argtypes, restype=c_long)


def syscall(number_name: str, *args: Any) -> int:
    """Call a system call without a libc wrapper, by its name in `SYS`.

    Returns the raw result: -1 on failure, with errno set for `check`. Integers are passed
    as longs. Raises KernelError (ENOSYS) for a call unknown on this machine's architecture.
    """
    number = SYS.get(number_name)
    if number is None:
        raise KernelError(number_name, "", errno.ENOSYS)
    words = (c_long(arg) if isinstance(arg, int) else arg for arg in args)
    return int(_syscall(c_long(number), *words))


_syscall = libc["syscall"]
_syscall.restype = c_long


def check(result: int, syscall: str, path: str = "") -> int:
    """Return `result`; raise KernelError with the call's errno when it is negative."""
    if result < 0:
        raise KernelError(syscall, path, ctypes.get_errno())
    return result


def failed(error: OSError, syscall: str, path: str = "") -> KernelError:
    """The KernelError for an OSError that the standard library raised."""
    return KernelError(syscall, path, error.errno or 0)


def encode(text: str, syscall: str) -> bytes:
    """`text` for a char* argument; KernelError (EINVAL) if C would read only a part of it."""
    data = text.encode(_ENCODING, _ERRORS)  # os.fsencode, without its questions
    if b"\0" in data:
        raise KernelError(syscall, text, errno.EINVAL)
    return data
