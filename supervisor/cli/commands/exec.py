"""`orlop exec`."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import chain
from typing import Any

from supervisor.cli.attached import declare_detach_keys, detach_bytes
from supervisor.cli.client import Client, container_path
from supervisor.cli.commands.attach import DETACHED
from supervisor.cli.context import Context
from supervisor.cli.failures import Failure
from supervisor.cli.flags import Parser
from supervisor.cli.session import Session
from supervisor.cli.values import environment, environment_file


def exec(words: Sequence[str], context: Context) -> int:  # noqa: A001 - the command's name
    """Run a command in a running container; its exit status."""
    options = _parser().parse(words)
    name, *command = options.operands
    interactive = options.interactive and not options.detach
    if interactive and options.tty:
        from supervisor.cli.terminal import require_terminal

        require_terminal()
    client = context.client()
    body = {
        "User": options.user or "",
        "Privileged": options.privileged,
        "Tty": options.tty,
        "AttachStdin": interactive,
        "AttachStdout": not options.detach,
        "AttachStderr": not options.detach,
        "Detach": options.detach,
        "DetachKeys": options.detach_keys or "",
        "Env": [*chain.from_iterable(options.env_file), *options.env],
        "WorkingDir": options.workdir or "",
        "Cmd": command,
    }
    session = f"/exec/{client.post(container_path(name, 'exec'), body=body)['Id']}"
    if options.detach:
        client.post(f"{session}/start", body={"Detach": True, "Tty": options.tty})
        return 0
    return _follow(client, session, options)


def _parser() -> Parser:
    parser = Parser(
        "exec",
        "CONTAINER COMMAND [ARG...]",
        "Execute a command in a running container",
        count=(2, None),
        interspersed=False,
    )
    parser.switch("-d", "--detach", help="Run the command in the background")
    declare_detach_keys(parser)
    flag = parser.flag
    flag(
        "-e",
        "--env",
        kind="list",
        many=True,
        parse=environment,
        help="Set an environment variable (NAME=value, or NAME for its value here)",
    )
    flag(
        "--env-file",
        kind="list",
        many=True,
        parse=environment_file,
        help="Read in a file of environment variables",
    )
    parser.switch("-i", "--interactive", help="Keep STDIN open even if not attached")
    parser.switch("--privileged", help="Give extended privileges to the command")
    parser.switch("-t", "--tty", help="Allocate a pseudo-TTY")
    flag("-u", "--user", help="Username or UID (format: <name|uid>[:<group|gid>])")
    flag("-w", "--workdir", kind="path", help="Working directory inside the container")
    return parser


def _follow(client: Client, path: str, options: Namespace) -> int:
    with ExitStack() as ending:
        detached = _attach(client, path, options, ending).run()
    if detached:
        raise Failure(DETACHED)
    # The status is final once the stream has ended.
    return int(client.get(f"{path}/json")["ExitCode"] or 0)


def _attach(client: Client, path: str, options: Namespace, ending: ExitStack) -> Session:
    body: dict[str, Any] = {"Detach": False, "Tty": options.tty}
    if not options.tty:
        stream = client.hijack(f"{path}/start", body=body)
        return Session(stream, stdin=options.interactive)
    from supervisor.cli.terminal import Window, raw_mode, size

    body["ConsoleSize"] = size() or (0, 0)
    stream = client.hijack(f"{path}/start", body=body)
    ending.callback(stream.socket.close)
    window = Window(client.address, path)
    ending.enter_context(window.followed())
    window.tell()
    if not options.interactive:
        return Session(stream, stdin=False)
    ending.enter_context(raw_mode())
    return Session(stream, stdin=True, keys=detach_bytes(options.detach_keys))
