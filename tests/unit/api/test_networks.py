"""The network endpoints: docker's JSON, words and statuses."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from tests.unit.api.conftest import Api

PREDEFINED = ["bridge", "host", "none"]
CREATE = {
    "Name": "n1",
    "Driver": "bridge",
    "IPAM": {"Driver": "default", "Options": {}, "Config": [{"Subnet": "10.77.0.0/24"}]},
    "Options": {"com.docker.network.bridge.name": "br77"},
    "Labels": {"a": "b"},
}


def filters(**values: str) -> str:
    return "filters=" + quote(json.dumps({name: {v: True} for name, v in values.items()}))


async def names(api: Api, query: str = "") -> list[str]:
    reply = await api.call("GET", f"/networks?{query}")
    assert reply.status == 200, reply.body
    return [one["Name"] for one in reply.json()]


async def test_create_inspect_list_remove(api: Api) -> None:
    made = await api.call("POST", "/v1.50/networks/create", CREATE)
    assert made.status == 201, made.body
    new = made.json()["Id"]
    assert made.json() == {"Id": new, "Warning": ""}
    shown = (await api.call("GET", "/v1.50/networks/n1?verbose=true&scope=local")).json()
    assert (shown["Id"], shown["Name"], shown["Labels"]) == (new, "n1", {"a": "b"})
    assert shown["IPAM"] == {
        "Driver": "default",
        "Options": {},
        "Config": [{"Subnet": "10.77.0.0/24", "Gateway": "10.77.0.1"}],
    }
    assert shown["Options"] == {"com.docker.network.bridge.name": "br77"}
    assert (await api.call("GET", f"/networks/{new[:12]}")).json() == shown
    assert await names(api) == [*PREDEFINED, "n1"]
    assert await names(api, filters(name="n1")) == ["n1"]
    assert await names(api, filters(type="builtin")) == PREDEFINED
    removed = await api.call("DELETE", "/networks/n1")
    assert (removed.status, removed.body) == (204, b"")
    assert await names(api) == PREDEFINED


async def test_a_network_of_a_swarm_is_not_there(api: Api) -> None:
    assert (await api.call("GET", "/networks/bridge?scope=swarm")).status == 404


@pytest.mark.parametrize(
    "method, target, body, status, text",
    [
        ("POST", "/networks/create", CREATE, 409, "network with name n1 already exists"),
        ("POST", "/networks/create", None, 400, "EOF"),
        ("POST", "/networks/create", {"Name": "host"}, 403, "predefined host network"),
        ("POST", "/networks/create", {"Name": "n2", "Driver": "ipvlan"}, 400, "ipvlan"),
        ("DELETE", "/networks/bridge", None, 403, "bridge is a pre-defined network and cannot be"),
        ("DELETE", "/networks/nosuch", None, 404, "network nosuch not found"),
        ("GET", "/networks/nosuch", None, 404, "network nosuch not found"),
        ("GET", "/networks?" + filters(nope="x"), None, 400, "invalid filter 'nope'"),
        ("POST", "/networks/prune?" + filters(name="x"), None, 400, "invalid filter 'name'"),
        ("POST", "/networks/n1/connect", {}, 400, "Container"),
        ("POST", "/networks/n1/connect", {"Container": "nobody"}, 404, "No such container"),
        ("POST", "/networks/nosuch/connect", {"Container": "web"}, 404, "network nosuch not"),
        ("POST", "/networks/n1/disconnect", {}, 400, "Container"),
    ],
)
async def test_refusals(
    api: Api, method: str, target: str, body: Any, status: int, text: str
) -> None:
    assert (await api.call("POST", "/networks/create", CREATE)).status == 201
    await api.create("sleep", name="web")
    reply = await api.call(method, target, body)
    assert reply.status == status, reply.body
    assert text in reply.json()["message"]
    assert await names(api) == [*PREDEFINED, "n1"]


async def test_connect_and_disconnect(api: Api) -> None:
    await api.create("sleep", name="web")
    await api.call("POST", "/networks/create", CREATE)
    config = {"Aliases": ["al"], "IPAMConfig": {"IPv4Address": "10.77.0.200"}, "GwPriority": 2}
    body = {"Container": "web", "EndpointConfig": config}
    reply = await api.call("POST", "/networks/n1/connect", body)
    assert (reply.status, reply.body) == (200, b"")
    reply = await api.call("POST", "/networks/n1/disconnect", {"Container": "web", "Force": True})
    assert (reply.status, reply.body) == (200, b"")
    (joined, left) = api.engine.networks.joins
    asked: Any = joined[2]
    assert (joined[:2], asked.endpoint_config.aliases) == (("n1", "web"), ("al",))
    assert left == ("n1", "web", True)


async def test_prune(api: Api) -> None:
    assert (await api.call("POST", "/networks/prune")).json() == {"NetworksDeleted": None}
    await api.call("POST", "/networks/create", CREATE)
    await api.call("POST", "/networks/create", {"Name": "n2"})
    kept = await api.call("POST", "/networks/prune?" + filters(until="1h"))
    assert kept.json() == {"NetworksDeleted": None}
    pruned = await api.call("POST", "/networks/prune?filters=%7B%7D")
    assert sorted(pruned.json()["NetworksDeleted"]) == ["n1", "n2"]
    assert await names(api) == PREDEFINED
    await api.call("POST", "/networks/create", CREATE)
    kept = await api.call("POST", "/networks/prune?" + filters(**{"label!": "a"}))
    assert kept.json() == {"NetworksDeleted": None}
