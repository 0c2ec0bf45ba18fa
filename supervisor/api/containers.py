"""Handlers of /containers, but for those that stream."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from supervisor.api.exchange import Exchange
from supervisor.api.messages import EMPTY, NO_CONTENT, Answer, json_answer
from supervisor.docker.create import decode_create
from supervisor.docker.filters import decode_filters
from supervisor.docker.impair import decode_impair
from supervisor.docker.inspect import container_answer
from supervisor.docker.listing import select, summary_json, summary_row
from supervisor.docker.query import boolean, integer, window_size
from supervisor.docker.update import decode_update
from supervisor.docker.views import ContainerView
from supervisor.errors import InvalidArgument, NotFound, NotImplementedYet
from supervisor.oci.platform import architecture


async def container_create(exchange: Exchange) -> Answer:
    """POST /containers/create?name,platform"""
    body = decode_create(exchange.expect_json())
    query = exchange.query
    _check_platform(query.get("platform", ""))
    new, warnings = await exchange.engine.create(body, query.get("name") or None)
    return json_answer({"Id": new, "Warnings": warnings}, 201)


async def container_list(exchange: Exchange) -> Answer:
    """GET /containers/json?all,limit,size,filters"""
    query = exchange.query
    limit = integer(query, "limit") or 0
    shown = select(
        exchange.engine.list(),
        decode_filters(query.get("filters", "")),
        everything=boolean(query, "all"),
        limit=limit,
    )
    now = time.time_ns()
    sizes = await _sizes(exchange, shown)
    if not sizes:
        return json_answer([summary_row(view, now) for view in shown])
    return json_answer([summary_json(view, now) | sizes.get(view.id, {}) for view in shown])


async def container_inspect(exchange: Exchange) -> Answer:
    """GET /containers/{id}/json?size"""
    view = exchange.engine.inspect(exchange.ref)
    sizes = await _sizes(exchange, [view])
    return json_answer(container_answer(view, sizes.get(view.id, {})))


async def container_top(exchange: Exchange) -> Answer:
    """GET /containers/{id}/top?ps_args"""
    titles, rows = await exchange.engine.top(exchange.ref, exchange.query.get("ps_args") or "-ef")
    return json_answer({"Processes": rows, "Titles": titles})


async def container_start(exchange: Exchange) -> Answer:
    """POST /containers/{id}/start?checkpoint"""
    if exchange.body.strip() not in (b"", b"{}", b"null"):
        raise InvalidArgument(
            "starting container with non-empty request body was deprecated since API v1.22 "
            "and removed in v1.24"
        )
    if exchange.query.get("checkpoint"):
        raise NotImplementedYet("checkpoints are not supported: start without one")
    await exchange.engine.start(exchange.ref)
    return NO_CONTENT


async def container_stop(exchange: Exchange) -> Answer:
    """POST /containers/{id}/stop?t,signal"""
    timeout, signal = _stop_terms(exchange)
    await exchange.engine.stop(exchange.ref, timeout, signal)
    return NO_CONTENT


async def container_restart(exchange: Exchange) -> Answer:
    """POST /containers/{id}/restart?t,signal"""
    timeout, signal = _stop_terms(exchange)
    await exchange.engine.restart(exchange.ref, timeout, signal)
    return NO_CONTENT


async def container_kill(exchange: Exchange) -> Answer:
    """POST /containers/{id}/kill?signal"""
    await exchange.engine.kill(exchange.ref, exchange.query.get("signal") or "SIGKILL")
    return NO_CONTENT


async def container_pause(exchange: Exchange) -> Answer:
    """POST /containers/{id}/pause"""
    await exchange.engine.pause(exchange.ref)
    return NO_CONTENT


async def container_unpause(exchange: Exchange) -> Answer:
    """POST /containers/{id}/unpause"""
    await exchange.engine.unpause(exchange.ref)
    return NO_CONTENT


async def container_rename(exchange: Exchange) -> Answer:
    """POST /containers/{id}/rename?name"""
    await exchange.engine.rename(exchange.ref, exchange.query.get("name", ""))
    return NO_CONTENT


async def container_update(exchange: Exchange) -> Answer:
    """POST /containers/{id}/update"""
    body = decode_update(exchange.expect_json())
    warnings = await exchange.engine.update(exchange.ref, body)
    return json_answer({"Warnings": warnings or None})


async def container_impair(exchange: Exchange) -> Answer:
    """POST /containers/{id}/impair"""
    await exchange.engine.impair(exchange.ref, decode_impair(exchange.expect_json()))
    return NO_CONTENT


async def container_resize(exchange: Exchange) -> Answer:
    """POST /containers/{id}/resize?h,w"""
    rows, columns = window_size(exchange.query)
    await exchange.engine.resize(exchange.ref, rows, columns)
    return EMPTY


async def container_delete(exchange: Exchange) -> Answer:
    """DELETE /containers/{id}?force,v,link"""
    query = exchange.query
    await exchange.engine.remove(
        exchange.ref, boolean(query, "force"), boolean(query, "v"), boolean(query, "link")
    )
    return NO_CONTENT


async def _sizes(exchange: Exchange, views: Sequence[ContainerView]) -> dict[str, dict[str, int]]:
    """Bytes of the writable layers and of all that is seen, by container; {} if not asked for."""
    if not boolean(exchange.query, "size"):
        return {}
    usage = await exchange.engine.disk_usage(("container",), {view.id for view in views})
    return {
        row.view.id: {"SizeRw": row.written, "SizeRootFs": row.whole}
        for row in usage.containers or ()
    }


def _stop_terms(exchange: Exchange) -> tuple[float | None, str | None]:
    seconds = integer(exchange.query, "t")
    return None if seconds is None else float(seconds), exchange.query.get("signal") or None


def _check_platform(platform: str) -> None:
    """NotFound for a platform that this host cannot run ("linux/amd64", "amd64", "linux")."""
    here = {"linux", architecture(os.uname().machine)}
    if platform and not set(platform.lower().split("/")[:2]) <= here:
        raise NotFound(f"platform {platform!r:.80} is not this host's ({'/'.join(sorted(here))})")
