"""Pull, push, login, look-up and search, as the API takes and answers them."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
import trio

from supervisor.oci.registry_auth import NOBODY
from tests.unit.api.conftest import Api, Reply


def lines(reply: Reply) -> list[dict[str, Any]]:
    assert all(line.endswith(b"\r") for line in reply.body.split(b"\n")[:-1])
    return [json.loads(line) for line in reply.body.splitlines()]


@pytest.mark.parametrize(
    "query, ref, platform, all_tags",
    [
        ("fromImage=docker.io%2Flibrary%2Fx&tag=1", "docker.io/library/x:1", None, False),
        ("fromImage=x%3A1", "x:1", None, False),
        ("fromImage=x", "x", None, True),
        ("fromImage=x%3A", "x", None, True),
        ("fromImage=r%3A5000%2Fx", "r:5000/x", None, True),
        (
            f"fromImage=x&tag=sha256%3A{'a' * 64}&platform=linux%2Farm64%2Fv8",
            f"x@sha256:{'a' * 64}",
            "linux/arm64",
            False,
        ),
    ],
)
async def test_what_is_pulled(
    api: Api, query: str, ref: str, platform: str | None, all_tags: bool
) -> None:
    reply = await api.call("POST", f"/images/create?{query}")
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/json"
    assert [line["status"] for line in lines(reply)] == ["Pulling from x", "Digest: sha256:x"]
    assert api.engine.registries.calls == [("pull", ref, platform, NOBODY, all_tags)]


@pytest.mark.parametrize(
    "query, status",
    [
        ("fromImage=nosuch&tag=1", 404),
        ("fromImage=X&tag=1", 400),
        ("fromImage=x&tag=-", 400),
        ("fromImage=x&tag=1&platform=a%2Fb%2Fc%2Fd", 400),
        ("", 400),
    ],
)
async def test_errors_before_the_first_line_are_statuses(api: Api, query: str, status: int) -> None:
    reply = await api.call("POST", f"/images/create?{query}")
    assert reply.status == status
    assert reply.json()["message"]


async def test_errors_after_it_are_the_last_line(api: Api) -> None:
    client = await api.client()
    reply = await client.call("POST", "/images/create?fromImage=broken&tag=1")
    assert reply.status == 200
    assert lines(reply)[-1] == {"errorDetail": {"message": "it broke"}, "error": "it broke"}
    assert (await client.call("GET", "/_ping")).status == 200


async def test_a_client_that_leaves_ends_its_pull(api: Api) -> None:
    client = await api.client()
    await client.request("POST", "/images/create?fromImage=slow&tag=1")
    assert (await client.head()).status == 200
    await client.chunk()
    await client.stream.aclose()
    with trio.fail_after(5):
        while not api.engine.registries.cancelled:
            await trio.sleep(0.01)


async def test_push(api: Api) -> None:
    for target, ref in (
        ("/images/r:5000/a/b/push?tag=1", "r:5000/a/b:1"),
        ("/images/x/push", "x"),
    ):
        assert (await api.call("POST", target)).status == 200
        assert api.engine.registries.calls[-1] == ("push", ref, NOBODY)


async def test_credentials(api: Api) -> None:
    client = await api.client()
    auth = base64.urlsafe_b64encode(b'{"username":"u","password":"p\xc3\xbf?"}').decode()
    for target in ("/images/create?fromImage=x&tag=1", "/images/x/push"):
        await client.call("POST", target, headers={"X-Registry-Auth": auth})
        found = [part for part in api.engine.registries.calls[-1] if hasattr(part, "password")]
        assert [(one.username, one.password) for one in found] == [("u", "pÿ?")]
        reply = await client.call("POST", target, headers={"X-Registry-Auth": "%"})
        assert reply.status == 400
        assert "X-Registry-Auth" in reply.json()["message"]


async def test_auth(api: Api) -> None:
    body = {"username": "right", "password": "p", "serveraddress": "r"}
    reply = await api.call("POST", "/auth", body)
    assert reply.json() == {"IdentityToken": "token", "Status": "Login Succeeded"}
    assert (await api.call("POST", "/auth", {**body, "username": "wrong"})).status == 401
    assert (await api.call("POST", "/auth", [])).status == 400


async def test_distribution(api: Api) -> None:
    reply = await api.call("GET", "/distribution/r:5000/a/b:1/json")
    assert reply.json()["Descriptor"] == {"digest": "r:5000/a/b:1"}


async def test_search(api: Api) -> None:
    reply = await api.call("GET", "/images/search?term=a&limit=5")
    assert [row["name"] for row in reply.json()] == ["a0", "a1", "a2", "a3", "a4"]
    few = await api.call(
        "GET", "/images/search?term=a&limit=5&filters=%7B%22stars%22%3A%5B%223%22%5D%7D"
    )
    assert [row["name"] for row in few.json()] == ["a3", "a4"]
    for query in ("", "term=a&limit=101", "term=a&filters=%7B%22x%22%3A%5B%221%22%5D%7D"):
        assert (await api.call("GET", f"/images/search?{query}")).status == 400
