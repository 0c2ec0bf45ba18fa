"""Telling systemd how the daemon is (sd_notify(3)); nothing without $NOTIFY_SOCKET."""

from __future__ import annotations

import os
import socket


def notify(message: str) -> None:
    """Send one notification such as "READY=1"; errors are nobody's business."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as stream:
            stream.sendto(message.encode(), address)
    except OSError:
        pass


def watchdog_seconds() -> float:
    """Half of systemd's watchdog interval, 0 where it has none for us."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    try:
        return int(os.environ.get("WATCHDOG_USEC", "0")) / 2e6
    except ValueError:
        return 0.0
