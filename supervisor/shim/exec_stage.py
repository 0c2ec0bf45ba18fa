"""An exec session: a second process inside a running container.

    shim                       stage                      process
     │ vfork ────────────────► │ setns(all)
     ┊                         │ fork (CLONE_PARENT) ───► │ (the shim's child, in the cgroup)
     │ ◄──────────────── {"pty": true} + fd ───────────── │ (terminal only)
     │ ◄──────────────────── {"ready": true} ──────────── │ steps of `become`
     │ ◄────── {"pid": n} ──── │ exits                    │ execve
     │ ◄────────────────────── end of file ────────────── │

The stage exists because a pid namespace is only entered by children, and because the shim
itself must stay outside. CLONE_PARENT makes the process the shim's own child to reap. The process
has memory of its own: the container, or its end, may kill it at any moment, and would leave the
shim's as it was in that moment (see `vfork`). Where somebody in the container may trace the
process it is `exec_unseen`'s.
"""

import os
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass

from supervisor import failpoints
from supervisor.errors import InitError, KernelError
from supervisor.kernel import namespaces, paths, process, tty, vfork
from supervisor.shim import become
from supervisor.shim.failure import describe, run_steps
from supervisor.shim.handshake import send, send_error
from supervisor.shim.init_devices import is_null
from supervisor.spec.types import Process


@dataclass(slots=True)
class ExecStage:
    """What the stage works on; fds are its own copies of the shim's."""

    process: Process
    sync: socket.socket
    pidfd: int
    namespace_flags: int
    cgroup_fd: int
    cgroup_tasks: tuple[int, ...]
    stdio: tuple[int, int, int]
    cgroup_namespace: int = -1  # -1: that of `pidfd`


def main(stage: ExecStage) -> None:
    """Run in a child of the shim; never returns."""
    attempt(enter, stage)


def attempt(part: Callable[[ExecStage], None], stage: ExecStage) -> None:
    """One process's part, which ends it, or what went wrong in it."""
    try:
        part(stage)
    except InitError as error:
        send_error(stage.sync, error)
    except BaseException as error:  # the last frame: nothing may escape into the shim's code
        text = describe("exec", error) if isinstance(error, OSError) else None
        send_error(
            stage.sync,
            text or InitError(step="exec", path="", errno=0, message=f"exec: {error!r}"),
        )
    os._exit(127)


def enter(stage: ExecStage) -> None:
    """The stage: go into the container's namespaces, have the process, tell its pid."""
    become.set_oom_score(stage.process)
    if stage.namespace_flags & namespaces.CLONE_NEWUSER:
        become.raise_limits(stage.process)
    process.set_dumpable(False)
    process.reset_signals()
    # While nothing of the container's can lead to one of them, as /proc/self/fd/N.
    process.close_all_but(
        *(stage.sync.fileno(), stage.pidfd, stage.cgroup_fd),
        *(*stage.cgroup_tasks, *stage.stdio),
    )
    # The cgroup namespace last: from inside one, a hierarchy mounted with nsdelegate (as
    # systemd does) lets nobody move in whose own cgroup is outside (ENOENT). From a user namespace
    # it cannot be had of a PID 1 that executes nothing, as that of --init: the host has its memory.
    if stage.namespace_flags & namespaces.CLONE_NEWUSER:
        stage.cgroup_namespace = namespaces.cgroup_namespace(stage.pidfd)
    namespaces.setns(stage.pidfd, stage.namespace_flags & ~namespaces.CLONE_NEWCGROUP)
    pid, _ = vfork.spawn(
        lambda: attempt(run, stage),
        namespaces.CLONE_PARENT,
        share=False,
        exit_signal=0,
        cgroup_fd=stage.cgroup_fd,
    )
    send(stage.sync, {"pid": pid})
    os._exit(0)


def run(stage: ExecStage) -> None:
    """The new process: cgroups, terminal, then the steps shared with init, then execve."""
    process.set_parent_death_signal(signal.SIGKILL)
    for fd in stage.cgroup_tasks:
        os.write(fd, b"0")
    if stage.namespace_flags & namespaces.CLONE_NEWCGROUP:
        found = stage.cgroup_namespace
        namespaces.setns(found if found >= 0 else stage.pidfd, namespaces.CLONE_NEWCGROUP)
    if stage.namespace_flags & namespaces.CLONE_NEWUSER:
        become.take_mapped_root()  # a terminal is its own
    process.close_all_but(stage.sync.fileno(), *stage.stdio)  # nothing of the host's is left
    becoming = begin(stage)
    run_steps(become.STEPS, becoming)
    process.set_parent_death_signal(signal.SIGKILL)  # changing ids cleared it
    send(stage.sync, {"ready": True})
    failpoints.hit("exec.execve")
    become.confine(becoming)
    become.execute(becoming)


def begin(stage: ExecStage) -> become.Becoming:
    """The process on its way, in the container's root, with its three streams."""
    root = os.open("/", paths.DIRECTORY)
    stdio = stage.stdio
    if stage.process.terminal:
        stdio = open_terminal(stage, root)
    elif stdio[0] < 0:
        stdio = (open_empty(root), *stdio[1:])
    return become.Becoming(process=stage.process, root_fd=root, stdio=stdio, make_cwd=False)


def open_empty(root: int) -> int:
    """What reads as empty: the container's /dev/null, or a pipe that has ended.

    The container may have put anything under that name: no link of proc's is followed to one of
    our own fds, no FIFO waited for, no other device read.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
    try:
        fd = paths.open_in_root(root, "/dev/null", flags)
    except KernelError:
        pass
    else:
        if is_null(os.fstat(fd)):
            os.set_blocking(fd, True)
            return fd
        os.close(fd)
    end, start = os.pipe2(os.O_CLOEXEC)
    os.close(start)
    return end


def open_terminal(stage: ExecStage, root: int) -> tuple[int, int, int]:
    """A pty of the container's devpts; its master goes to the shim."""
    try:
        pts = paths.open_in_root(root, "/dev/pts", paths.DIRECTORY)
    except KernelError as error:
        raise describe("console", error) from None
    master = tty.open_pty_in(pts)
    slave = tty.pty_peer(master)
    if stage.process.console_rows and stage.process.console_columns:
        tty.set_window_size(master, stage.process.console_rows, stage.process.console_columns)
    send(stage.sync, {"pty": True}, (master,))
    os.close(master)
    return (slave, slave, slave)
