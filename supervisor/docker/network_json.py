"""JSON of the network endpoints, and the filters of list and prune."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from supervisor.docker.filters import Filters, flag
from supervisor.docker.networks import EndpointView, NetworkView, Subnet
from supervisor.docker.times import parse_timestamp, rfc3339_nano
from supervisor.errors import InvalidArgument
from supervisor.spec.units import parse_duration

SCOPE = "local"
_LIST_FILTERS = frozenset({"dangling", "driver", "id", "label", "name", "scope", "type"})
_PRUNE_FILTERS = frozenset({"label", "label!", "until"})
_TYPES = ("builtin", "custom")


def network_json(network: NetworkView, *, containers: bool = True) -> dict[str, Any]:
    """The network with docker's field names and types; lists leave its containers out."""
    return {
        "Name": network.name,
        "Id": network.id,
        "Created": rfc3339_nano(network.created_ns),
        "Scope": SCOPE,
        "Driver": network.driver,
        "EnableIPv4": network.ipv4,
        "EnableIPv6": network.ipv6,
        "IPAM": {
            "Driver": "default",
            "Options": network.ipam_options,
            "Config": [_subnet_json(subnet) for subnet in network.subnets] or None,
        },
        "Internal": network.internal,
        "Attachable": network.attachable,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": {one.container_id: _container_json(one) for one in network.endpoints}
        if containers
        else {},
        "Options": network.options,
        "Labels": network.labels,
    }


def endpoint_json(endpoint: EndpointView) -> dict[str, Any]:
    """A container's place in a network, as inspect and the container list show it."""
    asked = {"IPv4Address": endpoint.asked_ipv4, "IPv6Address": endpoint.asked_ipv6}
    return {
        "IPAMConfig": {name: text for name, text in asked.items() if text} or None,
        "Links": None,
        "Aliases": endpoint.aliases or None,
        "MacAddress": endpoint.mac,
        "DriverOpts": endpoint.driver_options or None,
        "GwPriority": endpoint.priority,
        "NetworkID": endpoint.network_id,
        "EndpointID": endpoint.endpoint_id,
        "Gateway": endpoint.ipv4_gateway,
        "IPAddress": endpoint.ipv4,
        "IPPrefixLen": endpoint.ipv4_length,
        "IPv6Gateway": endpoint.ipv6_gateway,
        "GlobalIPv6Address": endpoint.ipv6,
        "GlobalIPv6PrefixLen": endpoint.ipv6_length,
        "DNSNames": endpoint.dns_names or None,
    }


def endpoints_json(endpoints: Collection[EndpointView], mode: str) -> dict[str, Any]:
    """NetworkSettings.Networks; in the modes none and host the one pseudo network."""
    if not endpoints and mode in ("none", "host"):
        return {mode: endpoint_json(EndpointView(network_name=mode, network_id=""))}
    return {one.network_name: endpoint_json(one) for one in endpoints}


def check_list_filters(filters: Filters) -> None:
    """InvalidArgument for a filter or a value that the list does not know."""
    _check(filters, _LIST_FILTERS)
    flag(filters, "dangling")
    for word in filters.get("type", ()):
        if word not in _TYPES:
            raise InvalidArgument(f"invalid filter: 'type'='{word:.80}'")


def network_matches(network: NetworkView, filters: Filters) -> bool:
    """True if the list is to show the network; checked filters only.

    Name and id match in part; all labels must be there; `dangling`: no container is in it.
    """
    dangling = flag(filters, "dangling")
    if dangling is not None and dangling == (bool(network.endpoints) or network.predefined):
        return False
    kind = "builtin" if network.predefined else "custom"
    return (
        _any(filters, "name", lambda text: text in network.name)
        and _any(filters, "id", lambda text: text in network.id)
        and _any(filters, "driver", lambda text: text == network.driver)
        and _any(filters, "scope", lambda text: text == SCOPE)
        and _any(filters, "type", lambda text: text == kind)
        and all(_has_label(network, label) for label in filters.get("label", ()))
    )


def check_prune_filters(filters: Filters, now_ns: int) -> int | None:
    """The wall-clock time in ns that pruned networks are older than; InvalidArgument."""
    _check(filters, _PRUNE_FILTERS)
    until = filters.get("until", ())
    if len(until) > 1:
        raise InvalidArgument("more than one until filter specified")
    return _moment(until[0], now_ns) if until else None


def prune_matches(network: NetworkView, filters: Filters, until_ns: int | None) -> bool:
    """True if a network that no container is in is to go."""
    return (
        (until_ns is None or network.created_ns < until_ns)
        and all(_has_label(network, label) for label in filters.get("label", ()))
        and not any(_has_label(network, label) for label in filters.get("label!", ()))
    )


def pruned_json(names: Sequence[str]) -> dict[str, Any]:
    """The answer to a pruning."""
    return {"NetworksDeleted": names or None}


def _subnet_json(subnet: Subnet) -> dict[str, Any]:
    value: dict[str, Any] = {"Subnet": subnet.subnet}
    if subnet.ip_range:
        value["IPRange"] = subnet.ip_range
    if subnet.gateway:
        value["Gateway"] = subnet.gateway
    if subnet.reserved:
        value["AuxiliaryAddresses"] = subnet.reserved
    return value


def _container_json(endpoint: EndpointView) -> dict[str, Any]:
    ipv4, ipv6 = endpoint.ipv4, endpoint.ipv6
    return {
        "Name": endpoint.container_name,
        "EndpointID": endpoint.endpoint_id,
        "MacAddress": endpoint.mac,
        "IPv4Address": f"{ipv4}/{endpoint.ipv4_length}" if ipv4 else "",
        "IPv6Address": f"{ipv6}/{endpoint.ipv6_length}" if ipv6 else "",
    }


def _check(filters: Filters, known: Collection[str]) -> None:
    for name in filters:
        if name not in known:
            raise InvalidArgument(f"invalid filter '{name:.80}'")


def _moment(text: str, now_ns: int) -> int:
    """A Go duration ago, or a point in time."""
    try:
        return now_ns - parse_duration(text)
    except InvalidArgument:
        return parse_timestamp("until", text)


def _any(filters: Filters, name: str, fits: Callable[[str], bool]) -> bool:
    wanted = filters.get(name, ())
    return not wanted or any(fits(text) for text in wanted)


def _has_label(network: NetworkView, wanted: str) -> bool:
    name, equals, value = wanted.partition("=")
    return name in network.labels and (not equals or network.labels[name] == value)
