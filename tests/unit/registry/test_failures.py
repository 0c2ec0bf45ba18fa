"""What a registry's refusal becomes: docker's words and statuses."""

from __future__ import annotations

import json

import pytest

from supervisor.oci.reference import parse
from supervisor.registry.failures import pull_error, push_error, refused

REF = parse("r.example/foo:1")


def body(code: str, message: str = "") -> bytes:
    return json.dumps({"errors": [{"code": code, "message": message}]}).encode()


@pytest.mark.parametrize(
    "status, data, given, answer, words",
    [
        (
            404,
            body("MANIFEST_UNKNOWN", "manifest unknown"),
            "",
            404,
            "manifest for r.example/foo:1 not found: manifest unknown: manifest unknown",
        ),
        (404, b"", "", 404, "manifest for r.example/foo:1 not found: HTTP status 404"),
        (
            404,
            body("NAME_UNKNOWN", "no such"),
            "",
            404,
            "repository r.example/foo not found: name unknown: no such",
        ),
        (
            401,
            body("UNAUTHORIZED", "authentication required"),
            "token",
            404,
            (
                "pull access denied for r.example/foo, repository does not exist or may require "
                "'docker login': unauthorized: authentication required"
            ),
        ),
        (
            403,
            b"",
            "token",
            404,
            (
                "pull access denied for r.example/foo, repository does not exist or may require "
                "'docker login': denied: requested access to the resource is denied"
            ),
        ),
        (
            401,
            b"",
            "basic",
            403,
            (
                "unauthorized: authentication required: the user name or password for r.example is "
                "wrong"
            ),
        ),
        (
            401,
            b"",
            "",
            403,
            (
                "unauthorized: authentication required: no basic auth credentials: log in with "
                "`docker login r.example` or `orlop login r.example`"
            ),
        ),
        (503, b"", "", 503, "GET it: HTTP status 503"),
        (429, body("TOOMANYREQUESTS", "slow down"), "", 503, "GET it: toomanyrequests: slow down"),
        (400, body("UNSUPPORTED"), "", 400, "GET it: unsupported"),
        (501, b"", "", 500, "GET it: HTTP status 501"),
    ],
)
def test_pull(status: int, data: bytes, given: str, answer: int, words: str) -> None:
    error = pull_error(refused("GET it", status, data, given), REF)
    assert (error.status, str(error)) == (answer, words)


def test_push() -> None:
    error = push_error(refused("PUT it", 403, body("DENIED", "no"), "token"), REF)
    assert (error.status, str(error)) == (403, "denied: no: this user of r.example may not do that")
    error = push_error(refused("PUT it", 500, b"", ""), REF)
    assert (error.status, str(error)) == (500, "PUT it: HTTP status 500")
