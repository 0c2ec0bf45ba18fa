"""Words of Docker's seccomp profiles, and the kernel's values for them.

seccomp(2), linux/seccomp.h, linux/audit.h; the words are those of the OCI runtime
specification (config-linux.md, "Seccomp") and of moby's profiles/seccomp.
"""

from __future__ import annotations

import enum

KILL_PROCESS = 0x80000000
KILL_THREAD = 0x00000000
TRAP = 0x00030000
ERRNO = 0x00050000
TRACE = 0x7FF00000
LOG = 0x7FFC0000
ALLOW = 0x7FFF0000
ACTION_BITS = 0xFFFF0000
DATA_BITS = 0x0000FFFF

ACTIONS: dict[str, int] = {
    "SCMP_ACT_KILL": KILL_THREAD,
    "SCMP_ACT_KILL_THREAD": KILL_THREAD,
    "SCMP_ACT_KILL_PROCESS": KILL_PROCESS,
    "SCMP_ACT_TRAP": TRAP,
    "SCMP_ACT_ERRNO": ERRNO,
    "SCMP_ACT_TRACE": TRACE,
    "SCMP_ACT_LOG": LOG,
    "SCMP_ACT_ALLOW": ALLOW,
}
NOTIFY = "SCMP_ACT_NOTIFY"

FLAGS: dict[str, int] = {
    # All threads at once: there is one, before the program runs.
    "SECCOMP_FILTER_FLAG_TSYNC": 0,
    "SECCOMP_FILTER_FLAG_LOG": 1 << 1,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 1 << 2,
}

# What the architectures of a profile are called, and which of them have a column in our table.
ARCHITECTURES: dict[str, str] = {
    "SCMP_ARCH_X86_64": "x86_64",
    "SCMP_ARCH_X32": "x32",
    "SCMP_ARCH_X86": "i386",
    "SCMP_ARCH_AARCH64": "aarch64",
    "SCMP_ARCH_ARM": "arm",
}
OTHER_ARCHITECTURES = frozenset(
    f"SCMP_ARCH_{name}"
    for name in (
        *("LOONGARCH64", "M68K", "MIPS", "MIPS64", "MIPS64N32", "MIPSEL", "MIPSEL64"),
        *("MIPSEL64N32", "PARISC", "PARISC64", "PPC", "PPC64", "PPC64LE", "RISCV64"),
        *("S390", "S390X", "SH", "SHEB"),
    )
)


class Op(enum.StrEnum):
    """How an argument, 64 bits without a sign, is compared with a value.

    MASKED_EQ: the bits of `value` in the argument are those of `value_two`.
    """

    NE = "SCMP_CMP_NE"
    LT = "SCMP_CMP_LT"
    LE = "SCMP_CMP_LE"
    EQ = "SCMP_CMP_EQ"
    GE = "SCMP_CMP_GE"
    GT = "SCMP_CMP_GT"
    MASKED_EQ = "SCMP_CMP_MASKED_EQ"


def strictness(action: int) -> int:
    """The kernel's own order of actions (kernel/seccomp.c): lower is stricter."""
    bits = action & ACTION_BITS
    return bits - (1 << 32) if bits & KILL_PROCESS else bits


def lets_pass(action: int) -> bool:
    """The call is made, or left to a tracer."""
    return action & ACTION_BITS in (ALLOW, LOG, TRACE)
