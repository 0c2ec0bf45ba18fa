"""JSON of the network endpoints, and the filters of list and prune."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from supervisor.docker.filters import Filters, check_known, fits_labels, flag, until_ns
from supervisor.docker.networks import EndpointView, NetworkView, Subnet
from supervisor.docker.times import rfc3339_nano
from supervisor.errors import InvalidArgument

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
    check_known(filters, _LIST_FILTERS)
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
        and fits_labels(network.labels, filters.get("label", ()))
    )


def check_prune_filters(filters: Filters, now_ns: int) -> int | None:
    """The wall-clock time in ns that pruned networks are older than; InvalidArgument."""
    check_known(filters, _PRUNE_FILTERS)
    return until_ns(filters, now_ns)


def prune_matches(network: NetworkView, filters: Filters, before_ns: int | None) -> bool:
    """True if a network that no container is in is to go; `before_ns` as check_prune_filters."""
    return (before_ns is None or network.created_ns < before_ns) and fits_labels(
        network.labels, filters.get("label", ()), filters.get("label!", ())
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


def _any(filters: Filters, name: str, fits: Callable[[str], bool]) -> bool:
    wanted = filters.get(name, ())
    return not wanted or any(fits(text) for text in wanted)
