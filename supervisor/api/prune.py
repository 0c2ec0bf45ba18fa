"""Handlers that prune containers, and the build cache that there is not."""

from __future__ import annotations

import time

from supervisor.api.exchange import Exchange
from supervisor.api.messages import Answer, json_answer
from supervisor.docker.filters import decode_filters
from supervisor.docker.prune import prune_filter, pruned_json


async def container_prune(exchange: Exchange) -> Answer:
    """POST /containers/prune?filters"""
    filters = decode_filters(exchange.query.get("filters", ""))
    wanted = prune_filter(filters, time.time_ns())
    return json_answer(pruned_json(*await exchange.engine.prune(wanted.takes)))


async def build_prune(exchange: Exchange) -> Answer:
    """POST /build/prune: without a builder nothing is cached; `docker system prune` asks it."""
    return json_answer({"CachesDeleted": None, "SpaceReclaimed": 0})
