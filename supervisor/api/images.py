"""Handlers of /images, but for archives, and of Orlop's own way to make one."""

from __future__ import annotations

import time

from supervisor.api.exchange import Exchange
from supervisor.api.image_archives import image_import
from supervisor.api.messages import Answer, json_answer
from supervisor.api.registries import image_pull
from supervisor.docker.commit import commit_options, repository_tag
from supervisor.docker.disk_usage import disk_usage_json, wanted_objects
from supervisor.docker.filters import decode_filters
from supervisor.docker.image_filters import list_filter, prune_filter
from supervisor.docker.image_history import history_json
from supervisor.docker.images import ImageNumbers, decode_scratch, image_json, summary_json
from supervisor.docker.query import boolean
from supervisor.errors import InvalidArgument


async def image_list(exchange: Exchange) -> Answer:
    """GET /images/json?all,filters,shared-size"""
    query = exchange.query
    service, images = exchange.engine.image_service, exchange.engine.images.list()
    filters = decode_filters(query.get("filters", ""))
    chosen = list_filter(filters, service.created_of, time.time_ns())
    containers = service.containers_of()
    shared = service.shared_sizes() if boolean(query, "shared-size") else {}
    # What a named image was committed from is shown by -a, unless it has a name itself.
    parents = set() if boolean(query, "all") else {image.parent for image in images}
    rows = []
    for image in images:
        names = chosen.shown(image)
        if names is None or (image.id in parents and not (image.tags or image.repo_digests)):
            continue
        numbers = ImageNumbers(
            containers=containers.get(image.id, 0), shared_size=shared.get(image.id, -1)
        )
        rows.append(summary_json(image, names, numbers))
    return json_answer(rows)


async def image_inspect(exchange: Exchange) -> Answer:
    """GET /images/{name}/json"""
    image = exchange.engine.images.get(exchange.ref)
    return json_answer(image_json(image, exchange.engine.image_service.layer_folders(image.id)))


async def image_history(exchange: Exchange) -> Answer:
    """GET /images/{name}/history"""
    image, entries, line = exchange.engine.image_service.history(exchange.ref)
    return json_answer(history_json(entries, image.layer_sizes, line))


async def image_delete(exchange: Exchange) -> Answer:
    """DELETE /images/{name}?force,noprune"""
    force = boolean(exchange.query, "force")
    return json_answer(await exchange.engine.image_service.remove(exchange.ref, force=force))


async def image_prune(exchange: Exchange) -> Answer:
    """POST /images/prune?filters"""
    filters = decode_filters(exchange.query.get("filters", ""))
    wanted = prune_filter(filters, time.time_ns())
    records, reclaimed = await exchange.engine.image_service.prune(wanted)
    return json_answer({"ImagesDeleted": records or None, "SpaceReclaimed": reclaimed})


async def image_tag(exchange: Exchange) -> Answer:
    """POST /images/{name}/tag?repo,tag"""
    tag = repository_tag(exchange.query)
    if tag is None:
        raise InvalidArgument("the query parameter 'repo' is missing: give the new name")
    await exchange.engine.image_service.tag(exchange.ref, tag)
    return Answer(201)


async def image_create(exchange: Exchange) -> Answer | None:
    """POST /images/create?fromImage,fromSrc,repo,tag,message,changes,platform

    Pulls with fromImage, imports with fromSrc.
    """
    if exchange.query.get("fromSrc"):
        return await image_import(exchange)
    async for _ in exchange.body_stream():  # of a pull there is none
        pass
    await image_pull(exchange)
    return None


async def image_commit(exchange: Exchange) -> Answer:
    """POST /commit?container,repo,tag,comment,author,pause,changes"""
    query = exchange.query
    container = query.get("container", "")
    if not container:
        raise InvalidArgument("the query parameter 'container' is missing")
    options = commit_options(
        query, exchange.values("changes"), repository_tag(query), exchange.expect_json()
    )
    image = await exchange.engine.image_service.commit(container, options)
    return json_answer({"Id": image.id}, 201)


async def orlop_image_scratch(exchange: Exchange) -> Answer:
    """POST /orlop/images/scratch?name"""
    name = exchange.query.get("name", "")
    if not name:
        raise InvalidArgument("the query parameter 'name' is missing: give NAME[:TAG]")
    body = decode_scratch(exchange.expect_json())
    image = await exchange.engine.images.scratch(name, body.binaries)
    return json_answer(image_json(image), 201)


async def system_disk_usage(exchange: Exchange) -> Answer:
    """GET /system/df?type"""
    objects = wanted_objects(exchange.values("type"))
    usage = await exchange.engine.disk_usage(objects)
    return json_answer(disk_usage_json(usage, time.time_ns()))
