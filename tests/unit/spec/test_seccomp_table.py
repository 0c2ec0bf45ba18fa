"""System call numbers, compared with the kernel's own headers where they are installed."""

from __future__ import annotations

import platform
import re
from pathlib import Path

import pytest

from supervisor.kernel._call import SYS
from supervisor.spec.seccomp import abis, has_tables
from supervisor.spec.seccomp.table import COLUMNS, ROWS

INCLUDE = Path("/usr/include")
LAST = 471  # rseq_slice_yield, the newest call of the tables
FILES = {"x86_64": "unistd_64.h", "x32": "unistd_x32.h", "i386": "unistd_32.h"}
# Names of 32-bit machines in asm-generic/unistd.h, which has both in one file.
ONLY_32_BITS = re.compile(
    r".*(_time64|time64|_time32)|clock_(get|set|adj)time64|timer(fd)?_[gs]ettime64|"
    r"(f?statfs|f?truncate|fcntl|fstat|fstatat|sendfile|l?stat)64|llseek|mmap2|fadvise64_64|"
    r"arch_specific_syscall|syscalls|sync_file_range2"
)


def header(abi: str) -> dict[str, int]:
    """Name → number in this host's header of the ABI; {} where it is not installed."""
    found = sorted(INCLUDE.glob(f"x86_64-linux-gnu/asm/{FILES[abi]}")) or sorted(
        INCLUDE.glob(f"asm/{FILES[abi]}")
    )
    pattern = r"#define __NR_(\w+) (?:\(__X32_SYSCALL_BIT \+ )?(\d+)\)?$"
    text = found[0].read_text() if found else ""
    return {name: int(number) for name, number in re.findall(pattern, text, re.MULTILINE)}


@pytest.mark.parametrize("abi", FILES)
def test_the_tables_are_the_headers(abi: str) -> None:
    known = header(abi)
    ours = {name: n & ~abis.X32_BIT for name, n in abis.numbers(abi).items()}
    assert {name: ours.get(name) for name, n in known.items() if n <= LAST} == {
        name: n for name, n in known.items() if n <= LAST
    }
    newest = max(known.values(), default=LAST)
    gone = {name for name, n in ours.items() if n <= newest and name not in known}
    # Numbers in the gaps of old tables, younger than the headers of some hosts.
    assert not known or gone <= {"uretprobe", "uprobe"} | {
        name for name, n in ours.items() if n > 423
    }


def test_aarch64s_are_the_generic_ones() -> None:
    path = INCLUDE / "asm-generic/unistd.h"
    text = path.read_text() if path.exists() else ""
    wide = dict(re.findall(r"#define __NR3264_(\w+) (\d+)", text))
    plain = dict(re.findall(r"#define __NR_(\w+) (\d+)", text))
    alias = re.findall(r"#define __NR_(\w+) __NR3264_(\w+)", text)
    plain |= {name: wide[target] for name, target in alias if target in wide}
    ours = abis.numbers("aarch64")
    for name, number in plain.items():
        if int(number) <= LAST and not ONLY_32_BITS.fullmatch(name):
            assert ours[name] == int(number), name


def test_numbers_of_our_own_calls_agree() -> None:
    if has_tables(platform.machine()):
        own = abis.numbers(abis.abis_of(platform.machine())[0].name)
        assert {name: own[name] for name in SYS} == SYS


@pytest.mark.parametrize(
    "abi, name, number",
    [
        # The kernel's arch/*/syscall*.tbl
        *(("x86_64", "uretprobe", 335), ("x86_64", "uprobe", 336), ("aarch64", "clone3", 435)),
        *(("aarch64", "openat", 56), ("aarch64", "newfstatat", 79), ("arm", "clone", 120)),
        *(("arm", "set_tls", 0xF0005), ("i386", "socketcall", 102), ("i386", "clone3", 435)),
        *(("x32", "read", 1 << 30), ("x32", "execve", 1 << 30 | 520)),
        *((abi, "mseal", 462) for abi in ("x86_64", "i386", "aarch64", "arm")),
        *((abi, "rseq_slice_yield", LAST) for abi in ("x86_64", "i386", "aarch64", "arm")),
    ],
)
def test_some_by_hand(abi: str, name: str, number: int) -> None:
    assert abis.numbers(abi)[name] == number


def test_rows_are_sorted_whole_and_number_each_call_once() -> None:
    rows = [line.split(" ") for line in ROWS.strip().split("\n")]
    assert rows == sorted(rows)
    assert {len(row) for row in rows} == {1 + len(COLUMNS)}
    for abi in COLUMNS:
        numbers = abis.numbers(abi)
        twice = len(numbers) - len(set(numbers.values()))
        assert twice == (1 if abi == "arm" else 0)  # arm_sync_file_range is sync_file_range2


def test_newer_calls_have_one_number_everywhere() -> None:
    for row in (line.split(" ") for line in ROWS.strip().split("\n")):
        newer = {n for n in row[1:4] if n != "-" and 424 <= int(n) < 512}
        assert len(newer) <= 1, row


def test_machines() -> None:
    assert [abi.name for abi in abis.abis_of("x86_64")] == ["x86_64", "x32", "i386"]
    assert [abi.name for abi in abis.abis_of("aarch64")] == ["aarch64", "arm"]
    assert not has_tables("riscv64")
