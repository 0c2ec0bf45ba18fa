"""`orlop logs`."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Sequence

from supervisor.cli.client import Call, Client, Query, container_path, filters_json, is_framed
from supervisor.cli.context import Context
from supervisor.cli.failures import FAILED, Failure, Misuse, Unreachable, report
from supervisor.cli.flags import Parser
from supervisor.cli.session import Output
from supervisor.cli.timestamps import query_time

_NOTES = """\
Of several containers each line begins with its container's name; without --follow the lines of all
are in order of time.

Examples:
  orlop logs -f web
  orlop logs -f --tail 20 web db cache
  orlop logs --since 10m --label com.docker.compose.project=shop"""


def logs(words: Sequence[str], context: Context) -> int:
    """Print containers' output, and what is added to it with -f."""
    parser = Parser(
        "logs", "[CONTAINER...]", "Fetch the logs of containers", count=(0, None), notes=_NOTES
    )
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
    parser.switch("-a", "--all", help="Logs of all containers, running or not")
    parser.flag(
        "--label",
        many=True,
        help="Logs of all containers with this label (KEY or KEY=VALUE; of several, with all)",
    )
    parser.switch("--no-prefix", help="Of several containers, print lines without their names")
    parser.switch("--no-color", help="Names are in colours on a terminal, unless NO_COLOR is set")
    options = parser.parse(words)
    ways = [bool(options.operands), options.all, bool(options.label)]
    if sum(ways) != 1:
        wrong = "takes one of" if any(ways) else "requires"
        raise Misuse(f"'{parser.prog}' {wrong} CONTAINER..., --label or --all", parser.prog, FAILED)
    client = context.client()
    if len(options.operands) != 1:
        return _several(client, options)
    with _begin(client, options.operands[0], options, times=options.timestamps) as call:
        output = Output(framed=is_framed(call.response()))
        for piece in call.pieces():
            output.feed(piece)
    return 0


def _several(client: Client, options: Namespace) -> int:
    from supervisor.cli.log_lines import Printer, follow, merged

    found = _named(client, options.operands) if options.operands else _listed(client, options)
    printer = Printer(
        list(found.values()),
        prefix=not options.no_prefix,
        colour=not options.no_color,
        times=options.timestamps,
    )
    stamped = options.timestamps or not options.follow  # what is put in order needs times
    calls = {name: _begin(client, id, options, times=stamped) for id, name in found.items()}
    if not options.follow:
        merged(calls, printer)
        return 0
    failures = follow(calls, printer, stamped=stamped)
    for failure in failures:
        if isinstance(failure, Unreachable):
            raise failure  # for all of them: said once
        report(failure)
    return FAILED if failures else 0


def _begin(client: Client, ref: str, options: Namespace, *, times: bool) -> Call:
    query: Query = {
        "follow": options.follow,
        "since": options.since,
        "until": options.until,
        "stdout": True,
        "stderr": True,
        "tail": options.tail,
        "timestamps": times,
    }
    return client.begin("GET", container_path(ref, "logs"), query)


def _named(client: Client, refs: Sequence[str]) -> dict[str, str]:
    """Names by id, in the order given; what is named twice is there once."""
    views = (client.get(container_path(ref, "json")) for ref in refs)
    return {view["Id"]: view["Name"].removeprefix("/") for view in views}


def _listed(client: Client, options: Namespace) -> dict[str, str]:
    filters = filters_json(("label", text) for text in options.label)
    listed = client.get("/containers/json", {"all": True, "filters": filters})
    names = {one["Id"]: one["Names"][0].removeprefix("/") for one in listed}
    if not names:
        wanted = " and ".join(options.label)
        raise Failure(f"no container has the label {wanted}" if wanted else "there is no container")
    return dict(sorted(names.items(), key=lambda one: one[1]))
