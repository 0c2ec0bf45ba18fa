"""Answers of registries, without one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx

from supervisor.oci import web_url
from supervisor.registry.transport import Reply


async def content() -> AsyncIterator[bytes]:
    for size in (10, 20, 7):
        yield bytes(size)


async def test_what_comes_is_counted_as_it_comes() -> None:
    received: list[int] = []
    url = web_url.parse("http://127.0.0.1:5000/v2/")
    reply = Reply(httpx.Response(200, content=content()), url, received.append)
    assert await reply.read(100) == bytes(37)
    assert received == [10, 20, 7]
