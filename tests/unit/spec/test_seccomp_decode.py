"""Docker's JSON form of profiles: what it means, and what is said of what is wrong in it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.errors import InvalidArgument
from supervisor.spec.seccomp import words
from supervisor.spec.seccomp.decode import MAX_TEXT, decode
from supervisor.spec.seccomp.profile import Condition, Profile, Rule, Where
from supervisor.spec.seccomp.words import Op

ALLOW = {"names": ["read"], "action": "SCMP_ACT_ALLOW"}


def profile(**more: Any) -> Profile:
    return decode(json.dumps({"defaultAction": "SCMP_ACT_ERRNO", **more}))


def rule(**more: Any) -> Rule:
    return profile(syscalls=[{**ALLOW, **more}]).rules[0]


def test_a_profile_as_docker_writes_it() -> None:
    found = profile(
        defaultErrnoRet=38,
        archMap=[
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
            {"architecture": "SCMP_ARCH_RISCV64", "subArchitectures": None},
        ],
        syscalls=[
            {
                "names": ["clone", "clone3"],
                "action": "SCMP_ACT_ERRNO",
                "errnoRet": 38,
                "args": [{"index": 1, "value": 2114060288, "op": "SCMP_CMP_MASKED_EQ"}],
                "comment": "no namespaces",
                "includes": {"caps": ["CAP_SYS_PTRACE"], "minKernel": "4.8"},
                "excludes": {"arches": ["s390", "s390x"]},
            }
        ],
    )
    assert found == Profile(
        default=words.ERRNO | 38,
        arch_map=(("x86_64", ("i386",)), ("", ())),
        rules=(
            Rule(
                names=("clone", "clone3"),
                action=words.ERRNO | 38,
                conditions=(Condition(index=1, op=Op.MASKED_EQ, value=2114060288),),
                includes=Where(capabilities=("CAP_SYS_PTRACE",), min_kernel=(4, 8)),
                excludes=Where(machines=("s390", "s390x")),
            ),
        ),
    )


def test_null_is_absent() -> None:
    nothing = dict.fromkeys(("args", "includes", "excludes", "errnoRet", "comment", "name"))
    assert rule(**nothing) == rule()
    empty = dict.fromkeys(("architectures", "archMap", "syscalls", "flags", "defaultErrnoRet"))
    assert profile(**empty) == profile()
    assert rule(includes={"caps": None, "minKernel": ""}) == rule()


def test_the_old_single_name() -> None:
    old = {"name": "read", "action": "SCMP_ACT_ALLOW", "args": []}
    assert profile(syscalls=[old]) == profile(syscalls=[ALLOW])


def test_errors_by_name_as_podman_has_them() -> None:
    assert profile(defaultErrno="ENOSYS").default == words.ERRNO | 38
    named = rule(action="SCMP_ACT_ERRNO", errno="EINVAL")
    assert named.action == words.ERRNO | 22
    assert rule(action="SCMP_ACT_ERRNO", errno="EINVAL", errnoRet=13).action == words.ERRNO | 13


@pytest.mark.parametrize(
    "action, number, expected",
    [
        ("SCMP_ACT_ERRNO", None, words.ERRNO | 1),
        ("SCMP_ACT_ERRNO", 0, words.ERRNO),
        ("SCMP_ACT_ERRNO", 4095, words.ERRNO | 4095),
        ("SCMP_ACT_TRACE", 65535, words.TRACE | 65535),
        ("SCMP_ACT_ALLOW", 5, words.ALLOW),
        ("SCMP_ACT_KILL", None, words.KILL_THREAD),
        ("SCMP_ACT_KILL_PROCESS", None, words.KILL_PROCESS),
        ("SCMP_ACT_TRAP", None, words.TRAP),
        ("SCMP_ACT_LOG", None, words.LOG),
    ],
)
def test_actions(action: str, number: int | None, expected: int) -> None:
    assert rule(action=action, errnoRet=number).action == expected


def test_architectures_of_other_machines_are_left_out() -> None:
    named = ["SCMP_ARCH_X86_64", "SCMP_ARCH_S390X", "SCMP_ARCH_X32"]
    assert profile(architectures=named).architectures == ("x86_64", "x32")


TOP: list[tuple[dict[str, Any], str]] = [
    ({"defaultAction": None}, "defaultAction is missing: give one of SCMP_ACT_KILL,"),
    ({"defaultAction": "SCMP_ACT_MAYBE"}, "defaultAction: unknown action 'SCMP_ACT_MAYBE'"),
    ({"defaultAction": 5}, "defaultAction: a text is expected, not 5"),
    ({"defaultAction": "SCMP_ACT_NOTIFY"}, "SCMP_ACT_NOTIFY needs a seccomp agent"),
    ({"defaultErrnoRet": 4096}, "defaultErrnoRet: a whole number from 0 to 4095"),
    ({"defaultErrnoRet": -1}, "defaultErrnoRet: a whole number from 0 to 4095 is expected, not -1"),
    ({"defaultErrno": "EWHAT"}, "defaultErrno: unknown error 'EWHAT'"),
    ({"defaultErrno": "errorcode"}, "defaultErrno: unknown error 'errorcode'"),
    ({"default_action": "x"}, "the profile: unknown key 'default_action'; known are"),
    ({"listenerPath": "/run/agent"}, "listenerPath: there is no seccomp agent"),
    ({"architectures": ["SCMP_ARCH_VAX"]}, "unknown architecture 'SCMP_ARCH_VAX'"),
    ({"architectures": "SCMP_ARCH_X86"}, "architectures: a list is expected"),
    ({"archMap": [{"arch": "SCMP_ARCH_X86"}]}, "archMap: unknown key 'arch'"),
    ({"archMap": [{}]}, "archMap: architecture: a text is expected, not None"),
    (
        {"architectures": ["SCMP_ARCH_X86"], "archMap": [{"architecture": "SCMP_ARCH_X86"}]},
        "both 'architectures' and 'archMap'",
    ),
    ({"flags": ["SECCOMP_FILTER_FLAG_NEW_LISTENER"]}, "flags: 'SECCOMP_FILTER_FLAG_NEW_LISTENER'"),
    ({"syscalls": {}}, "syscalls: a list is expected, not {}"),
    ({"syscalls": [[]]}, "syscalls: rule 1: it: an object is expected, not []"),
    ({"syscalls": [{}] * 4097}, "syscalls: 4097 of them; at most 4096 are read"),
]
RULES: list[tuple[dict[str, Any], str]] = [
    ({"names": []}, "rule 2: names: name at least one system call"),
    ({"names": ["read", ""]}, "rule 2 (read): names: name at least one"),
    ({"names": ["x"] * 1025}, "rule 2: names: 1025 of them; at most 1024"),
    ({"name": "write"}, "rule 2: both 'name' and 'names'"),
    ({"action": "ALLOW"}, "rule 2 (read): action: unknown action 'ALLOW'"),
    ({"action": None}, "rule 2 (read): action: unknown action ''"),
    ({"arguments": []}, "rule 2: it: unknown key 'arguments'"),
    ({"action": "SCMP_ACT_ERRNO", "errnoRet": "1"}, "errnoRet: a whole number from 0 to 4095"),
    ({"action": "SCMP_ACT_TRACE", "errnoRet": 65536}, "errnoRet: a whole number from 0 to 65535"),
    ({"args": [{"index": 6, "op": "SCMP_CMP_EQ"}]}, "args: index: a whole number from 0 to 5"),
    ({"args": [{"index": True, "op": "SCMP_CMP_EQ"}]}, "args: index: a whole number"),
    ({"args": [{"op": "SCMP_CMP_IS"}]}, "args: unknown op 'SCMP_CMP_IS': give one of SCMP_CMP_NE"),
    ({"args": [{"index": 0}]}, "args: unknown op None"),
    ({"args": [{"op": "SCMP_CMP_EQ", "value": 1 << 64}]}, "args: value: a whole number from 0 to"),
    ({"args": [{"op": "SCMP_CMP_EQ", "value": -1}]}, "args: value: a whole number from 0 to"),
    ({"args": [{"op": "SCMP_CMP_EQ", "value": 1.0}]}, "args: value: a whole number from 0 to"),
    ({"args": [{"op": "SCMP_CMP_EQ", "valueTwo": 1 << 64}]}, "args: valueTwo: a whole number"),
    ({"args": [{"op": "SCMP_CMP_EQ", "val": 1}]}, "args: unknown key 'val'"),
    ({"args": [{"op": "SCMP_CMP_EQ"}] * 65}, "args: 65 of them; at most 64 are read"),
    ({"includes": {"cap": []}}, "includes: unknown key 'cap'"),
    ({"includes": {"caps": "CAP_CHOWN"}}, "includes.caps: a list is expected"),
    ({"excludes": {"arches": [1]}}, "excludes.arches: a text is expected, not 1"),
    ({"excludes": []}, "excludes: an object is expected"),
    *(
        ({"includes": {"minKernel": text}}, f"minKernel: '{text}' is not MAJOR.MINOR")
        for text in ("4", "4.8.1", "4.", "v4.8", "4.٨", "4.1000", "-1.0", " 4.8")
    ),
    ({"includes": {"minKernel": "0.0"}}, "minKernel: there is no Linux 0.0"),
]


@pytest.mark.parametrize("changes, words", TOP)
def test_a_wrong_profile_is_told(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        profile(**changes)
    assert error.value.message.startswith("seccomp profile: ")
    assert words in error.value.message


@pytest.mark.parametrize("changes, words", RULES)
def test_a_wrong_rule_is_told_by_its_number(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        profile(syscalls=[ALLOW, {**ALLOW, **changes}])
    assert "syscalls: rule 2" in error.value.message
    assert words in error.value.message


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('{"a": ' + "9" * 5000 + "}", "not JSON"),
        ("[]", "the profile: an object is expected"),
        ("null", "the profile: an object is expected"),
        ("{}", "defaultAction is missing"),
        (" " * (MAX_TEXT + 1), "more than 256 KiB"),
    ],
)
def test_what_is_no_profile_at_all(text: str, words: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        decode(text)
    assert words in error.value.message
    assert len(error.value.message) < 1000


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)
KEYS = ["defaultAction", "syscalls", "archMap", "architectures", "flags", "names", "action"]
KEYS += ["args", "includes", "excludes", "index", "op", "value", "caps", "minKernel", "errnoRet"]


@given(
    value=st.recursive(
        json_values | st.sampled_from([*words.ACTIONS, *Op, *words.ARCHITECTURES]).map(str),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6)
        ),
        max_leaves=25,
    )
)
def test_any_json_is_a_profile_or_an_error(value: Any) -> None:
    for whole in (value, {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [value]}):
        try:
            decode(json.dumps(whole))
        except InvalidArgument as error:
            said = error.message
        else:
            said = "seccomp profile: fine"
        assert said.startswith("seccomp profile: ")
