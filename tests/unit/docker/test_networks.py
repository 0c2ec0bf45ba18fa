"""Requests about networks, and how a network is shown and found."""

from __future__ import annotations

import json
from typing import Any

import pytest

from supervisor.docker.network_body import (
    BridgeOptions,
    bridge_options,
    decode_connect,
    decode_disconnect,
    decode_network,
)
from supervisor.docker.network_json import (
    check_list_filters,
    check_prune_filters,
    endpoint_json,
    endpoints_json,
    network_json,
    network_matches,
    prune_matches,
    pruned_json,
)
from supervisor.docker.networks import EndpointView, NetworkView, Subnet
from supervisor.errors import InvalidArgument, OrlopError

# As recorded from the docker command.
CLI: dict[str, Any] = {
    "Driver": "bridge",
    "Scope": "",
    "IPAM": {
        "Driver": "default",
        "Options": {},
        "Config": [{"Subnet": "10.77.0.0/24", "IPRange": "10.77.0.128/25", "Gateway": None}],
    },
    "Internal": False,
    "Attachable": False,
    "Ingress": False,
    "ConfigOnly": False,
    "ConfigFrom": None,
    "Options": {"com.docker.network.bridge.name": "br77"},
    "Labels": {"a": "b"},
    "Name": "n1",
}
BRIDGE = "com.docker.network.bridge."
MTU = "com.docker.network.driver.mtu"


def decoded(**fields: Any) -> Any:
    return decode_network(json.dumps({**CLI, **fields}).encode())


def test_the_command_lines_request() -> None:
    body = decoded(EnableIPv6=True)
    assert (body.name, body.labels) == ("n1", {"a": "b"})
    assert body.ipam.options == {}
    (config,) = body.ipam.config
    assert (config.subnet, config.ip_range, config.gateway) == (
        "10.77.0.0/24",
        "10.77.0.128/25",
        "",
    )
    assert bridge_options(body) == BridgeOptions(bridge="br77", ipv6=True)


def test_what_compose_asks_for() -> None:
    body = decoded(IPAM=None, Options=None, EnableIPv4=None)
    assert body.ipam.options is None
    assert body.ipam.config == ()
    assert bridge_options(body) == BridgeOptions()


def test_options_in_words() -> None:
    body = decoded(
        Options={
            BRIDGE + "enable_icc": "false",
            BRIDGE + "enable_ip_masquerade": "F",
            BRIDGE + "host_binding_ipv4": "127.0.0.1",
            MTU: "1400",
            "com.docker.network.enable_ipv6": "1",
            "com.docker.network.enable_ipv4": "0",
        }
    )
    assert bridge_options(body) == BridgeOptions(
        icc=False, masquerade=False, host_ip="127.0.0.1", mtu=1400, ipv4=False, ipv6=True
    )


REFUSED: list[tuple[dict[str, Any], int, str]] = [
    ({"Name": ""}, 400, "name is empty"),
    ({"Name": "a b"}, 400, "invalid network name 'a b'"),
    ({"Name": "-x"}, 400, "invalid network name"),
    ({"Name": "x" * 129}, 400, "at most 128"),
    ({"Name": "bridge"}, 403, "operation is not permitted on predefined bridge network"),
    ({"Name": "none"}, 403, "predefined none network"),
    ({"Driver": "macvlan"}, 400, "network driver 'macvlan' not found: give bridge"),
    ({"Driver": "host"}, 403, 'only one instance of "host" network is allowed'),
    ({"Scope": "swarm"}, 503, "not a swarm manager"),
    ({"Scope": "x"}, 400, "invalid network scope 'x'"),
    ({"Ingress": True}, 503, "not a swarm manager"),
    ({"ConfigOnly": True}, 400, "ConfigOnly"),
    ({"ConfigFrom": {"Network": "x"}}, 400, "ConfigFrom"),
    ({"IPAM": {"Driver": "dhcp"}}, 400, "IPAM driver 'dhcp' not found"),
    ({"IPAM": {"Options": {"x": "y"}}}, 400, "IPAM option 'x'"),
    ({"IPAM": {"Config": [5]}}, 400, "IPAM.Config"),
    ({"Options": {"x.y": "1"}}, 400, "network option 'x.y' is not supported"),
    ({"Options": {BRIDGE + "enable_icc": "perhaps"}}, 400, "enable_icc value: 'perhaps'"),
    ({"Options": {BRIDGE + "host_binding_ipv4": "::1"}}, 400, "an IPv4 address"),
    ({"Options": {MTU: "67"}}, 400, "68–65535"),
    ({"Options": {MTU: "x"}}, 400, "mtu value: 'x'"),
    ({"EnableIPv4": False}, 400, "IPv4 or IPv6 must be enabled"),
    ({"Labels": "x"}, 400, "Labels"),
]


@pytest.mark.parametrize("fields, status, text", REFUSED, ids=[repr(f)[:40] for f, _, _ in REFUSED])
def test_refused(fields: dict[str, Any], status: int, text: str) -> None:
    with pytest.raises(OrlopError) as caught:
        decoded(**fields)
    assert caught.value.status == status
    assert text in caught.value.message


def test_connect_and_disconnect() -> None:
    settings = {"IPAMConfig": {"IPv4Address": "10.77.0.200"}, "Aliases": ["al"], "Links": None}
    body = decode_connect(
        json.dumps({"Container": "web", "EndpointConfig": {**settings, "IPAddress": "x"}}).encode()
    )
    assert body.container == "web"
    assert body.endpoint_config.aliases == ("al",)
    assert body.endpoint_config.ipam_config.ipv4_address == "10.77.0.200"
    assert (
        decode_connect(b'{"Container":"web","EndpointConfig":null}').endpoint_config.aliases == ()
    )
    gone = decode_disconnect(b'{"Container":"web","Force":true}')
    assert (gone.container, gone.force) == ("web", True)
    for wrong, text in (
        (b"{}", "Container"),
        (b'{"Container":"x","EndpointConfig":{"Speed":1}}', "EndpointConfig.Speed"),
        (b'{"Container":"x","EndpointConfig":[]}', "EndpointConfig"),
    ):
        with pytest.raises(InvalidArgument, match=text):
            decode_connect(wrong)


ENDPOINT = EndpointView(
    network_name="n1",
    network_id="1" * 64,
    container_id="c" * 64,
    container_name="web",
    endpoint_id="e" * 64,
    ipv4="10.77.0.2",
    ipv4_length=24,
    ipv4_gateway="10.77.0.1",
    mac="02:42:0a:4d:00:02",
    aliases=("al",),
    dns_names=("web", "al"),
    asked_ipv4="10.77.0.2",
    priority=3,
    driver_options={"orlop.bandwidth.up": "1000000"},
)
NETWORK = NetworkView(
    id="1" * 64,
    name="n1",
    created_ns=1795231819_009826695,
    labels={"a": "b"},
    options={"com.docker.network.bridge.name": "br77"},
    ipam_options={},
    subnets=(
        Subnet(
            subnet="10.77.0.0/24",
            gateway="10.77.0.1",
            ip_range="10.77.0.128/25",
            reserved={"printer": "10.77.0.9"},
        ),
    ),
    endpoints=(ENDPOINT,),
)


def test_network_json() -> None:
    shown = network_json(NETWORK)
    assert shown == {
        "Name": "n1",
        "Id": "1" * 64,
        "Created": "2026-11-21T03:30:19.009826695Z",
        "Scope": "local",
        "Driver": "bridge",
        "EnableIPv4": True,
        "EnableIPv6": False,
        "IPAM": {
            "Driver": "default",
            "Options": {},
            "Config": [
                {
                    "Subnet": "10.77.0.0/24",
                    "IPRange": "10.77.0.128/25",
                    "Gateway": "10.77.0.1",
                    "AuxiliaryAddresses": {"printer": "10.77.0.9"},
                }
            ],
        },
        "Internal": False,
        "Attachable": False,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": {
            "c" * 64: {
                "Name": "web",
                "EndpointID": "e" * 64,
                "MacAddress": "02:42:0a:4d:00:02",
                "IPv4Address": "10.77.0.2/24",
                "IPv6Address": "",
            }
        },
        "Options": {"com.docker.network.bridge.name": "br77"},
        "Labels": {"a": "b"},
    }
    assert network_json(NETWORK, containers=False)["Containers"] == {}
    none = network_json(NetworkView(id="2" * 64, name="none", driver="null"))
    assert none["IPAM"] == {"Driver": "default", "Options": None, "Config": None}


def test_endpoint_json() -> None:
    assert endpoint_json(ENDPOINT) == {
        "IPAMConfig": {"IPv4Address": "10.77.0.2"},
        "Links": None,
        "Aliases": ("al",),
        "MacAddress": "02:42:0a:4d:00:02",
        "DriverOpts": {"orlop.bandwidth.up": "1000000"},
        "GwPriority": 3,
        "NetworkID": "1" * 64,
        "EndpointID": "e" * 64,
        "Gateway": "10.77.0.1",
        "IPAddress": "10.77.0.2",
        "IPPrefixLen": 24,
        "IPv6Gateway": "",
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "DNSNames": ("web", "al"),
    }
    assert list(endpoints_json((ENDPOINT,), "n1")) == ["n1"]
    assert list(endpoints_json((), "none")) == ["none"]
    assert endpoints_json((), "container:x") == {}
    bare = endpoints_json((), "host")["host"]
    assert bare["IPAMConfig"] is bare["Aliases"] is bare["DriverOpts"] is bare["DNSNames"] is None


FITS: list[tuple[dict[str, tuple[str, ...]], bool]] = [
    ({}, True),
    ({"name": ("n",)}, True),
    ({"name": ("x", "n1")}, True),
    ({"name": ("n2",)}, False),
    ({"id": ("111",)}, True),
    ({"id": ("2",)}, False),
    ({"driver": ("bridge",)}, True),
    ({"driver": ("null",)}, False),
    ({"scope": ("local",)}, True),
    ({"scope": ("swarm",)}, False),
    ({"type": ("custom",)}, True),
    ({"type": ("builtin",)}, False),
    ({"label": ("a",)}, True),
    ({"label": ("a=b",)}, True),
    ({"label": ("a=b", "c")}, False),
    ({"dangling": ("false",)}, True),
    ({"dangling": ("true",)}, False),
    ({"name": ("n1",), "driver": ("null",)}, False),
]


@pytest.mark.parametrize("filters, shown", FITS, ids=repr)
def test_list_filters(filters: dict[str, tuple[str, ...]], shown: bool) -> None:
    check_list_filters(filters)
    assert network_matches(NETWORK, filters) is shown


def test_a_predefined_network_is_never_dangling() -> None:
    none = NetworkView(id="2" * 64, name="none", driver="null", predefined=True)
    assert not network_matches(none, {"dangling": ("true",)})
    assert network_matches(none, {"dangling": ("false",)})
    assert network_matches(none, {"type": ("builtin",)})


def test_bad_list_filters() -> None:
    for name, value in (("until", "1h"), ("type", "x"), ("dangling", "x")):
        with pytest.raises(InvalidArgument, match="filter"):
            check_list_filters({name: (value,)})


def test_prune_filters() -> None:
    now = NETWORK.created_ns + 3600 * 10**9
    assert check_prune_filters({}, now) is None
    cases: list[tuple[dict[str, tuple[str, ...]], bool]] = [
        ({}, True),
        ({"until": ("30m",)}, True),
        ({"until": ("2h",)}, False),
        ({"until": ("2026-11-21T03:30:20Z",)}, True),
        ({"label": ("a=b",)}, True),
        ({"label": ("z",)}, False),
        ({"label!": ("a",)}, False),
        ({"label!": ("z",)}, True),
    ]
    for filters, goes in cases:
        assert prune_matches(NETWORK, filters, check_prune_filters(filters, now)) is goes, filters
    with pytest.raises(InvalidArgument, match="invalid filter 'name'"):
        check_prune_filters({"name": ("x",)}, now)
    with pytest.raises(InvalidArgument, match="more than one until"):
        check_prune_filters({"until": ("1h", "2h")}, now)
    assert pruned_json([]) == {"NetworksDeleted": None}
    assert pruned_json(["a"]) == {"NetworksDeleted": ["a"]}
