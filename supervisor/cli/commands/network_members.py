"""`orlop network connect|disconnect|impair`: a container in a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from supervisor.cli import network_values
from supervisor.cli.client import container_path, network_path
from supervisor.cli.context import Context
from supervisor.cli.failures import Misuse
from supervisor.cli.flags import Parser

CONNECT = "Connect a container to a network"
DISCONNECT = "Disconnect a container from a network"
IMPAIR = "Lose and delay what a container gets from a network, for tests"

_OPERANDS = "NETWORK CONTAINER"
_NOTES = "Each call replaces what the one before asked for; a restart of the container clears it."


def connect(words: Sequence[str], context: Context) -> int:
    """Connect; the container may run."""
    parser = Parser("network connect", _OPERANDS, CONNECT, count=(2, 2))
    flag = parser.flag
    flag(
        "--alias",
        kind="list",
        many=True,
        parse=network_values.alias,
        help="Add a further name of the container in the network",
    )
    flag(
        "--driver-opt",
        kind="list",
        many=True,
        parse=network_values.driver_option,
        help="Driver option of its place in the network (orlop.bandwidth.down=8000000)",
    )
    flag(
        "--gw-priority",
        kind="int",
        parse=network_values.priority,
        default=0,
        help="The network with the highest one has the default route",
    )
    flag("--ip", parse=network_values.ipv4, help="IPv4 address (10.5.0.9)")
    flag("--ip6", parse=network_values.ipv6, help="IPv6 address (fd00::9)")
    flag("--link", kind="list", parse=network_values.link, help="Not supported: use names")
    flag("--mac-address", parse=network_values.mac_address, help="MAC address")
    options = parser.parse(words)
    name, container = options.operands
    settings = network_values.endpoint(
        ip=options.ip or "",
        ip6=options.ip6 or "",
        mac=options.mac_address or "",
        aliases=options.alias,
        options=options.driver_opt,
        priority=options.gw_priority,
    )
    body = {"Container": container, "EndpointConfig": settings}
    context.client().post(network_path(name, "connect"), body=body)
    return 0


def disconnect(words: Sequence[str], context: Context) -> int:
    """Disconnect; the container may run."""
    parser = Parser("network disconnect", _OPERANDS, DISCONNECT, count=(2, 2))
    parser.switch("-f", "--force", help="Also where the container is not there any more")
    options = parser.parse(words)
    name, container = options.operands
    body = {"Container": container, "Force": options.force}
    context.client().post(network_path(name, "disconnect"), body=body)
    return 0


def impair(words: Sequence[str], context: Context) -> int:
    """Make a network as bad as real ones are, or good again."""
    parser = Parser("network impair", "CONTAINER", IMPAIR, count=(1, 1), notes=_NOTES)
    parser.switch("--clear", help="Neither lose nor delay any more")
    time = network_values.milliseconds
    parser.flag("--delay", kind="duration", parse=time, help="Delay each packet (100ms)")
    parser.flag("--jitter", kind="duration", parse=time, help="Vary the delay by this (10ms)")
    parser.flag(
        "--loss", kind="percent", parse=network_values.percent, help="Lose this many packets (1.5)"
    )
    parser.flag("--network", "--net", default="", help="In this network only (default: in all)")
    options = parser.parse(words)
    asked = (options.loss, options.delay, options.jitter)
    if options.clear and asked != (None, None, None):
        raise Misuse("--clear goes without --loss, --delay and --jitter", parser.prog)
    if not options.clear and asked == (None, None, None):
        raise Misuse("give --loss, --delay or both, or --clear", parser.prog)
    if options.jitter and not options.delay:
        raise Misuse("--jitter varies --delay: give both", parser.prog)
    body: dict[str, Any] = {
        "Network": options.network,
        "LossPercent": options.loss or 0,
        "DelayMs": options.delay or 0,
        "JitterMs": options.jitter or 0,
    }
    context.client().post(container_path(options.operands[0], "impair"), body=body)
    return 0
