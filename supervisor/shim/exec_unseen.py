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

Such a tracer can take over any process it sees, from its first instruction on, undumpable or
not. It sees what is born in its pid namespace: a process here is born with the container's ids,
capabilities, filter, limits, groups of processes and folders, and with nothing open but its
streams and the socket to the shim. The stage, which has more, stays in the shim's pid namespace.

What comes by that socket from anybody but the stage may be the tracer's: the kernel says who
sent it (SCM_CREDENTIALS), and it can only be the words of a failure. The process's memory is a
copy of the shim's: that of a stranger's shim is elsewhere.

The filter is there before the last clone(2): a profile for such containers has to let through
clone, capset, setsid, prctl and, for a terminal, ioctl.
"""

import os
import signal

from supervisor.kernel import namespaces, paths, process
from supervisor.shim import become
from supervisor.shim.exec_stage import ExecStage, attempt, open_empty, open_terminal
from supervisor.shim.failure import run_steps
from supervisor.shim.handshake import send

STEPS = (
    ("user", become.look_up_user),
    ("rlimits", become.set_rlimits),
    ("stdio", become.take_streams),
    ("cwd", become.enter_cwd),
    ("privileges", become.drop_privileges),
)
"""`become.STEPS` but for the session, which only the process itself can lead."""


def main(stage: ExecStage) -> None:
    """Run in a child of the shim's, in the container's v2 cgroup; never returns."""
    attempt(enter, stage)


def enter(stage: ExecStage) -> None:
    """The stage: become all that the container's processes are, then have one of them."""
    become.set_oom_score(stage.process)
    process.set_dumpable(False)
    process.reset_signals()
    process.close_all_but(stage.sync.fileno(), stage.pidfd, *stage.cgroup_tasks, *stage.stdio)
    for fd in stage.cgroup_tasks:
        os.write(fd, b"0")
    namespaces.setns(stage.pidfd, stage.namespace_flags)
    process.close_all_but(stage.sync.fileno(), *stage.stdio)
    becoming = prepare(stage)
    send(stage.sync, {"ready": True})
    become.confine(becoming)
    become.let_go(becoming)
    pid = namespaces.clone(namespaces.CLONE_PARENT)
    if pid == 0:
        attempt(lambda _: run(becoming), stage)
    send(stage.sync, {"pid": pid})
    os._exit(0)


def prepare(stage: ExecStage) -> become.Becoming:
    """All steps that need more than the container has."""
    root = os.open("/", paths.DIRECTORY)
    stdio = stage.stdio
    if stage.process.terminal:
        stdio = open_terminal(stage, root)
    elif stdio[0] < 0:
        stdio = (open_empty(root), *stdio[1:])
    becoming = become.Becoming(process=stage.process, root_fd=root, stdio=stdio, make_cwd=False)
    run_steps(STEPS, becoming)
    process.close_all_but(stage.sync.fileno())
    return becoming


def run(becoming: become.Becoming) -> None:
    """The process, seen and traced from here on: what needs nothing but itself."""
    process.set_parent_death_signal(signal.SIGKILL)
    become.lead_session(becoming, 0)
    become.execute(becoming)
