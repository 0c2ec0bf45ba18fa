"""Profiles as BPF programs: every program does what its profile says, whatever the call."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.errors import InvalidArgument
from supervisor.spec import seccomp
from supervisor.spec.seccomp.abis import Machine, numbers
from supervisor.spec.seccomp.words import Op
from tests.support.seccomp_oracle import (
    ABSENT,
    ACTIONS,
    ALLOW,
    AUDIT,
    X32_BIT,
    Call,
    ReadsArguments,
    check_as_the_kernel,
    judge,
    run,
)

X86_64 = Machine(name="x86_64", kernel=(6, 18))
EDGES = sorted(
    {
        value
        for middle in (0, 2, 1 << 31, 1 << 32, (1 << 32) + 2, 1 << 63, 1 << 64)
        for value in (middle - 1, middle, middle + 1)
        if 0 <= value < 1 << 64
    }
)
FEW = ("read", "mkdir", "clone", "socket", "chown32", "io_setup", "mseal", "msael")
NUMBERS = [*range(480), *range(X32_BIT, X32_BIT + 5), X32_BIT + 520, X32_BIT + 600]
NUMBERS += [983041, X32_BIT - 1, (1 << 31) - 1, 1 << 31, (1 << 32) - 1]
KILL = ACTIONS["SCMP_ACT_KILL_PROCESS"]
REFUSED = ACTIONS["SCMP_ACT_ERRNO"] | 1

values = st.sampled_from(EDGES) | st.integers(0, (1 << 64) - 1)
conditions = st.fixed_dictionaries(
    {
        "index": st.integers(0, 5),
        "op": st.sampled_from([*Op]).map(str),
        "value": values,
        "valueTwo": values,
    }
)
capability_names = st.sampled_from(["CAP_SYS_ADMIN", "CAP_CHOWN"])
wheres = st.fixed_dictionaries(
    {},
    optional={
        "caps": st.lists(capability_names, max_size=2),
        "arches": st.lists(st.sampled_from(["amd64", "arm64", "s390x"]), max_size=2),
        "minKernel": st.sampled_from(["4.8", "6.18", "6.19", "10.0"]),
    },
)
errnos = st.none() | st.integers(0, 4095)
rules = st.fixed_dictionaries(
    {
        "names": st.lists(st.sampled_from(FEW), min_size=1, max_size=3),
        "action": st.sampled_from([*ACTIONS]),
    },
    optional={
        "errnoRet": errnos,
        "args": st.lists(conditions, max_size=4),
        "includes": wheres,
        "excludes": wheres,
    },
)
profiles = st.fixed_dictionaries(
    {"defaultAction": st.sampled_from([*ACTIONS])},
    optional={
        "defaultErrnoRet": errnos,
        "syscalls": st.lists(rules, max_size=6),
        "architectures": st.lists(
            st.sampled_from(["SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_ARM", "SCMP_ARCH_S390"]),
            max_size=3,
        ),
    },
)


def compiled(
    profile: dict[str, Any], machine: Machine = X86_64, capabilities: tuple[str, ...] = ()
) -> bytes:
    """The program, checked as the kernel checks it."""
    program = seccomp.compile_profile(seccomp.read(json.dumps(profile)), machine, capabilities)
    check_as_the_kernel(program)
    return program


def result(profile: dict[str, Any], name: str, *arguments: int, abi: str = "x86_64") -> int:
    """What the profile's program answers to one call."""
    six = (*arguments, *[0] * (6 - len(arguments)))
    return run(compiled(profile), Call(numbers(abi)[name], AUDIT[abi], six))[0]


def rule(name: str, action: str = "SCMP_ACT_ALLOW", **more: Any) -> dict[str, Any]:
    return {"names": [name], "action": action, **more}


def argument(index: int, op: str, value: int, value_two: int = 0) -> dict[str, Any]:
    return {"index": index, "op": f"SCMP_CMP_{op}", "value": value, "valueTwo": value_two}


# --- any profile, any call ----------------------------------------------------------------------


@given(
    profile=profiles,
    machine=st.sampled_from(["x86_64", "aarch64"]),
    capabilities=st.sets(capability_names).map(lambda names: tuple(sorted(names))),
    arguments=st.lists(st.tuples(*[values] * 6), min_size=1, max_size=4),
)
@settings(deadline=None, max_examples=60)
def test_the_program_does_what_the_profile_says(
    profile: dict[str, Any],
    machine: str,
    capabilities: tuple[str, ...],
    arguments: list[tuple[int, ...]],
) -> None:
    program = compiled(profile, Machine(name=machine, kernel=(6, 18)), capabilities)
    named = {numbers(abi)[name] for abi in AUDIT for name in FEW if name in numbers(abi)}
    for audit in {*AUDIT.values(), 0}:
        for number in {*NUMBERS, *named}:
            for six in arguments if number in named else arguments[:1]:
                call = Call(number, audit, six)
                wanted = judge(profile, call, machine, capabilities=capabilities)
                assert run(program, call)[0] == wanted, call


@given(condition=conditions, arguments=st.tuples(*[values] * 6))
@settings(deadline=None, max_examples=300)
def test_every_comparison_of_64_bits(condition: dict[str, Any], arguments: tuple[int, ...]) -> None:
    profile = {
        "defaultAction": "SCMP_ACT_KILL_PROCESS",
        "syscalls": [rule("read", args=[condition])],
    }
    program = compiled(profile)
    near = [
        value + step for value in (condition["value"], condition["valueTwo"]) for step in (-1, 0, 1)
    ]
    for value in (*arguments, *(value % (1 << 64) for value in near)):
        six = tuple(value if index == condition["index"] else 0 for index in range(6))
        call = Call(0, AUDIT["x86_64"], six)
        assert run(program, call)[0] == judge(profile, call, "x86_64"), (condition, value)


# --- what the kernel needs ----------------------------------------------------------------------


def test_any_number_is_found_in_few_steps_that_read_no_argument() -> None:
    names = [name for name, number in numbers("x86_64").items() if number % 3]
    profile = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW"}],
    }
    program = compiled(profile)
    for number in NUMBERS:
        _, steps = run(program, Call(number, AUDIT["x86_64"]), constant=True)
        assert steps <= 4 + 9 + 2  # ABI, number, return; 300 spans, halved; two far jumps


def test_only_calls_with_conditions_read_arguments() -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [rule("read"), rule("clone", args=[argument(0, "EQ", 1)])],
    }
    program = compiled(profile)
    assert run(program, Call(0, AUDIT["x86_64"]), constant=True)[0] == ALLOW
    with pytest.raises(ReadsArguments):
        run(program, Call(56, AUDIT["x86_64"]), constant=True)


def test_jumps_farther_than_a_conditional_jump_can() -> None:
    names = [*numbers("x86_64")][:120:4]
    allowed = [rule(name, args=[argument(0, "EQ", 7 * n) for n in range(12)]) for name in names]
    profile = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": allowed}
    program = compiled(profile)
    assert len(program) > 8 * 1000
    jumps = [program[at] for at in range(0, len(program), 8) if program[at] == 0x05]
    assert jumps
    for number in NUMBERS:
        for value in (0, 6, 7, 77, 78, 7 << 32):
            call = Call(number, AUDIT["x86_64"], (value, 0, 0, 0, 0, 0))
            assert run(program, call)[0] == judge(profile, call, "x86_64")


@pytest.mark.parametrize(
    "names, conditions",
    [(1, 64), (40, 64), (300, 3)],
)
def test_what_is_longer_than_the_kernel_takes_is_refused(names: int, conditions: int) -> None:
    several = [
        {
            "names": [*numbers("x86_64")][:names],
            "action": "SCMP_ACT_ALLOW",
            "args": [argument(0, "GE", 1 << 40 | n) for n in range(conditions)],
        }
        for _ in range(20 if names == 1 else 1)
    ]
    with pytest.raises(InvalidArgument, match=r"conditions on arguments|instructions"):
        compiled({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": several})


# --- what a profile means -----------------------------------------------------------------------


def test_the_strictest_matching_rule_decides_in_any_order() -> None:
    some = [
        rule("ioctl"),
        rule("ioctl", "SCMP_ACT_ERRNO", errnoRet=5, args=[argument(1, "EQ", 9)]),
        rule("ioctl", "SCMP_ACT_KILL_PROCESS", args=[argument(1, "GE", 9), argument(0, "EQ", 1)]),
    ]
    for order in ([0, 1, 2], [2, 1, 0], [1, 0, 2]):
        profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [some[i] for i in order]}
        assert result(profile, "ioctl", 0, 8) == ALLOW
        assert result(profile, "ioctl", 0, 9) == ACTIONS["SCMP_ACT_ERRNO"] | 5
        assert result(profile, "ioctl", 1, 9) == KILL


def test_conditions_on_one_argument_each_stand_for_themselves() -> None:
    either = rule("socket", "SCMP_ACT_ERRNO", args=[argument(0, "EQ", 38), argument(0, "EQ", 40)])
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [either]}
    assert [result(profile, "socket", family) for family in (38, 39, 40)] == [
        *(REFUSED, ALLOW, REFUSED)
    ]


def test_what_the_tables_do_not_know_is_absent_unless_calls_pass() -> None:
    for action in ("SCMP_ACT_ERRNO", "SCMP_ACT_KILL"):
        profile = {"defaultAction": action, "syscalls": [rule("openat2")]}
        program = compiled(profile)
        answers = {n: run(program, Call(n, AUDIT["x86_64"]))[0] for n in (437, 436, 400, 438, 999)}
        known = REFUSED if action == "SCMP_ACT_ERRNO" else 0
        # 400 is a hole; 438 is known, but newer than the newest call that the profile names.
        assert answers == {437: ALLOW, 436: known, 400: ABSENT, 438: ABSENT, 999: ABSENT}
    program = compiled({"defaultAction": "SCMP_ACT_LOG"})
    assert run(program, Call(999, AUDIT["x86_64"]))[0] == ACTIONS["SCMP_ACT_LOG"]


def test_other_abis_are_absent_unless_the_profile_names_them() -> None:
    every = {"defaultAction": "SCMP_ACT_ALLOW"}
    assert result(every, "read", abi="i386") == ABSENT
    assert result(every, "read", abi="x32") == ABSENT
    assert result(every, "read", abi="aarch64") == ABSENT
    named = {**every, "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_ARM"]}
    assert result(named, "read", abi="i386") == ALLOW
    assert result(named, "read", abi="x32") == ABSENT
    assert result(named, "read", abi="arm") == ABSENT  # no x86_64 runs it
    both = [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X32"]}]
    assert result({**every, "archMap": both}, "read", abi="x32") == ALLOW
    others = [{"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_X86"]}]
    assert result({**every, "archMap": others}, "read", abi="i386") == ABSENT


def test_names_are_numbers_of_the_callers_abi() -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86"],
        "syscalls": [rule("mkdir"), rule("chown32")],
    }
    assert (numbers("x86_64")["mkdir"], numbers("i386")["mkdir"]) == (83, 39)
    assert result(profile, "mkdir") == result(profile, "mkdir", abi="i386") == ALLOW
    assert result(profile, "chown32", abi="i386") == ALLOW
    assert result(profile, "chown") == ABSENT  # newer than mkdir, all that x86_64 has of these
    assert result(profile, "chown", abi="i386") == REFUSED


def test_misspelt_names_are_told() -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [
            rule("mkdri", "SCMP_ACT_ERRNO"),
            rule("riscv_hwprobe"),
            rule("s390_future", includes={"arches": ["s390x"]}),
        ],
    }
    assert seccomp.misspelt(json.dumps(profile), X86_64, ()) == ("mkdri",)
    assert seccomp.misspelt("builtin", X86_64, ()) == ()


def test_flags_go_with_the_program() -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC"],
    }
    assert seccomp.compile_filter(json.dumps(profile), X86_64, ()).flags == 2
