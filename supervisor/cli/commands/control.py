"""Requests about containers by name: stop, kill, restart, pause, unpause, rm, wait, rename."""

from __future__ import annotations

from collections.abc import Sequence

from supervisor.cli.attached import status_of
from supervisor.cli.client import Call, Query, container_path
from supervisor.cli.context import Context, together
from supervisor.cli.failures import DaemonError, report
from supervisor.cli.flags import Parser, integer

_CONTAINERS = "CONTAINER [CONTAINER...]"


def stop(words: Sequence[str], context: Context) -> int:
    """Signal, grace, kill."""
    parser = _parser("stop", "Stop one or more running containers")
    _declare_stopping(parser)
    options = parser.parse(words)
    return _post(context, options.operands, "stop", _stopping(options.timeout, options.signal))


def restart(words: Sequence[str], context: Context) -> int:
    """Stop and start."""
    parser = _parser("restart", "Restart one or more containers")
    _declare_stopping(parser)
    options = parser.parse(words)
    return _post(context, options.operands, "restart", _stopping(options.timeout, options.signal))


def kill(words: Sequence[str], context: Context) -> int:
    """Send a signal."""
    parser = _parser("kill", "Kill one or more running containers")
    parser.flag("-s", "--signal", help="Signal to send to the container (default KILL)")
    options = parser.parse(words)
    return _post(context, options.operands, "kill", {"signal": options.signal})


def pause(words: Sequence[str], context: Context) -> int:
    """Freeze."""
    parser = _parser("pause", "Pause all processes within one or more containers")
    return _post(context, parser.parse(words).operands, "pause")


def unpause(words: Sequence[str], context: Context) -> int:
    """Thaw."""
    parser = _parser("unpause", "Unpause all processes within one or more containers")
    return _post(context, parser.parse(words).operands, "unpause")


def rm(words: Sequence[str], context: Context) -> int:
    """Remove; with -f what is not there is told, and no failure."""
    parser = _parser("rm", "Remove one or more containers")
    parser.switch("-f", "--force", help="Force the removal of a running container (uses SIGKILL)")
    parser.switch("-v", "--volumes", help="Remove anonymous volumes of the container")
    options = parser.parse(words)
    client = context.client()
    query = {"force": options.force, "v": options.volumes}

    def begin(name: str) -> Call:
        return client.begin("DELETE", container_path(name), query)

    def finish(name: str, call: Call) -> None:
        try:
            call.result()
        except DaemonError as error:
            if not options.force or error.code != 404:
                raise
            report(error)
        else:
            print(name)

    return together(options.operands, begin, finish)


def wait(words: Sequence[str], context: Context) -> int:
    """Print the exit code of each, in the order given."""
    parser = _parser("wait", "Block until containers stop, then print their exit codes")
    names = parser.parse(words).operands
    client = context.client()

    def begin(name: str) -> Call:
        return client.begin("POST", container_path(name, "wait"))

    def finish(_name: str, call: Call) -> None:
        print(status_of(call.result()), flush=True)

    return together(names, begin, finish)


def rename(words: Sequence[str], context: Context) -> int:
    """Give a container another name."""
    parser = Parser("rename", "CONTAINER NEW_NAME", "Rename a container", count=(2, 2))
    old, new = parser.parse(words).operands
    context.client().post(container_path(old, "rename"), {"name": new})
    return 0


def _parser(name: str, summary: str) -> Parser:
    return Parser(name, _CONTAINERS, summary, count=(1, None))


def _declare_stopping(parser: Parser) -> None:
    parser.flag("-s", "--signal", help="Signal to send to the container")
    parser.flag(
        "-t",
        "--timeout",
        "--time",
        kind="int",
        parse=integer,
        help="Seconds to wait before killing the container (-1: for ever)",
    )


def _stopping(timeout: int | None, signal: str | None) -> Query:
    return {"t": timeout, "signal": signal}


def _post(context: Context, names: list[str], action: str, query: Query | None = None) -> int:
    client = context.client()

    def begin(name: str) -> Call:
        return client.begin("POST", container_path(name, action), query)

    def finish(name: str, call: Call) -> None:
        call.result()
        print(name, flush=True)

    return together(names, begin, finish)
