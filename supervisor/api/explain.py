"""Handlers of Orlop's own questions about containers and images: GET /orlop/…"""

from __future__ import annotations

from supervisor.api.exchange import Exchange
from supervisor.api.messages import Answer, json_answer
from supervisor.docker.query import boolean


async def orlop_layers(exchange: Exchange) -> Answer:
    """GET /orlop/layers?ref"""
    return json_answer(await exchange.engine.explaining.layers(exchange.query.get("ref", "")))


async def orlop_whence(exchange: Exchange) -> Answer:
    """GET /orlop/whence?ref,path,nofollow"""
    query = exchange.query
    return json_answer(
        await exchange.engine.explaining.whence(
            query.get("ref", ""), query.get("path", ""), follow=not boolean(query, "nofollow")
        )
    )


async def orlop_explain(exchange: Exchange) -> Answer:
    """GET /orlop/explain?ref"""
    return json_answer(await exchange.engine.explaining.explain(exchange.query.get("ref", "")))
