"""Bodies of update and exec."""

from __future__ import annotations

import json
from typing import Any

import pytest

from supervisor.docker.exec import (
    ExecBody,
    ExecStartBody,
    decode_exec,
    decode_exec_start,
)
from supervisor.docker.host_config import HostConfig, RestartPolicyBody
from supervisor.docker.update import apply_update, decode_update
from supervisor.errors import InvalidArgument
from tests.unit.docker.bodies import CLI_HOST

CLI_UPDATE: dict[str, Any] = {
    name: CLI_HOST[name]
    for name in CLI_HOST
    if name.startswith(("Blkio", "Cpu", "Memory", "Device", "IOMax", "Oom", "Pids", "Nano"))
    and name != "OomScoreAdj"
} | {"MemorySwappiness": None, "RestartPolicy": {"Name": "", "MaximumRetryCount": 0}}


def update(**fields: Any) -> bytes:
    return json.dumps({**CLI_UPDATE, **fields}).encode()


def test_an_update_of_nothing_changes_nothing() -> None:
    host = HostConfig(memory=1, restart_policy=RestartPolicyBody(name="always"))
    assert apply_update(host, decode_update(update())) == host


def test_an_update_changes_what_it_sets() -> None:
    host = HostConfig(memory=1, cpu_shares=5, restart_policy=RestartPolicyBody(name="always"))
    asked = decode_update(
        update(
            Memory=64 << 20,
            MemorySwap=-1,
            PidsLimit=100,
            RestartPolicy={"Name": "on-failure", "MaximumRetryCount": 3},
        )
    )
    changed = apply_update(host, asked)
    assert (changed.memory, changed.memory_swap, changed.pids_limit) == (64 << 20, -1, 100)
    assert changed.cpu_shares == 5
    assert changed.restart_policy == RestartPolicyBody(name="on-failure", maximum_retry_count=3)


@pytest.mark.parametrize(
    "fields,text",
    [
        ({"Devices": [{"PathOnHost": "/dev/x"}]}, "Devices cannot be updated"),
        ({"Ulimits": [{"Name": "nofile"}]}, "Ulimits cannot be updated"),
        ({"CpuRealtimePeriod": 5}, "CpuRealtimePeriod"),
        ({"Memory": "1"}, "invalid value for Memory"),
    ],
)
def test_updates_that_are_refused(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidArgument, match=text):
        decode_update(update(**fields))


def test_exec() -> None:
    body = decode_exec(
        b'{"User":"nobody","Privileged":false,"Tty":true,"ConsoleSize":[30,100],'
        b'"AttachStdin":true,"AttachStderr":true,"AttachStdout":true,"Detach":false,'
        b'"DetachKeys":"","Env":null,"WorkingDir":"/tmp","Cmd":["sh","-c","x"]}'
    )
    assert body == ExecBody(
        user="nobody",
        tty=True,
        console_size=(30, 100),
        attach_stdin=True,
        attach_stdout=True,
        attach_stderr=True,
        working_dir="/tmp",
        cmd=("sh", "-c", "x"),
    )
    assert decode_exec(b'{"Cmd":"ls"}').cmd == ("ls",)


def test_exec_start() -> None:
    assert decode_exec_start(b"") == decode_exec_start(b"{}") == ExecStartBody()
    asked = decode_exec_start(b'{"Detach":true,"Tty":true,"ConsoleSize":null}')
    assert asked == ExecStartBody(detach=True, tty=True)
    with pytest.raises(InvalidArgument, match="Detach"):
        decode_exec_start(b'{"Detach":"no"}')
