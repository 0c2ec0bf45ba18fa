"""The flags of `run` and `create` about networks, and what they become in the request."""

from __future__ import annotations

from argparse import Namespace
from itertools import chain
from typing import Any

from supervisor.cli import network_values, port_values, values
from supervisor.cli.failures import Misuse
from supervisor.cli.flags import Parser

Json = dict[str, Any]

_DEFAULT = "default"
_PREDEFINED = (_DEFAULT, "bridge", "host", "none")
_CONTAINER = "container:"
_NO_ENDPOINT = ("host", "none")
_BOTH = "conflicting options: cannot specify both {} and {}"


def declare_network(parser: Parser) -> None:
    """Networks, addresses, names, ports."""
    flag = parser.flag
    flag(
        "--network",
        "--net",
        kind="network",
        many=True,
        parse=network_values.attachment,
        help="Connect the container to a network: NAME, none, host, container:NAME; or"
        " name=NAME,alias=A,ip=IP with any of alias, ip, ip6, mac-address, gw-priority and"
        " driver-opt",
    )
    flag("--ip", parse=network_values.ipv4, help="IPv4 address in the first network (10.5.0.9)")
    flag("--ip6", parse=network_values.ipv6, help="IPv6 address in the first network (fd00::9)")
    flag("--link", kind="list", parse=network_values.link, help="Not supported: use a network")
    flag("--mac-address", parse=network_values.mac_address, help="MAC address in the first network")
    flag(
        "--network-alias",
        "--net-alias",
        kind="list",
        many=True,
        parse=network_values.alias,
        help="Add a further name in the first network",
    )
    flag(
        "--network-bandwidth",
        kind="rate",
        parse=network_values.bandwidth,
        help="Limit what comes in by the first network, and what goes out, in bits per second:"
        " DOWN[:UP] (10mbit, 10mbit:512kbit, 0:1gbit)",
    )
    _declare_ports(parser)
    _declare_names(parser)


def _declare_ports(parser: Parser) -> None:
    flag = parser.flag
    flag(
        "-p",
        "--publish",
        kind="list",
        many=True,
        parse=port_values.publish,
        help="Publish a port on the host: [IP:][HOST[-LAST]:]CONTAINER[-LAST][/PROTOCOL]"
        " (8080:80, 127.0.0.1:53:53/udp, [::1]::443)",
    )
    parser.switch("-P", "--publish-all", help="Publish all exposed ports on free ports of the host")
    flag(
        "--expose",
        kind="list",
        many=True,
        parse=port_values.expose,
        help="Expose a port or a range of ports (80, 8000-8010/udp)",
    )


def _declare_names(parser: Parser) -> None:
    flag = parser.flag
    flag(
        "--add-host",
        kind="list",
        many=True,
        parse=values.extra_host,
        help="Add a line to /etc/hosts (NAME:IP)",
    )
    flag("--dns", kind="list", many=True, parse=network_values.address, help="Set a DNS server")
    flag("--dns-option", "--dns-opt", kind="list", many=True, help="Set a DNS option")
    flag("--dns-search", kind="list", many=True, help="Set a DNS search domain ('.' for none)")


def port_fields(options: Namespace) -> tuple[Json, Json]:
    """What ports add to the request, and to its HostConfig."""
    published = list(chain.from_iterable(options.publish))
    exposed = [*chain.from_iterable(options.expose), *(port for port, _ in published)]
    body: Json = {"ExposedPorts": {port: {} for port in exposed}} if exposed else {}
    host: Json = {"PortBindings": port_values.bindings(published)} if published else {}
    return body, host | ({"PublishAllPorts": True} if options.publish_all else {})


def attachments(options: Namespace, program: str) -> list[network_values.Attachment]:
    """The networks asked for, the first of them with what --ip and the like ask of it.

    Raises Misuse for what excludes each other; docker's words.
    """
    asked: list[network_values.Attachment] = options.network or [(_DEFAULT, {})]
    first, *others = asked
    found = [_with_flags(*first, options, program), *others]
    names = [name for name, _ in found]
    for name, settings in found:
        if names.count(name) > 1:
            raise Misuse(f'network "{name}" is specified multiple times', program)
        if settings.get("Aliases") and not _user_defined(name):
            raise Misuse(
                "network-scoped aliases are only supported for user-defined networks", program
            )
    if others and not all(map(_user_defined, names)):
        raise Misuse(
            "conflicting options: cannot attach both user-defined and non-user-defined"
            " network-modes",
            program,
        )
    return found


def _with_flags(
    name: str, settings: Json, options: Namespace, program: str
) -> network_values.Attachment:
    added = network_values.endpoint(
        ip=options.ip or "",
        ip6=options.ip6 or "",
        mac=options.mac_address or "",
        aliases=options.network_alias,
        options=options.network_bandwidth or (),
    )
    if options.network_bandwidth and (name in _NO_ENDPOINT or name.startswith(_CONTAINER)):
        raise Misuse(
            f"--network-bandwidth has no effect with --network {name}: it is for bridge and"
            " user-defined networks",
            program,
        )
    merged = dict(settings)
    for field, value in added.items():
        if isinstance(value, dict):
            mine = merged.get(field, {})
            if twice := sorted(mine.keys() & value.keys()):
                raise Misuse(_BOTH.format(*_CLASHES[twice[0]]), program)
            merged[field] = {**mine, **value}
        elif field in merged:
            raise Misuse(_BOTH.format(*_CLASHES[field]), program)
        else:
            merged[field] = value
    return name, merged


_CLASHES = {
    "IPv4Address": ("--ip", "per-network IPv4 address"),
    "IPv6Address": ("--ip6", "per-network IPv6 address"),
    "MacAddress": ("--mac-address", "per-network MAC address"),
    "Aliases": ("--network-alias", "per-network alias"),
    network_values.DOWN: ("--network-bandwidth", f"per-network option {network_values.DOWN}"),
    network_values.UP: ("--network-bandwidth", f"per-network option {network_values.UP}"),
}


def _user_defined(name: str) -> bool:
    return name not in _PREDEFINED and not name.startswith(_CONTAINER)
