"""`orlop export`."""

from __future__ import annotations

from collections.abc import Sequence

from supervisor.cli.client import container_path
from supervisor.cli.context import Context
from supervisor.cli.flags import Parser
from supervisor.cli.output_file import check_output, write_output


def export(words: Sequence[str], context: Context) -> int:
    """Write a container's root filesystem as a tar."""
    parser = Parser(
        "export",
        "CONTAINER",
        "Export a container's filesystem as a tar archive",
        count=(1, 1),
    )
    parser.flag("-o", "--output", help="Write to a file, instead of stdout")
    options = parser.parse(words)
    check_output(options.output, "export")
    with context.client().begin("GET", container_path(options.operands[0], "export")) as call:
        call.response()  # an error leaves what is in the file alone
        write_output(options.output, call.pieces())
    return 0
