"""`orlop commit`."""

from __future__ import annotations

from collections.abc import Sequence

from supervisor.cli.context import Context
from supervisor.cli.flags import Parser, switch
from supervisor.oci.reference import parse


def commit(words: Sequence[str], context: Context) -> int:
    """Make an image of what a container has written."""
    parser = Parser(
        "commit",
        "CONTAINER [REPOSITORY[:TAG]]",
        "Create a new image from a container's changes",
        count=(1, 2),
    )
    parser.flag("-a", "--author", help='Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")')
    parser.flag(
        "-c",
        "--change",
        kind="list",
        many=True,
        help="Apply a Dockerfile instruction to the image (CMD, ENV, LABEL, USER, …)",
    )
    parser.flag("-m", "--message", help="Commit message")
    parser.flag(
        "-p",
        "--pause",
        kind="bool",
        parse=switch,
        default=True,
        help="Pause the container during commit (default true)",
    )
    options = parser.parse(words)
    container, *repository = options.operands
    name = parse(repository[0]) if repository else None
    query = {
        "container": container,
        "repo": f"{name.domain}/{name.path}" if name else None,
        "tag": name.tag or None if name else None,
        "author": options.author or None,
        "comment": options.message or None,
        "changes": options.change,
        "pause": None if options.pause else "0",
    }
    print(context.client().post("/commit", query)["Id"])
    return 0
