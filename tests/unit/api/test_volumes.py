"""The volume endpoints: docker's JSON, words, statuses and versions."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

from supervisor.docker.volumes import ANONYMOUS_LABEL
from tests.unit.api.conftest import Api


def filters(**values: str) -> str:
    return quote(json.dumps({name: {value: True} for name, value in values.items()}))


async def test_create_inspect_list_remove(api: Api) -> None:
    client = await api.client()
    body = {"Name": "vt", "Driver": "local", "DriverOpts": {"o": "x"}, "Labels": {"k": "v"}}
    made = await client.call("POST", "/v1.50/volumes/create", body)
    expected = {
        "CreatedAt": "1970-01-01T00:00:00Z",
        "Driver": "local",
        "Labels": {"k": "v"},
        "Mountpoint": "/v/vt/_data",
        "Name": "vt",
        "Options": {"o": "x"},
        "Scope": "local",
    }
    assert (made.status, made.json()) == (201, expected)
    assert (await client.call("GET", "/v1.50/volumes/vt")).json() == expected
    listed = await client.call("GET", "/v1.50/volumes")
    assert listed.json() == {"Volumes": [expected], "Warnings": None}
    removed = await client.call("DELETE", "/v1.50/volumes/vt")
    assert (removed.status, removed.body) == (204, b"")
    listed = await client.call("GET", "/v1.50/volumes")
    assert listed.json() == {"Volumes": [], "Warnings": None}


async def test_a_volume_without_a_name(api: Api) -> None:
    client = await api.client()
    made = await client.call("POST", "/volumes/create", {})
    assert made.json()["Labels"] == {ANONYMOUS_LABEL: ""}
    assert made.json()["Options"] is None


@pytest.mark.parametrize(
    "method, target, body, status, text",
    [
        ("POST", "/volumes/create", {"Name": "a/b"}, 400, "includes invalid characters"),
        ("POST", "/volumes/create", {"Name": 5}, 400, "Name"),
        ("POST", "/volumes/create", None, 400, "EOF"),
        ("GET", "/volumes/none", None, 404, "get none: no such volume"),
        ("GET", "/volumes/..%2Fx", None, 404, "get ../x: no such volume"),
        ("DELETE", "/volumes/none", None, 404, "get none: no such volume"),
        ("DELETE", "/volumes/used", None, 409, "remove used: volume is in use"),
        ("GET", "/volumes?filters=" + filters(nope="x"), None, 400, "invalid filter 'nope'"),
        ("GET", "/volumes?filters=" + filters(dangling="x"), None, 400, "dangling=x"),
        ("POST", "/volumes/prune?filters=" + filters(name="x"), None, 400, "invalid filter 'name'"),
        ("PUT", "/volumes/used", {}, 501, "not supported"),
    ],
)
async def test_refused(
    api: Api, method: str, target: str, body: object, status: int, text: str
) -> None:
    client = await api.client()
    await client.call("POST", "/volumes/create", {"Name": "used"})
    api.engine.volumes.taken.add("used")
    reply = await client.call(method, target, body)
    assert reply.status == status
    assert text in reply.json()["message"]


async def test_force_is_about_what_is_not_there(api: Api) -> None:
    client = await api.client()
    assert (await client.call("DELETE", "/volumes/none?force=1")).status == 204


async def test_filters(api: Api) -> None:
    client = await api.client()
    for name in ("one", "two"):
        await client.call("POST", "/volumes/create", {"Name": name, "Labels": {name: ""}})
    api.engine.volumes.taken.add("one")

    async def shown(**values: str) -> list[str]:
        reply = await client.call("GET", f"/volumes?filters={filters(**values)}")
        return [volume["Name"] for volume in reply.json()["Volumes"]]

    assert await shown(dangling="true") == ["two"]
    assert await shown(dangling="0") == ["one"]
    assert await shown(label="two") == ["two"]
    assert await shown(name="o") == ["one", "two"]


@pytest.mark.parametrize(
    "target, gone",
    [
        ("/v1.50/volumes/prune", ["nameless"]),
        ("/v1.42/volumes/prune", ["nameless"]),
        ("/v1.41/volumes/prune", ["labelled", "named", "nameless"]),
        ("/v1.50/volumes/prune?filters=" + filters(all="1"), ["labelled", "named", "nameless"]),
        ("/v1.50/volumes/prune?filters=" + filters(all="true", label="k"), ["labelled"]),
        ("/v1.41/volumes/prune?filters=" + quote('{"label!":["k"]}'), ["named", "nameless"]),
    ],
)
async def test_prune_takes_more_of_old_clients(api: Api, target: str, gone: list[str]) -> None:
    client = await api.client()
    for name, labels in (
        ("named", {}),
        ("labelled", {"k": ""}),
        ("nameless", {ANONYMOUS_LABEL: ""}),
        ("used", {ANONYMOUS_LABEL: ""}),
    ):
        await client.call("POST", "/volumes/create", {"Name": name, "Labels": labels})
    api.engine.volumes.taken.add("used")
    reply = await client.call("POST", target)
    assert reply.json() == {"VolumesDeleted": gone, "SpaceReclaimed": 100 * len(gone)}
