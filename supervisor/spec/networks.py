"""What a container asks of networks, and which of its ports are published: plain values."""

from __future__ import annotations

from dataclasses import dataclass

BRIDGE = "bridge"
"""The network that a container is in without asking; "" and "default" mean it, too."""
NONE = "none"
HOST = "host"
CONTAINER_PREFIX = "container:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bandwidth:
    """Limits in bits per second towards (`down`) and from (`up`) a container; 0 = none."""

    down: int = 0
    up: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointOptions:
    """One network that a container is to be in; "", () and 0 where nothing was asked.

    `network` is a name or id as asked, an id once the container is made. `aliases` are further
    names in it. The default route leads by the network of the highest `priority`.
    """

    network: str
    ipv4: str = ""
    ipv6: str = ""
    mac: str = ""
    aliases: tuple[str, ...] = ()
    priority: int = 0
    bandwidth: Bandwidth = Bandwidth()


@dataclass(frozen=True, slots=True, kw_only=True)
class PortRequest:
    """A container's port to publish: on host ports `first`–`last`, 0 = any free one.

    `host_ip` "" = all addresses of the host, of both IP versions.
    """

    container_port: int
    protocol: str = "tcp"
    host_ip: str = ""
    first: int = 0
    last: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedPort:
    """A port that is published while a container runs; one value for each host address."""

    container_port: int
    protocol: str
    host_ip: str
    host_port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointRun:
    """A container's place in one network while it runs.

    `ipv4` and `ipv6` are addresses with their subnet's length ("172.17.0.2/16"), "" for an IP
    version that the network lacks; `port` is the interface on the host, `interface` the one inside.
    `names` are what the name server of the network knows it by.
    """

    network: str
    endpoint_id: str
    port: str
    interface: str
    mac: str
    ipv4: str = ""
    ipv6: str = ""
    names: tuple[str, ...] = ()
    bandwidth: Bandwidth = Bandwidth()

    @property
    def addresses(self) -> tuple[str, ...]:
        """Its addresses without lengths."""
        return tuple(text.partition("/")[0] for text in (self.ipv4, self.ipv6) if text)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkRun:
    """What one run of a container has of networks.

    `default` is the id of the network by which the default routes and the published ports lead,
    "" if there is none.
    """

    endpoints: tuple[EndpointRun, ...] = ()
    ports: tuple[PublishedPort, ...] = ()
    default: str = ""

    def endpoint(self, network: str) -> EndpointRun | None:
        """Its place in the network with that id."""
        return next((one for one in self.endpoints if one.network == network), None)
