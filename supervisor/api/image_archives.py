"""Handlers of images as tars: load, save, import, and Orlop's own `image from`."""

from __future__ import annotations

from supervisor.api.archives import send_pieces
from supervisor.api.exchange import Exchange
from supervisor.api.messages import Answer, json_answer
from supervisor.api.progress import Progress, stream_progress
from supervisor.docker.commit import repository_tag
from supervisor.docker.images import decode_folder, decode_platform, image_json
from supervisor.docker.query import boolean
from supervisor.errors import InvalidArgument

_TAR = (b"Content-Type", b"application/x-tar")
_MAX_FOLDER_BODY = 64 * 1024
_JSON_TYPES = (b"application/json", b"text/json")


async def image_load(exchange: Exchange) -> None:
    """POST /images/load?quiet,platform"""
    wanted = decode_platform(exchange.query.get("platform", ""))
    quiet = boolean(exchange.query, "quiet")

    async def load(progress: Progress) -> None:
        await exchange.engine.image_service.load(
            exchange.body_stream(), platform=wanted, quiet=quiet, tell=progress.put
        )

    await stream_progress(exchange, load, watch=False)


async def image_get(exchange: Exchange) -> None:
    """GET /images/{name}/get"""
    await _save(exchange, [exchange.ref])


async def image_get_all(exchange: Exchange) -> None:
    """GET /images/get?names"""
    names = [name for name in exchange.values("names") if name]
    if not names:
        raise InvalidArgument("the query parameter 'names' is missing: give at least one image")
    await _save(exchange, names)


async def _save(exchange: Exchange, refs: list[str]) -> None:
    async with exchange.engine.image_service.save(refs) as pieces:
        await exchange.stream(
            [_TAR], lambda connection: send_pieces(connection, pieces), endless=True
        )


async def image_import(exchange: Exchange) -> Answer:
    """POST /images/create?fromSrc=-,repo,tag,message,changes,platform with a tar"""
    query = exchange.query
    source = query.get("fromSrc", "")
    if source != "-":
        raise InvalidArgument(
            f"cannot import {source!r:.200}: give the tar as the request's body, with fromSrc=- "
            "(orlop import -)"
        )
    image = await exchange.engine.image_service.import_tar(
        exchange.body_stream(),
        tag=repository_tag(query),
        comment=query.get("message") or "Imported from -",
        changes=exchange.values("changes"),
        platform=decode_platform(query.get("platform", "")),
    )
    return json_answer({"status": image.id})


async def orlop_image_from(exchange: Exchange) -> Answer:
    """POST /orlop/images/from?name with {"path": …} or a tar"""
    name = exchange.query.get("name", "")
    if not name:
        raise InvalidArgument("the query parameter 'name' is missing: give NAME[:TAG]")
    service = exchange.engine.image_service
    if not _is_json(exchange):
        image = await service.import_tar(exchange.body_stream(), tag=name)
        return json_answer(image_json(image), 201)
    raw = b""
    async for piece in exchange.body_stream():
        raw += piece
        if len(raw) > _MAX_FOLDER_BODY:
            raise InvalidArgument("the request body is too large for the path of a folder")
    image = await service.from_folder(decode_folder(raw).path, tag=name)
    return json_answer(image_json(image), 201)


def _is_json(exchange: Exchange) -> bool:
    assert exchange.connection.request is not None
    return any(
        name == b"content-type" and value.partition(b";")[0].strip().lower() in _JSON_TYPES
        for name, value in exchange.connection.request.headers
    )
