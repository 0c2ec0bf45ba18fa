"""`orlop attach`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from supervisor.cli.attached import Following, declare_detach_keys
from supervisor.cli.client import container_path
from supervisor.cli.context import Context
from supervisor.cli.failures import Failure
from supervisor.cli.flags import Parser

DETACHED = "read escape sequence"
"""What docker says, with status 1, when the detach keys end `attach` or `exec`."""


def attach(words: Sequence[str], context: Context) -> int:
    """Stay with a running container until it exits."""
    parser = Parser(
        "attach",
        "CONTAINER",
        "Attach standard input, output and error to a running container",
        count=(1, 1),
    )
    declare_detach_keys(parser)
    parser.switch("--no-stdin", help="Do not attach standard input")
    parser.switch(
        "--sig-proxy", default=True, help="Proxy received signals to the process (default true)"
    )
    options = parser.parse(words)
    client = context.client()
    view = client.get(container_path(options.operands[0], "json"))
    _require_running(view["State"])
    config = view["Config"]
    how = Following(
        tty=config["Tty"],
        stdin=config["OpenStdin"] and not options.no_stdin,
        proxy=options.sig_proxy and not config["Tty"],
        keys=options.detach_keys,
        until=None,
        redraw=True,
    )
    if how.tty and how.stdin:
        from supervisor.cli.terminal import require_terminal

        require_terminal()
    status = how.follow(client, str(view["Id"]))
    if status is None:
        raise Failure(DETACHED)
    return status


def _require_running(state: dict[str, Any]) -> None:
    if not state["Running"]:
        raise Failure("cannot attach to a stopped container, start it first")
    if state["Paused"]:
        raise Failure("cannot attach to a paused container, unpause it first")
    if state["Restarting"]:
        raise Failure("cannot attach to a restarting container, wait until it is running")
