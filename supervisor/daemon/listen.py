"""The API's unix socket: one daemon a path, no window in which others may connect."""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path

from supervisor.errors import Conflict, InvalidArgument

MODE = 0o660
BACKLOG = 1024


def listen(path: Path) -> socket.socket:
    """A listening socket at `path`; Conflict if somebody answers there already.

    A socket file that nobody listens on is a dead daemon's and replaced.
    """
    path.parent.mkdir(mode=0o710, parents=True, exist_ok=True)
    _remove_stale(path)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        old = os.umask(0o777 & ~MODE)
        try:
            server.bind(str(path))
        finally:
            os.umask(old)
        server.listen(BACKLOG)
        server.setblocking(False)
    except OSError as error:
        server.close()
        text = (error.strerror or str(error)).lower()
        raise InvalidArgument(f"cannot listen on {path}: {text}") from None
    return server


def _remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise InvalidArgument(f"cannot listen on {path}: it exists and is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        result = probe.connect_ex(str(path))
    if result in (0, errno.EAGAIN):
        raise Conflict(f"cannot listen on {path}: another daemon answers on this socket")
    path.unlink(missing_ok=True)
