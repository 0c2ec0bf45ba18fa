"""Device nodes and the rules about them: Docker's defaults, and rules as a BPF program.

The program is of type BPF_PROG_TYPE_CGROUP_DEVICE (Documentation/admin-guide/cgroup-v2.rst,
"Device controller"). The kernel runs it on every mknod and open of a device node with a
`struct bpf_cgroup_dev_ctx` (linux/bpf.h: access_type = access << 16 | type, major, minor)
and takes 0 as a refusal, 1 as leave.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Sequence

from supervisor.errors import InvalidArgument
from supervisor.spec.types import Device, DeviceRule

DEFAULT_NODES: tuple[Device, ...] = (
    Device(path="/dev/null", type="c", major=1, minor=3),
    Device(path="/dev/zero", type="c", major=1, minor=5),
    Device(path="/dev/full", type="c", major=1, minor=7),
    Device(path="/dev/random", type="c", major=1, minor=8),
    Device(path="/dev/urandom", type="c", major=1, minor=9),
    Device(path="/dev/tty", type="c", major=5, minor=0),
)
"""In every container (runtime-spec, config-linux.md, "Default Devices"); ptmx is a link."""

DEFAULT_RULES: tuple[DeviceRule, ...] = (
    DeviceRule(allow=False),
    # Nodes of any device may be made, but not opened (runc's AllowedDevices).
    DeviceRule(allow=True, type="c", access="m"),
    DeviceRule(allow=True, type="b", access="m"),
    *(
        DeviceRule(allow=True, type="c", major=node.major, minor=node.minor)
        for node in DEFAULT_NODES
    ),
    DeviceRule(allow=True, type="c", major=5, minor=2),  # ptmx
    DeviceRule(allow=True, type="c", major=136),  # pseudo-terminals
)
"""What moby's default spec and runc allow together, for a container without --device.

But for c 5:1, which moby allows: it is no container's terminal, which is a pseudo-terminal, but
the console of the host, where who may write can put lines into its log.
"""

ALLOW_ALL: tuple[DeviceRule, ...] = (DeviceRule(allow=True),)
"""A privileged container's rules."""

_TYPES = {"b": 1, "c": 2, "u": 2}  # BPF_DEVCG_DEV_*; u is mknod(1)'s other word for c
_ACCESS = {"m": 1, "r": 2, "w": 4}  # BPF_DEVCG_ACC_*
_ALL_ACCESS = 7
_MAXIMUM_NUMBER = 0xFFFFFFFF

# Registers: the context arrives in R1, the verdict leaves in R0.
_R0, _R1, _TYPE, _WANTED, _MAJOR, _MINOR, _COPY = 0, 1, 2, 3, 4, 5, 6
# Opcodes (linux/bpf_common.h, linux/bpf.h), all of 32 bits.
_LOAD_WORD = 0x61  # BPF_LDX | BPF_MEM | BPF_W
_MOVE, _MOVE_VALUE = 0xBC, 0xB4  # BPF_ALU | BPF_MOV | BPF_X or BPF_K
_AND_VALUE = 0x54  # BPF_ALU | BPF_AND | BPF_K
_SHIFT_RIGHT = 0x74  # BPF_ALU | BPF_RSH | BPF_K
_JUMP_EQUAL, _JUMP_UNEQUAL = 0x16, 0x56  # BPF_JMP32 | BPF_JEQ or BPF_JNE | BPF_K
_EXIT = 0x95  # BPF_JMP | BPF_EXIT


def assemble(rules: Sequence[DeviceRule]) -> bytes:
    """The program that decides by `rules`; what no rule matches is refused.

    The last rule that matches a device decides, for each of read, write and mknod by
    itself: after "allow c 1:3 rwm, deny c 1:3 w" an open for reading and writing fails.
    InvalidArgument for a rule that is none.
    """
    program = [
        *(_load(_TYPE, 0), _load(_WANTED, 0), _load(_MAJOR, 4), _load(_MINOR, 8)),
        _instruction(_AND_VALUE, _TYPE, value=0xFFFF),
        _instruction(_SHIFT_RIGHT, _WANTED, value=16),
    ]
    decisions = [(rule.allow, _access(rule), _conditions(rule)) for rule in rules]
    # From the last rule to the first, so that the first match decides: a denial ends it, an
    # allowance takes its accesses off what is wanted, and with nothing left it is granted.
    for allow, access, conditions in reversed(decisions):
        if access == _ALL_ACCESS and not conditions:
            # It decides the rest. The verifier refuses a program with code never reached.
            return b"".join([*program, *_verdict(allow)])
        program += _guarded(conditions, _grant(access) if allow else _refuse(access))
    return b"".join([*program, *_verdict(False)])


def _conditions(rule: DeviceRule) -> list[tuple[int, int]]:
    """(register, value) pairs that must be equal for the rule to match."""
    conditions = []
    if rule.type != "a":
        if rule.type not in _TYPES:
            raise InvalidArgument(f"invalid device type '{rule.type:.20}': give a, b or c")
        conditions.append((_TYPE, _TYPES[rule.type]))
    for register, number in ((_MAJOR, rule.major), (_MINOR, rule.minor)):
        if not -1 <= number <= _MAXIMUM_NUMBER:
            raise InvalidArgument(f"invalid device number {number}")
        if number != -1:
            conditions.append((register, number))
    return conditions


def _access(rule: DeviceRule) -> int:
    if not rule.access or set(rule.access) - _ACCESS.keys():
        raise InvalidArgument(f"invalid device access '{rule.access:.20}': give some of r, w, m")
    return sum(_ACCESS[letter] for letter in set(rule.access))


def _guarded(conditions: list[tuple[int, int]], action: list[bytes]) -> list[bytes]:
    """`action`, jumped over unless all conditions hold."""
    size = len(conditions) + len(action)
    checks = [
        _instruction(_JUMP_UNEQUAL, register, offset=size - index - 1, value=value)
        for index, (register, value) in enumerate(conditions)
    ]
    return [*checks, *action]


def _grant(access: int) -> list[bytes]:
    return [
        _instruction(_AND_VALUE, _WANTED, value=_ALL_ACCESS & ~access),
        _instruction(_JUMP_UNEQUAL, _WANTED, offset=2, value=0),
        *_verdict(True),
    ]


def _refuse(access: int) -> list[bytes]:
    return [
        _instruction(_MOVE, _COPY, source=_WANTED),
        _instruction(_AND_VALUE, _COPY, value=access),
        _instruction(_JUMP_EQUAL, _COPY, offset=2, value=0),
        *_verdict(False),
    ]


def _verdict(allow: bool) -> list[bytes]:
    return [_instruction(_MOVE_VALUE, _R0, value=int(allow)), _instruction(_EXIT)]


def _load(register: int, offset: int) -> bytes:
    return _instruction(_LOAD_WORD, register, source=_R1, offset=offset)


def _instruction(
    opcode: int, destination: int = 0, *, source: int = 0, offset: int = 0, value: int = 0
) -> bytes:
    """struct bpf_insn; its two registers share a byte, the destination in the lower bits."""
    registers = (
        destination | source << 4 if sys.byteorder == "little" else destination << 4 | source
    )
    return struct.pack("=BBhI", opcode, registers, offset, value)
