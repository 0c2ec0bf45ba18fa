"""`--init`: a PID 1 that reaps every orphan and passes signals on to the one child.

The same contract as tini's (github.com/krallin/tini): signals go to the child, the
container ends with the child's status, 128 + signal where a signal ended it.
"""

import os
import signal

from supervisor.kernel import process
from supervisor.shim import become

# Synchronous faults are PID 1's own; SIGTTIN/SIGTTOU would stop it.
KEPT = {
    signal.SIGFPE,
    signal.SIGILL,
    signal.SIGSEGV,
    signal.SIGBUS,
    signal.SIGABRT,
    signal.SIGTRAP,
    signal.SIGSYS,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGKILL,
    signal.SIGSTOP,
}


def run(becoming: become.Becoming, sync_fd: int) -> None:
    """Fork the container's process and serve as its init; raises InitError in the child only.

    `sync_fd` stays open in the child alone, so that its execve is what the shim sees.
    """
    become.let_go(becoming)
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - KEPT)
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        if becoming.process.terminal:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
            os.tcsetpgrp(0, os.getpid())
        process.reset_signals()
        become.execute(becoming)
    os.close(sync_fd)
    process.set_process_name("orlop-init")
    process.set_command_line("orlop-init")
    process.close_range(3, 0x7FFFFFFF)
    os._exit(serve(child))


def serve(child: int) -> int:
    """Forward signals and reap until `child` has ended; its exit code."""
    wanted = signal.valid_signals() - KEPT
    while True:
        number = signal.sigwait(wanted)
        if number != signal.SIGCHLD:
            try:
                os.kill(child, number)
            except ProcessLookupError:
                pass
            continue
        status = reap(child)
        if status is not None:
            return status


def reap(child: int) -> int | None:
    """Collect all that ended; `child`'s exit code once it is among them."""
    result = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return result
        if pid == 0:
            return result
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            result = code if code >= 0 else 128 - code
