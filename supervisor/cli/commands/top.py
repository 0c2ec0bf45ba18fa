"""`orlop top`."""

from __future__ import annotations

import os
import sys
import time
from argparse import Namespace
from collections.abc import Sequence

from supervisor.cli.client import Client, container_path
from supervisor.cli.context import Context
from supervisor.cli.failures import FAILED, Misuse
from supervisor.cli.flags import Parser
from supervisor.cli.listing import layout, printable
from supervisor.cli.paint import Paint

_LEAST_WIDTH = 20
_SECONDS = 1.0
_NOTES = """\
Without a container: a table of what all running ones use, drawn again each second. Keys: c CPU,
m memory, p waiting, n network, b block I/O, i PIDs, a name; r reverses, / filters, q quits.
With the Python package textual (pip install 'orlop[tui]') also: a click on a heading sorts, Enter
shows one container with its log, and e there runs a command in it.

CPU-W, MEM-W and I/O-W are the part of the last second in which some of a container's processes
waited for that, THR % the part of the periods of its CPU quota that it used up. Network and block
I/O are bytes a second.

Examples:
  orlop top
  orlop top --once --sort memory
  orlop top web -ef"""


def top(words: Sequence[str], context: Context) -> int:
    """Print a container's processes, as ps(1) on the host sees them, or what all containers use."""
    from supervisor.cli.usage import SORTS

    parser = Parser(
        "top",
        "[CONTAINER [ps OPTIONS]]",
        "Display what all containers use, or the processes of one",
        count=(0, None),
        interspersed=False,
        notes=_NOTES,
    )
    parser.switch("--once", help="Without a container: print the table once")
    parser.switch("--plain", help="Without a container: the table alone, as without textual")
    parser.flag(
        "--sort",
        default="cpu",
        parse=lambda text: _one_of(text, SORTS),
        help=f"Without a container: what comes first, one of {', '.join(SORTS)} (default cpu)",
    )
    options = parser.parse(words)
    if not options.operands:
        return _all(context, options)
    if options.once or options.plain or options.sort != "cpu":
        raise Misuse(
            f"'{parser.prog}' has --once, --plain and --sort only without a container",
            parser.prog,
            FAILED,
        )
    name, *ps_options = options.operands
    answer = context.client().get(
        container_path(name, "top"), {"ps_args": " ".join(ps_options) or None}
    )
    lines = [answer["Titles"], *(answer["Processes"] or ())]
    sys.stdout.write(layout([[*map(printable, line)] for line in lines], _LEAST_WIDTH))
    return 0


def _one_of(text: str, allowed: Sequence[str]) -> str:
    if text not in allowed:
        raise ValueError(f"one of {', '.join(allowed)} is expected")
    return text


def _all(context: Context, options: Namespace) -> int:
    client = context.client()
    on_terminal = os.isatty(0) and os.isatty(1) and os.environ.get("TERM") != "dumb"
    if options.once or not on_terminal:
        _print_once(client, options.sort)
        return 0
    from supervisor.cli import tui

    if not options.plain and tui.installed():
        _application(context, options.sort)
        return 0
    from supervisor.cli.live_top import View, run

    run(
        lambda history: client.get("/orlop/usage", {"history": history}),
        View(sort=options.sort),
        Paint(),
    )
    return 0


def _application(context: Context, sort: str) -> None:
    from supervisor.cli.commands.exec import exec as run_inside
    from supervisor.cli.tui.app import run
    from supervisor.cli.tui.feed import OverApi

    def inside(name: str, command: list[str]) -> int:
        return run_inside(["-it", name, *command], context)

    run(OverApi(context.client(), inside), sort)


def _print_once(client: Client, sort: str) -> None:
    from supervisor.cli.terminal import STDOUT, size
    from supervisor.cli.usage import Watched, ordered
    from supervisor.cli.usage_table import table

    watched = Watched()
    watched.look(client.get("/orlop/usage"))
    time.sleep(_SECONDS)  # what waits, and is throttled, is seen between two looks
    answer = client.get("/orlop/usage")
    rows = ordered(watched.look(answer), sort)
    room = size() if os.isatty(STDOUT) else None
    lines = table(
        rows,
        room[1] if room else None,
        Paint(),
        with_bars=False,
        machine_memory=answer["memory"],
    )
    sys.stdout.writelines(f"{line.rstrip()}\n" for line in lines)
