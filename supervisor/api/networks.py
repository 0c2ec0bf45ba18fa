"""Handlers of /networks."""

from __future__ import annotations

import time

from supervisor.api.exchange import Exchange
from supervisor.api.messages import EMPTY, NO_CONTENT, Answer, json_answer
from supervisor.docker.filters import decode_filters
from supervisor.docker.network_body import decode_connect, decode_disconnect, decode_network
from supervisor.docker.network_json import (
    SCOPE,
    check_list_filters,
    check_prune_filters,
    network_json,
    network_matches,
    prune_matches,
    pruned_json,
)
from supervisor.docker.networks import NetworkView
from supervisor.errors import NotFound


async def network_list(exchange: Exchange) -> Answer:
    """GET /networks?filters"""
    filters = decode_filters(exchange.query.get("filters", ""))
    check_list_filters(filters)
    views = exchange.engine.networks.views()
    shown = [network_json(v, containers=False) for v in views if network_matches(v, filters)]
    return json_answer(shown)


async def network_create(exchange: Exchange) -> Answer:
    """POST /networks/create"""
    network = await exchange.engine.networks.create(decode_network(exchange.expect_json()))
    return json_answer({"Id": network.id, "Warning": ""}, 201)


async def network_inspect(exchange: Exchange) -> Answer:
    """GET /networks/{id}?verbose,scope"""
    scope = exchange.query.get("scope", "")
    if scope not in ("", SCOPE):  # those of a swarm
        raise NotFound(f"network {exchange.ref} not found")
    return json_answer(network_json(exchange.engine.networks.view(exchange.ref)))


async def network_delete(exchange: Exchange) -> Answer:
    """DELETE /networks/{id}"""
    await exchange.engine.networks.remove(exchange.ref)
    return NO_CONTENT


async def network_connect(exchange: Exchange) -> Answer:
    """POST /networks/{id}/connect"""
    await exchange.engine.networks.connect(exchange.ref, decode_connect(exchange.expect_json()))
    return EMPTY


async def network_disconnect(exchange: Exchange) -> Answer:
    """POST /networks/{id}/disconnect"""
    body = decode_disconnect(exchange.expect_json())
    networks = exchange.engine.networks
    await networks.disconnect(exchange.ref, body.container, force=body.force)
    return EMPTY


async def network_prune(exchange: Exchange) -> Answer:
    """POST /networks/prune?filters"""
    filters = decode_filters(exchange.query.get("filters", ""))
    before_ns = check_prune_filters(filters, time.time_ns())

    def wanted(network: NetworkView) -> bool:
        return prune_matches(network, filters, before_ns)

    return json_answer(pruned_json(await exchange.engine.networks.prune(wanted)))
