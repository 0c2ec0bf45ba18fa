"""schemathesis, as anybody may let it loose on an API, finds nothing wrong with this one.

It reads `/openapi.json`, makes requests of it, and holds each answer against the document: its
status, its content type, its shape. `test_openapi.py` does so with words that mean something here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import requests
import schemathesis
from docker.transport import UnixHTTPAdapter
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.result import Ok

from tests.api.box import IMAGE
from tests.api.network_box import NetworkBox, network_box
from tests.support.pace import limit

pytestmark = pytest.mark.feature("bridge", "veth", "nftables", "nftables-bridge")

PATIENCE = 10.0
EXAMPLES = 4
BASE = "http://localhost"
# An answer of these may have no end: they are asked elsewhere.
ENDLESS = ("events", "wait", "attach", "logs", "stats", "grpc", "session", "start")
REFUSED = {501, 503}  # what Orlop has not, and what this daemon has not switched on
CONFORM = ("status_code_conformance", "content_type_conformance", "response_schema_conformance")


@pytest.fixture(scope="module")
def boxed() -> Iterator[NetworkBox]:
    with network_box() as box:
        box.machine.resolv_conf.write_text("nameserver 127.0.0.1\n")  # says at once: nobody
        # A stop of it, by a name that its id begins with, is not to take the usual ten seconds.
        box.ok("run", "-d", "--name", "runs", "--stop-timeout=1", IMAGE, "sleep", "100000")
        yield box
        assert "Traceback" not in box.daemon.log
        box.remove_all()


@pytest.fixture(scope="module")
def session(boxed: NetworkBox) -> Iterator[requests.Session]:
    with closing(requests.Session()) as session:
        adapter = UnixHTTPAdapter(f"http+unix://{boxed.daemon.socket}", timeout=limit(PATIENCE))
        session.mount(BASE, adapter)
        yield session


@schemathesis.serializer("application/x-tar")
def as_it_is(_context: schemathesis.SerializationContext, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def test_the_api_is_what_its_document_says(boxed: NetworkBox, session: requests.Session) -> None:
    load_all_checks()
    document: dict[str, Any] = boxed.daemon.request("GET", "/openapi.json")[1]
    checks: Any = CHECKS.get_by_names(CONFORM)
    tried = []
    for found in schemathesis.openapi.from_dict(document).get_all_operations():
        assert isinstance(found, Ok), found
        operation = found.ok()
        if any(word in operation.path.split("/") for word in ENDLESS):
            continue

        @settings(
            max_examples=EXAMPLES,
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(operation.as_strategy())
        def conforms(case: schemathesis.Case[Any]) -> None:
            response = case.call(
                base_url=BASE,
                session=session,
                timeout=limit(PATIENCE),
                headers={"Connection": "close"},
            )
            assert response.status_code < 500 or response.status_code in REFUSED, response.text
            case.validate_response(response, checks=checks)

        conforms()
        tried.append(operation.path)
    assert len(tried) > 50
