"""Handlers of what containers use: stats, and Prometheus' exposition."""

from __future__ import annotations

import trio

from supervisor.api.connection import Connection
from supervisor.api.exchange import Exchange
from supervisor.api.messages import JSON_TYPE, Answer, json_answer, json_line
from supervisor.docker.query import boolean
from supervisor.errors import NotFound

SECONDS = 1.0
"""Between the objects of a stream."""


def container_stats_once(exchange: Exchange) -> Answer | None:
    """One object, as `container_stats` begins with; None where that is to be followed by others."""
    query = exchange.query
    if "stream" not in query or boolean(query, "stream"):
        return None
    container = exchange.engine.container_id(exchange.ref)
    compare = not boolean(query, "one-shot")
    return json_answer(exchange.engine.metering.stats(container, compare=compare)[0])


async def container_stats(exchange: Exchange) -> Answer | None:
    """GET /containers/{id}/stats?stream,one-shot

    The first object goes out at once, compared with a background sample where there is one;
    a stream ends with the container's removal.
    """
    metering = exchange.engine.metering
    container = exchange.engine.container_id(exchange.ref)
    compare = not boolean(exchange.query, "one-shot")
    first, sample = metering.stats(container, compare=compare)

    async def produce(connection: Connection) -> bytes:
        figures, before = first, sample
        while True:
            await connection.chunk(json_line(figures))
            await trio.sleep(SECONDS)
            try:
                figures, before = metering.stats(container, before)
            except NotFound:
                return b""

    await exchange.stream([(b"Content-Type", JSON_TYPE)], produce, endless=True)
    return None


async def metrics(exchange: Exchange) -> Answer | None:
    """GET /metrics"""
    request = exchange.connection.request
    headers = request.headers if request is not None else ()
    accept = b", ".join(value for name, value in headers if name == b"accept")
    content_type, write = await exchange.engine.metering.scrape(accept.decode("latin-1"))

    async def produce(connection: Connection) -> bytes:
        await write(connection.chunk)
        return b""

    await exchange.stream([(b"Content-Type", content_type.encode())], produce, endless=False)
    return None


async def orlop_usage(exchange: Exchange) -> Answer | None:
    """GET /orlop/usage?history"""
    write = await exchange.engine.metering.usage(history=boolean(exchange.query, "history"))

    async def produce(connection: Connection) -> bytes:
        await write(connection.chunk)
        return b""

    await exchange.stream([(b"Content-Type", JSON_TYPE)], produce, endless=False)
    return None
