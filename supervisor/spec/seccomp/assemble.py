"""Decisions as a classic BPF program: what the kernel runs at each system call.

seccomp(2), Documentation/userspace-api/seccomp_filter.rst, linux/filter.h. The program looks
at the ABI, then finds the number by halving: ten or so instructions for any call. What is
decided by the number alone reads nothing else, so that the kernel finds out when the filter
is loaded which numbers always pass (kernel/seccomp.c, `seccomp_cache_prepare`), and asks it
no more about those.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from supervisor.errors import InvalidArgument
from supervisor.spec.seccomp.profile import Condition
from supervisor.spec.seccomp.rules import ABSENT, Decision, Span
from supervisor.spec.seccomp.words import Op

MAX_INSTRUCTIONS = 4096  # BPF_MAXINSNS
_FARTHEST = 255  # what a conditional jump's 8 bits skip

# struct seccomp_data
_NUMBER, _ABI, _ARGUMENTS = 0, 4, 16
_WORD = (1 << 32) - 1
# Opcodes; their parts are in linux/bpf_common.h.
_LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_AND = 0x54  # BPF_ALU | BPF_AND | BPF_K
_JUMP = 0x05  # BPF_JMP | BPF_JA
_IF_EQUAL, _IF_ABOVE, _IF_FROM = 0x15, 0x25, 0x35  # BPF_JMP | BPF_JEQ, BPF_JGT, BPF_JGE | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K


@dataclass(frozen=True, slots=True)
class Instruction:
    """struct sock_filter. `yes` and `no` are how many instructions a jump skips."""

    code: int
    value: int = 0
    yes: int = 0
    no: int = 0


# Where a comparison leads, until it is known how far that is.
_MET, _FAILED = -1, -2
Code = list[Instruction]


def assemble(by_abi: Iterable[tuple[int, Sequence[Span]]]) -> bytes:
    """The program for (AUDIT_ARCH, its spans) each; a call by any other ABI fails with ENOSYS.

    InvalidArgument if it would be longer than the kernel takes.
    """
    code = [Instruction(_RETURN, ABSENT)]
    for audit, spans in reversed(list(by_abi)):
        numbers = [Instruction(_LOAD, _NUMBER), *_search(spans)]
        code = _choose(_IF_EQUAL, audit, numbers, code)
    code = [Instruction(_LOAD, _ABI), *code]
    if len(code) > MAX_INSTRUCTIONS:
        raise InvalidArgument(
            f"seccomp profile: it makes a program of {len(code)} instructions; "
            f"the kernel takes {MAX_INSTRUCTIONS}"
        )
    return b"".join(struct.pack("=HBBI", i.code, i.yes, i.no, i.value) for i in code)


def _search(spans: Sequence[Span]) -> Code:
    if len(spans) == 1:
        return _decide(spans[0].decision)
    middle = len(spans) // 2
    return _choose(_IF_FROM, spans[middle].first, _search(spans[middle:]), _search(spans[:middle]))


def _choose(code: int, value: int, yes: Code, no: Code) -> Code:
    """`yes` if the test holds, else `no`; both return, so that nothing follows them."""
    if len(yes) <= _FARTHEST:
        return [Instruction(code, value, 0, len(yes)), *yes, *no]
    if len(no) <= _FARTHEST:
        return [Instruction(code, value, len(no), 0), *no, *yes]
    return [Instruction(code, value, 1, 0), Instruction(_JUMP, len(yes)), *yes, *no]


def _decide(decision: Decision) -> Code:
    code = []
    for conditions, action in decision.cases:
        code += _resolve([*map(_compare, conditions)], action)
    return [*code, Instruction(_RETURN, decision.otherwise)]


def _resolve(comparisons: Sequence[Code], action: int) -> Code:
    """All comparisons and the action, jumped over where one fails."""
    left = sum(map(len, comparisons)) + 1
    code = []
    for comparison in comparisons:
        behind = left - len(comparison)  # what follows this comparison, the action included
        for at, one in enumerate(comparison):
            met = len(comparison) - at - 1
            targets = {_MET: met, _FAILED: met + behind}
            code.append(
                Instruction(
                    one.code, one.value, targets.get(one.yes, one.yes), targets.get(one.no, one.no)
                )
            )
        left = behind
    return [*code, Instruction(_RETURN, action)]


# Each is one of two tests of the lower half, or what that test is not.
_ORDERED = {
    Op.GT: (_IF_ABOVE, _MET, _FAILED),
    Op.LE: (_IF_ABOVE, _FAILED, _MET),
    Op.GE: (_IF_FROM, _MET, _FAILED),
    Op.LT: (_IF_FROM, _FAILED, _MET),
}


def _compare(condition: Condition) -> Code:
    """One argument's two halves, the higher first; little-endian, as all our machines are."""
    low = Instruction(_LOAD, _ARGUMENTS + 8 * condition.index)
    high = Instruction(_LOAD, _ARGUMENTS + 8 * condition.index + 4)
    top, bottom = condition.value >> 32, condition.value & _WORD
    if condition.op is Op.MASKED_EQ:
        wanted = condition.value_two
        return [
            *(high, Instruction(_AND, top), Instruction(_IF_EQUAL, wanted >> 32, 0, _FAILED)),
            *(low, Instruction(_AND, bottom)),
            Instruction(_IF_EQUAL, wanted & _WORD, _MET, _FAILED),
        ]
    if condition.op in (Op.EQ, Op.NE):
        met, failed = (_MET, _FAILED) if condition.op is Op.EQ else (_FAILED, _MET)
        return [
            *(high, Instruction(_IF_EQUAL, top, 0, failed)),
            *(low, Instruction(_IF_EQUAL, bottom, met, failed)),
        ]
    test, met, failed = _ORDERED[condition.op]
    return [
        *(high, Instruction(_IF_ABOVE, top, met, 0), Instruction(_IF_EQUAL, top, 0, failed)),
        *(low, Instruction(test, bottom, met, failed)),
    ]
