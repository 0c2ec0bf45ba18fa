"""Handlers of /containers/{id}: archive, export, changes."""

from __future__ import annotations

from collections.abc import AsyncIterable

import trio

from supervisor.api import limits
from supervisor.api.connection import Connection
from supervisor.api.exchange import Exchange
from supervisor.api.messages import EMPTY, Answer, json_answer
from supervisor.api.output import closing
from supervisor.docker.changes import change_json
from supervisor.docker.query import boolean
from supervisor.errors import InvalidArgument, Unavailable
from supervisor.wire.path_stat import HEADER, PathStat

_TAR = (b"Content-Type", b"application/x-tar")
_BYTES = (b"Content-Type", b"application/octet-stream")


async def container_archive_info(exchange: Exchange) -> Answer:
    """HEAD /containers/{id}/archive?path"""
    found = await exchange.engine.archives.stat(exchange.ref, _path(exchange))
    return EMPTY._replace(headers=(_stat_header(found),))


async def container_archive(exchange: Exchange) -> None:
    """GET /containers/{id}/archive?path"""
    async with exchange.engine.archives.get(exchange.ref, _path(exchange)) as (found, pieces):
        await exchange.stream(
            [_TAR, _stat_header(found)],
            lambda connection: send_pieces(connection, pieces),
            endless=True,
        )


async def put_container_archive(exchange: Exchange) -> Answer:
    """PUT /containers/{id}/archive?path,noOverwriteDirNonDir,copyUIDGID"""
    await exchange.engine.archives.put(
        exchange.ref,
        _path(exchange),
        exchange.body_stream(),
        keep_types=boolean(exchange.query, "noOverwriteDirNonDir"),
        as_user=boolean(exchange.query, "copyUIDGID"),
    )
    return EMPTY


async def container_export(exchange: Exchange) -> None:
    """GET /containers/{id}/export"""
    async with exchange.engine.archives.export(exchange.ref) as pieces:
        await exchange.stream(
            [_BYTES], lambda connection: send_pieces(connection, pieces), endless=True
        )


async def container_changes(exchange: Exchange) -> Answer:
    """GET /containers/{id}/changes"""
    changes = await exchange.engine.archives.changes(exchange.ref)
    return json_answer([change_json(change) for change in changes])


async def send_pieces(connection: Connection, pieces: AsyncIterable[bytes]) -> bytes:
    """Write all of `pieces` as the client takes them, for `Exchange.stream`.

    Raises Unavailable for a client that takes nothing for long: it would keep a worker.
    """
    async with closing(pieces):
        async for piece in pieces:
            with trio.move_on_after(limits.STREAM_SECONDS) as scope:
                await connection.chunk(piece)
            if scope.cancelled_caught:
                raise Unavailable("the client took nothing for too long")
    return b""


def _path(exchange: Exchange) -> str:
    path = exchange.query.get("path", "")
    if not path:
        raise InvalidArgument("bad parameter: 'path' cannot be empty")
    return path


def _stat_header(found: PathStat) -> tuple[bytes, bytes]:
    return HEADER.encode(), found.encode().encode()
