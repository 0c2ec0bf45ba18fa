"""JSON that clients of the API send, and the filters in their queries."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from supervisor.docker import events, image_filters, prune, volumes
from supervisor.docker.commit import commit_options
from supervisor.docker.create import decode_create, from_json, merge_image, to_json
from supervisor.docker.exec import decode_exec, decode_exec_start
from supervisor.docker.filters import decode_filters
from supervisor.docker.health import check_of
from supervisor.docker.impair import decode_impair
from supervisor.docker.mounts import mount_points
from supervisor.docker.network_body import (
    bridge_options,
    decode_connect,
    decode_disconnect,
    decode_network,
)
from supervisor.docker.options import container_options
from supervisor.docker.ports import port_requests
from supervisor.docker.search import check_search_filters
from supervisor.docker.update import apply_update, decode_update
from supervisor.docker.views import Event
from supervisor.docker.volumes import decode_volume
from supervisor.errors import NotFound, OrlopError
from supervisor.lifecycle import filters as lifecycle_filters
from supervisor.lifecycle.filters import ContainerSummary
from supervisor.oci.config import ImageConfig
from supervisor.store.image import Image
from tests.fuzz.target import Target
from tests.unit.docker.bodies import CLI_BODY, CLI_HOST, look_up

_IMAGE = ImageConfig(
    cmd=("sh",),
    env=("A=b",),
    labels={"a": "b"},
    volumes=("/v",),
    exposed_ports=("80/tcp",),
    healthcheck={"Test": ["CMD", "true"], "Interval": 1000000000},
)


def create(data: bytes) -> None:
    """A create request: what it asks for, or one error; what is kept of it reads as it was."""
    try:
        body = decode_create(data)
    except OrlopError:
        return
    assert isinstance(json.loads(data), dict)
    assert from_json(json.loads(json.dumps(to_json(body)))) == body
    try:
        merged = merge_image(body, _IMAGE)
        check_of(merged)
        points = mount_points(merged)
        container_options(merged, look_up, points)
        port_requests(merged)
    except OrlopError:
        return
    for point in points:
        assert point.destination.startswith("/")
        assert ".." not in point.destination.split("/")


def bodies(data: bytes) -> None:
    """Every other request's body."""
    for decode in _OTHERS:
        try:
            decode(data)
        except OrlopError:
            continue
        assert data.strip() in (b"", b"null") or isinstance(json.loads(data), dict)


def _update(data: bytes) -> None:
    apply_update(decode_create(b'{"Image":"x"}').host_config, decode_update(data))


_OTHERS: tuple[Callable[[bytes], object], ...] = (
    _update,
    decode_exec,
    decode_exec_start,
    decode_impair,
    decode_volume,
    decode_connect,
    decode_disconnect,
    lambda data: bridge_options(decode_network(data)),
    lambda data: commit_options({"changes": ""}, ["CMD x"], "a:1", data),
)


def filters(data: bytes) -> None:
    """The filters of every list, and what they let through."""
    try:
        found = decode_filters(data.decode("utf-8", "replace"))
    except OrlopError:
        return
    for use in _FILTERS:
        try:
            use(found)
        except OrlopError:
            continue


_SUMMARIES = (
    ContainerSummary(id="ab" * 32, name="web", status="running", created_ns=5, image="a:1"),
    ContainerSummary(
        id="cd" * 32,
        name="db",
        status="exited",
        created_ns=9,
        started=True,
        labels={"a": "b"},
        image_id="sha256:" + "a" * 64,
        volumes=frozenset({"v", "/v"}),
        networks=frozenset({"bridge"}),
        published=frozenset({"80/tcp"}),
        exposed=frozenset({"80/tcp", "53/udp"}),
    ),
)
_SHOWN = Image(
    id="sha256:" + "a" * 64,
    tags=("a/b:1", "c:latest"),
    created="2026-11-21T03:27:45Z",
    size=1,
    layer_sizes=(1,),
    layers=("sha256:" + "b" * 64,),
    architecture="amd64",
    config=_IMAGE,
)
_EVENT = Event(
    type="container",
    action="exec_create: sh",
    id="ab" * 32,
    time_ns=1,
    attributes={"name": "web", "image": "a:1", "a": "b"},
)


def _containers(raw: Any) -> None:
    checked = lifecycle_filters.parse(raw, _SUMMARIES)
    for summary in _SUMMARIES:
        lifecycle_filters.matches(summary, checked)
    lifecycle_filters.shows_stopped(raw)


def _created_of(ref: str) -> str:
    if ref != "a":
        raise NotFound(ref)
    return _SHOWN.created


def _events(raw: Any) -> None:
    events.check_event_filters(raw)
    events.event_matches(_EVENT, raw)


_FILTERS: tuple[Callable[[Any], object], ...] = (
    _containers,
    _events,
    lambda raw: image_filters.list_filter(raw, _created_of, 10**18).shown(_SHOWN),
    lambda raw: image_filters.prune_filter(raw, 10**18).shown(_SHOWN),
    lambda raw: prune.prune_filter(raw, 10**18),
    volumes.check_list_filters,
    volumes.check_prune_filters,
    check_search_filters,
)

_ASKED = {
    **CLI_BODY,
    "Healthcheck": {"Test": ["CMD-SHELL", "true"], "Interval": 1000000000, "Retries": 3},
    "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
    "Labels": {"a": "b"},
    "User": "1:2",
    "HostConfig": {
        **CLI_HOST,
        "Binds": ["/a:/b:ro", "v:/c"],
        "Mounts": [{"Type": "volume", "Source": "v", "Target": "/d", "ReadOnly": True}],
        "Tmpfs": {"/t": "size=1m,mode=1777"},
        "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8000-8010"}]},
        "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3},
        "CapAdd": ["NET_ADMIN"],
        "SecurityOpt": ["no-new-privileges", "seccomp=unconfined"],
        "Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/n", "CgroupPermissions": "r"}],
        "DeviceCgroupRules": ["c 1:3 rwm"],
        "Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 2}],
        "Sysctls": {"net.ipv4.ip_forward": "1"},
        "ExtraHosts": ["a:127.0.0.1"],
        "Dns": ["1.1.1.1"],
        "Memory": 1 << 26,
        "CpusetCpus": "0-1",
        "UsernsMode": "auto:size=65536",
    },
}
_WORDS = (b"null", b"{}", b"[]", b'"":', b"[", b'{"a":', b"1e400", b'"\\ud800"', b"-1", b"1.5")

TARGETS = (
    Target(
        name="create",
        run=create,
        seeds=(
            b'{"Image":"a","Cmd":["x"]}',
            json.dumps(_ASKED).encode(),
            *(
                json.dumps({"Image": "a", "HostConfig": {name: value}}).encode()
                for name, value in _ASKED["HostConfig"].items()
                if value
            ),
        ),
        words=(*_WORDS, b'"HostConfig"', b'"Mounts"', b"/..", b":", b"0-9", b"tcp", b"container:"),
        cost=4,
    ),
    Target(
        name="bodies",
        run=bodies,
        seeds=(
            b'{"Memory":67108864,"RestartPolicy":{"Name":"always"}}',
            b'{"Cmd":["sh"],"Env":["A=b"],"Tty":true,"User":"1","ConsoleSize":[24,80]}',
            b'{"Detach":false,"Tty":true}',
            b'{"Name":"v","DriverOpts":{"type":"tmpfs","o":"size=1m","device":"x"}}',
            b'{"Container":"c","EndpointConfig":{"IPAMConfig":{"IPv4Address":"10.0.0.2"}}}',
            (
                b'{"Name":"n","Driver":"bridge","EnableIPv6":true,"IPAM":{"Driver":"default","Config":'
                b'[{"Subnet":"10.0.0.0/24","Gateway":"10.0.0.1","IPRange":"10.0.0.0/25"}]},'
                b'"Options":{"com.docker.network.driver.mtu":"1400"},"Labels":{}}'
            ),
            b'{"Container":"c","Delay":"10ms","Loss":"5%","Rate":"1mbit"}',
            b'{"Container":"c","Force":true}',
        ),
        words=(*_WORDS, b'"IPAM"', b'"Config"', b"/24", b"::", b"ms"),
        longest=1024,
    ),
    Target(
        name="filters",
        run=filters,
        seeds=(
            b'{"name":["web"],"status":["running"],"label":["a=b"]}',
            b'{"exited":["0"],"health":["none"],"ancestor":["a:1"],"volume":["/v"]}',
            b'{"publish":["80-81/tcp"],"expose":["53/udp"],"before":["web"],"since":["db"]}',
            b'{"reference":["a/*:[0-9]"],"dangling":["true"],"until":["10m"],"label!":["x"]}',
            b'{"event":{"start":true},"type":["container"],"container":["web"]}',
            b'{"stars":["3"],"is-official":["true"],"network":["bridge"],"id":["^ab"]}',
        ),
        words=(*_WORDS, b'"name"', b'"reference"', b'"until"', b"[^", b"(?", b"\\\\", b"*", b"+"),
        longest=512,
    ),
)
