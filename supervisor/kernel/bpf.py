"""Device programs of cgroups: bpf(2), BPF_PROG_TYPE_CGROUP_DEVICE (Linux 4.15).

On cgroup v2 there is no devices controller: a program attached to the cgroup decides on
every mknod and open of a device node.
"""

from __future__ import annotations

import ctypes
import errno
import struct
from ctypes import c_char_p, c_int, c_uint, create_string_buffer

from supervisor.errors import KernelError
from supervisor.kernel._call import SYS, check, syscall_prototype

_BPF_PROG_LOAD = 5
_BPF_PROG_ATTACH = 8
_BPF_PROG_TYPE_CGROUP_DEVICE = 15
_BPF_CGROUP_DEVICE = 6
_BPF_F_ALLOW_MULTI = 2
_INSTRUCTION_SIZE = 8
_LOG_SIZE = 64 << 10
_REASON_LINES = 12

_bpf = syscall_prototype(c_int, c_char_p, c_uint)


def load_device_program(instructions: bytes) -> int:
    """Load BPF instructions (8 bytes each); the program's fd is close-on-exec.

    The error of a program that the verifier refuses has the verifier's last words as path.
    """
    if not instructions or len(instructions) % _INSTRUCTION_SIZE:
        raise KernelError("bpf", "BPF_PROG_LOAD", errno.EINVAL)
    result = _load(instructions, None)
    if result >= 0:
        return result
    number = ctypes.get_errno()
    log = create_string_buffer(_LOG_SIZE)
    retried = _load(instructions, log)
    if retried >= 0:  # a passing failure, such as EAGAIN by a pending signal
        return retried
    lines = [line.strip() for line in log.value.decode(errors="replace").splitlines()]
    # The reason, which newer kernels follow by several lines of advice; the last is statistics.
    words = [line for line in lines if line and not line.startswith("processed ")]
    raise KernelError("bpf", ": ".join(["BPF_PROG_LOAD", *words[-_REASON_LINES:]]), number)


def attach_device_program(cgroup_fd: int, program_fd: int) -> None:
    """Attach to a v2 cgroup; every program up the tree must allow an access too.

    The cgroup keeps the program; it goes with the cgroup. BPF_F_ALLOW_MULTI lets cgroups
    below (a container's own systemd) attach more.
    """
    # union bpf_attr, attach commands: target_fd, attach_bpf_fd, attach_type, attach_flags
    attr = struct.pack("=4I", cgroup_fd, program_fd, _BPF_CGROUP_DEVICE, _BPF_F_ALLOW_MULTI)
    check(_bpf(SYS["bpf"], _BPF_PROG_ATTACH, attr, len(attr)), "bpf", "BPF_PROG_ATTACH")


def _load(instructions: bytes, log: ctypes.Array[ctypes.c_char] | None) -> int:
    code = create_string_buffer(instructions, len(instructions))
    # Device programs may call no GPL-only function, so the license decides nothing.
    license_text = create_string_buffer(b"MIT")
    # union bpf_attr, BPF_PROG_LOAD: type, count, instructions, license, log level, log size,
    # log buffer, kernel version, flags, name.
    attr = struct.pack(
        "=IIQQIIQII16s",
        _BPF_PROG_TYPE_CGROUP_DEVICE,
        len(instructions) // _INSTRUCTION_SIZE,
        ctypes.addressof(code),
        ctypes.addressof(license_text),
        0 if log is None else 1,
        0 if log is None else _LOG_SIZE,
        0 if log is None else ctypes.addressof(log),
        0,
        0,
        b"orlop_devices",
    )
    return int(_bpf(SYS["bpf"], _BPF_PROG_LOAD, attr, len(attr)))
