"""`orlop logs`."""

from __future__ import annotations

import time
from collections.abc import Sequence

from supervisor.cli.client import container_path, is_framed
from supervisor.cli.context import Context
from supervisor.cli.flags import Parser
from supervisor.cli.session import Output
from supervisor.cli.timestamps import query_time


def logs(words: Sequence[str], context: Context) -> int:
    """Print a container's output, and what is added to it with -f."""
    parser = Parser("logs", "CONTAINER", "Fetch the logs of a container", count=(1, 1))
    parser.switch("-f", "--follow", help="Follow log output")
    now = time.time_ns()
    moment = 'a time ("2026-11-21T13:23:37Z", Unix seconds) or how long ago ("42m")'
    parser.flag("--since", parse=lambda text: query_time(text, now), help=f"Logs since {moment}")
    parser.flag("--until", parse=lambda text: query_time(text, now), help=f"Logs before {moment}")
    parser.flag(
        "-n",
        "--tail",
        default="all",
        help='Number of lines to show from the end of the logs (default "all")',
    )
    parser.switch("-t", "--timestamps", help="Show timestamps")
    options = parser.parse(words)
    with context.client().begin(
        "GET",
        container_path(options.operands[0], "logs"),
        {
            "follow": options.follow,
            "since": options.since,
            "until": options.until,
            "stdout": True,
            "stderr": True,
            "tail": options.tail,
            "timestamps": options.timestamps,
        },
    ) as call:
        output = Output(framed=is_framed(call.response()))
        for piece in call.pieces():
            output.feed(piece)
    return 0
