"""`orlop container …`: the commands about containers under one name, as docker has them."""

from __future__ import annotations

from collections.abc import Sequence

from supervisor.cli.client import container_path
from supervisor.cli.commands.objects import declare_format, get_known, print_objects
from supervisor.cli.context import Context
from supervisor.cli.flags import Parser, subcommand
from supervisor.cli.main import COMMANDS, find

_TOP = (
    *("attach", "commit", "cp", "create", "diff", "exec", "export", "kill", "logs", "pause"),
    *("port", "rename", "restart", "rm", "run", "start", "stats", "stop", "top", "unpause"),
    *("update", "wait"),
)
"""Those that are commands by themselves, too."""
_HERE = {
    "inspect": "Display detailed information on one or more containers",
    "ls": "List containers",
    "prune": "Remove all stopped containers",
}
_ALIASES = {"list": "ls", "ps": "ls", "remove": "rm"}


def container(words: Sequence[str], context: Context) -> int:
    """The commands below `orlop container`."""
    summaries = {name: COMMANDS[name][1] for name in _TOP if name in COMMANDS} | _HERE
    ordered = dict(sorted(summaries.items()))
    name, rest = subcommand("container", "Manage containers", ordered, words, _ALIASES)
    if name == "inspect":
        return _inspect(rest, context)
    if name == "prune":
        from supervisor.cli.commands.prune import container_prune

        return container_prune(rest, context)
    return find("ps" if name == "ls" else name)(rest, context)


def _inspect(words: Sequence[str], context: Context) -> int:
    summary = _HERE["inspect"]
    parser = Parser("container inspect", "CONTAINER [CONTAINER...]", summary, count=(1, None))
    declare_format(parser)
    options = parser.parse(words)
    client = context.client()
    return print_objects(
        options.operands,
        options.format,
        lambda name: get_known(client, container_path(name, "json")),
    )
