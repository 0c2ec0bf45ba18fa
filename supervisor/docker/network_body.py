"""Requests about networks: create, connect, disconnect."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv4Address
from typing import Any, NoReturn, TypeVar

import msgspec
from msgspec import field

from supervisor.docker.decode import convert, decode_object, looks_set
from supervisor.docker.endpoints import EndpointBody, endpoint_body
from supervisor.errors import Forbidden, InvalidArgument, Unavailable

B = TypeVar("B", "ConnectBody", "DisconnectBody")

DRIVER = "bridge"
PREDEFINED = frozenset({"bridge", "default", "host", "none"})
MAX_NAME = 128
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*", re.ASCII)
_SWARM = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to '
    "connect this node to swarm and try again."
)

_BRIDGE = "com.docker.network.bridge."
BRIDGE_NAME = _BRIDGE + "name"
ICC = _BRIDGE + "enable_icc"
MASQUERADE = _BRIDGE + "enable_ip_masquerade"
HOST_ADDRESS = _BRIDGE + "host_binding_ipv4"
DEFAULT_BRIDGE = _BRIDGE + "default_bridge"
MTU = "com.docker.network.driver.mtu"
ENABLE_IPV4 = "com.docker.network.enable_ipv4"
ENABLE_IPV6 = "com.docker.network.enable_ipv6"
_KNOWN = (BRIDGE_NAME, ICC, MASQUERADE, HOST_ADDRESS, MTU, ENABLE_IPV4, ENABLE_IPV6)
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})


class SubnetBody(msgspec.Struct, rename="pascal", frozen=True, kw_only=True):
    """One item of IPAM's Config."""

    subnet: str = ""
    ip_range: str = field(name="IPRange", default="")
    gateway: str = ""
    auxiliary_addresses: dict[str, str] = {}


class IpamBody(msgspec.Struct, rename="pascal", frozen=True, kw_only=True):
    """Where a network's subnets come from; `options` None where nobody spoke of them."""

    driver: str = ""
    config: tuple[SubnetBody, ...] = ()
    options: dict[str, str] | None = None


class NetworkBody(msgspec.Struct, rename="pascal", frozen=True, kw_only=True):
    """The body of POST /networks/create."""

    name: str = ""
    check_duplicate: bool = False
    driver: str = ""
    scope: str = ""
    enable_ipv4: bool | None = field(name="EnableIPv4", default=None)
    enable_ipv6: bool | None = field(name="EnableIPv6", default=None)
    ipam: IpamBody = field(name="IPAM", default=IpamBody())
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    config_only: bool = False
    config_from: dict[str, Any] = {}
    options: dict[str, str] = {}
    labels: dict[str, str] = {}


class ConnectBody(msgspec.Struct, rename="pascal", frozen=True, kw_only=True):
    """The body of POST /networks/{id}/connect."""

    container: str = ""
    endpoint_config: EndpointBody = EndpointBody()


class DisconnectBody(msgspec.Struct, rename="pascal", frozen=True, kw_only=True):
    """The body of POST /networks/{id}/disconnect."""

    container: str = ""
    force: bool = False


class BridgeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a network's options mean; "" and None where nothing was asked."""

    bridge: str = ""
    icc: bool = True
    masquerade: bool = True
    host_ip: str = ""
    mtu: int | None = None
    ipv4: bool = True
    ipv6: bool = False


def decode_network(raw: bytes) -> NetworkBody:
    """The request for a network; InvalidArgument, or what docker says without a swarm."""
    body = convert(decode_object(raw), NetworkBody)
    _check_name(body.name)
    if body.scope == "swarm" or body.ingress:
        raise Unavailable(_SWARM)
    if body.scope not in ("", "local"):
        raise InvalidArgument(f"invalid network scope {body.scope!r:.80}: give local")
    if body.driver in ("host", "null"):
        raise Forbidden(f'only one instance of "{body.driver}" network is allowed')
    if body.driver not in ("", DRIVER):
        raise InvalidArgument(f"network driver {body.driver!r:.80} not found: give {DRIVER}")
    if body.config_only or looks_set(body.config_from.get("Network")):
        raise InvalidArgument(
            "ConfigOnly and ConfigFrom are not supported: give each network its own options"
        )
    if body.ipam.driver not in ("", "default"):
        raise InvalidArgument(f"IPAM driver {body.ipam.driver!r:.80} not found: give default")
    for name in body.ipam.options or ():
        raise InvalidArgument(f"IPAM option {name!r:.80} is not supported: there is none")
    bridge_options(body)
    return body


def decode_connect(raw: bytes) -> ConnectBody:
    """The request to connect a container; InvalidArgument for what cannot be."""
    value = decode_object(raw)
    settings = value.pop("EndpointConfig", None)
    body = _with_container(convert(value, ConnectBody))
    return msgspec.structs.replace(body, endpoint_config=endpoint_body("EndpointConfig", settings))


def decode_disconnect(raw: bytes) -> DisconnectBody:
    """The request to disconnect a container; InvalidArgument for what cannot be."""
    return _with_container(convert(decode_object(raw), DisconnectBody))


def bridge_options(body: NetworkBody) -> BridgeOptions:
    """The meaning of `body.options` and its IP versions; InvalidArgument names what is unknown."""
    options = body.options
    for name in options:
        if name not in _KNOWN:
            known = ", ".join(_KNOWN[:-2])
            raise InvalidArgument(f"network option {name!r:.120} is not supported: give {known}")
    ipv4, ipv6 = body.enable_ipv4, body.enable_ipv6
    made = BridgeOptions(
        bridge=options.get(BRIDGE_NAME, ""),
        icc=_boolean(options, ICC, default=True),
        masquerade=_boolean(options, MASQUERADE, default=True),
        host_ip=_host_address(options.get(HOST_ADDRESS, "")),
        mtu=_mtu(options),
        ipv4=_boolean(options, ENABLE_IPV4, default=True) if ipv4 is None else ipv4,
        ipv6=_boolean(options, ENABLE_IPV6, default=False) if ipv6 is None else ipv6,
    )
    if not (made.ipv4 or made.ipv6):
        raise InvalidArgument("IPv4 or IPv6 must be enabled")
    return made


def _check_name(name: str) -> None:
    if not name.strip():
        raise InvalidArgument("invalid name: name is empty")
    if name in PREDEFINED:
        raise Forbidden(f"operation is not permitted on predefined {name} network ")
    if not _NAME.fullmatch(name) or len(name) > MAX_NAME:
        raise InvalidArgument(
            f'invalid network name {name!r:.140}: only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed, '
            f"at most {MAX_NAME} characters"
        )


def _boolean(options: Mapping[str, str], name: str, *, default: bool) -> bool:
    text = options.get(name)
    if text is None:
        return default
    if text not in _TRUE | _FALSE:
        _refuse(name, text, "true or false")
    return text in _TRUE


def _mtu(options: Mapping[str, str]) -> int | None:
    text = options.get(MTU)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 5 and 68 <= int(text) <= 65535):
        _refuse(MTU, text, "68–65535")
    return int(text)


def _host_address(text: str) -> str:
    try:
        return str(IPv4Address(text)) if text else ""
    except ValueError:
        _refuse(HOST_ADDRESS, text, "an IPv4 address")


def _refuse(name: str, text: str, right: str) -> NoReturn:
    raise InvalidArgument(f"failed to parse {name} value: {text!r:.80} (give {right})")


def _with_container(body: B) -> B:
    if not body.container:
        raise InvalidArgument("Container: no container name or ID supplied")
    return body
