"""Ports: what is asked to be published, and how published ones are shown."""

from __future__ import annotations

from typing import Any

import pytest

from supervisor.docker.ports import (
    exposed_ports,
    filter_ports,
    port_rows,
    port_warnings,
    ports_json,
)
from supervisor.errors import InvalidArgument
from supervisor.spec.networks import PortRequest, PublishedPort
from tests.unit.docker.bodies import decoded, options

ANY4 = "0.0.0.0"  # noqa: S104 # a text
NOWHERE: dict[str, Any] = {"NetworkingConfig": {"EndpointsConfig": {}}}


def asked(bindings: dict[str, Any], **fields: Any) -> tuple[PortRequest, ...]:
    return options({"PortBindings": bindings}, **fields).ports


def test_bindings() -> None:
    found = asked(
        {
            "80/tcp": [{"HostIp": "", "HostPort": "8080"}, {"HostIp": "::1", "HostPort": ""}],
            "53/UDP": [{"HostIp": "127.0.0.1", "HostPort": "8000-8010"}],
            "9/sctp": [{}],
            "81": [{"HostIp": "[::]", "HostPort": "0"}],
            "82/tcp": [],
            "83/tcp": None,
        }
    )
    assert found == (
        PortRequest(container_port=80, first=8080, last=8080),
        PortRequest(container_port=80, host_ip="::1"),
        PortRequest(container_port=53, protocol="udp", host_ip="127.0.0.1", first=8000, last=8010),
        PortRequest(container_port=9, protocol="sctp"),
        PortRequest(container_port=81, host_ip="::"),
    )


def test_the_same_twice_is_once() -> None:
    assert (
        len(asked({"80": [{"HostPort": "80"}, {"HostPort": "80"}], "80/tcp": [{"HostPort": "80"}]}))
        == 1
    )


def test_all_exposed_ports() -> None:
    found = options(
        {"PublishAllPorts": True, "PortBindings": {"80/tcp": [{"HostPort": "8080"}]}},
        ExposedPorts={"80/tcp": {}, "53/udp": {}, "7000-7001": {}},
    ).ports
    assert found == (
        PortRequest(container_port=80, first=8080, last=8080),
        PortRequest(container_port=53, protocol="udp"),
        PortRequest(container_port=7000),
        PortRequest(container_port=7001),
    )
    assert options(ExposedPorts={"80/tcp": {}}).ports == ()


@pytest.mark.parametrize("mode", ["none", "host"])
def test_nothing_is_published_without_addresses(mode: str) -> None:
    host = {"NetworkMode": mode, "PortBindings": {"80/tcp": [{"HostPort": "80"}]}}
    assert options(host, **NOWHERE).ports == ()
    with pytest.raises(InvalidArgument):  # but it is looked at
        options({**host, "PortBindings": {"x": [{}]}}, **NOWHERE)


def test_docker_warns_of_what_has_no_effect() -> None:
    bindings: dict[str, Any] = {"PortBindings": {"80/tcp": [{}]}}
    (text,) = port_warnings(decoded({"NetworkMode": "host", **bindings}, **NOWHERE))
    assert text == "Published ports are discarded when using host network mode"
    assert port_warnings(decoded({"NetworkMode": "host"}, **NOWHERE)) == ()
    assert port_warnings(decoded(bindings)) == ()


BAD: list[tuple[dict[str, Any], str]] = [
    ({"x/tcp": [{}]}, "invalid port specification: 'x/tcp'"),
    ({"0/tcp": [{}]}, "invalid port specification"),
    ({"65536": [{}]}, "invalid port specification"),
    ({"80-81/tcp": [{}]}, "invalid port specification: '80-81/tcp'"),
    ({"80/icmp": [{}]}, "invalid protocol 'icmp'"),
    ({"80/tcp": [{"HostPort": "65536"}]}, "invalid host port '65536'"),
    ({"80/tcp": [{"HostPort": "9-8"}]}, "invalid host port '9-8'"),
    ({"80/tcp": [{"HostPort": "0-9"}]}, "invalid host port '0-9'"),
    ({"80/tcp": [{"HostPort": "http"}]}, "invalid host port 'http'"),
    ({"80/tcp": [{"HostPort": 80}]}, "PortBindings.80/tcp"),
    ({"80/tcp": [{"HostIp": "localhost"}]}, "invalid IP address: 'localhost'"),
    ({"80/tcp": ["80"]}, "PortBindings.80/tcp: expected an object"),
    ({"80/tcp": "80"}, "PortBindings.80/tcp: expected an array"),
    ({"80/tcp": {"HostPort": "80"}}, "PortBindings.80/tcp: expected an array"),
]


@pytest.mark.parametrize("bindings, text", BAD, ids=[repr(b)[:50] for b, _ in BAD])
def test_bad_bindings(bindings: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        asked(bindings)
    assert text in caught.value.message


def test_bad_exposed_ports() -> None:
    with pytest.raises(InvalidArgument, match="invalid port specification: 'http'"):
        options(ExposedPorts={"http": {}})
    assert exposed_ports(["80", "80/tcp", "9/udp"]) == ((80, "tcp"), (9, "udp"))


PUBLISHED = (
    PublishedPort(container_port=80, protocol="tcp", host_ip=ANY4, host_port=8080),
    PublishedPort(container_port=80, protocol="tcp", host_ip="::", host_port=8080),
    PublishedPort(container_port=53, protocol="udp", host_ip="127.0.0.1", host_port=5353),
)


def test_ports_of_inspect() -> None:
    assert ports_json(PUBLISHED, {"80/tcp": {}, "443": {}}) == {
        "80/tcp": [
            {"HostIp": ANY4, "HostPort": "8080"},
            {"HostIp": "::", "HostPort": "8080"},
        ],
        "443/tcp": None,
        "53/udp": [{"HostIp": "127.0.0.1", "HostPort": "5353"}],
    }
    assert ports_json((), ("80/tcp", "what is this")) == {"80/tcp": None}


def test_ports_of_the_list() -> None:
    assert port_rows(PUBLISHED, {"80/tcp": {}, "443/tcp": {}}) == [
        {"IP": ANY4, "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
        {"IP": "::", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
        {"IP": "127.0.0.1", "PrivatePort": 53, "PublicPort": 5353, "Type": "udp"},
        {"PrivatePort": 443, "Type": "tcp"},
    ]


def test_ports_that_filters_see() -> None:
    assert filter_ports({"80": {}, "8000-8001/udp": {}}) == {"80/tcp", "8000/udp", "8001/udp"}
