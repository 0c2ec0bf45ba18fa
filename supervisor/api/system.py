"""Handlers of the system endpoints."""

from __future__ import annotations

import time

from supervisor.api.connection import Connection
from supervisor.api.exchange import Exchange
from supervisor.api.messages import JSON_TYPE, Answer, json_answer, json_line
from supervisor.api.output import send_items
from supervisor.docker.events import check_event_filters, event_json, event_matches, event_range
from supervisor.docker.filters import decode_filters
from supervisor.docker.host import info_json, version_json
from supervisor.docker.views import Event

_PING_HEADERS = (
    # "1" is the classic builder: its `POST /build` is refused with a sentence, where the
    # other one would fail in the middle of a gRPC session.
    (b"Builder-Version", b"1"),
    (b"Cache-Control", b"no-cache, no-store, must-revalidate"),
    (b"Pragma", b"no-cache"),
    (b"Swarm", b"inactive"),
    (b"Content-Type", b"text/plain; charset=utf-8"),
)


def system_ping(exchange: Exchange) -> Answer:
    """GET /_ping"""
    return Answer(200, b"OK", _PING_HEADERS)


def system_ping_head(exchange: Exchange) -> Answer:
    """HEAD /_ping"""
    return Answer(200, b"", _PING_HEADERS)


async def system_version(exchange: Exchange) -> Answer:
    """GET /version"""
    return json_answer(version_json(await exchange.engine.info()))


async def system_info(exchange: Exchange) -> Answer:
    """GET /info"""
    return json_answer(info_json(await exchange.engine.info(), time.time_ns()))


async def system_events(exchange: Exchange) -> Answer | None:
    """GET /events?since,until,filters"""
    query = exchange.query
    filters = decode_filters(query.get("filters", ""))
    check_event_filters(filters)
    events = exchange.engine.events(*event_range(query, time.time_ns()))

    def form(event: Event) -> bytes:
        return json_line(event_json(event)) if event_matches(event, filters) else b""

    async def produce(connection: Connection) -> bytes:
        return await send_items(connection, events, form)

    await exchange.stream([(b"Content-Type", JSON_TYPE)], produce, endless=True)
    return None


async def open_api_document(exchange: Exchange) -> Answer:
    """GET /openapi.json"""
    from supervisor.docker import openapi  # noqa: PLC0415 - few ask for it

    return Answer(200, openapi.document(), ((b"Content-Type", JSON_TYPE),))


async def orlop_doctor(exchange: Exchange) -> Answer:
    """GET /orlop/doctor"""
    return json_answer(
        [
            {
                "name": feature.name,
                "status": feature.status,
                "found": feature.found,
                "why": feature.why,
                "fix": feature.fix,
            }
            for feature in exchange.engine.features()
        ]
    )
