"""What `run` and `create` ask for of networks and ports: docker's JSON (28.2) without nulls."""

from __future__ import annotations

import json
from typing import Any

import pytest

from supervisor.cli.create_body import create_body
from supervisor.cli.create_flags import declare_create
from supervisor.cli.failures import Misuse
from supervisor.cli.flags import Parser
from supervisor.docker.create import decode_create

MAC = "02:42:0a:4d:00:c9"
Json = dict[str, Any]


def body_of(*words: str) -> Json:
    parser = Parser("run", "IMAGE", "Run", interspersed=False)
    declare_create(parser)
    return create_body(parser.parse([*words, "img"]), parser.prog)


def networks_of(*words: str) -> tuple[str, Json | None]:
    body = body_of(*words)
    decode_create(json.dumps(body).encode())
    endpoints = body.get("NetworkingConfig", {"EndpointsConfig": None})["EndpointsConfig"]
    return body["HostConfig"]["NetworkMode"], endpoints


@pytest.mark.parametrize(
    "words, mode, endpoints",
    [
        ([], "default", None),
        (["--network", "n1"], "n1", None),
        (["--net=none"], "none", None),
        (["--network", "container:web"], "container:web", None),
        (["--network", "n1", "--net", "n2"], "n1", {"n1": {}, "n2": {}}),
        (
            ["--network", f"name=n1,alias=a,ip=10.0.0.5,mac-address={MAC}", "--network", "n2"],
            "n1",
            {
                "n1": {
                    "IPAMConfig": {"IPv4Address": "10.0.0.5"},
                    "Aliases": ["a"],
                    "MacAddress": MAC,
                },
                "n2": {},
            },
        ),
        (
            ["--network", "n1", "--ip", "10.0.0.5", "--ip6", "fd00::5", "--mac-address", MAC],
            "n1",
            {
                "n1": {
                    "IPAMConfig": {"IPv4Address": "10.0.0.5", "IPv6Address": "fd00::5"},
                    "MacAddress": MAC,
                }
            },
        ),
        (
            ["--network", "name=n1,ip6=fd00::5,gw-priority=7", "--ip", "10.0.0.5"],
            "n1",
            {
                "n1": {
                    "IPAMConfig": {"IPv6Address": "fd00::5", "IPv4Address": "10.0.0.5"},
                    "GwPriority": 7,
                }
            },
        ),
        (
            ["--network", "n1", "--network", "n2", "--network-alias", "a", "--net-alias", "b"],
            "n1",
            {"n1": {"Aliases": ["a", "b"]}, "n2": {}},
        ),
        (["--mac-address", MAC], "default", {"default": {"MacAddress": MAC}}),
        (
            ["--network-bandwidth", "10mbit:512kbit"],
            "default",
            {
                "default": {
                    "DriverOpts": {
                        "orlop.bandwidth.down": "10000000",
                        "orlop.bandwidth.up": "512000",
                    }
                }
            },
        ),
        (
            [
                "--network",
                "name=n1,driver-opt=orlop.bandwidth.up=8000",
                "--network-bandwidth=1mbit",
            ],
            "n1",
            {
                "n1": {
                    "DriverOpts": {"orlop.bandwidth.up": "8000", "orlop.bandwidth.down": "1000000"}
                }
            },
        ),
    ],
)
def test_networks(words: list[str], mode: str, endpoints: Json | None) -> None:
    assert networks_of(*words) == (mode, endpoints)


def test_ports() -> None:
    body = body_of(
        *("-p", "8080:80", "--publish=127.0.0.1:53:53/udp", "-p80", "--expose", "9000-9001"),
        *("--expose", "80"),
    )
    decode_create(json.dumps(body).encode())
    exposed = ("9000/tcp", "9001/tcp", "80/tcp", "53/udp")
    assert body["ExposedPorts"] == {port: {} for port in exposed}
    assert body["HostConfig"] == {
        "NetworkMode": "default",
        "PortBindings": {
            "80/tcp": [{"HostIp": "", "HostPort": "8080"}, {"HostIp": "", "HostPort": ""}],
            "53/udp": [{"HostIp": "127.0.0.1", "HostPort": "53"}],
        },
    }


def test_exposed_and_all_published() -> None:
    body = body_of("-P", "--expose", "80/udp")
    decode_create(json.dumps(body).encode())
    assert body["ExposedPorts"] == {"80/udp": {}}
    assert body["HostConfig"] == {"NetworkMode": "default", "PublishAllPorts": True}


def test_namespaces_of_another_container() -> None:
    host = body_of("--pid", "container:web", "--ipc", "container:web")["HostConfig"]
    assert (host["PidMode"], host["IpcMode"]) == ("container:web", "container:web")


def test_names() -> None:
    host = body_of("--dns", "fd00::53", "--add-host", "a=[::1]", "--add-host", "b:host-gateway")
    assert host["HostConfig"]["Dns"] == ["fd00::53"]
    assert host["HostConfig"]["ExtraHosts"] == ["a:::1", "b:host-gateway"]


@pytest.mark.parametrize(
    "words, message",
    [
        (["-p", "8080:80/foo"], 'invalid argument "8080:80/foo" for "-p, --publish" flag: inv'),
        (["--expose", "x"], 'for "--expose" flag: invalid port'),
        (["--network", "name=n1,bogus=1"], 'for "--network, --net" flag: unknown field'),
        (["--network", ""], "the name of a network is expected"),
        (["--ip", "bad"], 'for "--ip" flag: '),
        (["--ip6", "10.0.0.1"], 'for "--ip6" flag: '),
        (["--mac-address", "zz"], 'for "--mac-address" flag: '),
        (["--network-alias", ""], "a name is expected"),
        (["--network-bandwidth", "10"], 'for "--network-bandwidth" flag: invalid rate'),
        (["--link", "db:sql"], "orlop network create NET"),
        (["--dns", "x"], 'for "--dns" flag: '),
        (["--add-host", "a"], "NAME:IP is expected"),
        (["--add-host", ":1.2.3.4"], "NAME:IP is expected"),
        (["--add-host", "a:x"], "'x' is no such address"),
        (["--pid", "container:"], 'for "--pid" flag: container:NAME is expected'),
        (["--ipc", "container:"], 'for "--ipc" flag: container:NAME is expected'),
        (["--network", "container:"], 'for "--network, --net" flag: container:NAME is expected'),
        (["--network", "n1", "--network", "n1"], 'network "n1" is specified multiple times'),
        (["--network-alias", "a"], "only supported for user-defined networks"),
        (["--network", "bridge", "--network-alias", "a"], "only supported for user-defined"),
        (["--network", "name=host,alias=a"], "only supported for user-defined networks"),
        *(
            (["--network", mode, "--network", "n1"], "both user-defined and non-user-defined")
            for mode in ("host", "none", "bridge", "default", "container:x")
        ),
        (
            ["--network", "name=n1,ip=10.0.0.1", "--ip", "10.0.0.2"],
            "cannot specify both --ip and per-network IPv4 address",
        ),
        (
            ["--network", "name=n1,ip6=fd00::1", "--ip6", "fd00::2"],
            "cannot specify both --ip6 and per-network IPv6 address",
        ),
        (
            ["--network", f"name=n1,mac-address={MAC}", "--mac-address", MAC],
            "cannot specify both --mac-address and per-network MAC address",
        ),
        (
            ["--network", "name=n1,alias=a", "--network-alias", "b"],
            "cannot specify both --network-alias and per-network alias",
        ),
        (
            [
                "--network",
                "name=n1,driver-opt=orlop.bandwidth.up=8m",
                "--network-bandwidth=1mbit:1mbit",
            ],
            "cannot specify both --network-bandwidth and per-network option orlop.bandwidth.up",
        ),
        *(
            (
                ["--network", mode, "--network-bandwidth", "1mbit"],
                f"has no effect with --network {mode}",
            )
            for mode in ("host", "none", "container:x")
        ),
    ],
)
def test_bad_values_are_refused_with_status_125(words: list[str], message: str) -> None:
    with pytest.raises(Misuse) as caught:
        body_of(*words)
    assert message in caught.value.message
    assert caught.value.status == 125
