"""A read-only address: each route, and what must not come past the refusal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio

from supervisor.api.read_only import SERVED
from supervisor.docker.operation import BYTES, TAR
from supervisor.docker.operations import OPERATIONS
from supervisor.docker.routes import ROUTES
from tests.unit.api.conftest import Api, Client

RULES = [(*rule.split(" "), name) for rule, name in ROUTES.items()]
IDS = [name for _, _, name in RULES]
# A decision about each: what is not here gives a way in, changes something, asks other hosts, or
# shows what is in files.
WATCHING = {
    *("SystemPing", "SystemPingHead", "SystemVersion", "SystemInfo", "SystemEvents"),
    *("SystemDataUsage", "OpenApiDocument", "Metrics"),
    *("ContainerList", "ContainerInspect", "ContainerTop", "ContainerStats", "ContainerLogs"),
    *("ExecInspect", "ImageList", "ImageInspect", "ImageHistory"),
    *("VolumeList", "VolumeInspect", "NetworkList", "NetworkInspect"),
    *("OrlopLayers", "OrlopExplain", "OrlopUsage"),
}
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


@pytest.fixture
def read_only(api: Api) -> Path:
    """A further address of the same server."""
    return api.read_only


async def connect(api: Api, path: Path) -> Client:
    client = Client(await trio.open_unix_socket(path))
    api.clients.append(client)
    return client


def test_what_is_served_is_decided_here() -> None:
    assert SERVED == WATCHING


@pytest.mark.parametrize("method, _pattern, name", RULES, ids=IDS)
def test_what_is_served_looks_like_it(method: str, _pattern: str, name: str) -> None:
    operation = OPERATIONS[name]
    if operation.read_only:
        assert method in ("GET", "HEAD")
        assert not operation.body
        assert not operation.upgrades
        assert operation.status == 200
        assert operation.answer.media not in (TAR, BYTES)


@pytest.mark.parametrize("method, pattern, name", RULES, ids=IDS)
async def test_each_route(api: Api, read_only: Path, method: str, pattern: str, name: str) -> None:
    created = await api.create("sleep", name="web")
    client = await connect(api, read_only)
    await client.request(method, f"/v1.51{pattern.replace('*', 'web')}", headers=UPGRADE)
    head = await client.head()
    if name in WATCHING:
        assert head.status not in (101, 403)
        return
    assert head.status == 403
    if method != "HEAD":
        body = await client.exactly(int(head.headers["content-length"]))
        assert json.loads(body)["message"].startswith(f"{name} is refused: this address is read-on")
    assert [*api.engine.containers] == [created]
    assert not api.engine.execs
    assert not api.engine.containers[created].attached


async def test_the_other_address_serves_all(api: Api, read_only: Path) -> None:
    await api.create("sleep", name="web")
    assert (await api.call("POST", "/containers/web/start")).status == 204


async def test_one_connection_goes_on_after_a_refusal(api: Api, read_only: Path) -> None:
    created = await api.create("sleep", name="web")
    client = await connect(api, read_only)
    for _ in range(2):
        assert (await client.call("DELETE", "/containers/web?force=1")).status == 403
        rows = (await client.call("GET", "/containers/json?all=1")).json()
        assert [row["Id"] for row in rows] == [created]


@pytest.mark.parametrize("target", ["/images/load", "/containers/create", "/build/prune"])
async def test_a_refusal_awaits_no_body(api: Api, read_only: Path, target: str) -> None:
    client = await connect(api, read_only)
    await client.send(f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n".encode())
    assert (await client.reply()).status == 403
    await client.stream.send_eof()
    assert await client.closed()


@pytest.mark.parametrize(
    "request_line",
    [
        *("POST //containers/web//start", "POST http://x/v1.40/containers/web/start"),
        *("GET /v1.51/containers/%77eb/attach/ws?stdin=1&stream=1", "PUT /containers/web/archive"),
    ],
)
async def test_ways_around(api: Api, read_only: Path, request_line: str) -> None:
    created = await api.create("sleep", name="web")
    client = await connect(api, read_only)
    method, target = request_line.split(" ")
    reply = await client.call(method, target, headers=UPGRADE)
    assert reply.status == 403
    assert not api.engine.containers[created].view.running


@pytest.mark.parametrize(
    "method, target, status",
    [
        ("POST", "/containers/json", 404),
        ("POST", "/build", 501),
        ("GET", "/containers/nobody/json", 404),
        ("get", "/containers/json", 404),
    ],
)
async def test_what_no_address_has(
    api: Api, read_only: Path, method: str, target: str, status: int
) -> None:
    client = await connect(api, read_only)
    assert (await client.call(method, target)).status == status
