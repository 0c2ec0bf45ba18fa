"""Running a test's body in a child of its own, where it may spoil namespaces, root and ids."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import select
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from supervisor.errors import KernelError
from supervisor.kernel import mounts, namespaces, process
from supervisor.kernel.mounts import AT_FDCWD
from tests.support.pace import limit

# A range that is not in use on hosts: what a container's root is outside.
OUTER = 100_000
SIZE = 65_536
FDS = 256
# No body takes a tenth of it; the runner's own limit for a hanging test is longer.
STUCK_SECONDS = 6.0


def in_child(body: Callable[[], Any], *, flags: int = namespaces.CLONE_NEWNS) -> Any:
    """What `body` returns (as JSON would) from a forked child that unshared `flags`.

    Its mounts are private. The test fails with the child's traceback if it raises, and if
    it leaves a descriptor or a child behind.
    """
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read_end)
        _run(body, flags, write_end)
    with suppress(PermissionError, ProcessLookupError):  # whoever of us is first
        os.setpgid(pid, pid)
    os.close(write_end)
    with open(read_end, "rb") as pipe:
        report = _read_in_time(pipe.fileno())
    if report is None:  # its own children die with the group
        os.killpg(pid, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if report is None:
        pytest.fail(f"the child was stuck and was killed after {limit(STUCK_SECONDS):g} seconds")
    if not report:
        pytest.fail(f"the child ended with {status} and said nothing")
    result = json.loads(report)
    if "error" in result:
        pytest.fail(result["error"], pytrace=False)
    return result["value"]


def _read_in_time(fd: int) -> bytes | None:
    """All that the child writes; None when it does not end in time."""
    deadline = time.monotonic() + limit(STUCK_SECONDS)
    data = b""
    while select.select([fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
        piece = os.read(fd, 1 << 16)
        if not piece:
            return data
        data += piece
    return None


def _run(body: Callable[[], Any], flags: int, write_end: int) -> None:
    result: dict[str, Any]
    try:
        process.set_parent_death_signal(signal.SIGKILL)
        os.setpgid(0, 0)
        namespaces.unshare(flags)
        if flags & namespaces.CLONE_NEWNS:
            mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
        before = open_fds()
        value = body()
        assert open_fds() == before, "descriptors left open or closed"
        assert not process.has_children(), "a child was left"
        result = {"value": value}
    except BaseException:
        result = {"error": traceback.format_exc()}
    try:
        os.write(write_end, json.dumps(result).encode())
    finally:
        os._exit(0)


def open_fds() -> list[int]:
    """This process's open descriptors; needs no /proc."""
    return [fd for fd in range(FDS) if _flags(fd) is not None]


def is_cloexec(fd: int) -> bool:
    """The descriptor is closed by execve."""
    return bool((_flags(fd) or 0) & fcntl.FD_CLOEXEC)


def _flags(fd: int) -> int | None:
    try:
        return fcntl.fcntl(fd, fcntl.F_GETFD)
    except OSError:
        return None


def error_of(call: Callable[..., object], *args: Any, **options: Any) -> str:
    """The name of the errno that the call fails with; the call must fail."""
    try:
        call(*args, **options)
    except KernelError as error:
        return errno.errorcode[error.errno or 0]
    raise AssertionError(f"{call.__name__} did not fail")


def exit_code(pid: int) -> int:
    """Reap the child; its exit status, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@contextmanager
def sleeping_child(flags: int = 0) -> Iterator[tuple[int, int]]:
    """(pid, pidfd) of a clone that does nothing until the block ends."""
    pid, pidfd = namespaces.clone3(flags)
    if pid == 0:
        while True:
            signal.pause()
    try:
        yield pid, pidfd
    finally:
        process.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(pidfd)


def map_ids(pid: int, mappings: Sequence[tuple[int, int, int]]) -> None:
    """Write both id maps of the user namespace of `pid`."""
    text = "".join(f"{inner} {outer} {size}\n" for inner, outer, size in mappings)
    Path(f"/proc/{pid}/uid_map").write_text(text)
    Path(f"/proc/{pid}/gid_map").write_text(text)


def user_namespace(mappings: Sequence[tuple[int, int, int]] = ((0, OUTER, SIZE),)) -> int:
    """The fd of a user namespace that no process is in; it lives as long as what uses it."""
    with sleeping_child(namespaces.CLONE_NEWUSER) as (pid, _):
        map_ids(pid, mappings)
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)


def tmpfs(attrs: int = 0) -> int:
    """A detached tmpfs."""
    context = mounts.fsopen("tmpfs")
    try:
        mounts.fsconfig_create(context)
        return mounts.fsmount(context, attrs)
    finally:
        os.close(context)


def overlay(lowers: Sequence[int], upper: int, work: int) -> int:
    """A detached overlay of folders given as fds, the top-most lower first."""
    context = mounts.fsopen("overlay")
    try:
        for lower in lowers:
            mounts.fsconfig_fd(context, "lowerdir+", lower)
        mounts.fsconfig_fd(context, "upperdir", upper)
        mounts.fsconfig_fd(context, "workdir", work)
        mounts.fsconfig_create(context)
        return mounts.fsmount(context)
    finally:
        os.close(context)


def overlay_of(folder: Path) -> int:
    """A detached overlay of `folder`/lower, upper and work."""
    fds = [os.open(folder / name, os.O_PATH) for name in ("lower", "upper", "work")]
    try:
        return overlay(fds[:1], fds[1], fds[2])
    finally:
        for fd in fds:
            os.close(fd)


def become_root_of(mount_fd: int, onto: str = "/") -> None:
    """Make a detached mount the root, and the old root and every mount on it unreachable."""
    mounts.move_mount(mount_fd, AT_FDCWD, onto)
    os.fchdir(mount_fd)
    mounts.pivot_root(".", ".")
    mounts.umount(".", mounts.MNT_DETACH)
    os.chdir("/")
