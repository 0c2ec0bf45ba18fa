"""`orlop update`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from supervisor.cli.client import container_path
from supervisor.cli.context import Context, for_each
from supervisor.cli.create_body import limits_body
from supervisor.cli.create_flags import declare_limits
from supervisor.cli.failures import FAILED, Misuse
from supervisor.cli.flags import Parser
from supervisor.cli.listing import plain


def update(words: Sequence[str], context: Context) -> int:
    """Change limits, of running containers at once."""
    parser = Parser(
        "update",
        "CONTAINER [CONTAINER...]",
        "Update the limits of one or more containers",
        count=(1, None),
    )
    declare_limits(parser)
    options = parser.parse(words)
    body = limits_body(options)
    if not body:
        raise Misuse(
            "you must provide one or more flags when using this command", parser.prog, FAILED
        )
    client = context.client()

    def change(name: str) -> None:
        answer = client.post(container_path(name, "update"), body=body) or {}
        for warning in answer.get("Warnings") or ():
            print(plain(f"WARNING: {warning}"), file=sys.stderr)
        print(name)

    return for_each(options.operands, change)
