"""`orlop top`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from supervisor.cli.client import container_path
from supervisor.cli.context import Context
from supervisor.cli.flags import Parser
from supervisor.cli.listing import layout

_LEAST_WIDTH = 20


def top(words: Sequence[str], context: Context) -> int:
    """Print a container's processes, as ps(1) on the host sees them."""
    parser = Parser(
        "top",
        "CONTAINER [ps OPTIONS]",
        "Display the running processes of a container",
        count=(1, None),
        interspersed=False,
    )
    name, *ps_options = parser.parse(words).operands
    answer = context.client().get(
        container_path(name, "top"), {"ps_args": " ".join(ps_options) or None}
    )
    lines = [answer["Titles"], *(answer["Processes"] or ())]
    sys.stdout.write(layout(lines, _LEAST_WIDTH))
    return 0
