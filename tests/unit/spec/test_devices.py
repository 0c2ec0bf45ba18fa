"""Device rules as a BPF program, run by a small interpreter and compared with the rules."""

from __future__ import annotations

import struct
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.errors import InvalidArgument
from supervisor.spec.devices import ALLOW_ALL, DEFAULT_NODES, DEFAULT_RULES, assemble
from supervisor.spec.types import DeviceRule

TYPES = {"b": 1, "c": 2}
ACCESS = {"m": 1, "r": 2, "w": 4}


def run(program: bytes, kind: str, access: str, major: int, minor: int) -> bool:
    """What the kernel does with the program; KeyError or AssertionError for a wrong one."""
    wanted = sum(ACCESS[letter] for letter in access)
    context = struct.pack("=III", wanted << 16 | TYPES[kind], major, minor)
    registers: dict[int, int] = {1: 0}  # R1 points at the context
    instructions = list(struct.iter_unpack("=BBhI", program))
    at = 0
    while True:
        opcode, both, offset, value = instructions[at]
        low, high = both & 15, both >> 4
        target, source = (low, high) if sys.byteorder == "little" else (high, low)
        at += 1
        if opcode == 0x95:
            return bool(registers[0])
        if opcode == 0x61:
            assert source == 1
            (registers[target],) = struct.unpack_from("=I", context, offset)
        elif opcode == 0xBC:
            registers[target] = registers[source]
        elif opcode == 0xB4:
            registers[target] = value
        elif opcode == 0x54:
            registers[target] &= value
        elif opcode == 0x74:
            registers[target] >>= value
        elif opcode in (0x16, 0x56):
            assert offset >= 0
            at += offset if (registers[target] == value) == (opcode == 0x16) else 0
        else:
            raise AssertionError(f"opcode {opcode:#x}")


def by_the_rules(rules: list[DeviceRule], kind: str, access: str, major: int, minor: int) -> bool:
    """The last matching rule decides, for each access by itself; none is a refusal."""

    def one(letter: str) -> bool:
        decision = False
        for rule in rules:
            if (
                rule.type in ("a", kind)
                and rule.major in (-1, major)
                and rule.minor in (-1, minor)
                and letter in rule.access
            ):
                decision = rule.allow
        return decision

    return all(one(letter) for letter in access)


accesses = st.sets(st.sampled_from("rwm"), min_size=1).map("".join)
numbers = st.integers(0, 3)
any_rules = st.lists(
    st.builds(
        DeviceRule,
        allow=st.booleans(),
        type=st.sampled_from("abc"),
        major=numbers | st.just(-1),
        minor=numbers | st.just(-1),
        access=accesses,
    ),
    max_size=12,
)


@given(any_rules, st.sampled_from("bc"), accesses, numbers, numbers)
def test_the_program_decides_as_the_rules(
    rules: list[DeviceRule], kind: str, access: str, major: int, minor: int
) -> None:
    expected = by_the_rules(rules, kind, access, major, minor)
    assert run(assemble(rules), kind, access, major, minor) == expected


@given(any_rules)
def test_every_instruction_can_be_reached(rules: list[DeviceRule]) -> None:
    """The verifier refuses a program otherwise; all jumps are forward and inside."""
    instructions = list(struct.iter_unpack("=BBhI", assemble(rules)))
    reached = {0}
    for at in range(len(instructions)):
        assert at in reached
        opcode, _, offset, _ = instructions[at]
        if opcode in (0x16, 0x56):
            reached.add(at + 1 + offset)
        if opcode != 0x95:
            reached.add(at + 1)
    assert max(reached) == len(instructions) - 1


@pytest.mark.parametrize(
    "kind, access, major, minor, allowed",
    [
        ("c", "rwm", 1, 3, True),  # null
        ("c", "rw", 1, 7, True),  # full
        ("c", "rw", 5, 2, True),  # ptmx
        ("c", "rw", 136, 77, True),  # a terminal
        ("c", "m", 10, 200, True),  # any node may be made…
        ("b", "m", 8, 0, True),
        ("b", "r", 8, 0, False),  # …but not opened
        ("b", "rm", 8, 0, False),
        ("c", "rw", 5, 1, False),  # the console of the host
        ("c", "r", 1, 1, False),  # mem
        ("c", "w", 10, 229, False),  # fuse
    ],
)
def test_the_default_rules(kind: str, access: str, major: int, minor: int, allowed: bool) -> None:
    assert run(assemble(DEFAULT_RULES), kind, access, major, minor) is allowed


def test_all_default_nodes_are_allowed() -> None:
    program = assemble(DEFAULT_RULES)
    assert [node.path for node in DEFAULT_NODES] == [
        f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "tty")
    ]
    assert all(run(program, n.type, "rw", n.major, n.minor) for n in DEFAULT_NODES)


def test_later_rules_are_added_to_the_defaults() -> None:
    fuse = DeviceRule(allow=True, type="c", major=10, minor=229, access="rw")
    program = assemble((*DEFAULT_RULES, fuse))
    assert run(program, "c", "rw", 10, 229)
    assert not run(program, "c", "rw", 10, 228)


def test_a_denied_write_denies_reading_and_writing_at_once() -> None:
    rules = (*ALLOW_ALL, DeviceRule(allow=False, type="c", major=1, minor=3, access="w"))
    program = assemble(rules)
    assert not run(program, "c", "rw", 1, 3)
    assert run(program, "c", "r", 1, 3)


def test_privileged_is_everything_and_nothing_is_nothing() -> None:
    assert run(assemble(ALLOW_ALL), "b", "rwm", 0xFFF, 0xFFFFF)
    assert not run(assemble(()), "c", "r", 1, 3)


@pytest.mark.parametrize(
    "rule",
    [
        DeviceRule(allow=True, type="x"),
        DeviceRule(allow=True, type=""),
        DeviceRule(allow=True, access=""),
        DeviceRule(allow=True, access="rx"),
        DeviceRule(allow=True, major=-2),
        DeviceRule(allow=True, minor=1 << 32),
    ],
)
def test_a_rule_that_is_none(rule: DeviceRule) -> None:
    with pytest.raises(InvalidArgument):
        assemble((rule, *ALLOW_ALL))
