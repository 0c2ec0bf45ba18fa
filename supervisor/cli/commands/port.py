"""`orlop port`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from supervisor.cli.client import container_path
from supervisor.cli.context import Context
from supervisor.cli.failures import Failure
from supervisor.cli.flags import Parser
from supervisor.cli.listing import natural_order
from supervisor.cli.port_listing import join

_LAST = 65535


def port(words: Sequence[str], context: Context) -> int:
    """Print where on the host a container's ports, or one of them, are published."""
    parser = Parser(
        "port",
        "CONTAINER [PRIVATE_PORT[/PROTOCOL]]",
        "List the published ports of a container",
        count=(1, 2),
    )
    container, *asked = parser.parse(words).operands
    wanted = _wanted(asked[0]) if asked and asked[0] else ""
    view = context.client().get(container_path(container, "json"))
    published: dict[str, list[dict[str, Any]] | None] = view["NetworkSettings"]["Ports"] or {}
    if wanted:
        lines = _places(published.get(wanted))
        if not lines:
            raise Failure(f"No public port '{asked[0]}' published for {container}")
    else:
        lines = [f"{name} -> {at}" for name, found in published.items() for at in _places(found)]
    for line in sorted(lines, key=natural_order):
        print(line)
    return 0


def _wanted(text: str) -> str:
    number, _, protocol = text.partition("/")
    is_number = number.isascii() and number.isdecimal() and len(number) <= len(str(_LAST))
    if not (is_number and 0 < int(number) <= _LAST):
        raise Failure(f"invalid port '{text}': PORT[/PROTOCOL] is expected, as 80 or 53/udp")
    return f"{int(number)}/{protocol.lower() or 'tcp'}"


def _places(bindings: list[dict[str, Any]] | None) -> list[str]:
    return [join(one["HostIp"], one["HostPort"]) for one in bindings or ()]
