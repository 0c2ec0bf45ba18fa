"""`orlop diff`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from supervisor.cli.client import container_path
from supervisor.cli.context import Context
from supervisor.cli.flags import Parser
from supervisor.cli.listing import printable

_LETTERS = "CAD"  # as the API numbers them: changed, added, deleted


def diff(words: Sequence[str], context: Context) -> int:
    """Print what differs between a container and its image."""
    parser = Parser(
        "diff",
        "CONTAINER",
        "Inspect changes to files or directories on a container's filesystem",
        count=(1, 1),
    )
    name = parser.parse(words).operands[0]
    changes = context.client().get(container_path(name, "changes")) or ()
    path = printable if sys.stdout.isatty() else str
    sys.stdout.writelines(
        f"{_LETTERS[change['Kind']]} {path(change['Path'])}\n" for change in changes
    )
    return 0
