"""Network namespaces, for one thread at a time: network_namespaces(7), setns(2)."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from netplumb.errors import NetworkError, Refused

_CLONE_NEWNET = 0x40000000
_OWN = "/proc/thread-self/ns/net"
_local = threading.local()

_libc = ctypes.CDLL(None, use_errno=True)
_libc.setns.argtypes = (ctypes.c_int, ctypes.c_int)
_libc.unshare.argtypes = (ctypes.c_int,)


class Stranded(NetworkError):
    """The thread could not go back to its own namespace: it must do nothing more."""


@contextmanager
def home() -> Iterator[None]:
    """Remember this thread's namespace, so that `entered` can go back to it."""
    _local.home = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield
    finally:
        fd, _local.home = _local.home, -1
        os.close(fd)


@contextmanager
def entered(fd: int) -> Iterator[None]:
    """Be in the network namespace at `fd`; only in a thread that has a `home`.

    The way back is taken whatever happens in between. If it fails: `Stranded`.
    """
    if getattr(_local, "home", -1) < 0:
        raise RuntimeError("only a KernelThread may enter namespaces")
    if _setns(fd) != 0:
        raise Refused("enter the network namespace", ctypes.get_errno())
    try:
        yield
    finally:
        _go_home()


@contextmanager
def fresh() -> Iterator[None]:
    """Be in a new network namespace that nobody else has, which ends with the block."""
    if getattr(_local, "home", -1) < 0:
        raise RuntimeError("only a KernelThread may enter namespaces")
    if _libc.unshare(_CLONE_NEWNET) != 0:
        raise Refused("make a network namespace", ctypes.get_errno())
    try:
        yield
    finally:
        _go_home()


def make() -> int:
    """A new network namespace, as an fd: it lasts as long as that or a process in it."""
    with fresh():
        return os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)


def _go_home() -> None:
    if _setns(_local.home) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise Stranded(f"cannot leave the network namespace: {reason}")


def _setns(fd: int) -> int:
    result: int = _libc.setns(fd, _CLONE_NEWNET)
    return result
