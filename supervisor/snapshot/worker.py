"""The worker process: one operation on file trees, then it ends.

Started by `supervisor.store.work` with a stream socket. Messages are JSON objects, each on a
line of its own; descriptors come beside the first byte of the request (SCM_RIGHTS).

    request   {"operation": "unpack", "arguments": {…}, "fds": ["input", …]}   once
    progress  {"progress": {…}}                                               any number
    result    {"result": {…}} or {"error": {"code": …, "message": …}}         once, last

File names in messages are str with surrogate escapes, as `os.fsdecode` gives them: JSON's own
\\u escapes carry them unchanged.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import socket
import struct
from typing import Any, NoReturn

from supervisor.errors import OrlopError
from supervisor.kernel import process
from supervisor.kernel.mounts import MS_PRIVATE, MS_REC, mount
from supervisor.kernel.namespaces import CLONE_NEWNS, unshare
from supervisor.snapshot.operations import find

MAX_REQUEST = 4 << 20
MAX_FDS = 16
OOM_SCORE_ADJ = 500  # when memory is short, a worker goes before the supervisor and its shims
_FD = struct.Struct("i")
_FULL = {errno.ENOSPC, errno.EDQUOT}
_LATER = {errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM, *_FULL}


def main(control_fd: int, parent: int) -> NoReturn:
    """Do what the one request on `control_fd` says; ends with the process `parent`."""
    process.set_parent_death_signal(signal.SIGKILL)
    if os.getppid() != parent:  # it died before the signal was set
        os._exit(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is the supervisor's
    process.set_process_name("orlop-worker")
    process.set_oom_score_adj(OOM_SCORE_ADJ)
    # A walk holds a descriptor for each folder on its way down, and one for each layer's part.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    os.umask(0)
    os.chdir("/")
    control = socket.socket(fileno=control_fd)
    try:
        answer = {"result": _serve(control)}
    except Exception as error:  # noqa: BLE001 - whatever it was, the supervisor is told
        answer = {"error": describe(error)}
    try:
        send(control, answer)
    except OSError:  # the supervisor is gone or has lost interest
        os._exit(1)
    # Not by way of the interpreter's own end: a thread that still reads must not hold us.
    os._exit(0)


def own_mounts() -> None:
    """Give the calling thread a mount namespace that nobody else sees into.

    Call it before any other thread is started: threads do not share it.
    """
    unshare(CLONE_NEWNS)
    mount("none", "/", None, MS_REC | MS_PRIVATE)


def _serve(control: socket.socket) -> dict[str, Any]:
    request, fds = receive(control)
    operation = find(request["operation"])
    names = dict(zip(request["fds"], fds, strict=True))
    return operation(
        request["arguments"], names, lambda progress: send(control, {"progress": progress})
    )


def receive(control: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """The request and its descriptors, close-on-exec; exits when none comes any more."""
    parts: list[bytes] = []
    fds: list[int] = []
    size = 0
    while not parts or not parts[-1].endswith(b"\n"):
        data, ancillary, _, _ = control.recvmsg(
            64 * 1024, socket.CMSG_LEN(MAX_FDS * _FD.size), socket.MSG_CMSG_CLOEXEC
        )
        for level, kind, packed in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds += [fd for (fd,) in _FD.iter_unpack(packed)]
        size += len(data)
        if not data or size > MAX_REQUEST:
            os._exit(1)
        parts.append(data)
    return json.loads(b"".join(parts)), fds


def send(control: socket.socket, message: dict[str, Any]) -> None:
    """Send one message; waits while the supervisor does not read."""
    control.sendall(json.dumps(message, separators=(",", ":")).encode() + b"\n")


def describe(error: Exception) -> dict[str, str]:
    """An error as it crosses to the supervisor: code and message.

    What an operation did not foresee is told with its place, so that one line of the log
    leads to the defect.
    """
    if isinstance(error, OrlopError):
        return {"code": error.code, "message": error.message}
    if isinstance(error, OSError):
        if error.errno in _FULL:
            return {"code": "unavailable", "message": "no space left on device"}
        code = "unavailable" if error.errno in _LATER else "internal"
        return {"code": code, "message": str(error)}
    place, trace = "", error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename.rpartition("/")[2]
        place, trace = f" ({file}:{trace.tb_lineno})", trace.tb_next
    return {"code": "internal", "message": f"{type(error).__name__}: {error}{place}"}
