"""POST /containers/prune and /build/prune: docker's JSON and statuses."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

from tests.unit.api.conftest import Api


async def test_what_is_at_rest_goes(api: Api) -> None:
    made = await api.create("sleep", name="made", Labels={"k": "v"})
    runs = await api.create("sleep", name="runs", Labels={"k": "v"})
    await api.call("POST", "/containers/runs/start")
    other = await api.create("sleep", name="other")
    labelled = quote(json.dumps({"label": {"k=v": True}}))
    reply = await api.call("POST", f"/v1.50/containers/prune?filters={labelled}")
    assert reply.json() == {"ContainersDeleted": [made], "SpaceReclaimed": 100}
    assert set(api.engine.containers) == {runs, other}
    reply = await api.call("POST", "/containers/prune")
    assert reply.json()["ContainersDeleted"] == [other]
    reply = await api.call("POST", "/containers/prune")
    assert reply.json() == {"ContainersDeleted": None, "SpaceReclaimed": 0}


@pytest.mark.parametrize(
    "filters, said",
    [
        ({"status": ["exited"]}, "invalid filter 'status'"),
        ({"until": ["x"]}, "'until'"),
        ({"until": ["1h", "2h"]}, "more than one until"),
    ],
)
async def test_refused(api: Api, filters: dict[str, list[str]], said: str) -> None:
    await api.create("sleep")
    target = f"/containers/prune?filters={quote(json.dumps(filters))}"
    reply = await api.call("POST", target)
    assert reply.status == 400
    assert said in reply.json()["message"]
    assert len(api.engine.containers) == 1


async def test_there_is_no_build_cache(api: Api) -> None:
    reply = await api.call("POST", "/v1.50/build/prune?filters=")
    assert reply.json() == {"CachesDeleted": None, "SpaceReclaimed": 0}
