"""File capabilities as a container sees them: security.capability (capabilities(7)).

In a user namespace the attribute names the host's id of the namespace's root (revision 3); in
a tar it must not: there it is what the container's own `getcap` would read (revision 2).
"""

from __future__ import annotations

import errno
import os
import struct

from supervisor.snapshot.ids import IdMaps

NAME = "security.capability"
_REVISION_2, _REVISION_3 = 0x02000000, 0x03000000
_FLAGS = 0x00FFFFFF
_HEAD = struct.Struct("<I")  # struct vfs_ns_cap_data: magic_etc, four words of sets, rootid
_SIZE_2, _SIZE_3 = 20, 24


def read(path: str, ids: IdMaps) -> bytes:
    """The attribute of the file at `path` (/proc/self/fd/N), b"" where there is none."""
    try:
        value = os.getxattr(path, NAME)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.EOPNOTSUPP, errno.EOVERFLOW):
            return b""
        raise
    if ids.identity or len(value) != _SIZE_3:
        return value
    if ids.inside(_HEAD.unpack_from(value, _SIZE_2)[0], 0)[0] != 0:
        return b""  # of another namespace: void in this container
    flags = _HEAD.unpack_from(value)[0] & _FLAGS
    return _HEAD.pack(_REVISION_2 | flags) + value[_HEAD.size : _SIZE_2]


def write(fd: int, value: bytes, ids: IdMaps) -> None:
    """Give the open file an attribute that came in a tar; raises OSError."""
    if not ids.identity and len(value) == _SIZE_2:
        flags = _HEAD.unpack_from(value)[0] & _FLAGS
        value = _HEAD.pack(_REVISION_3 | flags) + value[_HEAD.size : _SIZE_2]
        value += _HEAD.pack(ids.outside(0, 0)[0])
    os.setxattr(fd, NAME, value)
