"""Our filters and libseccomp's, which Docker uses, answer the same to the same rules.

Only to rules that libseccomp has an opinion about: for one call, one action, not the default's.
Numbers that are newer than the rules, or unknown, are ours alone (runc patches that in). And
where several rules are about one call, they compare by "equal" only: merging others libseccomp
2.5 loses some (allow mkdir if argument 4 < 2**32, and if argument 4 < 0: refused with 1 there).
"""

from __future__ import annotations

import ctypes
import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from supervisor.spec import seccomp
from supervisor.spec.seccomp.abis import Machine, numbers
from tests.support.seccomp_oracle import ACTIONS, AUDIT, X32_BIT, Call, run

LIBRARY = ctypes.CDLL("libseccomp.so.2")
# seccomp.h: enum scmp_compare, from _SCMP_CMP_MIN = 0 on
OPS = {
    f"SCMP_CMP_{name}": number
    for number, name in enumerate(("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"), 1)
}
# scmp.h's actions are the kernel's, with data in the lower bits.
TOKENS = {**AUDIT, "x32": AUDIT["i386"] & ~0x3 | 0x3E}  # EM_X86_64 without the bit for 64
WIDE = (1 << 64) - 1
X86_64 = Machine(name="x86_64", kernel=(6, 18))


class Comparison(ctypes.Structure):
    """struct scmp_arg_cmp."""

    _fields_ = (
        ("index", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("value", ctypes.c_uint64),
        ("value_two", ctypes.c_uint64),
    )


LIBRARY.seccomp_init.restype = ctypes.c_void_p
LIBRARY.seccomp_init.argtypes = (ctypes.c_uint32,)
LIBRARY.seccomp_release.argtypes = (ctypes.c_void_p,)
LIBRARY.seccomp_release.restype = None
LIBRARY.seccomp_arch_add.argtypes = (ctypes.c_void_p, ctypes.c_uint32)
LIBRARY.seccomp_arch_remove.argtypes = (ctypes.c_void_p, ctypes.c_uint32)
LIBRARY.seccomp_rule_add_array.argtypes = (
    *(ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint),
    ctypes.POINTER(Comparison),
)
LIBRARY.seccomp_export_bpf.argtypes = (ctypes.c_void_p, ctypes.c_int)
LIBRARY.seccomp_syscall_resolve_name_arch.argtypes = (ctypes.c_uint32, ctypes.c_char_p)


def theirs(profile: dict[str, Any]) -> bytes:
    """libseccomp's program for x86_64, and i386 where the profile names it."""
    context = LIBRARY.seccomp_init(ACTIONS[profile["defaultAction"]])
    assert context
    try:
        LIBRARY.seccomp_arch_add(context, TOKENS["x86_64"])
        if "SCMP_ARCH_X86" in profile.get("architectures", ()):
            assert LIBRARY.seccomp_arch_add(context, TOKENS["i386"]) == 0
        for rule in profile["syscalls"]:
            comparisons = [
                Comparison(a["index"], OPS[a["op"]], a["value"], a["valueTwo"])
                for a in rule["args"]
            ]
            for name in rule["names"]:
                # Of another ABI, libseccomp finds the call of the same name.
                result = LIBRARY.seccomp_rule_add_array(
                    *(context, ACTIONS[rule["action"]] | rule["errnoRet"]),
                    *(numbers("x86_64")[name], len(comparisons)),
                    (Comparison * len(comparisons))(*comparisons),
                )
                assert result == 0, (result, rule)
        fd = os.memfd_create("program")
        try:
            assert LIBRARY.seccomp_export_bpf(context, fd) == 0
            return os.pread(fd, os.fstat(fd).st_size, 0)
        finally:
            os.close(fd)
    finally:
        LIBRARY.seccomp_release(context)


def condition(index: int, ops: Sequence[str]) -> st.SearchStrategy[dict[str, Any]]:
    small = st.sampled_from([0, 1, 7, 1 << 31, (1 << 32) - 1])
    wide = small | st.sampled_from([1 << 32, 1 << 32 | 7, 1 << 63, WIDE])
    plain = st.fixed_dictionaries(
        {
            "index": st.just(index),
            "op": st.sampled_from(ops),
            "value": wide,
            "valueTwo": st.just(0),
        }
    )
    masked = st.tuples(wide, wide).map(
        lambda pair: {
            "index": index,
            "op": "SCMP_CMP_MASKED_EQ",
            "value": pair[0],
            "valueTwo": pair[1] & pair[0],
        }
    )
    return plain | masked if len(ops) > 1 else plain


def conjunctions(ops: Sequence[str]) -> st.SearchStrategy[list[dict[str, Any]]]:
    return st.sets(st.integers(0, 5), min_size=1, max_size=3).flatmap(
        lambda indexes: st.tuples(*(condition(index, ops) for index in sorted(indexes))).map(list)
    )


PLAIN_OPS = [op for op in OPS if op != "SCMP_CMP_MASKED_EQ"]
UNCONDITIONAL: list[list[dict[str, Any]]] = [[]]
alternatives = (
    st.just(UNCONDITIONAL)
    | conjunctions(PLAIN_OPS).map(lambda one: [one])
    | st.lists(conjunctions(["SCMP_CMP_EQ"]), min_size=2, max_size=4)
)
actions = st.sampled_from(
    [("SCMP_ACT_ALLOW", 0), ("SCMP_ACT_ERRNO", 5), ("SCMP_ACT_TRAP", 0), ("SCMP_ACT_LOG", 0)]
)
CALLS = ("read", "mkdir", "socketpair", "personality", "mlock2", "statx")
profiles = st.fixed_dictionaries(
    {
        "defaultAction": st.sampled_from(["SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRACE"]),
        "calls": st.dictionaries(
            st.sampled_from(CALLS), st.tuples(actions, alternatives), min_size=1
        ),
    }
)


def as_docker(profile: dict[str, Any]) -> dict[str, Any]:
    """The drawn rules as a profile."""
    rules = [
        {"names": [name], "action": action, "errnoRet": number, "args": conditions}
        for name, ((action, number), several) in profile["calls"].items()
        for conditions in several
    ]
    return {
        "defaultAction": profile["defaultAction"],
        "defaultErrnoRet": 0,
        "syscalls": rules,
    }


values = st.sampled_from([0, 1, 2, 6, 7, 8, 1 << 31, (1 << 32) - 1, 1 << 32, 1 << 32 | 7, WIDE])


@given(profile=profiles, arguments=st.lists(st.tuples(*[values] * 6), min_size=8, max_size=8))
@settings(deadline=None, max_examples=80, suppress_health_check=[*HealthCheck])
def test_the_same_answers(profile: dict[str, Any], arguments: Sequence[tuple[int, ...]]) -> None:
    rules = as_docker(profile)
    ours = seccomp.compile_profile(seccomp.read(json.dumps(rules)), X86_64, ())
    reference = theirs(rules)
    newest = max(numbers("x86_64")[rule["names"][0]] for rule in rules["syscalls"])
    for number in sorted(numbers("x86_64").values()):
        if number > newest and rules["defaultAction"] != "SCMP_ACT_TRACE":
            break
        named = any(numbers("x86_64")[name] == number for name in CALLS)
        for six in arguments if named else arguments[:1]:
            call = Call(number, AUDIT["x86_64"], six)
            assert run(ours, call)[0] == run(reference, call)[0], call


@given(
    names=st.sets(st.sampled_from(["read", "mkdir", "chmod", "mlock2", "statx"]), min_size=1),
    arguments=st.tuples(*[st.sampled_from([0, 1, 7, (1 << 32) - 1])] * 6),
)
@settings(deadline=None, max_examples=30)
def test_the_same_answers_to_i386(names: set[str], arguments: tuple[int, ...]) -> None:
    rules = {
        "defaultAction": "SCMP_ACT_KILL_PROCESS",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": [
            {"names": sorted(names), "action": "SCMP_ACT_ALLOW", "errnoRet": 0, "args": []}
        ],
    }
    ours = seccomp.compile_profile(seccomp.read(json.dumps(rules)), X86_64, ())
    reference = theirs(rules)
    for abi in ("x86_64", "i386"):
        newest = max(numbers(abi)[name] for name in names)
        for number in numbers(abi).values():
            if number <= newest:
                call = Call(number, AUDIT[abi], arguments)
                assert run(ours, call)[0] == run(reference, call)[0], call


def known(abi: str) -> Iterator[tuple[str, int, int]]:
    """(name, our number, theirs) of the calls that the library knows on the ABI."""
    for name, number in numbers(abi).items():
        found = LIBRARY.seccomp_syscall_resolve_name_arch(TOKENS[abi], name.encode())
        if found >= 0:
            yield name, number, found


@pytest.mark.parametrize("abi", AUDIT)
def test_the_same_numbers(abi: str) -> None:
    found = list(known(abi))
    assert len(found) > 250
    for name, ours, reference in found:
        assert ours == reference, name


def test_x32_numbers_have_their_bit() -> None:
    assert all(number & X32_BIT for _, number, _ in known("x32"))
