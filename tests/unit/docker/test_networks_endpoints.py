"""A create request's networks: modes, endpoints, and what excludes what."""

from __future__ import annotations

import json
from typing import Any

import pytest

from supervisor.docker.endpoints import driver_options, parse_mac
from supervisor.errors import InvalidArgument
from supervisor.spec.networks import Bandwidth, EndpointOptions
from tests.unit.docker.bodies import CLI_ENDPOINT, decoded, options

MAC = "02:42:0a:4d:00:c9"


def config(**endpoints: Any) -> dict[str, Any]:
    return {"NetworkingConfig": {"EndpointsConfig": endpoints}}


@pytest.mark.parametrize("mode", ["", "default"])
def test_without_asking(mode: str) -> None:
    for endpoints in ({}, config(default=CLI_ENDPOINT), config(bridge={})):
        found = options({"NetworkMode": mode}, **endpoints)
        assert found.network == "bridge"
        assert found.endpoints == (EndpointOptions(network="default"),)


def test_bridge_by_name() -> None:
    found = options({"NetworkMode": "bridge"}, **config(default=CLI_ENDPOINT))
    assert found.endpoints == (EndpointOptions(network="bridge"),)


@pytest.mark.parametrize("mode", ["none", "host", "container:web"])
def test_modes_without_an_endpoint(mode: str) -> None:
    for endpoints in ({}, {mode: CLI_ENDPOINT}, {"default": CLI_ENDPOINT}):
        found = options({"NetworkMode": mode}, **config(**endpoints))
        assert (found.network, found.endpoints) == (mode, ())


def test_network_disabled() -> None:
    found = options({"NetworkMode": "default"}, NetworkDisabled=True, **config())
    assert (found.network, found.endpoints) == ("none", ())


def test_all_that_an_endpoint_can_have() -> None:
    endpoint = {
        **CLI_ENDPOINT,
        "IPAMConfig": {"IPv4Address": "10.77.0.201", "IPv6Address": "FD00::0:9"},
        "Aliases": ["foo", "foo", "a_b.c-d"],
        "MacAddress": "02-42-0A-4D-00-C9",
        "DriverOpts": {"orlop.bandwidth.down": "10m", "orlop.bandwidth.up": "1.5M"},
        "GwPriority": 7,
        "IPAddress": "10.77.0.5",
        "DNSNames": ["old"],
        "EndpointID": "x",
    }
    (found,) = options({"NetworkMode": "n1"}, **config(n1=endpoint)).endpoints
    assert found == EndpointOptions(
        network="n1",
        ipv4="10.77.0.201",
        ipv6="fd00::9",
        mac=MAC,
        aliases=("foo", "a_b.c-d"),
        priority=7,
        bandwidth=Bandwidth(down=10_000_000, up=1_500_000),
    )
    assert driver_options(found.bandwidth) == {
        "orlop.bandwidth.down": "10000000",
        "orlop.bandwidth.up": "1500000",
    }
    assert driver_options(Bandwidth()) == {}


def test_several_networks_that_of_the_mode_first() -> None:
    found = options({"NetworkMode": "back"}, **config(front={"Aliases": ["w"]}, back={}))
    assert [one.network for one in found.endpoints] == ["back", "front"]
    found = options({"NetworkMode": "back"}, **config(front={}))
    assert [one.network for one in found.endpoints] == ["back", "front"]
    found = options({}, **config(front={}))
    assert [one.network for one in found.endpoints] == ["default", "front"]


def test_the_containers_own_mac_address() -> None:
    for endpoints in (config(), config(n1={}), config(n1={"MacAddress": MAC})):
        (found,) = options({"NetworkMode": "n1"}, MacAddress=MAC.upper(), **endpoints).endpoints
        assert found.mac == MAC
    with pytest.raises(InvalidArgument, match="must match the endpoint-specific MAC address"):
        options({"NetworkMode": "n1"}, MacAddress=MAC, **config(n1={"MacAddress": MAC[:-1] + "8"}))


def test_mac_addresses() -> None:
    assert parse_mac("") == ""
    for text in ("02:42", "01:42:ac:11:00:02", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00", "x" * 17):
        with pytest.raises(InvalidArgument, match="invalid MAC address"):
            parse_mac(text)


PRIVATE = "one of the networks in private (none) mode"
SHARED = "cannot be connected to any other network"
ENDPOINTS: list[tuple[str, dict[str, Any], str]] = [
    ("default", {"default": {"Aliases": ["x"]}}, "network-scoped alias is supported only"),
    ("bridge", {"bridge": {"Aliases": ["x"]}}, "network-scoped alias is supported only"),
    ("host", {"host": {"Aliases": ["x"]}}, "network-scoped alias is supported only"),
    ("container:c", {"container:c": {"Aliases": ["x"]}}, "network-scoped alias"),
    ("default", {"default": {"IPAMConfig": {"IPv4Address": "1.2.3.4"}}}, "user specified IP"),
    ("none", {"none": {"IPAMConfig": {"IPv4Address": "1.2.3.4"}}}, "user specified IP"),
    ("n1", {"n1": {"IPAMConfig": {"IPv4Address": "1.2.3"}}}, "invalid IPv4 address: 1.2.3"),
    ("n1", {"n1": {"IPAMConfig": {"IPv6Address": "fe80::1%eth0"}}}, "invalid IPv6 address"),
    ("n1", {"n1": {"IPAMConfig": {"IPv6Address": "1.2.3.4"}}}, "invalid IPv6 address"),
    ("n1", {"n1": {"IPAMConfig": {"LinkLocalIPs": ["169.254.1.1"]}}}, "n1.IPAMConfig.LinkLocalIPs"),
    ("n1", {"n1": {"MacAddress": "02:42"}}, "invalid MAC address '02:42'"),
    ("n1", {"n1": {"Aliases": ["a b"]}}, "invalid network alias 'a b'"),
    ("n1", {"n1": {"Aliases": ["a" * 64]}}, "invalid network alias"),
    ("n1", {"n1": {"Aliases": ["a..b"]}}, "invalid network alias"),
    ("n1", {"n1": {"Links": ["db:x"]}}, "Links (--link) is not supported: put both containers"),
    ("n1", {"n1": {"DriverOpts": {"x": "y"}}}, "DriverOpts 'x' is not supported"),
    ("n1", {"n1": {"DriverOpts": {"com.docker.network.endpoint.sysctls": "y"}}}, "--sysctl"),
    ("n1", {"n1": {"DriverOpts": {"orlop.bandwidth.up": "fast"}}}, "bandwidth.up='fast'"),
    ("n1", {"n1": {"DriverOpts": {"orlop.bandwidth.up": "7999"}}}, "at least 8000"),
    ("n1", {"n1": {"DriverOpts": {"orlop.bandwidth.up": "9" * 30}}}, "give bits per second"),
    ("n1", {"n1": {"Speed": 5}}, "EndpointsConfig.n1.Speed"),
    ("n1", {"n1": {"Aliases": "x"}}, "EndpointsConfig.n1.Aliases"),
    ("n1", {"n1": 5}, "EndpointsConfig.n1"),
    ("n1", {"none": {}}, PRIVATE),
    ("n1", {"host": {}}, SHARED),
    ("none", {"n1": {}}, PRIVATE),
    ("host", {"n1": {}}, SHARED),
    ("container:c", {"n1": {}}, SHARED),
    ("host", {"host": {"MacAddress": MAC}}, "mac-address and the network mode"),
    ("default", {"default": {}, "bridge": {}}, "names the network bridge twice"),
]


@pytest.mark.parametrize("mode, endpoints, text", ENDPOINTS, ids=[repr(e)[:60] for e in ENDPOINTS])
def test_refused_endpoints(mode: str, endpoints: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        options({"NetworkMode": mode}, **config(**endpoints))
    assert text in caught.value.message


CONFLICTS: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({}, {"Hostname": "x"}, "hostname and the network mode"),
    ({}, {"MacAddress": MAC}, "mac-address and the network mode"),
    ({}, {"ExposedPorts": {"80/tcp": {}}}, "port exposing and the container type network mode"),
    ({"Dns": ["10.0.0.1"]}, {}, "dns and the network mode"),
    ({"ExtraHosts": ["a:10.0.0.1"]}, {}, "custom host-to-IP mapping and the network mode"),
    ({"PortBindings": {"80/tcp": [{}]}}, {}, "port publishing and the container type"),
    ({"PublishAllPorts": True}, {}, "port publishing and the container type"),
]


@pytest.mark.parametrize("host, fields, text", CONFLICTS, ids=[repr(c)[:60] for c in CONFLICTS])
def test_a_shared_network_is_the_other_containers(
    host: dict[str, Any], fields: dict[str, Any], text: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        decoded({**host, "NetworkMode": "container:web"}, **fields, **config())
    assert caught.value.message.startswith("conflicting options: ")
    assert text in caught.value.message
    decoded({**host, "NetworkMode": "n1"}, **fields, **config())


def test_the_hosts_network_has_no_mac_address() -> None:
    with pytest.raises(InvalidArgument, match="mac-address and the network mode"):
        options({"NetworkMode": "host"}, MacAddress=MAC, **config())


def test_links_are_refused_in_any_mode() -> None:
    for mode in ("default", "n1"):
        with pytest.raises(InvalidArgument, match=r"--link.* network of their own"):
            decoded({"NetworkMode": mode, "Links": ["db"]}, **config())


def test_other_containers_namespaces() -> None:
    found = options({"PidMode": "container:a", "IpcMode": "container:b"})
    assert (found.pid, found.ipc) == ("container:a", "container:b")
    assert options({"PidMode": "private"}).pid == ""


def test_a_body_as_it_was_sent_is_kept() -> None:
    body = decoded({"NetworkMode": "n1"}, **config(n1={"Aliases": ["x"]}))
    sent = json.loads(json.dumps(body.networking_config.endpoints_config))
    assert sent == {"n1": {"Aliases": ["x"]}}
