"""`docker ps --filter`."""

from __future__ import annotations

from typing import Any

import pytest

from supervisor.errors import InvalidArgument, NotFound
from supervisor.lifecycle.filters import ContainerSummary, matches, parse, shows_stopped

WEB = ContainerSummary(
    id="aa" + "0" * 62,
    name="web-1",
    status="running",
    created_ns=10,
    labels={"tier": "front", "empty": ""},
    image="nginx",
    image_id="sha256:" + "f" * 64,
    volumes=frozenset({"data", "/srv"}),
    networks=frozenset({"host"}),
    health="healthy",
    published=frozenset({"80/tcp"}),
    exposed=frozenset({"80/tcp", "53/udp"}),
    started=True,
)
JOB = ContainerSummary(
    id="bb" + "0" * 62,
    name="job",
    status="exited",
    created_ns=20,
    exit_code=3,
    started=True,
    image="docker.io/library/busybox:1.36",
    image_id="sha256:" + "e" * 64,
)
NEW = ContainerSummary(id="cc" + "0" * 62, name="new-web", status="created", created_ns=30)
ALL = (WEB, JOB, NEW)


def found(**raw: Any) -> list[str]:
    """Names of the containers found; a key's underscores are dashes."""
    filters = parse({key.replace("_", "-"): value for key, value in raw.items()}, ALL)
    return [c.name for c in ALL if matches(c, filters)]


@pytest.mark.parametrize(
    "raw, names",
    [
        ({}, ["web-1", "job", "new-web"]),
        ({"name": []}, ["web-1", "job", "new-web"]),
        ({"name": ["web"]}, ["web-1", "new-web"]),
        ({"name": ["^web"]}, ["web-1"]),
        ({"name": ["^/web"]}, ["web-1"]),
        ({"name": ["^job$", "new"]}, ["job", "new-web"]),
        ({"name": ["["]}, []),
        ({"id": ["aa0"]}, ["web-1"]),
        ({"id": [WEB.id, JOB.id]}, ["web-1", "job"]),
        ({"id": ["^0"]}, []),
        ({"label": ["tier"]}, ["web-1"]),
        ({"label": ["tier=front"]}, ["web-1"]),
        ({"label": ["tier=back"]}, []),
        ({"label": ["tier="]}, []),
        ({"label": ["empty="]}, ["web-1"]),
        ({"label": ["tier=front", "other"]}, []),
        ({"status": ["running", "created"]}, ["web-1", "new-web"]),
        ({"exited": ["3"]}, ["job"]),
        ({"exited": ["0"]}, []),
        ({"ancestor": ["nginx:latest"]}, ["web-1"]),
        ({"ancestor": ["nginx:1"]}, []),
        ({"ancestor": ["busybox:1.36"]}, ["job"]),
        ({"ancestor": ["busybox"]}, []),
        ({"ancestor": ["sha256:eeee"]}, ["job"]),
        ({"ancestor": ["f" * 64]}, ["web-1"]),
        ({"before": ["job"]}, ["web-1"]),
        ({"since": ["web-1"]}, ["job", "new-web"]),
        ({"since": ["aa"], "before": ["cc"]}, ["job"]),
        ({"volume": ["data"]}, ["web-1"]),
        ({"volume": ["/srv", "x"]}, ["web-1"]),
        ({"volume": ["x"]}, []),
        ({"network": ["host"]}, ["web-1"]),
        ({"health": ["healthy"]}, ["web-1"]),
        ({"health": ["none"]}, ["job", "new-web"]),
        ({"publish": ["80"]}, ["web-1"]),
        ({"publish": ["80/udp"]}, []),
        ({"publish": ["53/udp"]}, []),
        ({"expose": ["50-60/udp"]}, ["web-1"]),
        ({"is_task": ["false"]}, ["web-1", "job", "new-web"]),
        ({"is_task": ["true"]}, []),
        ({"isolation": ["process"]}, ["web-1", "job", "new-web"]),
        ({"name": ["web"], "status": ["created"]}, ["new-web"]),
    ],
)
def test_filters(raw: dict[str, list[str]], names: list[str]) -> None:
    assert found(**raw) == names


@pytest.mark.parametrize(
    "raw, message",
    [
        ({"colour": ["red"]}, "invalid filter 'colour'"),
        ({"status": ["up"]}, "invalid filter 'status=up'"),
        ({"exited": ["x"]}, "invalid filter 'exited=x'"),
        ({"health": ["ill"]}, "invalid filter 'health=ill'"),
        ({"publish": ["90-80"]}, "invalid filter 'publish=90-80'"),
        ({"publish": ["80:80"]}, "invalid filter 'publish=80:80'"),
        ({"expose": ["70000"]}, "invalid filter 'expose=70000'"),
        ({"is-task": ["maybe"]}, "invalid filter 'is-task=maybe'"),
    ],
)
def test_bad_filters_are_named(raw: dict[str, list[str]], message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse(raw)
    assert caught.value.message == message


def test_before_names_a_container() -> None:
    with pytest.raises(NotFound, match="No such container: x"):
        parse({"before": ["x"]}, ALL)


def test_a_created_container_did_not_exit_with_0() -> None:
    never_ran = ContainerSummary(id="d", name="dd", status="exited", created_ns=1)
    assert not matches(never_ran, parse({"exited": ["0"]}))


def test_which_filters_show_stopped_containers() -> None:
    assert shows_stopped({"status": ["exited"]})
    assert shows_stopped({"since": ["x"]})
    assert not shows_stopped({"name": ["x"], "status": []})


def test_expressions_are_counted_and_plain_words_are_not() -> None:
    parse({"name": [f"web{n}" for n in range(1000)]}, ())
    with pytest.raises(InvalidArgument, match="invalid filter 'name': more than 20 regular"):
        parse({"name": [f"^web{n}" for n in range(21)]}, ())
