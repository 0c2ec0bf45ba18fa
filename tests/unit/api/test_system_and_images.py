"""System and image endpoints, and the parts of Docker's surface that are refused."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

from tests.unit.api.conftest import Api


async def test_version(api: Api) -> None:
    version = (await api.call("GET", "/version")).json()
    assert (version["ApiVersion"], version["MinAPIVersion"]) == ("1.51", "1.24")
    assert (version["Os"], version["Arch"]) == ("linux", "amd64")
    assert version["Components"][0]["Name"] == "Engine"


async def test_info(api: Api) -> None:
    await api.create("echo")
    info = (await api.call("GET", "/info")).json()
    assert (info["Containers"], info["ID"], info["OSType"]) == (1, "host-1", "linux")
    assert info["Swarm"]["LocalNodeState"] == "inactive"


async def test_doctor(api: Api) -> None:
    [feature] = (await api.call("GET", "/orlop/doctor")).json()
    assert feature == {
        "name": "overlay",
        "status": "ok",
        "found": "yes",
        "why": "root filesystems",
        "fix": "",
    }


async def test_image_list_and_inspect(api: Api) -> None:
    [row] = (await api.call("GET", "/images/json")).json()
    assert row["RepoTags"] == ["tools:latest"]
    assert row["Created"] == 1795231665
    image = (await api.call("GET", "/images/tools/json")).json()
    assert image["Id"] == row["Id"]
    assert image["RootFS"] == {"Type": "layers", "Layers": [f"sha256:{'b' * 64}"]}
    assert image["Config"]["Cmd"] == ["sh"]
    for dangling, rows in (("true", 0), ("false", 1)):
        filters = quote(json.dumps({"dangling": {dangling: True}}))
        listed = (await api.call("GET", f"/images/json?filters={filters}")).json()
        assert len(listed) == rows
    reply = await api.call("GET", "/images/127.0.0.1:5000/some/where:v1/json")
    assert reply.status == 404
    assert reply.json()["message"] == "No such image: 127.0.0.1:5000/some/where:v1"


async def test_image_delete(api: Api) -> None:
    new = await api.create("echo")
    assert (await api.call("DELETE", "/images/tools:latest")).status == 409
    await api.call("DELETE", f"/containers/{new}")
    reply = await api.call("DELETE", "/images/tools:latest")
    assert reply.status == 200
    assert reply.json()[0] == {"Untagged": "tools:latest"}
    assert (await api.call("DELETE", "/images/a/b/json")).status == 404  # a name, not an action


async def test_scratch(api: Api) -> None:
    reply = await api.call("POST", "/orlop/images/scratch?name=mine:1", {"binaries": ["/bin/ls"]})
    assert reply.status == 201
    assert reply.json()["RepoTags"] == ["mine:1"]
    assert (await api.call("POST", "/orlop/images/scratch?name=mine:2")).status == 201
    for target, body in (
        ("/orlop/images/scratch", {}),
        ("/orlop/images/scratch?name=x", {"binaries": "ls"}),
        ("/orlop/images/scratch?name=x", {"binaries": [""]}),
    ):
        assert (await api.call("POST", target, body)).status == 400


@pytest.mark.parametrize(
    "method,target,status,text",
    [
        ("POST", "/swarm/leave", 503, "not part of a swarm"),
        ("POST", "/swarm/init", 501, "not supported"),
        ("GET", "/nodes", 503, "not a swarm manager"),
        ("GET", "/services/x", 503, "not a swarm manager"),
        ("GET", "/networks/x", 404, "network x not found"),
        ("POST", "/networks/x", 501, "not supported"),
        ("GET", "/volumes/x", 404, "get x: no such volume"),
        ("GET", "/plugins/x/json", 404, 'plugin "x" not found'),
        ("GET", "/plugins", 501, "not supported"),
        ("POST", "/session", 501, "orlop image scratch"),
        ("POST", "/build", 501, "orlop image scratch"),
        ("POST", "/commit", 400, "'container' is missing"),
        ("GET", "/containers/x/stats", 404, "No such container: x"),
        ("POST", "/containers/x/copy", 501, "copy"),
        ("GET", "/images/x/history", 404, "No such image: x:latest"),
        ("GET", "/nope", 404, "page not found"),
        ("GET", "/", 404, "page not found"),
        ("PUT", "/containers/create", 404, "page not found"),
        ("GET", "/containers/x", 404, "page not found"),
        ("GET", "/containers/x/y/z/json", 404, "page not found"),
    ],
)
async def test_what_is_not_there_answers_json(
    api: Api, method: str, target: str, status: int, text: str
) -> None:
    client = await api.client()
    reply = await client.call(method, target)
    assert reply.status == status
    assert reply.headers["content-type"] == "application/json"
    assert method == "HEAD" or text in reply.json()["message"]
    assert (await client.call("GET", "/_ping")).status == 200


async def test_a_name_with_a_slash_in_front(api: Api) -> None:
    new = await api.create("echo", name="web")
    for target in ("/containers/%2Fweb/json", "/containers//web/json"):
        assert (await api.call("GET", target)).json()["Id"] == new
