"""Becoming the container's process out of the container's sight, where somebody in it may trace.

Such a tracer can take over any process it sees, from its first instruction on, undumpable or
not. It sees what is born in its pid namespace: a process that is born there by `have_process`
has the container's ids, capabilities, filter of system calls, limits, cgroups and folders
already, and nothing open but its streams and the socket to the shim. Whoever had more before
stays in the shim's pid namespace, and exits.

What comes by that socket from anybody else may be the tracer's: the kernel says who sent it
(SCM_CREDENTIALS), and it can only be the words of a failure. The process's memory is a copy of
the shim's own; that of other shims is not in it.

The filter is there before the last clone(2): a profile of such a container has to let through
clone, capset, setsid, prctl and, for a terminal, ioctl.
"""

import errno
import os
import signal
import socket

from supervisor.errors import InitError, KernelError
from supervisor.kernel import namespaces, process
from supervisor.shim import become
from supervisor.shim.handshake import send

STEP = "namespaces"
STEPS = (
    ("user", become.look_up_user),
    ("rlimits", become.set_rlimits),
    ("stdio", become.take_streams),
    ("cwd", become.enter_cwd),
    ("privileges", become.drop_privileges),
)
"""`become.STEPS` but for the session, which only the process itself can lead."""


def have_process(becoming: become.Becoming, sync: socket.socket) -> None:
    """Have it born, tell its pid and exit; in the process itself returns by InitError alone.

    Nothing is open but 0 to 2 and `sync`, and all of STEPS is done.
    """
    become.confine(becoming)
    become.let_go(becoming)
    try:
        pid = namespaces.clone(namespaces.CLONE_PARENT)
    except KernelError as error:
        raise _why(error) from None
    if pid:
        send(sync, {"pid": pid})
        os._exit(0)
    # Seen and traced from here on: what needs nothing but itself.
    process.set_parent_death_signal(signal.SIGKILL)
    become.lead_session(becoming, 0)
    become.execute(becoming)


def _why(error: KernelError) -> InitError:
    number = error.errno or 0
    if number == errno.ENOMEM:  # pid_namespaces(7): its PID 1 has ended
        text, number = "the pid namespace to join has ended with its container", errno.EINVAL
    elif number in (errno.EPERM, errno.ENOSYS):
        text = f"{error} (where processes may be traced, a seccomp profile has to allow clone)"
    else:
        text = str(error)
    return InitError(step=STEP, path="", errno=number, message=f"{STEP}: {text}")
