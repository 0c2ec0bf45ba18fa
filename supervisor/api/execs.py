"""Handlers of exec sessions."""

from __future__ import annotations

from supervisor.api.exchange import Exchange
from supervisor.api.messages import EMPTY, Answer, json_answer
from supervisor.docker.exec import decode_exec, decode_exec_start
from supervisor.docker.inspect import exec_json
from supervisor.docker.query import window_size
from supervisor.docker.views import ExecView
from supervisor.errors import Conflict


async def container_exec(exchange: Exchange) -> Answer:
    """POST /containers/{id}/exec"""
    body = decode_exec(exchange.expect_json())
    return json_answer({"Id": await exchange.engine.exec_create(exchange.ref, body)}, 201)


async def exec_start(exchange: Exchange) -> Answer | None:
    """POST /exec/{id}/start

    After the connection changed hands an error can only be told on the stream, which is
    the engine's; so what is known beforehand is refused beforehand.
    """
    engine = exchange.engine
    asked = decode_exec_start(exchange.expect_json())
    view = await engine.exec_inspect(exchange.ref)
    _check_startable(exchange, view)
    rows, columns = asked.console_size
    tty = view.body.tty
    fd, preface = -1, b""
    if not asked.detach:
        fd, preface = await exchange.connection.hijack(exchange.stream_type(tty=tty))
    await engine.exec_start(
        view.id,
        detached=asked.detach,
        framed=not tty,
        rows=rows,
        columns=columns,
        preface=preface,
        fd=fd,
    )
    return EMPTY if asked.detach else None


async def exec_resize(exchange: Exchange) -> Answer:
    """POST /exec/{id}/resize?h,w"""
    rows, columns = window_size(exchange.query)
    await exchange.engine.exec_resize(exchange.ref, rows, columns)
    return EMPTY


async def exec_inspect(exchange: Exchange) -> Answer:
    """GET /exec/{id}/json"""
    return json_answer(exec_json(await exchange.engine.exec_inspect(exchange.ref)))


def _check_startable(exchange: Exchange, view: ExecView) -> None:
    if view.running:
        raise Conflict(f"Error: Exec command {view.id} is already running")
    if view.exit_code is not None:
        raise Conflict(f"Error: Exec command {view.id} has already run")
    container = exchange.engine.inspect(view.container_id)
    if container.status == "paused":
        raise Conflict(f"Container {container.name} is paused, unpause the container before exec")
    if container.status != "running":
        raise Conflict(f"container {container.id} is not running")
