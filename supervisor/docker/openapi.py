"""The API's own description: an OpenAPI 3.1 document of what Orlop implements.

Paths are those of the routing table, parameters and answers those of `operations`, bodies
the schemas of the structs that requests are read into.
"""

from __future__ import annotations

from functools import cache
from http import HTTPStatus
from typing import Any

import msgspec

from supervisor.docker.host import API_VERSION, MIN_API_VERSION
from supervisor.docker.operation import FRAMES, JSON, STREAM, Answer, Body, Operation, Parameter
from supervisor.docker.operations import OPERATIONS
from supervisor.docker.routes import ROUTES

Json = dict[str, Any]

VERSION = "3.1.0"
_REFERENCE = "#/components/schemas/{name}"
_ERROR = "#/components/responses/Error"
_NAMED = frozenset({"images", "volumes", "distribution"})
_ABOUT = (
    "What this daemon implements of the Docker Engine API, and its own additions. Every path "
    f"may begin with a version, /v{MIN_API_VERSION} to /v{API_VERSION}. In bodies a member that is "
    "null counts as not given, and names are read in any case."
)
_FILTERS = {
    "type": "object",
    "additionalProperties": {"type": "array", "items": {"type": "string"}},
}
_KINDS: dict[str, Json] = {
    "boolean": {"type": "boolean"},
    "integer": {"type": "integer"},
    "string": {"type": "string"},
    "list": {"type": "array", "items": {"type": "string"}},
}


@cache
def document() -> bytes:
    """The document as JSON."""
    return msgspec.json.encode(describe())


def describe() -> Json:
    """The document."""
    paths: dict[str, Json] = {}
    for rule, name in ROUTES.items():
        method, pattern = rule.split(" ")
        path, variable = path_template(pattern)
        paths.setdefault(path, {})[method.lower()] = _operation(name, pattern, variable)
    return {
        "openapi": VERSION,
        "info": {"title": "Orlop", "version": API_VERSION, "description": _ABOUT},
        "servers": [{"url": f"/v{API_VERSION}"}, {"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": {**_bodies(), "Error": _error_schema()},
            "responses": {
                "Error": {
                    "description": "What is wrong, in one sentence",
                    "content": {JSON: {"schema": {"$ref": _REFERENCE.format(name="Error")}}},
                }
            },
        },
    }


def path_template(pattern: str) -> tuple[str, str]:
    """A path of the routing table with its variable's name, and that name ("" if none)."""
    if "*" not in pattern:
        return pattern, ""
    variable = "name" if pattern.split("/")[1] in _NAMED else "id"
    return pattern.replace("*", f"{{{variable}}}"), variable


def _operation(name: str, pattern: str, variable: str) -> Json:
    operation = OPERATIONS[name]
    parameters = [_query_parameter(parameter) for parameter in operation.query]
    if variable:
        where = {"name": variable, "in": "path", "required": True}
        parameters.insert(0, {**where, "schema": {"type": "string"}})
    described: Json = {
        "operationId": name,
        "summary": operation.summary,
        "tags": [pattern.split("/")[1]],
        "parameters": parameters,
        "responses": _responses(operation, found=bool(variable)),
    }
    if operation.body:
        content = dict(_content(body) for body in operation.body)
        described["requestBody"] = {"content": content}
    if operation.endless:
        described["x-endless"] = True
    if operation.read_only:
        described["x-read-only"] = True
    return described


def _query_parameter(parameter: Parameter) -> Json:
    described: Json = {"name": parameter.name, "in": "query", "required": parameter.required}
    if parameter.kind == "filters":
        return {**described, "content": {JSON: {"schema": _FILTERS}}}
    return {**described, "schema": _KINDS[parameter.kind]}


def _content(body: Body) -> tuple[str, Json]:
    if isinstance(body, str):
        return body, {"schema": {"type": "string", "format": "binary"}}
    return JSON, {"schema": {"$ref": _REFERENCE.format(name=body.__name__)}}


def _responses(operation: Operation, *, found: bool) -> Json:
    success = {"description": _phrase(operation.status), **_answer(operation.answer)}
    responses: Json = {str(operation.status): success}
    if operation.upgrades:
        responses["101"] = {"description": "The same, for a request with Upgrade: tcp"}
    for status in sorted({400, *operation.errors} | ({404} if found else set())):
        failed = {"$ref": _ERROR} if status >= HTTPStatus.BAD_REQUEST else None
        responses[str(status)] = failed or {"description": _phrase(status)}
    return responses


def _answer(answer: Answer) -> Json:
    if not answer.media:
        return {}
    if answer.media != JSON:
        media = (STREAM, FRAMES) if answer.media in (STREAM, FRAMES) else (answer.media,)
        return {"content": {kind: {} for kind in media}}
    schema: Json = {"type": "object"}
    if answer.members:
        schema["required"] = list(answer.members)
    if answer.kind == "array":
        schema = {"type": "array", "items": schema}
    return {"content": {JSON: {"schema": schema}}}


def _bodies() -> Json:
    kinds = {body for one in OPERATIONS.values() for body in one.body if isinstance(body, type)}
    ordered = sorted(kinds, key=lambda kind: kind.__name__)
    _, schemas = msgspec.json.schema_components(ordered, ref_template=_REFERENCE)
    return dict(sorted(schemas.items()))


def _error_schema() -> Json:
    return {
        "type": "object",
        "required": ["message"],
        "properties": {"message": {"type": "string"}},
    }


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase
