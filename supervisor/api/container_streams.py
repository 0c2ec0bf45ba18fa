"""Handlers of /containers that stream or take the connection over: attach, logs, wait."""

from __future__ import annotations

import socket

import trio
from msgspec.structs import replace

from supervisor.api.connection import Connection
from supervisor.api.exchange import Exchange
from supervisor.api.messages import JSON_TYPE, Answer, base_headers, json_line
from supervisor.api.output import RecordFormat, send_items
from supervisor.docker.query import attach_options, boolean, log_options
from supervisor.docker.routes import Version
from supervisor.docker.views import ContainerView
from supervisor.errors import Conflict, InvalidArgument, OrlopError
from supervisor.wire.detach import parse_keys

CONDITIONS = ("not-running", "next-exit", "removed")
# Before these versions a websocket had text frames, and all streams.
_BINARY_FRAMES: Version = (1, 28)
_CHOOSES_STREAMS: Version = (1, 42)


async def container_wait(exchange: Exchange) -> Answer | None:
    """POST /containers/{id}/wait?condition

    The head goes out as soon as the wait is registered: clients post it before `start`, on
    a connection of its own, and begin only when they have it.
    """
    condition = exchange.query.get("condition") or CONDITIONS[0]
    if condition not in CONDITIONS:
        raise InvalidArgument(f"invalid condition: {condition!r:.80}")
    waiter = await exchange.engine.wait(exchange.ref, condition)

    async def produce(connection: Connection) -> bytes:
        code, error = await waiter.result()
        result: dict[str, object] = {"StatusCode": code}
        # Beside a code that is known dockerd sends no error: clients would exit with 125.
        if error and code < 0:
            result["Error"] = {"Message": error}
        return json_line(result)

    await exchange.stream([(b"Content-Type", JSON_TYPE)], produce, endless=True)
    return None


async def container_logs(exchange: Exchange) -> Answer | None:
    """GET /containers/{id}/logs?follow,stdout,stderr,since,until,timestamps,tail"""
    options = log_options(exchange.query)
    tty = exchange.engine.inspect(exchange.ref).tty
    form = RecordFormat(tty=tty, timestamps=boolean(exchange.query, "timestamps"))
    records = exchange.engine.logs(exchange.ref, options)
    await exchange.stream(
        [(b"Content-Type", exchange.stream_type(tty=tty))],
        lambda connection: send_items(connection, records, form),
        endless=options.follow,
    )
    return None


async def container_attach(exchange: Exchange) -> Answer | None:
    """POST /containers/{id}/attach?stream,stdin,stdout,stderr,logs,detachKeys"""
    view = _attachable(exchange)
    # Read the options before the connection changes hands: an error needs HTTP.
    parse_keys(attach_options(exchange.query, framed=not view.tty, preface=b"").detach_keys)
    fd, preface = await exchange.connection.hijack(exchange.stream_type(tty=view.tty))
    options = attach_options(exchange.query, framed=not view.tty, preface=preface)
    await exchange.engine.attach(view.id, options, fd)
    return None


async def container_attach_websocket(exchange: Exchange) -> Answer | None:
    """GET /containers/{id}/attach/ws?stream,stdin,stdout,stderr,logs,detachKeys"""
    from supervisor.api import ws  # noqa: PLC0415 - few ask for it, and its library is large

    view = _attachable(exchange)
    asked = attach_options(exchange.query, framed=False, preface=b"")
    if exchange.version < _CHOOSES_STREAMS:
        asked = replace(asked, stdin=True, stdout=True, stderr=True)
    options = replace(asked, terminal=view.tty)
    parse_keys(options.detach_keys)  # an error needs HTTP
    connection = exchange.connection
    assert connection.request is not None
    request = connection.request
    head = ws.accept(list(request.headers), request.target.decode("ascii"), base_headers())
    fd, early = await connection.hand_over(head)
    near, far = socket.socketpair()
    relay = ws.Relay(
        socket.socket(fileno=fd), near, early=early, text=exchange.version < _BINARY_FRAMES
    )
    with trio.CancelScope() as scope:
        connection.waiting = scope.cancel  # a server that stops does not wait for it
        async with trio.open_nursery() as nursery:
            nursery.start_soon(relay.run)
            try:
                await exchange.engine.attach(view.id, options, far.detach())
            except OrlopError as error:
                await relay.fail(error.message)
                nursery.cancel_scope.cancel()
    return None


def _attachable(exchange: Exchange) -> ContainerView:
    view = exchange.engine.inspect(exchange.ref)
    if view.status in ("paused", "restarting", "removing", "dead"):
        advice = {
            "paused": ", unpause the container before attach",
            "restarting": ", wait until the container is running",
        }.get(view.status, "")
        raise Conflict(f"Container {view.name} is {view.status}{advice}")
    return view
