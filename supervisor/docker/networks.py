"""What the engine shows of a network, and of a container's place in it."""

from __future__ import annotations

import msgspec


class Subnet(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One subnet of a network, all as text; "" where not given. `reserved`: name → address."""

    subnet: str
    gateway: str = ""
    ip_range: str = ""
    reserved: dict[str, str] = msgspec.field(default_factory=dict)


class EndpointView(msgspec.Struct, frozen=True, kw_only=True):
    """One container's place in one network; addresses "" and lengths 0 while it does not run.

    `mac` is the one it has, or is to get if one was asked for. `driver_options` are docker's
    DriverOpts. With `by_default` the container's default route leads by this network.
    """

    network_name: str
    network_id: str
    container_id: str = ""
    container_name: str = ""
    endpoint_id: str = ""
    ipv4: str = ""
    ipv4_length: int = 0
    ipv4_gateway: str = ""
    ipv6: str = ""
    ipv6_length: int = 0
    ipv6_gateway: str = ""
    mac: str = ""
    aliases: tuple[str, ...] = ()
    dns_names: tuple[str, ...] = ()
    asked_ipv4: str = ""
    asked_ipv6: str = ""
    priority: int = 0
    driver_options: dict[str, str] = msgspec.field(default_factory=dict)
    by_default: bool = False


class NetworkView(msgspec.Struct, frozen=True, kw_only=True):
    """One network. `driver` is bridge, host or null; `options` docker's com.docker.network.…;
    `endpoints` are those of running containers; `predefined`: it is there always."""

    id: str
    name: str
    created_ns: int = 0
    driver: str = "bridge"
    predefined: bool = False
    internal: bool = False
    attachable: bool = False
    ipv4: bool = True
    ipv6: bool = False
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    options: dict[str, str] = msgspec.field(default_factory=dict)
    ipam_options: dict[str, str] | None = None
    subnets: tuple[Subnet, ...] = ()
    endpoints: tuple[EndpointView, ...] = ()
