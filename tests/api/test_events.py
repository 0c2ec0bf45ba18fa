"""The event stream of a running daemon beside what dockerd was seen to send."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import pytest

from tests.api.box import IMAGE, Box, eventually
from tests.support.pace import limit

HEX = set("0123456789abcdef")


@contextmanager
def followed(box: Box, *flags: str) -> Iterator[list[dict[str, Any]]]:
    """What `docker events` prints until the end of the block."""
    seen: list[dict[str, Any]] = []
    process = subprocess.Popen(
        ["docker", "events", "--format", "{{json .}}", *flags],
        env=box.daemon.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        eventually(lambda: box.daemon.request("GET", "/info")[1]["NEventsListener"] > 0)
        yield seen
        time.sleep(limit(0.3))  # the last event's way through docker's own process
        process.terminate()
        assert process.stdout is not None
        seen += [json.loads(line) for line in process.stdout.read().splitlines()]


def test_a_run_and_a_volume(box: Box) -> None:
    """The events, in docker's order, of `docker run --rm` and of a volume."""
    with followed(box, "--filter", "type=container", "--filter", "type=volume") as seen:
        assert box.daemon.docker("run", "--rm", "--name", "evt", IMAGE, "true").returncode == 0
        assert box.daemon.docker("volume", "create", "ev1").returncode == 0
        assert box.daemon.docker("volume", "rm", "ev1").returncode == 0
    kinds = [(event["Type"], event["Action"]) for event in seen]
    expected = ["create", "attach", "start", "die", "destroy"]
    assert kinds == [
        *(("container", action) for action in expected),
        *(("volume", "create"), ("volume", "destroy")),
    ]
    for event in seen[:5]:
        assert event["status"] == event["Action"]
        assert event["id"] == event["Actor"]["ID"]
        assert set(event["id"]) <= HEX
        assert (event["from"], event["scope"]) == (IMAGE, "local")
        assert event["timeNano"] // 10**9 == event["time"]
    assert seen[0]["Actor"]["Attributes"] == {"image": IMAGE, "name": "evt"}
    assert seen[3]["Actor"]["Attributes"] == {
        "image": IMAGE,
        "name": "evt",
        "exitCode": "0",
        "execDuration": "0",
    }
    assert seen[5]["Actor"] == {"ID": "ev1", "Attributes": {"driver": "local"}}
    assert "status" not in seen[5]


def test_an_exec(box: Box) -> None:
    box.start("--name", "web")
    with followed(box, "--filter", "container=web") as seen:
        assert box.daemon.docker("exec", "web", "/bin/sh", "-c", "true").returncode == 0
    actions = [event["Action"] for event in seen]
    assert actions == ["exec_create: /bin/sh -c true", "exec_start: /bin/sh -c true", "exec_die"]
    ids = {event["Actor"]["Attributes"]["execID"] for event in seen}
    assert len(ids) == 1
    assert seen[-1]["Actor"]["Attributes"]["exitCode"] == "0"


@pytest.mark.parametrize(
    "filters, actions",
    [
        ({"event": ["die", "start"]}, ["start", "die"]),
        ({"label": ["team=blue"], "event": ["die"]}, ["die"]),
        ({"label": ["team=red"]}, []),
        ({"image": [IMAGE], "event": ["create"]}, ["create"]),
        ({"scope": ["swarm"]}, []),
        ({"type": ["volume"]}, []),
        ({"network": ["x"]}, []),
    ],
)
def test_filters_over_what_was(box: Box, filters: dict[str, list[str]], actions: list[str]) -> None:
    name = f"f{time.monotonic_ns()}"
    box.run("--name", name, "--label", "team=blue", script="true")
    asked = quote(json.dumps({**filters, "container": [name]}))
    for since, until in (("0", f"{time.time():.9f}"), ("1m", "0s"), ("", "0s")):
        path = f"/events?since={since}&until={until}&filters={asked}"
        _, found = box.daemon.request("GET", path)
        lines = found.splitlines() if isinstance(found, bytes) else [json.dumps(found)]
        assert [json.loads(line)["Action"] for line in lines if line.strip()] == actions, path


def test_a_range_that_cannot_be(box: Box) -> None:
    status, answer = box.daemon.request("GET", "/events?since=20&until=10")
    assert status == 400
    assert answer["message"] == "`since` time (20) cannot be after `until` time (10)"
