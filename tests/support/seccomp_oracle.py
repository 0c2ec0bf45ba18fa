"""What a seccomp filter does, found out in two ways that share nothing with its assembler.

`run` interprets the program as the kernel would (net/core/filter.c, kernel/seccomp.c), and
refuses what the kernel refuses; `judge` reads the profile's JSON rule by rule. Only the tables
of numbers are the code's own (they have tests of their own).
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from supervisor.spec.seccomp.abis import numbers

WORD = (1 << 32) - 1
X32_BIT = 1 << 30
ABSENT = 0x00050000 | 38
ALLOW = 0x7FFF0000
AUDIT = {
    "x86_64": 0xC000003E,
    "x32": 0xC000003E,
    "i386": 0x40000003,
    "aarch64": 0xC00000B7,
    "arm": 0x40000028,
}
DOCKER = {"x86_64": "amd64", "aarch64": "arm64"}
SCMP = {"SCMP_ARCH_X86": "i386", "SCMP_ARCH_X32": "x32", "SCMP_ARCH_ARM": "arm"}
# From the strictest on, as seccomp(2) lists them.
ACTIONS = {
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_KILL_THREAD": 0,
    "SCMP_ACT_KILL": 0,
    "SCMP_ACT_TRAP": 0x30000,
    "SCMP_ACT_ERRNO": 0x50000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": ALLOW,
}
ORDER = [*dict.fromkeys(ACTIONS.values())]
PASSES = ("SCMP_ACT_TRACE", "SCMP_ACT_LOG", "SCMP_ACT_ALLOW")


@dataclass(frozen=True)
class Call:
    """One system call as a filter sees it (struct seccomp_data)."""

    number: int
    audit: int
    arguments: Sequence[int] = (0, 0, 0, 0, 0, 0)

    def data(self) -> bytes:
        """The struct, little-endian."""
        return struct.pack("<IIQ6Q", self.number, self.audit, 0, *self.arguments)


class ReadsArguments(Exception):
    """A program that was to decide by number and ABI alone looked at more."""


def run(program: bytes, call: Call, *, constant: bool = False) -> tuple[int, int]:
    """(action, instructions run); AssertionError for a program that the kernel would refuse.

    `constant`: as the kernel when it fills its bitmap of numbers that always pass;
    ReadsArguments where it would give up.
    """
    code = [*struct.iter_unpack("=HBBI", program)]
    assert 0 < len(code) <= 4096
    data = call.data()
    accumulator, at, steps = 0, 0, 0
    while True:
        opcode, yes, no, value = code[at]
        at += 1
        steps += 1
        if opcode == 0x06:
            return value, steps
        if opcode == 0x20:
            assert value % 4 == 0
            assert value < len(data)
            if constant and value not in (0, 4):
                raise ReadsArguments
            (accumulator,) = struct.unpack_from("<I", data, value)
        elif opcode == 0x54:
            accumulator &= value
        elif opcode == 0x05:
            at += value
        else:
            holds = {
                0x15: accumulator == value,
                0x25: accumulator > value,
                0x35: accumulator >= value,
            }[opcode]
            at += yes if holds else no
        assert at < len(code)


def check_as_the_kernel(program: bytes) -> None:
    """Every jump stays inside, the end is a return (bpf_check_classic)."""
    code = [*struct.iter_unpack("=HBBI", program)]
    for at, (opcode, yes, no, value) in enumerate(code):
        if opcode == 0x05:
            assert at + 1 + value < len(code)
        elif opcode & 7 == 5:
            assert at + 1 + max(yes, no) < len(code)
    assert code[-1][0] == 0x06


def judge(
    profile: dict[str, Any],
    call: Call,
    machine: str,
    *,
    kernel: tuple[int, int] = (6, 18),
    capabilities: Collection[str] = (),
) -> int:
    """What the profile says of the call."""
    default_word = profile["defaultAction"]
    default = _action(default_word, profile.get("defaultErrnoRet"))
    abi = _abi(profile, call, machine)
    if abi is None:
        return ABSENT
    known = {number: name for name, number in numbers(abi).items() if call.number == number}
    rules = [
        rule
        for rule in profile.get("syscalls") or ()
        if _applies(rule, machine, kernel, capabilities)
    ]
    named = [numbers(abi)[n] for rule in rules for n in rule["names"] if n in numbers(abi)]
    if call.number not in named and default_word not in PASSES:
        marker = X32_BIT if abi == "x32" else 0
        if not known or call.number > max(named, default=marker - 1):
            return ABSENT
    matching = [
        _action(rule["action"], rule.get("errnoRet"))
        for rule in rules
        if any(numbers(abi).get(name) == call.number for name in rule["names"])
        and _met(rule.get("args") or [], call.arguments)
    ]
    return min(matching, key=lambda a: ORDER.index(a & 0xFFFF0000), default=default)


def _abi(profile: dict[str, Any], call: Call, machine: str) -> str | None:
    wanted = {SCMP.get(word) for word in profile.get("architectures") or ()}
    for entry in profile.get("archMap") or ():
        if entry["architecture"] == f"SCMP_ARCH_{machine.upper()}":
            wanted |= {SCMP.get(word) for word in entry.get("subArchitectures") or ()}
    if call.audit == AUDIT[machine]:
        if call.number < X32_BIT:
            return machine
        return "x32" if machine == "x86_64" and "x32" in wanted else None
    other = {"x86_64": "i386", "aarch64": "arm"}[machine]
    if call.audit == AUDIT[other] and other in wanted:
        return other if call.number < X32_BIT else None
    return None


def _action(word: str, number: int | None) -> int:
    data = 1 if number is None else number
    return ACTIONS[word] | (data if word in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE") else 0)


def _applies(
    rule: dict[str, Any], machine: str, kernel: tuple[int, int], capabilities: Collection[str]
) -> bool:
    includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
    if any(c not in capabilities for c in includes.get("caps") or ()):
        return False
    if includes.get("arches") and DOCKER[machine] not in includes["arches"]:
        return False
    if includes.get("minKernel") and kernel < _version(includes["minKernel"]):
        return False
    if any(c in capabilities for c in excludes.get("caps") or ()):
        return False
    if DOCKER[machine] in (excludes.get("arches") or ()):
        return False
    return not (excludes.get("minKernel") and kernel >= _version(excludes["minKernel"]))


def _version(text: str) -> tuple[int, int]:
    major, minor = text.split(".")
    return int(major), int(minor)


def _met(conditions: Sequence[dict[str, Any]], arguments: Sequence[int]) -> bool:
    results = [_one(condition, arguments) for condition in conditions]
    indexes = [condition.get("index", 0) for condition in conditions]
    return all(results) if len(set(indexes)) == len(indexes) else any(results)


def _one(condition: dict[str, Any], arguments: Sequence[int]) -> bool:
    argument = arguments[condition.get("index", 0)]
    value, two = condition.get("value", 0), condition.get("valueTwo", 0)
    compared: dict[str, bool] = {
        "SCMP_CMP_NE": argument != value,
        "SCMP_CMP_LT": argument < value,
        "SCMP_CMP_LE": argument <= value,
        "SCMP_CMP_EQ": argument == value,
        "SCMP_CMP_GE": argument >= value,
        "SCMP_CMP_GT": argument > value,
        "SCMP_CMP_MASKED_EQ": argument & value == two,
    }
    return compared[condition["op"]]
