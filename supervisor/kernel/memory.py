"""A process's own memory as the kernel may share it: madvise(2).

Documentation/admin-guide/mm/ksm.rst: with KSM, pages of the same content become one, in
whichever processes they are, until one of these writes to it.
"""

from __future__ import annotations

import os
from ctypes import c_int, c_size_t, c_void_p

from supervisor.kernel._call import prototype

_MADV_MERGEABLE = 12
_MAPS = "/proc/self/maps"

_madvise = prototype("madvise", c_void_p, c_size_t, c_int)


def offer_for_merging() -> int:
    """Let KSM merge what this process has of private, writable memory; how many bytes that is.

    Forks inherit it, programs that are executed do not. 0 where the kernel has no KSM. Nothing
    happens unless KSM is switched on for the host (/sys/kernel/mm/ksm/run).
    """
    offered = 0
    for start, end in _private_writable():
        if _madvise(start, end - start, _MADV_MERGEABLE) == 0:
            offered += end - start
    return offered


def _private_writable() -> list[tuple[int, int]]:
    """The regions, [start, end) each."""
    fd = os.open(_MAPS, os.O_RDONLY | os.O_CLOEXEC)
    text = b""
    try:
        while piece := os.read(fd, 1 << 16):
            text += piece
    finally:
        os.close(fd)
    regions = []
    for line in text.splitlines():
        place, rights = line.split(None, 2)[:2]
        if rights[1:2] == b"w" and rights[3:4] == b"p":
            start, _, end = place.partition(b"-")
            regions.append((int(start, 16), int(end, 16)))
    return regions
