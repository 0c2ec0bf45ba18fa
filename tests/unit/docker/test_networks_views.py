"""A container's networks in inspect, the container list and its filters."""

from __future__ import annotations

from typing import Any

import pytest

from supervisor.docker.host import info_json
from supervisor.docker.inspect import container_json
from supervisor.docker.listing import select, summary_json
from supervisor.docker.networks import EndpointView
from supervisor.docker.views import ContainerView, HostInfo
from supervisor.spec.networks import PublishedPort
from tests.unit.docker.bodies import decoded

BRIDGE = EndpointView(
    network_name="bridge",
    network_id="b" * 64,
    endpoint_id="e" * 64,
    ipv4="172.17.0.2",
    ipv4_length=16,
    ipv4_gateway="172.17.0.1",
    mac="02:42:ac:11:00:02",
)
FRONT = EndpointView(
    network_name="front",
    network_id="f" * 64,
    ipv4="10.7.0.2",
    ipv4_length=24,
    mac="02:42:0a:07:00:02",
)
PUBLISHED = PublishedPort(container_port=80, protocol="tcp", host_ip="127.0.0.1", host_port=8080)


def view(
    *endpoints: EndpointView, mode: str = "bridge", status: str = "running", **fields: Any
) -> ContainerView:
    body = decoded(
        {"PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]}},
        ExposedPorts={"80/tcp": {}, "443/tcp": {}},
    )
    defaults: dict[str, Any] = {"ports": (PUBLISHED,), "sandbox_id": "5" * 64, "pid": 77}
    return ContainerView(
        id="c" * 64,
        name="web",
        created_ns=1,
        status=status,
        body=body,
        network_mode=mode,
        endpoints=endpoints,
        **{**defaults, **fields},
    )


def test_inspect_of_a_running_container() -> None:
    shown = container_json(view(BRIDGE, FRONT))
    settings = shown["NetworkSettings"]
    assert shown["HostConfig"]["NetworkMode"] == "bridge"
    assert shown["HostConfig"]["PortBindings"] == {
        "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]
    }
    assert settings["SandboxID"] == "5" * 64
    assert settings["SandboxKey"] == "/proc/77/ns/net"
    assert settings["Ports"] == {
        "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}],
        "443/tcp": None,
    }
    assert list(settings["Networks"]) == ["bridge", "front"]
    same = ("EndpointID", "Gateway", "IPAddress", "IPPrefixLen", "MacAddress", "IPv6Gateway")
    for name in same:
        assert settings[name] == settings["Networks"]["bridge"][name]
    assert settings["IPAddress"] == "172.17.0.2"
    assert settings["Networks"]["front"]["IPAddress"] == "10.7.0.2"


def test_the_top_speaks_of_the_default_network_only() -> None:
    settings = container_json(view(FRONT, mode="front"))["NetworkSettings"]
    assert (settings["IPAddress"], settings["MacAddress"], settings["EndpointID"]) == ("", "", "")
    assert settings["Networks"]["front"]["IPAddress"] == "10.7.0.2"


@pytest.mark.parametrize(
    "made",
    [
        view(BRIDGE, status="exited", ports=(), sandbox_id="", pid=0),
        view(mode=f"container:{'d' * 64}", ports=(), sandbox_id=""),
    ],
    ids=["stopped", "shared"],
)
def test_no_ports_without_a_running_sandbox(made: ContainerView) -> None:
    settings = container_json(made)["NetworkSettings"]
    assert settings["Ports"] == {}
    assert (settings["SandboxID"], settings["SandboxKey"]) == ("", "")
    assert summary_json(made, 1)["Ports"] == ()


def test_the_hosts_network_publishes_nothing() -> None:
    made = view(mode="host", ports=())
    assert container_json(made)["NetworkSettings"]["Ports"] == {}
    assert list(container_json(made)["NetworkSettings"]["Networks"]) == ["host"]


def test_a_row_of_the_list() -> None:
    row = summary_json(view(BRIDGE), 1)
    assert row["HostConfig"] == {"NetworkMode": "bridge"}
    assert row["Ports"] == [
        {"IP": "127.0.0.1", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
        {"PrivatePort": 443, "Type": "tcp"},
    ]
    assert row["NetworkSettings"]["Networks"]["bridge"]["IPAddress"] == "172.17.0.2"


@pytest.mark.parametrize(
    "filters, found",
    [
        ({"network": ("bridge",)}, True),
        ({"network": ("b" * 64,)}, True),
        ({"network": ("back",)}, False),
        ({"publish": ("80",)}, True),
        ({"publish": ("443",)}, False),
        ({"expose": ("440-450/tcp",)}, True),
        ({"expose": ("443/udp",)}, False),
    ],
)
def test_filters(filters: dict[str, tuple[str, ...]], found: bool) -> None:
    shown = select([view(BRIDGE)], filters, everything=False, limit=0)
    assert bool(shown) is found


def test_a_pseudo_network_is_found_by_its_name() -> None:
    made = [view(mode="none")]
    assert select(made, {"network": ("none",)}, everything=True, limit=0)


def test_info_knows_the_drivers() -> None:
    info = info_json(HostInfo(id="x", name="h", version="1", root="/r"), 0)
    assert info["Plugins"]["Network"] == ["bridge", "host", "null"]
    assert info["Plugins"]["Volume"] == ["local"]
