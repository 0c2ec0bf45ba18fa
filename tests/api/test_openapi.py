"""The API does what its own description says: every request gets one of the answers named there.

Requests are made from the document that the daemon serves, by hypothesis: right, nearly right
and wrong ones. None may get a 500, an answer of another shape, or none in time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from supervisor.docker.openapi import describe
from tests.api.box import IMAGE
from tests.api.network_box import NetworkBox, network_box
from tests.support.daemon import UnixConnection
from tests.support.openapi import Request, Requests
from tests.support.pace import limit

pytestmark = pytest.mark.feature("bridge", "veth", "nftables", "nftables-bridge")

PATIENCE = 10.0
RUNS, MADE = "runs", "made"
ENDS_WHEN_ASKED = "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done"
DEFAULTS: dict[str, dict[str, Any]] = {
    "CreateBody": {"Image": IMAGE, "Cmd": ["true"]},
    "ExecBody": {"Cmd": ["true"]},
    "NetworkBody": {"Name": "some"},
    "ConnectBody": {"Container": MADE},
    "DisconnectBody": {"Container": MADE},
}
FIXED = {"t": ("0", "1", "x", ""), "fromSrc": ("", "-", "x")}
MANY, FEW = 20, 6
TAGS = sorted({path.split("/")[1] for path in describe()["paths"]})


def takes_json(operation: dict[str, Any]) -> bool:
    return "application/json" in operation.get("requestBody", {}).get("content", {})


class Fuzzed:
    """The daemon, its document, and what the requests are about."""

    def __init__(self, box: NetworkBox) -> None:
        self.box = box
        self.document: dict[str, Any] = box.daemon.request("GET", "/openapi.json")[1]
        self.requests = Requests(
            self.document,
            known=(RUNS, MADE, IMAGE, "bridge", "127.0.0.1:1/x", "nobody"),
            defaults=DEFAULTS,
            fixed=FIXED,
        )

    def furnish(self) -> None:
        """One container that runs and one that was never started, and nothing else."""
        found = self.box.daemon.request("GET", "/containers/json?all=1")[1]
        states = {one["Names"][0]: one["State"] for one in found}
        if states != {f"/{RUNS}": "running", f"/{MADE}": "created"}:
            self.afresh()

    def afresh(self) -> None:
        """The same, made anew."""
        self.box.remove_all()
        for image in self.box.daemon.request("GET", "/images/json?all=1")[1]:
            if image["RepoTags"] != [f"{IMAGE}:latest"]:
                self.box.daemon.request("DELETE", f"/images/{image['Id']}?force=1")
        self.box.build()
        self.box.ok(
            "run", "-d", "--stop-timeout", "1", "--name", RUNS, IMAGE, "sh", "-c", ENDS_WHEN_ASKED
        )
        self.box.ok("create", "--name", MADE, IMAGE, "true")
        self.box.daemon.request("POST", "/volumes/prune?filters=" + '{"all":["1"]}')

    def try_out(self, method: str, path: str, operation: dict[str, Any]) -> None:
        """Many requests for one operation."""

        @settings(
            max_examples=MANY if takes_json(operation) else FEW,
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(self.requests.of(method, path))
        def answered(request: Request) -> None:
            self.ask(request, operation)

        answered()

    def ask(self, request: Request, operation: dict[str, Any]) -> None:
        """One request, whose answer must be among those of the operation."""
        connection = UnixConnection(self.box.daemon.socket, limit(PATIENCE))
        with closing(connection):
            connection.request(request.method, request.target, request.body, dict(request.headers))
            response = connection.getresponse()
            assert str(response.status) in operation["responses"], response.read(500)
            if request.method == "HEAD" or response.status == 101:
                return
            if response.status < 400 and operation.get("x-endless"):
                return
            self.check(response.status, response.read(), operation)

    def check(self, status: int, body: bytes, operation: dict[str, Any]) -> None:
        """The answer's body is what was said of it."""
        if status >= 400:
            assert json.loads(body)["message"]
            return
        content = operation["responses"][str(status)].get("content", {})
        schema = content.get("application/json", {}).get("schema", {})
        if schema.get("type") == "array":
            for row in json.loads(body):
                assert row.keys() >= set(schema["items"].get("required", ()))
        elif "required" in schema:
            assert json.loads(body).keys() >= set(schema["required"])


@pytest.fixture(scope="module")
def fuzzed() -> Iterator[Fuzzed]:
    with network_box() as box:
        box.machine.resolv_conf.write_text("nameserver 127.0.0.1\n")  # says at once: nobody
        yield Fuzzed(box)
        assert "Traceback" not in box.daemon.log


@pytest.fixture
def cleared(fuzzed: Fuzzed) -> Iterator[Fuzzed]:
    yield fuzzed
    fuzzed.box.remove_all()


@pytest.mark.parametrize("tag", TAGS)
def test_answers(cleared: Fuzzed, tag: str) -> None:
    tried = 0
    for path, methods in cleared.document["paths"].items():
        for method, operation in methods.items():
            if operation["tags"] == [tag]:
                cleared.furnish()
                cleared.try_out(method, path, operation)
                tried += 1
    assert tried
