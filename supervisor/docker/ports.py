"""Ports: those of a container that are exposed, and which of them are published where."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from supervisor.docker.endpoints import is_bridged, network_mode
from supervisor.errors import InvalidArgument
from supervisor.spec.networks import HOST, PortRequest, PublishedPort

if TYPE_CHECKING:
    from supervisor.docker.create import CreateBody

PROTOCOLS = ("tcp", "udp", "sctp")
_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/([a-zA-Z]+))?", re.ASCII)
_RANGE = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?", re.ASCII)
_DISCARDED = "Published ports are discarded when using host network mode"


def port_requests(body: CreateBody) -> tuple[PortRequest, ...]:
    """What is to be published of a merged body; none in a mode without addresses of its own.

    InvalidArgument names what cannot be, in any mode.
    """
    bindings = body.host_config.port_bindings
    asked = [
        request
        for port, where in bindings.items()
        for request in _requests(port, [] if where is None else where)
    ]
    exposed = exposed_ports(body.exposed_ports)
    if body.host_config.publish_all_ports:
        bound = {(request.container_port, request.protocol) for request in asked}
        asked += [
            PortRequest(container_port=port, protocol=protocol)
            for port, protocol in exposed
            if (port, protocol) not in bound
        ]
    return tuple(dict.fromkeys(asked)) if is_bridged(network_mode(body)) else ()


def port_warnings(body: CreateBody) -> tuple[str, ...]:
    """Docker's sentence about what has no effect."""
    host = body.host_config
    discarded = network_mode(body) == HOST and (host.port_bindings or host.publish_all_ports)
    return (_DISCARDED,) if discarded else ()


def exposed_ports(texts: Iterable[str]) -> tuple[tuple[int, str], ...]:
    """Numbers and protocols of "80", "53/udp", "8000-8010/tcp"."""
    return tuple(dict.fromkeys(pair for text in texts for pair in _parse(text)))


def ports_json(published: Collection[PublishedPort], exposed: Collection[str]) -> dict[str, Any]:
    """NetworkSettings.Ports of a running container: null for what is exposed only."""
    ports: dict[str, Any] = {_text(*pair): None for pair in _known(exposed)}
    for port in published:
        text = _text(port.container_port, port.protocol)
        rows = ports.get(text) or []
        ports[text] = [*rows, {"HostIp": port.host_ip, "HostPort": str(port.host_port)}]
    return ports


def port_rows(
    published: Collection[PublishedPort], exposed: Collection[str]
) -> list[dict[str, Any]]:
    """The Ports of a running container's row in the container list."""
    rows: list[dict[str, Any]] = [
        {
            "IP": port.host_ip,
            "PrivatePort": port.container_port,
            "PublicPort": port.host_port,
            "Type": port.protocol,
        }
        for port in published
    ]
    bound = {(port.container_port, port.protocol) for port in published}
    rows += [
        {"PrivatePort": port, "Type": protocol}
        for port, protocol in _known(exposed)
        if (port, protocol) not in bound
    ]
    return rows


def filter_ports(texts: Iterable[str]) -> frozenset[str]:
    """As filters compare them: "80/tcp"."""
    return frozenset(_text(*pair) for pair in _known(texts))


def _requests(port: str, where: Any) -> list[PortRequest]:
    numbers = _parse(port)
    if len(numbers) != 1:
        raise _invalid_port(port)
    number, protocol = numbers[0]
    if not isinstance(where, Sequence) or isinstance(where, str):
        raise InvalidArgument(f"invalid value for PortBindings.{port:.40}: expected an array")
    return [_request(number, protocol, binding or {}) for binding in where]


def _request(port: int, protocol: str, binding: Any) -> PortRequest:
    where = f"PortBindings.{port}/{protocol}"
    if not isinstance(binding, Mapping):
        raise InvalidArgument(f"invalid value for {where}: expected an object")
    address, ports = binding.get("HostIp") or "", binding.get("HostPort") or ""
    if not isinstance(address, str) or not isinstance(ports, str):
        raise InvalidArgument(f"invalid value for {where}: HostIp and HostPort are strings")
    first, last = _host_ports(ports)
    return PortRequest(
        container_port=port,
        protocol=protocol,
        host_ip=_address(address),
        first=first,
        last=last,
    )


def _host_ports(text: str) -> tuple[int, int]:
    match = _RANGE.fullmatch(text or "0")
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
    if not first <= last <= 0xFFFF or (first == 0 and last):
        raise InvalidArgument(
            f"invalid host port {text!r:.40}: give 1–65535, or a range (example: 8000-8010)"
        )
    return first, last


def _address(text: str) -> str:
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        return str(ip_address(bare)) if bare else ""
    except ValueError:
        raise InvalidArgument(f"invalid IP address: {text!r:.80}") from None


def _parse(text: str) -> list[tuple[int, str]]:
    match = _PORT.fullmatch(text)
    if match is None:
        raise _invalid_port(text)
    protocol = (match[3] or "tcp").lower()
    if protocol not in PROTOCOLS:
        raise InvalidArgument(f"invalid protocol {protocol!r:.20}: give {', '.join(PROTOCOLS)}")
    first, last = int(match[1]), int(match[2] or match[1])
    if not 0 < first <= last <= 0xFFFF:
        raise _invalid_port(text)
    return [(port, protocol) for port in range(first, last + 1)]


def _invalid_port(text: str) -> InvalidArgument:
    return InvalidArgument(f"invalid port specification: {text!r:.80} (example: 80/tcp)")


def _known(texts: Iterable[str]) -> list[tuple[int, str]]:
    """Of texts that were checked, or come from before anybody checked them."""
    found: list[tuple[int, str]] = []
    for text in texts:
        try:
            found += _parse(text)
        except InvalidArgument:
            continue
    return found


def _text(port: int, protocol: str) -> str:
    return f"{port}/{protocol}"
