"""The five capability sets of the calling thread: capabilities(7), capset(2).

A set is an integer mask: bit n is capability number n (include/uapi/linux/capability.h).
"""

from __future__ import annotations

import functools
import struct
from ctypes import c_char_p, c_int, c_ulong, create_string_buffer

from supervisor.kernel._call import SYS, check, prototype, syscall_prototype

_PR_CAPBSET_READ = 23
_PR_CAPBSET_DROP = 24
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_OLDEST_LAST = 36  # CAP_BLOCK_SUSPEND, the last one of every kernel since 3.5
_WORD = 0xFFFFFFFF
_HEADER = struct.pack("=Ii", 0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this thread

_prctl = prototype("prctl", c_int, c_ulong, c_ulong, c_ulong, c_ulong)
_capget = syscall_prototype(c_char_p, c_char_p)
_capset = syscall_prototype(c_char_p, c_char_p)


@functools.cache
def last_capability() -> int:
    """The highest capability number this kernel knows; needs no /proc."""
    number = _OLDEST_LAST
    while _prctl(_PR_CAPBSET_READ, number + 1, 0, 0, 0) >= 0:
        number += 1
    return number


def set_capabilities(effective: int, permitted: int, inheritable: int) -> None:
    """Set the three sets at once; EPERM if `permitted` or `effective` would grow."""
    sets = (effective, permitted, inheritable)
    # Two structs of three words: the low 32 bits of each set, then the high ones.
    data = struct.pack("=6I", *(s & _WORD for s in sets), *(s >> 32 & _WORD for s in sets))
    check(_capset(SYS["capset"], _HEADER, data), "capset")


def get_capabilities() -> tuple[int, int, int]:
    """The effective, permitted and inheritable sets."""
    # capget writes into the version word when it does not know it: a copy of its own.
    header = create_string_buffer(_HEADER, len(_HEADER))
    data = create_string_buffer(24)
    check(_capget(SYS["capget"], header, data), "capget")
    low_e, low_p, low_i, high_e, high_p, high_i = struct.unpack("=6I", data.raw)
    return low_e | high_e << 32, low_p | high_p << 32, low_i | high_i << 32


def limit_bounding_set(keep: int) -> None:
    """Drop every capability not in `keep` from the bounding set (needs CAP_SETPCAP)."""
    for number in range(last_capability() + 1):
        if not keep >> number & 1 and _prctl(_PR_CAPBSET_DROP, number, 0, 0, 0) < 0:
            check(-1, "prctl", f"PR_CAPBSET_DROP {number}")


def clear_ambient() -> None:
    """Empty the ambient set."""
    result = _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    check(result, "prctl", "PR_CAP_AMBIENT_CLEAR_ALL")


def raise_ambient(mask: int) -> None:
    """Add to the ambient set; each must be permitted and inheritable already (EPERM)."""
    for number in range(mask.bit_length()):
        if mask >> number & 1:
            result = _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, number, 0, 0)
            check(result, "prctl", f"PR_CAP_AMBIENT_RAISE {number}")
