"""The zygote: a small warm interpreter that forks one shim per container on request.

Started once by the supervisor (`python -I -S`), it imports what shims and inits need,
freezes the collector's generations so that forks share their pages, and waits on a
SEQPACKET socket. It keeps no record of its children: shims outlive it.
"""

import gc
import os
import signal
import socket

from supervisor.errors import ProtocolError
from supervisor.kernel import process
from supervisor.shim import shim
from supervisor.wire import shim_protocol

SHIM_OOM_SCORE_ADJ = -999


def main(control_fd: int) -> None:
    """Serve spawn requests on `control_fd` until the supervisor closes it."""
    control = socket.socket(fileno=control_fd)
    control.setblocking(True)
    process.set_process_name("orlop-zygote")
    process.set_command_line("orlop-zygote")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is the supervisor's
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps shims
    os.chdir("/")
    # With --oom-score-adj lowered once here, every shim inherits it; init resets its own.
    # Lowering needs CAP_SYS_RESOURCE: without it shims keep the supervisor's score.
    try:
        process.set_oom_score_adj(SHIM_OOM_SCORE_ADJ)
    except OSError:
        pass
    gc.collect()
    gc.freeze()
    gc.disable()
    while serve_one(control):
        pass


def serve_one(control: socket.socket) -> bool:
    """Handle one request; False at the supervisor's end."""
    packet, fds, _, _ = socket.recv_fds(
        control, shim_protocol.MAX_MESSAGE, shim_protocol.MAX_FDS, socket.MSG_CMSG_CLOEXEC
    )
    if not packet:
        return False
    try:
        request = shim_protocol.decode(packet)
        if request.get("op") != "spawn" or len(fds) != 1:
            raise ProtocolError("the zygote takes only spawn, with one socket")
        if os.fork() == 0:
            control.close()
            shim.main(str(request["bundle"]), fds.pop())  # never returns
    except (OSError, ProtocolError, KeyError) as error:
        report_failure(fds, error)
    finally:
        for fd in fds:
            os.close(fd)
    return True


def report_failure(fds: list[int], error: Exception) -> None:
    """Tell the waiting supervisor on the container's own socket, where there is one."""
    if not fds:
        return
    message = {
        "event": "failed",
        "error": {"code": "internal", "message": f"zygote: {error}"},
    }
    with socket.socket(fileno=os.dup(fds[0])) as answer:
        try:
            answer.send(shim_protocol.encode(message))
        except OSError:
            pass  # it is gone: nobody is left to tell
