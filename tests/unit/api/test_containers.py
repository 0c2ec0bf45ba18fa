"""Container endpoints: what reaches the engine and what comes back."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from tests.unit.api.conftest import Api

POST = "POST"


async def test_create_start_inspect_delete(api: Api) -> None:
    reply = await api.call(
        POST, "/v1.50/containers/create?name=web", {"Image": "tools", "Cmd": ["echo", "hi"]}
    )
    assert reply.status == 201
    assert reply.json()["Warnings"] == []
    new = reply.json()["Id"]
    inspected = (await api.call("GET", "/containers/web/json")).json()
    assert inspected["Id"] == new
    assert inspected["Name"] == "/web"
    assert inspected["Path"] == "echo"
    assert inspected["Args"] == ["hi"]
    assert inspected["State"]["Status"] == "created"
    assert inspected["State"]["StartedAt"] == "0001-01-01T00:00:00Z"
    assert inspected["Config"]["Env"] == ["PATH=/bin"]
    assert (await api.call(POST, f"/containers/{new}/start")).status == 204
    await api.engine.find(new).over.wait()
    state = (await api.call("GET", f"/containers/{new[:12]}/json")).json()["State"]
    assert (state["Status"], state["Running"], state["ExitCode"]) == ("exited", False, 0)
    assert (await api.call("DELETE", "/containers/web")).status == 204
    gone = await api.call("GET", "/containers/web/json")
    assert (gone.status, gone.json()) == (404, {"message": "No such container: web"})


@pytest.mark.parametrize(
    "body,status,text",
    [
        (b"", 400, "EOF"),
        (b"{", 400, "invalid JSON"),
        (b"[]", 400, "expected an object"),
        (b"[" * 100_000, 400, "invalid JSON"),
        (b"\xff\xfe", 400, "invalid JSON"),
        ({"Image": "tools", "HostConfig": {"Memory": "1g"}}, 400, "HostConfig.Memory"),
        ({"Image": "nosuch"}, 404, "No such image: nosuch:latest"),
        ({"Image": "tools", "HostConfig": {"Links": ["a:b"]}}, 400, "Links (--link)"),
        ({"Image": "tools", "Env": ["=x"]}, 400, "invalid environment variable"),
    ],
)
async def test_create_refuses(api: Api, body: Any, status: int, text: str) -> None:
    reply = await api.call(POST, "/containers/create", body)
    assert reply.status == status
    assert text in reply.json()["message"]
    assert not api.engine.containers


async def test_create_needs_json(api: Api) -> None:
    client = await api.client()
    body = json.dumps({"Image": "tools"}).encode()
    reply = await client.call(POST, "/containers/create", None, {"Content-Type": "text/plain"})
    assert reply.status == 400
    assert "unsupported Content-Type" in reply.json()["message"]
    typed = {"content-type": "Application/JSON; charset=utf-8"}
    await client.send(
        b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n" % len(body)
        + b"".join(f"{k}: {v}\r\n".encode() for k, v in typed.items())
        + b"\r\n"
        + body
    )
    assert (await client.reply()).status == 201


@pytest.mark.parametrize(
    "platform,status",
    [("", 201), ("linux", 201), ("windows/amd64", 404), ("linux/s390x", 404)],
)
async def test_create_for_a_platform(api: Api, platform: str, status: int) -> None:
    target = f"/containers/create?platform={quote(platform, safe='')}"
    assert (await api.call(POST, target, {"Image": "tools"})).status == status


async def test_a_name_that_is_taken(api: Api) -> None:
    await api.create("echo", name="web")
    reply = await api.call(POST, "/containers/create?name=web", {"Image": "tools"})
    assert reply.status == 409
    assert "already in use" in reply.json()["message"]


async def test_start_and_stop_twice_are_304(api: Api) -> None:
    new = await api.create("sleep")
    assert (await api.call(POST, f"/containers/{new}/start")).status == 204
    assert (await api.call(POST, f"/containers/{new}/start")).status == 304
    assert (await api.call(POST, f"/containers/{new}/stop?t=3&signal=INT")).status == 204
    assert (await api.call(POST, f"/containers/{new}/stop")).status == 304
    assert (await api.call(POST, f"/containers/{new}/stop?t=-1")).status == 304
    assert api.engine.stops == [(3.0, "INT"), (None, None), (-1.0, None)]


async def test_start_with_a_body_is_refused(api: Api) -> None:
    new = await api.create("sleep")
    reply = await api.call(POST, f"/containers/{new}/start", {"Binds": ["/:/x"]})
    assert reply.status == 400
    assert (await api.call(POST, f"/containers/{new}/start", {})).status == 204


async def test_a_command_that_is_missing(api: Api) -> None:
    new = await api.create("/nonexistent")
    waiting = await api.client()
    await waiting.request(POST, f"/containers/{new}/wait?condition=next-exit")
    await waiting.head()
    reply = await api.call(POST, f"/containers/{new}/start")
    assert reply.status == 400
    assert "no such file or directory" in reply.json()["message"]
    # dockerd sends the code without an error, or clients would exit with 125.
    assert await waiting.chunk() == b'{"StatusCode":127}\n'


async def test_restart_kill_pause_unpause_rename(api: Api) -> None:
    new = await api.create("sleep", name="web")
    path = f"/containers/{new}"
    assert (await api.call(POST, f"{path}/start")).status == 204
    assert (await api.call(POST, f"{path}/pause")).status == 204
    assert api.engine.inspect(new).status == "paused"
    assert (await api.call(POST, f"{path}/unpause")).status == 204
    assert (await api.call(POST, f"{path}/restart?t=1")).status == 204
    assert api.engine.stops == [(1.0, None)]
    assert (await api.call(POST, f"{path}/rename?name=web2")).status == 204
    assert api.engine.inspect("web2").id == new
    assert (await api.call(POST, f"{path}/kill?signal=WINCH")).status == 204
    await api.engine.find(new).over.wait()
    assert (await api.call(POST, f"{path}/kill")).status == 409
    assert api.engine.kills == ["WINCH"]


@pytest.mark.parametrize("query", ["t=x", "t=1.5", "t=\uff11", "t=" + "9" * 30])
async def test_stop_with_a_time_that_is_none(api: Api, query: str) -> None:
    new = await api.create("sleep")
    name, _, value = query.partition("=")
    reply = await api.call(POST, f"/containers/{new}/stop?{name}={quote(value)}")
    assert reply.status == 400
    assert "not a number" in reply.json()["message"]


async def test_resize(api: Api) -> None:
    new = await api.create("sleep")
    reply = await api.call(POST, f"/containers/{new}/resize?h=30&w=100")
    assert (reply.status, reply.headers["content-length"]) == (200, "0")
    assert api.engine.resizes == [(new, 30, 100)]
    for query in ("h=30", "h=30&w=x", "h=30&w=65536", "h=-1&w=1"):
        assert (await api.call(POST, f"/containers/{new}/resize?{query}")).status == 400


async def test_top(api: Api) -> None:
    new = await api.create("sleep")
    reply = await api.call("GET", f"/containers/{new}/top?ps_args=-o+pid%2Ccomm")
    assert reply.json() == {"Titles": ["PID", "CMD"], "Processes": [["4711", "-o pid,comm"]]}
    reply = await api.call("GET", f"/containers/{new}/top")
    assert reply.json()["Processes"] == [["4711", "-ef"]]


async def test_impair(api: Api) -> None:
    new = (await api.call(POST, "/containers/create", {"Image": "tools"})).json()["Id"]
    body = {"Network": "n1", "LossPercent": 1.5, "DelayMs": 100, "JitterMs": 10}
    assert (await api.call(POST, f"/containers/{new}/impair", body)).status == 204
    assert (await api.call(POST, f"/containers/{new}/impair", {})).status == 204
    first, second = api.engine.impairments
    assert (first.network, first.loss_percent, first.delay_ms, first.jitter_ms) == (
        *("n1", 1.5, 100),
        10,
    )
    assert (second.network, second.loss_percent, second.delay_ms) == ("", 0, 0)
    for wrong in (
        {"LossPercent": 101},
        {"LossPercent": -1},
        {"DelayMs": -1},
        {"DelayMs": 1e9},
        {"JitterMs": 5},
        {"Network": 5},
    ):
        reply = await api.call(POST, f"/containers/{new}/impair", wrong)
        assert reply.status == 400
        assert next(iter(wrong)) in reply.json()["message"]
    assert (await api.call(POST, "/containers/nobody/impair", {})).status == 404


async def test_update(api: Api) -> None:
    new = await api.create("sleep")
    body = {"Memory": 1 << 26, "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}}
    reply = await api.call(POST, f"/containers/{new}/update", body)
    assert (reply.status, reply.json()) == (200, {"Warnings": None})
    assert api.engine.updates[0].memory == 1 << 26
    reply = await api.call(POST, f"/containers/{new}/update", {"Devices": [{"PathOnHost": "/x"}]})
    assert reply.status == 400


async def test_delete_needs_force_while_it_runs(api: Api) -> None:
    new = await api.create("sleep")
    await api.call(POST, f"/containers/{new}/start")
    assert (await api.call("DELETE", f"/containers/{new}")).status == 409
    assert (await api.call("DELETE", f"/containers/{new}?force=1&v=1")).status == 204
    assert not api.engine.containers


async def test_list(api: Api) -> None:
    first = await api.create("echo", "a b", "c", name="one", Labels={"x": "1"})
    second = await api.create("sleep", name="two")
    await api.call(POST, "/containers/two/start")

    async def ids(query: str) -> list[str]:
        reply = await api.call("GET", f"/containers/json?{query}")
        assert reply.status == 200, reply.body
        return [row["Id"] for row in reply.json()]

    assert await ids("") == [second]
    assert await ids("all=1") == [second, first]
    assert await ids("all=true&limit=1") == [second]
    assert await ids("limit=5") == [second, first]
    for filters in ({"label": ["x=1"]}, {"label": {"x": True}}, {"name": {"^/one$": True}}):
        assert await ids(f"all=1&filters={quote(json.dumps(filters))}") == [first]
    status = quote(json.dumps({"status": {"created": True}}))
    assert await ids(f"filters={status}") == [first]
    row = (await api.call("GET", "/containers/json?all=1")).json()[1]
    assert row["Names"] == ["/one"]
    assert row["Command"] == "echo 'a b' c"
    assert (row["State"], row["Status"]) == ("created", "Created")
    assert row["Labels"] == {"from": "image", "x": "1"}


@pytest.mark.parametrize("filters", ["[]", "{", '{"a":1}', '{"nosuch":["x"]}'])
async def test_list_with_filters_that_are_none(api: Api, filters: str) -> None:
    reply = await api.call("GET", f"/containers/json?filters={quote(filters)}")
    assert reply.status == 400
    assert "invalid filter" in reply.json()["message"]


async def test_sizes_are_measured_when_asked_for(api: Api) -> None:
    new = await api.create("sleep")
    sizes = {"SizeRw": 7, "SizeRootFs": 9}
    for target in ("/containers/json?all=1&size=1", f"/containers/{new}/json?size=true"):
        reply = (await api.call("GET", target)).json()
        view = reply[0] if isinstance(reply, list) else reply
        assert {name: view[name] for name in sizes} == sizes
    (row,) = (await api.call("GET", "/containers/json?all=1&size=0")).json()
    assert "SizeRw" not in row


async def test_a_checkpoint_is_refused(api: Api) -> None:
    new = await api.create("sleep")
    reply = await api.call("POST", f"/containers/{new}/start?checkpoint=c1")
    assert (reply.status, api.engine.find(new).view.status) == (501, "created")
    assert "checkpoints" in reply.json()["message"]
    assert (await api.call("POST", f"/containers/{new}/start?checkpoint=")).status == 204
