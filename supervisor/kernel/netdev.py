"""Network interfaces by ioctl, for the one change init makes: netdevice(7)."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct

from supervisor.errors import KernelError
from supervisor.kernel._call import failed

_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1
_IFNAMSIZ = 16
_IFREQ = "16sH22x"  # struct ifreq: ifr_name, ifr_flags, the rest of the union


def link_up(name: str) -> None:
    """Bring the interface of the current network namespace up."""
    label = os.fsencode(name)
    if not 0 < len(label) < _IFNAMSIZ:  # struct would cut it to another interface's name
        raise KernelError("ioctl", name, errno.EINVAL)
    # Any socket's ioctl reaches the interfaces; AF_UNIX exists where AF_INET may not.
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            reply = fcntl.ioctl(sock, _SIOCGIFFLAGS, struct.pack(_IFREQ, label, 0))
            flags = struct.unpack(_IFREQ, reply)[1]
            fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack(_IFREQ, label, flags | _IFF_UP))
        except OSError as error:
            raise failed(error, "ioctl", name) from None
