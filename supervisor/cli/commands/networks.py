"""`orlop network create|ls|inspect|rm|prune`, and the way to connect, disconnect and impair."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

from supervisor.cli import network_values, subnet_values, values
from supervisor.cli.client import filters_json, network_path
from supervisor.cli.commands import network_members
from supervisor.cli.commands.objects import declare_format, get_known, print_objects
from supervisor.cli.context import Context, for_each
from supervisor.cli.failures import DaemonError, Failure
from supervisor.cli.flags import Parser, subcommand
from supervisor.cli.listing import SHORT_ID, Labelled, list_format, natural_order, plain, show

_HEADINGS = {
    "ID": "NETWORK ID",
    "Name": "NAME",
    "Driver": "DRIVER",
    "Scope": "SCOPE",
    "IPv4": "IPV4",
    "IPv6": "IPV6",
    "Internal": "INTERNAL",
    "Labels": "LABELS",
    "CreatedAt": "CREATED AT",
}
_COLUMNS = ("ID", "Name", "Driver", "Scope")
_SUMMARIES = {
    "connect": network_members.CONNECT,
    "create": "Create a network",
    "disconnect": network_members.DISCONNECT,
    "impair": network_members.IMPAIR,
    "inspect": "Display detailed information on one or more networks",
    "ls": "List networks",
    "prune": "Remove all unused networks",
    "rm": "Remove one or more networks",
}
_ALIASES = {"list": "ls", "remove": "rm"}


def network(words: Sequence[str], context: Context) -> int:
    """The commands below `orlop network`."""
    name, rest = subcommand("network", "Manage networks", _SUMMARIES, words, _ALIASES)
    commands: dict[str, Callable[[Sequence[str], Context], int]] = {
        "connect": network_members.connect,
        "create": _create,
        "disconnect": network_members.disconnect,
        "impair": network_members.impair,
        "inspect": _inspect,
        "ls": _list,
        "prune": _prune,
        "rm": _remove,
    }
    return commands[name](rest, context)


def _create(words: Sequence[str], context: Context) -> int:
    options = _create_parser().parse(words)
    try:
        pools = subnet_values.pools(
            list(chain.from_iterable(options.subnet)),
            list(chain.from_iterable(options.ip_range)),
            list(chain.from_iterable(options.gateway)),
            options.aux_address,
        )
    except ValueError as error:
        raise Failure(str(error)) from None
    body: dict[str, Any] = {
        "Driver": options.driver,
        "Scope": "",
        "IPAM": {"Driver": "default", "Options": {}, "Config": pools},
        "Internal": options.internal,
        "Attachable": options.attachable,
        "Ingress": False,
        "ConfigOnly": False,
        "ConfigFrom": None,
        "Options": dict(options.opt),
        "Labels": dict(options.label),
        "Name": options.operands[0],
    }
    if options.ipv6 is not None:
        body["EnableIPv6"] = options.ipv6
    answer = context.client().post("/networks/create", body=body)
    if answer.get("Warning"):
        print(plain(f"WARNING: {answer['Warning']}"), file=sys.stderr)
    print(answer["Id"])
    return 0


def _create_parser() -> Parser:
    parser = Parser("network create", "NETWORK", _SUMMARIES["create"], count=(1, 1))
    flag = parser.flag
    parser.switch("--attachable", help="Of no effect: any container may be connected")
    flag(
        "--aux-address",
        kind="map",
        many=True,
        parse=subnet_values.reserved,
        help="Keep an address of a subnet from containers (router=10.5.0.2)",
    )
    flag("-d", "--driver", default="bridge", help="Driver of the network (bridge, the default)")
    flag(
        "--gateway",
        kind="list",
        many=True,
        parse=subnet_values.gateway,
        help="Address of this host in a subnet (10.5.0.1)",
    )
    parser.switch("--internal", help="Let nothing in or out: containers reach each other only")
    flag(
        "--ip-range",
        kind="list",
        many=True,
        parse=subnet_values.ip_range,
        help="Part of a subnet that containers get addresses from (10.5.0.128/25)",
    )
    parser.switch("--ipv6", default=None, help="Give containers IPv6 addresses, too")
    flag("--label", kind="list", many=True, parse=values.label, help="Set a label")
    flag(
        "-o",
        "--opt",
        kind="map",
        many=True,
        parse=network_values.option,
        help="Driver option (com.docker.network.driver.mtu=1400)",
    )
    flag(
        "--subnet",
        kind="list",
        many=True,
        parse=subnet_values.subnet,
        help="Subnet of the network (10.5.0.0/24, fd00:5::/64); a free one if not given",
    )
    return parser


def _list(words: Sequence[str], context: Context) -> int:
    parser = Parser("network ls", "", _SUMMARIES["ls"], count=(0, 0))
    parser.filters(
        "-f",
        "--filter",
        help="Show only networks with this (driver=bridge, name=part, id=part, label=x=y,"
        " type=custom, dangling=true, scope=local)",
    )
    list_format(parser, _HEADINGS, "{{.Name}}", labels=True)
    parser.switch("--no-trunc", help="Don't truncate the output")
    parser.switch("-q", "--quiet", help="Only display network IDs")
    options = parser.parse(words)
    found = context.client().get("/networks", {"filters": filters_json(options.filter)})
    networks = sorted(found or (), key=lambda view: natural_order(view["Name"]))
    width = None if options.no_trunc else SHORT_ID
    if options.quiet:
        print("".join(f"{view['Id'][:width]}\n" for view in networks), end="")
    else:
        rows = [_row(view, width) for view in networks]
        show(rows, Labelled.headings(_HEADINGS), _COLUMNS, options.format)
    return 0


def _row(view: dict[str, Any], width: int | None) -> Labelled:
    labels: dict[str, str] = view["Labels"] or {}
    fields = {
        # As Go prints a time; the daemon's are UTC.
        "CreatedAt": view["Created"].replace("T", " ").replace("Z", " +0000 UTC"),
        "Driver": view["Driver"],
        "ID": view["Id"][:width],
        "IPv4": _truth(view.get("EnableIPv4", True)),
        "IPv6": _truth(view["EnableIPv6"]),
        "Internal": _truth(view["Internal"]),
        "Labels": ",".join(f"{name}={value}" for name, value in sorted(labels.items())),
        "Name": view["Name"],
        "Scope": view["Scope"],
    }
    return Labelled.row(fields, labels)


def _truth(value: bool) -> str:
    return "true" if value else "false"


def _inspect(words: Sequence[str], context: Context) -> int:
    summary = _SUMMARIES["inspect"]
    parser = Parser("network inspect", "NETWORK [NETWORK...]", summary, count=(1, None))
    declare_format(parser)
    parser.switch("-v", "--verbose", help="Of no effect: there is no more to tell")
    options = parser.parse(words)
    client = context.client()
    return print_objects(
        options.operands, options.format, lambda name: get_known(client, network_path(name))
    )


def _remove(words: Sequence[str], context: Context) -> int:
    parser = Parser("network rm", "NETWORK [NETWORK...]", _SUMMARIES["rm"], count=(1, None))
    parser.switch("-f", "--force", help="No error for a network that is not there")
    options = parser.parse(words)
    client = context.client()

    def remove(name: str) -> None:
        try:
            client.delete(network_path(name))
        except DaemonError as error:
            if not options.force or error.code != 404:
                raise
        else:
            print(name)

    return for_each(options.operands, remove)


def _prune(words: Sequence[str], context: Context) -> int:
    parser = Parser("network prune", "", _SUMMARIES["prune"], count=(0, 0))
    parser.filters("--filter", help="Remove only networks with this (until=24h, label=x, label!=x)")
    parser.switch("-f", "--force", help="Do not prompt for confirmation")
    options = parser.parse(words)
    if not options.force:
        from supervisor.cli.confirm import confirmed

        if not confirmed(
            "This will remove all custom networks not used by at least one container."
        ):
            return 0
    answer = context.client().post("/networks/prune", {"filters": filters_json(options.filter)})
    if names := answer["NetworksDeleted"]:
        print("Deleted Networks:", *names, "", sep="\n")
    return 0
