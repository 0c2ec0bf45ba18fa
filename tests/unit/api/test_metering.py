"""Stats and the exposition, as clients get them."""

from __future__ import annotations

import json

import pytest

from supervisor.api import metering
from tests.unit.api.conftest import Api

CREATE = "/containers/create?name=web"
PATH = "/v1.41/containers/web/stats"


@pytest.mark.parametrize(
    "query,compares",
    [("?stream=0", True), ("?stream=false&one-shot=1", False), ("?stream=0&one-shot=0", True)],
)
async def test_once(api: Api, query: str, compares: bool) -> None:
    new = (await api.call("POST", CREATE, {"Image": "tools"})).json()["Id"]
    reply = await api.call("GET", PATH + query)
    assert (reply.status, reply.json()) == (200, {"id": new})
    assert api.engine.metering.asked == [(None, compares)]


async def test_answers_are_told_and_streams_are_not(api: Api) -> None:
    await api.call("GET", "/v1.41/containers/nobody/json")
    await api.call("GET", "/v1.41/nonsense")
    await api.call("GET", "/metrics")
    assert api.engine.metering.answers == [("ContainerInspect", 404), ("", 404)]


async def test_a_stream_compares_each_with_the_one_before(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metering, "SECONDS", 0.0)
    new = (await api.call("POST", CREATE, {"Image": "tools"})).json()["Id"]
    reply = await api.call("GET", PATH)
    assert [json.loads(line) for line in reply.body.splitlines()] == [{"id": new}] * 3
    assert api.engine.metering.asked == [(None, True), (2, False), (1, False), (0, False)]


async def test_metrics_are_in_the_format_asked_for(api: Api) -> None:
    reply = await api.call("GET", "/metrics")
    assert (reply.status, reply.body) == (200, b"a 1\nb 2\n")


@pytest.mark.parametrize("query, history", [("", False), ("?history=1", True)])
async def test_what_all_use(api: Api, query: str, history: bool) -> None:
    reply = await api.call("GET", f"/orlop/usage{query}")
    assert (reply.status, reply.json()) == (200, {"history": history})
