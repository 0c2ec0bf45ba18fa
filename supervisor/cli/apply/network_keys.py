"""Keys of a service about networks, ports, names, and namespaces that are another one's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from supervisor.cli import network_values, port_values, values
from supervisor.cli.apply.draft import Draft, Key, each, host
from supervisor.cli.apply.nodes import Items, Keys, Node, Scalar, Wrong
from supervisor.cli.apply.reader import Reader

Json = dict[str, Any]

_SERVICE = "service:"
_CONTAINER = "container:"
_REFUSED = {
    "interface_name": "interfaces are eth0, eth1, … in order of joining",
    "link_local_ips": "link-local addresses are made of the MAC address",
    "priority": "give gw_priority: the network with the highest has the default route",
}


def _ports(draft: Draft, node: Node) -> None:
    published: list[port_values.Published] = []
    for item in draft.reader.items(node):
        with draft.reader.noting():
            if isinstance(item, Keys):
                published += _long_port(draft.reader, item)
            else:
                published += draft.reader.value(item, port_values.publish)
    draft.host["PortBindings"] = port_values.bindings(published)
    draft.body.setdefault("ExposedPorts", {}).update({port: {} for port, _ in published})


def _long_port(reader: Reader, node: Keys) -> list[port_values.Published]:
    found = {"host_ip": "", "published": "", "target": "", "protocol": "tcp"}

    def keep(name: str) -> Any:
        return lambda value: found.update({name: reader.text(value)})

    reads = {name: keep(name) for name in found}
    reads["mode"] = lambda value: reader.word(value, "host", "ingress")
    reader.fields(
        node, reads, "ports", {"app_protocol": "it is for others", "name": "leave it out"}
    )
    if not found["target"]:
        raise Wrong(node.place, "target is missing: the container's port")
    ip = found["host_ip"]
    before = f"[{ip}]:" if ":" in ip else f"{ip}:" if ip else ""
    try:
        return port_values.publish(
            f"{before}{found['published'] or '0'}:{found['target']}/{found['protocol']}"
        )
    except ValueError as error:
        raise Wrong(node.place, str(error)) from None


def _expose(draft: Draft, node: Node) -> None:
    found = each(port_values.expose)(draft.reader, node)
    draft.body.setdefault("ExposedPorts", {}).update(
        {port: {} for ports in found for port in ports}
    )


def _networks(draft: Draft, node: Node) -> None:
    reader = draft.reader
    found: dict[str, Json] = {}
    if isinstance(node, Keys):
        for name, value in node.entries.items():
            with reader.noting():
                _check_network(draft, name, node.places[name])
                found[name] = _endpoint(reader, reader.optional_map(value))
    else:
        for item in reader.items(node):
            with reader.noting():
                name = reader.text(item)
                _check_network(draft, name, item.place)
                if name in found:
                    raise Wrong(item.place, f"network '{name}' is given twice")
                found[name] = {}
    draft.networks = found


def _check_network(draft: Draft, name: str, place: Any) -> None:
    if name not in draft.scope.networks:
        known = ", ".join(sorted(draft.scope.networks))
        raise Wrong(
            place,
            f"there is no network '{name}' in networks: of the file: add it (there is {known})",
        )


def _endpoint(reader: Reader, node: Keys) -> Json:
    asked: dict[str, Any] = {}

    def one(name: str, parse: Any) -> Any:
        return lambda value: asked.update({name: reader.value(value, parse)})

    def options(value: Node) -> None:
        asked["options"] = [(name, text or "") for name, text, _ in reader.pairs(value)]

    reads = {
        "aliases": lambda value: asked.update(aliases=each(network_values.alias)(reader, value)),
        "driver_opts": options,
        "gw_priority": one("priority", network_values.priority),
        "ipv4_address": one("ip", network_values.ipv4),
        "ipv6_address": one("ip6", network_values.ipv6),
        "mac_address": one("mac", network_values.mac_address),
    }
    reader.fields(node, reads, "networks", _REFUSED)
    return network_values.endpoint(**asked)


def _network_mode(draft: Draft, node: Node) -> None:
    mode = draft.reader.text(node)
    if mode in ("none", "host", "bridge"):
        draft.mode = mode
    else:
        draft.mode = _shared(draft, "NetworkMode", mode, node, "none, host, bridge")


def _shared(draft: Draft, field: str, mode: str, node: Node, others: str) -> str:
    """A mode that is another container's namespace; a service's has its name put in later."""
    kind, _, name = mode.partition(":")
    if not name or f"{kind}:" not in (_SERVICE, _CONTAINER):
        raise Wrong(node.place, f"'{mode}': {others}, service:NAME or container:NAME is expected")
    if kind == "service":
        draft.depend(name, node)
        draft.shares[field] = name
    return mode


def _namespace(field: str, *modes: str) -> Key:
    def key(draft: Draft, node: Node) -> None:
        mode = draft.reader.text(node)
        if mode not in modes:
            _shared(draft, field, mode, node, ", ".join(modes))
        draft.host[field] = mode

    return key


def _mac_address(draft: Draft, node: Node) -> None:
    draft.mac_address = draft.reader.value(node, network_values.mac_address)


def _extra_hosts(draft: Draft, node: Node) -> None:
    if isinstance(node, Keys):
        draft.host["ExtraHosts"] = list(_host_lines(draft.reader, node))
    elif isinstance(node, Items):
        draft.host["ExtraHosts"] = each(values.extra_host)(draft.reader, node)
    else:
        raise Wrong(node.place, "a map of NAME: IP, or a list of NAME=IP, is expected")


def _host_lines(reader: Reader, node: Keys) -> Iterator[str]:
    for name, value in node.entries.items():
        with reader.noting():
            for one in (value,) if isinstance(value, Scalar) else reader.items(value):
                yield reader.value(one, partial(_host_line, name))


def _host_line(name: str, ip: str) -> str:
    return values.extra_host(f"{name}={ip}")


KEYS: Mapping[str, Key] = {
    "dns": host("Dns", each(network_values.address)),
    "dns_opt": host("DnsOptions", Reader.texts),
    "dns_search": host("DnsSearch", Reader.texts),
    "expose": _expose,
    "extra_hosts": _extra_hosts,
    "ipc": _namespace("IpcMode", "private", "shareable", "host", "none"),
    "mac_address": _mac_address,
    "network_mode": _network_mode,
    "networks": _networks,
    "pid": _namespace("PidMode", "host"),
    "ports": _ports,
    "uts": _namespace("UTSMode", "host"),
}
