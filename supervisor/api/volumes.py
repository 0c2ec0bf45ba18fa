"""Handlers of /volumes."""

from __future__ import annotations

from supervisor.api.exchange import Exchange
from supervisor.api.messages import NO_CONTENT, Answer, json_answer
from supervisor.docker.filters import decode_filters, flag
from supervisor.docker.query import boolean
from supervisor.docker.routes import Version
from supervisor.docker.volumes import (
    VolumeLike,
    check_list_filters,
    check_prune_filters,
    decode_volume,
    prune_matches,
    pruned_json,
    volume_json,
    volume_matches,
)

# Before this version pruning took volumes with a name too.
_PRUNES_ANONYMOUS: Version = (1, 42)


async def volume_list(exchange: Exchange) -> Answer:
    """GET /volumes?filters"""
    filters = decode_filters(exchange.query.get("filters", ""))
    check_list_filters(filters)
    volumes = exchange.engine.volumes
    used = volumes.used()
    shown = [
        volume_json(volume)
        for volume in volumes.list()
        if volume_matches(volume, filters, used=volume.name in used)
    ]
    return json_answer({"Volumes": shown, "Warnings": None})


async def volume_create(exchange: Exchange) -> Answer:
    """POST /volumes/create"""
    volume = await exchange.engine.volumes.create(decode_volume(exchange.expect_json()))
    return json_answer(volume_json(volume), 201)


async def volume_inspect(exchange: Exchange) -> Answer:
    """GET /volumes/{name}"""
    return json_answer(volume_json(exchange.engine.volumes.get(exchange.ref)))


async def volume_delete(exchange: Exchange) -> Answer:
    """DELETE /volumes/{name}?force"""
    await exchange.engine.volumes.remove(exchange.ref, force=boolean(exchange.query, "force"))
    return NO_CONTENT


async def volume_prune(exchange: Exchange) -> Answer:
    """POST /volumes/prune?filters"""
    filters = decode_filters(exchange.query.get("filters", ""))
    check_prune_filters(filters)
    everything = exchange.version < _PRUNES_ANONYMOUS or bool(flag(filters, "all"))

    def wanted(volume: VolumeLike) -> bool:
        return prune_matches(volume, filters, everything=everything)

    return json_answer(pruned_json(*await exchange.engine.volumes.prune(wanted)))
