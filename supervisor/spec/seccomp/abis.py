"""The ABIs that a machine's kernel may run, and their system call numbers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from supervisor.spec.seccomp.table import COLUMNS, ROWS

X32_BIT = 0x40000000  # __X32_SYSCALL_BIT, asm/unistd.h: set in each of its numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Abi:
    """`audit` is AUDIT_ARCH_… (linux/audit.h); `marker` is in each of its numbers."""

    name: str
    audit: int
    marker: int = 0


_X86_64 = 0xC000003E
_ABIS = {
    abi.name: abi
    for abi in (
        Abi(name="x86_64", audit=_X86_64),
        # To the kernel x32 is x86_64 with other numbers.
        Abi(name="x32", audit=_X86_64, marker=X32_BIT),
        Abi(name="i386", audit=0x40000003),
        Abi(name="aarch64", audit=0xC00000B7),
        Abi(name="arm", audit=0x40000028),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The kernel that filters are for: its machine as `uname -m` has it, and its version."""

    name: str
    kernel: tuple[int, int]


# The machine's own ABI first; docker's word for the machine in `includes` and `excludes`.
_OF_MACHINE = {
    "x86_64": ("amd64", ("x86_64", "x32", "i386")),
    "aarch64": ("arm64", ("aarch64", "arm")),
}


def is_known(machine: str) -> bool:
    """Whether there are tables for this machine."""
    return machine in _OF_MACHINE


def docker_word(machine: str) -> str:
    """Docker's word for the machine, as in `includes.arches`."""
    return _OF_MACHINE[machine][0]


def abis_of(machine: str) -> tuple[Abi, ...]:
    """All ABIs of the machine, its own first."""
    return tuple(_ABIS[name] for name in _OF_MACHINE[machine][1])


@cache
def numbers(abi: str) -> dict[str, int]:
    """Name → number of each system call of the ABI, its marker included."""
    column, marker = COLUMNS.index(abi) + 1, _ABIS[abi].marker
    rows = (line.split(" ") for line in ROWS.split("\n") if line)
    return {row[0]: int(row[column]) | marker for row in rows if row[column] != "-"}


@cache
def names() -> frozenset[str]:
    """Every name of the tables, and those of ABIs that have none here."""
    return frozenset(line.partition(" ")[0] for line in ROWS.split("\n") if line) | _ELSEWHERE


_ELSEWHERE = frozenset(
    (
        *("riscv_flush_icache", "riscv_hwprobe", "s390_guarded_storage", "s390_pci_mmio_read"),
        *("s390_pci_mmio_write", "s390_runtime_instr", "s390_sthyi", "swapcontext", "cachectl"),
        *("spu_create", "spu_run", "switch_endian", "subpage_prot", "rtas", "multiplexer"),
        *("sysmips", "timerfd", "atomic_barrier", "atomic_cmpxchg_32", "getpagesize"),
        *("sys_debug_setcontext", "pciconfig_iobase", "pciconfig_read", "pciconfig_write"),
    )
)
