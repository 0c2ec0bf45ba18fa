"""The page for people at the metrics' address: what it is made of, from a real daemon."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from tests.api.box import IMAGE, Box, eventually
from tests.support.daemon import Daemon, running_daemon
from tests.support.pace import limit

HERE = ("--metrics-addr", "127.0.0.1:0")
HOSTILE = "<script>alert(1)</script>\n\ndata: x"


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """A daemon with metrics at a free port."""
    with running_daemon(HERE) as daemon:
        yield daemon


@contextmanager
def asked(daemon: Daemon, path: str, **headers: str) -> Iterator[http.client.HTTPResponse]:
    """An answer at the metrics' address, which must be a good one."""
    address = re.findall(r"metrics at (127\.0\.0\.1:\d+)$", daemon.log, re.MULTILINE)[-1]
    with closing(http.client.HTTPConnection(address, timeout=limit(20))) as connection:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        assert response.status == 200, path
        yield response


def shown(box: Box, name: str, path: str = "/containers") -> dict[str, Any]:
    """The container as the page is told of it."""
    with asked(box.daemon, path) as response:
        (found,) = (one for one in json.load(response)["containers"] if one["name"] == name)
        return dict(found)


def told(response: http.client.HTTPResponse, action: str) -> dict[str, Any]:
    """The next event of the container "job" that says so."""
    while True:
        line = response.readline()
        assert line, f"no {action}"
        if line.startswith(b"data: "):
            assert b"<" not in line
            event = json.loads(line.removeprefix(b"data: "))
            if (event["name"], event["action"]) == ("job", action):
                return dict(event)


def test_the_page_is_served_with_its_parts(box: Box) -> None:
    with asked(box.daemon, "/") as response:
        assert "script-src 'self'" in response.headers["Content-Security-Policy"]
        page = response.read().decode()
    for name in re.findall(r'(?:src|href)="([^"]*)"', page):
        with asked(box.daemon, f"/{name}") as response:
            assert response.read()


def test_a_running_one_with_what_it_uses(box: Box) -> None:
    limits = ("--cpus", "0.1", "-m", "100m")
    hold = (
        "dd if=/dev/zero of=/dev/shm/x bs=1M count=20 2>/dev/null; echo held; while :; do :; done"
    )
    box.start("--name", "busy", *limits, script=hold)
    box.wait_for_log("busy", "held")

    def used_and_throttled() -> bool:
        now = shown(box, "busy")["now"]
        return bool(now.get("cpu", 0) > 0.03 and now["throttled_periods"])

    eventually(used_and_throttled, 20)
    one = shown(box, "busy", "/containers?history")
    assert (one["state"], one["image"], one["end"]) == ("running", IMAGE, None)
    assert one["limits"]["cpus"] == 0.1
    assert one["limits"]["memory"] == 100 << 20
    assert 20 << 20 <= one["now"]["memory"] <= 100 << 20
    assert max(one["history"]["cpu"]) > 0.03
    assert len(one["history"]["cpu"]) == len(one["history"]["memory"])


def test_one_that_has_ended_with_the_reason(box: Box) -> None:
    limits = ("-m", "16m", "--memory-swap", "16m")
    box.start("--name", "greedy", *limits, script="exec tail /dev/zero")
    box.start("--name", "failed", script="exit 3")
    assert box.ok("wait", "greedy", "failed") == "137\n3"
    greedy, failed = (shown(box, name) for name in ("greedy", "failed"))
    assert (greedy["state"], greedy["now"], greedy["oom_kills"]) == ("exited", None, 1)
    assert (greedy["end"]["reason"], greedy["end"]["code"]) == ("oom_killed", 137)
    assert (failed["end"]["reason"], failed["end"]["code"]) == ("error", 3)


def test_events_tell_and_harm_nobody(box: Box) -> None:
    box.ok("create", "--name", "job", "--label", f"note={HOSTILE}", IMAGE, "echo", HOSTILE)
    with asked(box.daemon, "/events") as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        created = told(response, "create")
        box.ok("start", "job")
        assert told(response, "start")["id"] == created["id"]
        died = told(response, "die")
        assert died["exitCode"] == "0"
    assert set(died) == {"time_ns", "type", "action", "id", "name", "exitCode"}  # and no label
    assert "note" not in json.dumps(shown(box, "job"))
    last = {"Last-Event-ID": str(created["time_ns"])}
    with asked(box.daemon, "/events", **last) as response:
        assert told(response, "start")["id"] == died["id"]
