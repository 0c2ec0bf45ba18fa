"""Handlers of what goes to registries: pull, push, login, look-up, search."""

from __future__ import annotations

from supervisor.api.exchange import Exchange
from supervisor.api.messages import Answer, json_answer
from supervisor.api.progress import Progress, stream_progress
from supervisor.docker.filters import decode_filters
from supervisor.docker.search import check_search_filters, row_matches, search_limit
from supervisor.errors import InvalidArgument
from supervisor.oci import platform as oci_platform
from supervisor.oci.reference import parse
from supervisor.oci.registry_auth import Credentials, decode_body, decode_header


async def image_pull(exchange: Exchange) -> None:
    """POST /images/create?fromImage,tag,platform"""
    query = exchange.query
    name, tag = query.get("fromImage", "").removesuffix(":"), query.get("tag", "")
    ref = _with_tag(name, tag)
    wanted = parse(ref)
    text = query.get("platform", "")
    platform = oci_platform.parse(text) if text else None
    credentials = _credentials(exchange)

    async def pull(progress: Progress) -> None:
        with exchange.engine.metering.pulling():
            await pull_image(progress)

    async def pull_image(progress: Progress) -> None:
        await exchange.engine.registries.pull(
            ref,
            platform=platform,
            credentials=credentials,
            tell=progress.put,
            all_tags=not (wanted.tag or wanted.digest),
        )

    await stream_progress(exchange, pull)


async def image_push(exchange: Exchange) -> None:
    """POST /images/{name}/push?tag"""
    ref = _with_tag(exchange.ref, exchange.query.get("tag", ""))
    credentials = _credentials(exchange)

    async def push(progress: Progress) -> None:
        await exchange.engine.registries.push(ref, credentials=credentials, tell=progress.put)

    await stream_progress(exchange, push)


async def system_auth(exchange: Exchange) -> Answer:
    """POST /auth"""
    token = await exchange.engine.registries.log_in(decode_body(exchange.expect_json()))
    return json_answer({"IdentityToken": token, "Status": "Login Succeeded"})


async def distribution_inspect(exchange: Exchange) -> Answer:
    """GET /distribution/{name}/json"""
    found = await exchange.engine.registries.inspect(exchange.ref, _credentials(exchange))
    return json_answer(found)


async def image_search(exchange: Exchange) -> Answer:
    """GET /images/search?term,limit,filters"""
    query = exchange.query
    limit = search_limit(query)
    filters = decode_filters(query.get("filters", ""))
    check_search_filters(filters)
    term = query.get("term", "")
    if not term:
        raise InvalidArgument("the query parameter 'term' is missing: give a word to search for")
    rows = await exchange.engine.registries.search(term, limit, _credentials(exchange))
    return json_answer([row for row in rows if row_matches(row, filters)])


def _with_tag(name: str, tag: str) -> str:
    if not tag:
        return name
    return f"{name}@{tag}" if ":" in tag else f"{name}:{tag}"


def _credentials(exchange: Exchange) -> Credentials:
    request = exchange.connection.request
    assert request is not None
    for name, value in request.headers:
        if name == b"x-registry-auth":
            return decode_header(value.decode("latin-1"))
    return decode_header("")
