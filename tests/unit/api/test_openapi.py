"""The API's own description beside the routing table and what the handlers say they read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from supervisor.api.handlers import HANDLERS, PROMPT
from supervisor.docker.openapi import describe, document, path_template
from supervisor.docker.operations import OPERATIONS
from supervisor.docker.routes import ROUTES, route
from tests.unit.api.conftest import Api

DOCUMENT = describe()
RULES = [(rule.split(" ")[0], rule.split(" ")[1], name) for rule, name in ROUTES.items()]


def described(method: str, pattern: str) -> dict[str, Any]:
    found: dict[str, Any] = DOCUMENT["paths"][path_template(pattern)[0]][method.lower()]
    return found


def names(operation: dict[str, Any], where: str) -> list[str]:
    return [p["name"] for p in operation["parameters"] if p["in"] == where]


def references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from references(item)


@pytest.mark.parametrize("method, pattern, name", RULES, ids=[name for _, _, name in RULES])
def test_each_route_is_described_as_its_handler_says(method: str, pattern: str, name: str) -> None:
    operation = described(method, pattern)
    assert operation["operationId"] == name
    path, variable = path_template(pattern)
    assert names(operation, "path") == [variable] * bool(variable)
    first = ({**PROMPT, **HANDLERS}[name].__doc__ or "").strip().splitlines()[0]
    said = re.match(r"([A-Z]+) ([^?: ]+)(?:\?([\w,-]+))?", first)
    assert said, first
    assert (said[1], said[2]) == (method, path)
    wanted = said[3].split(",") if said[3] else []
    assert sorted(names(operation, "query")) == sorted(wanted)


@pytest.mark.parametrize("method, pattern, name", RULES, ids=[name for _, _, name in RULES])
def test_statuses(method: str, pattern: str, name: str) -> None:
    """One success, a bad request, nothing found where there is a name, and no 500."""
    statuses = described(method, pattern)["responses"].keys()
    assert str(OPERATIONS[name].status) in statuses
    assert "400" in statuses
    assert ("*" not in pattern) or "404" in statuses
    assert {status for status in statuses if status >= "5"} <= {"501", "503"}


def test_nothing_else_is_described() -> None:
    assert OPERATIONS.keys() == set(ROUTES.values())
    found = [
        (method.upper(), route(method.upper(), re.sub(r"\{\w+\}", "x", path)).operation)
        for path, methods in DOCUMENT["paths"].items()
        for method in methods
    ]
    assert sorted(found) == sorted((method, name) for method, _, name in RULES)


def test_every_reference_leads_somewhere() -> None:
    found = set(references(DOCUMENT))
    assert "#/components/schemas/CreateBody" in found
    for reference in found:
        place: Any = DOCUMENT
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]
        assert place


def test_a_body_is_described_field_by_field() -> None:
    content = described("POST", "/containers/create")["requestBody"]["content"]
    assert content == {"application/json": {"schema": {"$ref": "#/components/schemas/CreateBody"}}}
    host = DOCUMENT["components"]["schemas"]["HostConfig"]["properties"]
    assert host["Memory"]["type"] == "integer"
    assert host["PortBindings"]["type"] == "object"
    tar = described("POST", "/images/load")["requestBody"]["content"]
    assert list(tar) == ["application/x-tar"]


async def test_it_is_served(api: Api) -> None:
    for path in ("/openapi.json", "/v1.51/openapi.json"):
        reply = await api.call("GET", path)
        assert reply.status == 200
        assert reply.headers["content-type"] == "application/json"
        assert reply.body == document()
