"""Orlop's own questions: what the query says gets to the engine."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.api.conftest import Api


@pytest.mark.parametrize(
    "target, asked",
    [
        ("/orlop/layers?ref=box:1", {"ref": "box:1"}),
        ("/orlop/explain?ref=web", {"ref": "web"}),
        ("/orlop/explain", {"ref": ""}),
        ("/orlop/whence?ref=web&path=/a%20b", {"ref": "web", "path": "/a b", "follow": True}),
        ("/orlop/whence?ref=w&path=/&nofollow=1", {"ref": "w", "path": "/", "follow": False}),
        ("/v1.44/orlop/layers?ref=x", {"ref": "x"}),
    ],
)
async def test_questions(api: Api, target: str, asked: dict[str, Any]) -> None:
    reply = await api.call("GET", target)
    assert (reply.status, reply.json()) == (200, asked)


async def test_only_get(api: Api) -> None:
    assert (await api.call("POST", "/orlop/layers?ref=x")).status == 404
