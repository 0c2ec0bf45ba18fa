"""What users write: templates, compose files, seccomp profiles, files of variables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

from supervisor.cli.apply.project import Source, read
from supervisor.cli.apply.variable_files import variables_of
from supervisor.cli.apply.variables import expand
from supervisor.cli.failures import Failure
from supervisor.cli.template import Template, evaluator
from supervisor.errors import InvalidArgument
from supervisor.spec.seccomp import compile_profile
from supervisor.spec.seccomp.abis import Machine
from supervisor.spec.seccomp.decode import decode
from tests.fuzz.target import Target
from tests.support.seccomp_oracle import Call, check_as_the_kernel, run
from tests.unit.cli.template_cases import CASES, CONTAINER, REFUSED

_STEPS = 2000
_FOLDER = Path("/nonexistent/orlop")
_FILE = _FOLDER / "variables"


def templates(data: bytes) -> None:
    """A template shows the value, or says in one line what is wrong with it."""
    text = data.decode("utf-8", "replace")
    with patch.object(evaluator, "MAX_STEPS", _STEPS):
        for value in (CONTAINER, None, [1, "a", {"b": [None, 1.5, True]}]):
            said = ""
            try:
                Template(text).render(value)
            except Failure as failure:
                said = failure.message
            assert "\n" not in said


def projects(data: bytes) -> None:
    """A file for `orlop apply`: a project, or problems with their places."""
    text = data.decode("utf-8", "replace")
    source = Source(text=text, folder=_FOLDER, variables={"A": "b"}, fallback="shop")
    with patch.object(Path, "read_text", lambda *_, **__: "A=b\n"):
        found = read(source)
    assert (found.project is None) == bool(found.problems)
    lines = text.count("\n") + text.count("\r") + text.count("\x85") + 3
    for place, said in (*found.problems, *found.warnings):
        assert 1 <= place.line <= lines + text.count("\u2028") + text.count("\u2029")
        assert place.column >= 1
        assert said
    if found.project is not None:
        for service in found.project.services:
            json.dumps(service.config)


def variables(data: bytes) -> None:
    """A file of variables, and texts with variables in them."""
    text = data.decode("utf-8", "replace")
    with patch.object(Path, "read_text", lambda *_, **__: text):
        try:
            found = variables_of(_FILE, {"A": "b"})
        except ValueError:
            found = {"A": "b"}
    assert all(name and not set(name) & set(" \t\n=") for name in found)
    try:
        expand(text, found, lambda name: None)
    except ValueError:
        return


_MACHINES = (Machine(name="x86_64", kernel=(6, 1)), Machine(name="aarch64", kernel=(5, 10)))
_CALLS = (Call(0, 0xC000003E), Call(257, 0xC000003E, (1, 2, 3, 4, 5, 6)), Call(56, 0xC00000B7))


def profiles(data: bytes) -> None:
    """A seccomp profile: one error, or a program that the kernel would take."""
    text = data.decode("utf-8", "replace")
    try:
        profile = decode(text)
    except InvalidArgument:
        return
    assert isinstance(json.loads(text), dict)
    for machine in _MACHINES:
        try:
            program = compile_profile(profile, machine, ("CAP_SYS_ADMIN",))
        except InvalidArgument:
            continue
        check_as_the_kernel(program)
        for call in _CALLS:
            run(program, call)


_PROFILE: dict[str, Any] = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "defaultErrnoRet": 38,
    "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
    "syscalls": [
        {
            "names": ["clone", "read", "openat"],
            "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 1, "value": 2114060288, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}],
            "includes": {"caps": ["CAP_SYS_ADMIN"], "minKernel": "4.8"},
            "excludes": {"arches": ["s390"]},
        },
        {"name": "write", "action": "SCMP_ACT_TRACE", "errnoRet": 7},
    ],
}
# PyYAML is slow: many short files rather than one of everything.
_KEYS = (
    b'command: sh -c "echo 12 >/data/x"\n    volumes: [stock:/data, ./conf:/conf:ro]',
    b"networks: {back: {aliases: [store], ipv4_address: 10.95.0.3}}",
    b'healthcheck: {test: ["CMD", "true"], interval: 200ms, retries: 50}',
    b'environment: {A: $A, B: "${B:-x}"}\n    env_file: [.env]',
    b'ports: ["127.0.0.1:8080:${PORT:-80}", {target: 80, published: "81"}]',
    b"volumes:\n    - {type: tmpfs, target: /t, tmpfs: {size: 1m}}",
    b'deploy: {replicas: 2, resources: {limits: {cpus: "0.5"}}}\n    mem_limit: 64m',
    b"ulimits: {nofile: {soft: 1, hard: 2}}\n    restart: on-failure:3",
    b"depends_on: {b: {condition: service_healthy}}\n  b: &b {image: x}\n  c: {<<: *b}",
    b'network_mode: "service:b"\n  b: {image: x}',
    b"labels: [a=b]\n    user: 1:1\n    sysctls: {net.ipv4.ip_forward: 1}\n    shm_size: 1m",
)
_REST = (
    (
        b"name: shop\nservices: {a: {image: b}}\nnetworks:\n  back: {internal: true, ipam: "
        b"{config: [{subnet: 10.95.0.0/24}]}}\n"
    ),
    b"services: {a: {image: b}}\nvolumes: {stock: {driver_opts: {type: tmpfs}}}\nx-a: 1\n",
)

TARGETS = (
    Target(
        name="template",
        run=templates,
        seeds=(
            *(template.encode() for template, _ in CASES),
            *(template.encode() for template in REFUSED),
        ),
        words=(
            *(b"{{", b"}}", b"{{- ", b" -}}", b"range ", b"if ", b"with ", b"else", b"end", b"("),
            *(b")", b"|", b"$x", b":=", b".", b"json ", b"index ", b"slice ", b"printf ", b'"%d"'),
            *(b"join ", b"split ", b"len ", b"pad ", b"truncate ", b"eq ", b"and ", b"`", b"'a'"),
        ),
        longest=1024,
        cost=4,
    ),
    Target(
        name="compose",
        run=projects,
        seeds=(
            *_REST,
            *(b"services:\n  a:\n    image: b\n    " + keys + b"\n" for keys in _KEYS),
        ),
        words=(
            *(
                b": ",
                b"- ",
                b"\n  ",
                b"*web",
                b"&a ",
                b"<<: ",
                b"${",
                b"$$",
                b"~",
                b"|",
                b">",
                b"{",
            ),
            *(b"[", b"!!int ", b"? ", b"---\n", b"%YAML 1.1\n", b"\t", b"service:", b"networks:"),
        ),
        longest=3000,
        cost=20,
    ),
    Target(
        name="seccomp",
        run=profiles,
        seeds=(
            json.dumps(_PROFILE).encode(),
            (
                b'{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir"],'
                b'"action":"SCMP_ACT_ERRNO","args":[{"index":0,"value":1,"op":"SCMP_CMP_GT"}]}]}'
            ),
        ),
        words=(
            *(b"SCMP_ACT_", b"SCMP_CMP_", b'"args"', b'"op"', b"null", b"[", b"{}", b"NaN"),
            *(b"18446744073709551615", b"-1", b"1e3", b"true", b'"errno":"EPERM"'),
        ),
        cost=4,
    ),
    Target(
        name="variables",
        run=variables,
        seeds=(b"A=b\nexport C='d e' # f\n# g\nH\n", b"${A:-${B:-c}} $A $$ ${X:?no}", b'I="j"'),
        words=(
            b"${",
            b"${A:-",
            b"}",
            b"$",
            b":-",
            b":?",
            b"+",
            b"=",
            b"'",
            b'"',
            b"#",
            b"\n",
            b"export ",
        ),
        longest=6000,
    ),
)
