"""An exec session where somebody in the container may trace: who has CAP_SYS_PTRACE there, or
another container that has its processes in common.

    shim                       stage                        process
     │ fork, into the cgroup ► │ setns(all), steps of
     ┊                         │ `become`, system call filter
     │ ◄──────────────── {"pty": true} + fd (terminal only)
     │ ◄──── {"ready": true} ─ │
     ┊                         │ clone(CLONE_PARENT) ─────► │ (the shim's child)
     │ ◄──────── {"pid": n} ── │ exits                      │ execve
     │ ◄─────────────────────── end of file ────────────────│

What that is good for says `unseen`.
"""

import os

from supervisor.kernel import namespaces, process
from supervisor.shim import become, unseen
from supervisor.shim.exec_stage import ExecStage, attempt, begin
from supervisor.shim.failure import run_steps
from supervisor.shim.handshake import send


def main(stage: ExecStage) -> None:
    """Run in a child of the shim's, in the container's v2 cgroup; never returns."""
    attempt(enter, stage)


def enter(stage: ExecStage) -> None:
    """The stage: become all that the container's processes are, then have one of them."""
    become.set_oom_score(stage.process)
    if stage.namespace_flags & namespaces.CLONE_NEWUSER:
        become.raise_limits(stage.process)
    process.set_dumpable(False)
    process.reset_signals()
    process.close_all_but(stage.sync.fileno(), stage.pidfd, *stage.cgroup_tasks, *stage.stdio)
    for fd in stage.cgroup_tasks:
        os.write(fd, b"0")
    namespaces.setns(stage.pidfd, stage.namespace_flags)
    if stage.namespace_flags & namespaces.CLONE_NEWUSER:
        become.take_mapped_root()  # a terminal is its own
    process.close_all_but(stage.sync.fileno(), *stage.stdio)
    becoming = prepare(stage)
    send(stage.sync, {"ready": True})
    unseen.have_process(becoming, stage.sync)


def prepare(stage: ExecStage) -> become.Becoming:
    """All steps that need more than the container has."""
    becoming = begin(stage)
    run_steps(unseen.STEPS, becoming)
    process.close_all_but(stage.sync.fileno())
    return becoming
