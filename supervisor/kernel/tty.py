"""Pseudoterminals: pty(7), devpts, ioctl_tty(2)."""

from __future__ import annotations

import fcntl
import os
import struct

from supervisor.kernel._call import failed

# include/uapi/asm-generic/ioctls.h: x86 and arm
_TIOCSCTTY = 0x540E
_TIOCGWINSZ = 0x5413
_TIOCSWINSZ = 0x5414
_TIOCSPTLCK = 0x40045431
_TIOCGPTPEER = 0x5441

_OPEN = os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC


def open_pty_in(devpts_root: int | str) -> int:
    """A new pty's master in the devpts instance at `devpts_root` (folder fd or path).

    The terminal then has its name in that instance's /dev/pts, so a container sees its own.
    """
    path = f"{devpts_root}/ptmx" if isinstance(devpts_root, str) else "ptmx"
    dir_fd = None if isinstance(devpts_root, str) else devpts_root
    try:
        master = os.open(path, _OPEN, dir_fd=dir_fd)
    except OSError as error:
        raise failed(error, "open", path) from None
    try:
        fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
    except OSError as error:
        os.close(master)
        raise failed(error, "ioctl", "TIOCSPTLCK") from None
    return master


def pty_peer(master: int) -> int:
    """The terminal side, opened through the master: no path that anybody could replace."""
    try:
        return fcntl.ioctl(master, _TIOCGPTPEER, _OPEN)
    except OSError as error:
        raise failed(error, "ioctl", "TIOCGPTPEER") from None


def set_window_size(fd: int, rows: int, columns: int) -> None:
    """Set the size in characters; the foreground group gets SIGWINCH if it changed."""
    try:
        fcntl.ioctl(fd, _TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))
    except OSError as error:
        raise failed(error, "ioctl", "TIOCSWINSZ") from None


def get_window_size(fd: int) -> tuple[int, int]:
    """(rows, columns)."""
    try:
        rows, columns, _, _ = struct.unpack("4H", fcntl.ioctl(fd, _TIOCGWINSZ, bytes(8)))
    except OSError as error:
        raise failed(error, "ioctl", "TIOCGWINSZ") from None
    return rows, columns


def make_controlling(fd: int) -> None:
    """Make the terminal the controlling one; the caller must lead a session without one."""
    try:
        fcntl.ioctl(fd, _TIOCSCTTY, 0)
    except OSError as error:
        raise failed(error, "ioctl", "TIOCSCTTY") from None
