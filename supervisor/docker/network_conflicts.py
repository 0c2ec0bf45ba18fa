"""What cannot go with a container's network mode: moby's runconfig, in its words.

Asked of the request itself: what an image says (its ports) is no conflict.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor.docker.endpoints import LINKS, NO_MAC, network_mode
from supervisor.errors import InvalidArgument
from supervisor.spec.networks import CONTAINER_PREFIX

if TYPE_CHECKING:
    from supervisor.docker.create import CreateBody


def check_conflicts(body: CreateBody) -> None:
    """InvalidArgument naming the first two options that exclude each other."""
    host = body.host_config
    if host.links:
        raise InvalidArgument(LINKS)
    if not network_mode(body).startswith(CONTAINER_PREFIX):
        return
    conflicts = (
        (body.hostname, "hostname and the network mode"),
        (host.dns, "dns and the network mode"),
        (host.extra_hosts, "custom host-to-IP mapping and the network mode"),
        (body.mac_address, NO_MAC.removeprefix(_BEGIN)),
        (
            host.port_bindings or host.publish_all_ports,
            "port publishing and the container type network mode",
        ),
        (body.exposed_ports, "port exposing and the container type network mode"),
    )
    for asked, what in conflicts:
        if asked:
            raise InvalidArgument(_BEGIN + what)


_BEGIN = "conflicting options: "
