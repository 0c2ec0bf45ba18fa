"""Handlers of /images and of Orlop's own way to make one."""

from __future__ import annotations

from supervisor.api.exchange import Exchange
from supervisor.api.messages import Answer, json_answer
from supervisor.docker.filters import decode_filters
from supervisor.docker.images import (
    check_image_filters,
    decode_scratch,
    image_json,
    image_matches,
    summary_json,
)
from supervisor.docker.query import boolean
from supervisor.errors import InvalidArgument, NotImplementedYet
from supervisor.store.removal import ImageUse


async def image_list(exchange: Exchange) -> Answer:
    """GET /images/json?all,filters"""
    filters = decode_filters(exchange.query.get("filters", ""))
    check_image_filters(filters)
    images = exchange.engine.images.list()
    return json_answer([summary_json(image) for image in images if image_matches(image, filters)])


async def image_inspect(exchange: Exchange) -> Answer:
    """GET /images/{name}/json"""
    return json_answer(image_json(exchange.engine.images.get(exchange.ref)))


async def image_delete(exchange: Exchange) -> Answer:
    """DELETE /images/{name}?force,noprune"""
    engine = exchange.engine

    def in_use() -> list[ImageUse]:
        return [
            ImageUse(
                container=view.id,
                image_id=view.image_id,
                running=view.running,
                lowers=view.lower_dirs,
            )
            for view in engine.list()
        ]

    force = boolean(exchange.query, "force")
    return json_answer(await engine.images.remove(exchange.ref, in_use=in_use, force=force))


async def image_create(exchange: Exchange) -> Answer:
    """POST /images/create: what `docker run` does for an image that is not there."""
    query = exchange.query
    name, tag = query.get("fromImage", ""), query.get("tag", "")
    mark = "@" if tag.startswith("sha256:") else ":"
    wanted = f"{name}{mark}{tag}" if name and tag else name or query.get("fromSrc", "")
    raise NotImplementedYet(
        f"cannot pull {wanted!r:.200}: orlop has no registry client; make an image of this "
        "host's programs with `orlop image scratch NAME[:TAG] [BINARY...]`"
    )


async def orlop_image_scratch(exchange: Exchange) -> Answer:
    """POST /orlop/images/scratch?name"""
    name = exchange.query.get("name", "")
    if not name:
        raise InvalidArgument("the query parameter 'name' is missing: give NAME[:TAG]")
    body = decode_scratch(exchange.expect_json())
    image = await exchange.engine.images.scratch(name, body.binaries)
    return json_answer(image_json(image), 201)
