"""`orlop start`."""

from __future__ import annotations

from collections.abc import Sequence

from supervisor.cli.attached import Following, declare_detach_keys
from supervisor.cli.client import Client, container_path
from supervisor.cli.context import Context, for_each
from supervisor.cli.failures import Failure
from supervisor.cli.flags import Parser


def start(words: Sequence[str], context: Context) -> int:
    """Start containers, or one of them and stay with it (-a, -i)."""
    parser = Parser(
        "start",
        "CONTAINER [CONTAINER...]",
        "Start one or more stopped containers",
        count=(1, None),
    )
    parser.switch("-a", "--attach", help="Attach standard output and error, and forward signals")
    parser.switch("-i", "--interactive", help="Attach the container's standard input, too")
    declare_detach_keys(parser)
    options = parser.parse(words)
    client = context.client()
    names: list[str] = options.operands
    if not options.attach and not options.interactive:
        return for_each(names, lambda name: _start(client, name))
    if len(names) > 1:
        raise Failure("you cannot start and attach multiple containers at once")
    return _follow(client, names[0], stdin=options.interactive, keys=options.detach_keys)


def _start(client: Client, name: str) -> None:
    client.post(container_path(name, "start"))
    print(name, flush=True)


def _follow(client: Client, name: str, *, stdin: bool, keys: str | None) -> int:
    view = client.get(container_path(name, "json"))
    config, container = view["Config"], str(view["Id"])
    how = Following(
        tty=config["Tty"],
        stdin=stdin and config["OpenStdin"],
        proxy=not config["Tty"],
        keys=keys,
        until="removed" if view["HostConfig"]["AutoRemove"] else "next-exit",
    )
    if how.tty and how.stdin:
        from supervisor.cli.terminal import require_terminal

        require_terminal()
    status = how.follow(client, container, lambda: client.post(container_path(container, "start")))
    return 0 if status is None else status
