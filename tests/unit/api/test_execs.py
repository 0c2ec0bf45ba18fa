"""Exec sessions over HTTP."""

from __future__ import annotations

import pytest

from tests.unit.api.conftest import Api

UPGRADE = {"Connection": "Upgrade", "Upgrade": "tcp"}


async def running(api: Api) -> str:
    new = await api.create("sleep", name="web")
    assert (await api.call("POST", "/containers/web/start")).status == 204
    return new


async def exec_of(api: Api, *words: str, **body: object) -> str:
    reply = await api.call("POST", "/containers/web/exec", {"Cmd": words, **body})
    assert reply.status == 201, reply.body
    return str(reply.json()["Id"])


async def test_create_start_inspect(api: Api) -> None:
    new = await running(api)
    session = await exec_of(api, "echo", "hi", AttachStdout=True, User="nobody")
    client = await api.client()
    start = {"Detach": False, "Tty": False}
    await client.request("POST", f"/v1.50/exec/{session}/start", start, UPGRADE)
    head = await client.head()
    assert head.status == 101
    assert head.headers["content-type"] == "application/vnd.docker.multiplexed-stream"
    assert await client.rest() == b"\x01\0\0\0\0\0\0\x03hi\n"
    shown = (await api.call("GET", f"/exec/{session}/json")).json()
    assert shown == {
        "ID": session,
        "Running": False,
        "ExitCode": 3,
        "ProcessConfig": {
            "tty": False,
            "entrypoint": "echo",
            "arguments": ["hi"],
            "privileged": False,
            "user": "nobody",
        },
        "OpenStdin": False,
        "OpenStderr": False,
        "OpenStdout": True,
        "CanRemove": False,
        "ContainerID": new,
        "DetachKeys": "",
        "Pid": 99,
    }


@pytest.mark.parametrize("tty", [False, True])
async def test_bytes_behind_the_body_are_the_streams(api: Api, tty: bool) -> None:
    await running(api)
    session = await exec_of(api, "echo", "hi", Tty=tty)
    client = await api.client()
    await client.send(
        f"POST /exec/{session}/start HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n".encode()
        + b"Content-Type: application/json\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n{}input"
    )
    assert (await client.head()).status == 101
    assert await client.rest() == (b"" if tty else b"\x01\0\0\0\0\0\0\x08") + b"hi\ninput"


async def test_detached(api: Api) -> None:
    await running(api)
    session = await exec_of(api, "echo", "hi")
    client = await api.client()
    reply = await client.call("POST", f"/exec/{session}/start", {"Detach": True})
    assert (reply.status, reply.headers["content-length"]) == (200, "0")
    assert (await client.call("GET", f"/exec/{session}/json")).json()["ExitCode"] == 3


async def test_resize(api: Api) -> None:
    await running(api)
    session = await exec_of(api, "sh", Tty=True)
    assert (await api.call("POST", f"/exec/{session}/resize?h=40&w=120")).status == 200
    assert api.engine.resizes == [(session, 40, 120)]


async def test_what_is_refused_is_refused_in_http(api: Api) -> None:
    await running(api)
    client = await api.client()
    for body, text in (
        ({}, "no exec command specified"),
        ({"Cmd": []}, "no exec command specified"),
        ({"Cmd": ["x"], "WorkingDir": "tmp"}, "absolute path"),
        ({"Cmd": ["x\0y"]}, "NUL"),
        ({"Cmd": [1]}, "invalid value for Cmd"),
    ):
        reply = await client.call("POST", "/containers/web/exec", body)
        assert reply.status == 400
        assert text in reply.json()["message"]
    assert (await client.call("POST", "/containers/nosuch/exec", {"Cmd": ["x"]})).status == 404
    assert (await client.call("POST", "/exec/nosuch/start", {})).status == 404
    session = await exec_of(api, "echo")
    await client.call("POST", f"/exec/{session}/start", {"Detach": True})
    await client.request("POST", f"/exec/{session}/start", {}, UPGRADE)
    assert (await client.reply()).status == 409  # has run
    session = await exec_of(api, "echo")
    await api.engine.pause("web")
    await client.request("POST", f"/exec/{session}/start", {}, UPGRADE)
    reply = await client.reply()
    assert (reply.status, "is paused" in reply.json()["message"]) == (409, True)
    await api.engine.unpause("web")
