"""`orlop`: finds the command, loads only that, turns its failure into a line and a status."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from io import TextIOWrapper
from typing import TYPE_CHECKING

from supervisor import __version__
from supervisor.cli.context import DEFAULT_ADDRESS, Context
from supervisor.cli.failures import BROKEN_PIPE, FAILED, INTERRUPTED, Failure, Misuse, report
from supervisor.cli.flags import HelpWanted, Parser
from supervisor.errors import OrlopError, ProtocolError

if TYPE_CHECKING:
    from argparse import Namespace

    from supervisor.cli.dial import Tls

COMMANDS = {
    "run": ("run", "Create and run a new container from an image"),
    "exec": ("exec", "Execute a command in a running container"),
    "ps": ("ps", "List containers"),
    "images": ("images", "List images"),
    "daemon": ("daemon", "Run the daemon"),
    "doctor": ("doctor", "Check what this host offers, and how to fix what it lacks"),
    "apply": ("apply", "Make this host run what a file of services, networks and volumes says"),
    "attach": ("attach", "Attach standard input, output and error to a running container"),
    "commit": ("commit", "Create a new image from a container's changes"),
    "context": ("context", "Print what sets DOCKER_HOST, for docker's own commands"),
    "container": ("containers", "Manage containers: ls, inspect, rm, prune and more"),
    "cp": ("cp", "Copy files and folders between a container and this host"),
    "create": ("run", "Create a new container"),
    "diff": ("diff", "Inspect changes to files or folders of a container's filesystem"),
    "events": ("events", "Get real time events from the daemon"),
    "export": ("export", "Export a container's filesystem as a tar archive"),
    "explain": ("explain", "Explain what makes a container look like a machine of its own"),
    "history": ("image_names", "Show the history of an image"),
    "image": ("images", "Manage images: scratch, from, ls, rm, inspect, prune and more"),
    "import": ("image_archives", "Import a tar of a root filesystem to create an image"),
    "info": ("info", "Display system-wide information"),
    "inspect": ("objects", "Return low-level information on containers, images and more"),
    "kill": ("control", "Kill one or more running containers"),
    "layers": ("layers", "Draw the stack of layers of a container or image"),
    "load": ("image_archives", "Load images from a tar archive or stdin"),
    "login": ("registries", "Authenticate to a registry"),
    "logout": ("registries", "Log out from a registry"),
    "logs": ("logs", "Fetch the logs of containers"),
    "network": ("networks", "Manage networks: create, ls, connect, impair and more"),
    "pause": ("control", "Pause all processes within one or more containers"),
    "port": ("port", "List the published ports of a container"),
    "pull": ("registries", "Download an image from a registry"),
    "push": ("registries", "Upload an image to a registry"),
    "rename": ("control", "Rename a container"),
    "restart": ("control", "Restart one or more containers"),
    "rm": ("control", "Remove one or more containers"),
    "rmi": ("images", "Remove one or more images"),
    "save": ("image_archives", "Save images to a tar archive"),
    "search": ("registries", "Search docker.io or a registry for images"),
    "start": ("start", "Start one or more stopped containers"),
    "stats": ("stats", "Display what containers use, once a second"),
    "stop": ("control", "Stop one or more running containers"),
    "system": ("system", "Manage Orlop: df, events, info, prune"),
    "tag": ("image_names", "Give an image another name"),
    "top": ("top", "Display what all containers use, or the processes of one"),
    "unpause": ("control", "Unpause all processes within one or more containers"),
    "update": ("update", "Update the limits of one or more containers"),
    "version": ("info", "Show the version of the client and the daemon"),
    "volume": ("volumes", "Manage volumes: create, ls, inspect, rm, prune"),
    "wait": ("control", "Block until containers stop, then print their exit codes"),
    "whence": ("whence", "Tell which layer or mount a path comes from"),
    "why": ("why", "Tell why a container ended, was started again, or is slow"),
}
"""Command → the module of supervisor.cli.commands that has it, and its one line of help."""


def main(words: Sequence[str] | None = None) -> int:
    """The console script: runs the command line (`sys.argv`, if None); the exit status."""
    _prepare_stdio()
    try:
        status = _dispatch(sys.argv[1:] if words is None else words)
        sys.stdout.flush()
    except HelpWanted as wanted:
        print(wanted.text, end="")
        return 0
    except Failure as failure:
        report(failure)
        return failure.status
    except OrlopError as error:
        report(Failure(error.message))
        return FAILED
    except ProtocolError as error:
        report(Failure(f"the daemon's answer makes no sense: {error}"))
        return FAILED
    except BrokenPipeError:
        # Whoever read our output has left, as after `| head`: end as SIGPIPE would, silently.
        _give_up_stdout()
        return BROKEN_PIPE
    except OSError as error:
        report(Failure(str(error)))
        _give_up_stdout()
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    return status


def _prepare_stdio() -> None:
    # A socket must not get the number of a stream that the shell closed (`<&-`): the lowest
    # free number is what open() gives, so these fill the holes in order.
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for fd, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, os.fdopen(fd, "w", closefd=False))
        elif isinstance(stream, TextIOWrapper):
            # A name with bytes that are no text must not end a listing.
            stream.reconfigure(errors="backslashreplace")


def _give_up_stdout() -> None:
    # Python flushes stdout once more when it ends, and would complain again.
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _dispatch(words: Sequence[str]) -> int:
    parser = Parser(
        "",
        "COMMAND",
        "A Linux container runtime",
        interspersed=False,
        notes=_notes(),
        program="orlop",
    )
    parser.flag(
        "-H",
        "--host",
        default=os.environ.get("ORLOP_HOST"),
        help=f"The daemon's socket (default {DEFAULT_ADDRESS}, or ORLOP_HOST, or DOCKER_HOST)",
    )
    parser.switch("--tls", help="Use TLS; implied by --tlsverify")
    parser.switch("--tlsverify", default=None, help="Use TLS and verify the daemon")
    parser.flag("--tlscacert", kind="file", help="Trust certs signed only by this CA")
    parser.flag("--tlscert", kind="file", help="TLS certificate file of the client")
    parser.flag("--tlskey", kind="file", help="TLS key file of the client")
    parser.switch("-v", "--version", help="Print the version and quit")
    options = parser.parse(words)
    if options.version:
        print(f"Orlop version {__version__}")
        return 0
    if not options.operands:
        raise HelpWanted(parser.format_help())
    name, *rest = options.operands
    command = find(name)
    with Context(options.host, _tls(options)) as context:
        return command(rest, context)


def _tls(options: Namespace) -> Tls | None:
    """The TLS that the flags, or docker's variables, ask for."""
    verify = options.tlsverify
    if verify is None:
        verify = bool(os.environ.get("DOCKER_TLS_VERIFY"))
    if not (verify or options.tls):
        return None
    from supervisor.cli.dial import tls_files

    return tls_files(options.tlscacert, options.tlscert, options.tlskey, verify=verify)


def find(name: str) -> Callable[[Sequence[str], Context], int]:
    """The function of a command; raises Misuse for one that there is not."""
    if name not in COMMANDS:
        from difflib import get_close_matches

        near = get_close_matches(name, COMMANDS, n=1)
        hint = f" (did you mean '{near[0]}'?)" if near else ""
        raise Misuse(f"unknown command: orlop {name}{hint}", "orlop", FAILED)
    module = import_module(f"supervisor.cli.commands.{COMMANDS[name][0]}")
    # A command whose name is a word of Python's has an underscore behind it.
    function: Callable[[Sequence[str], Context], int] | None = getattr(module, name, None)
    return function or getattr(module, f"{name}_")


def _notes() -> str:
    lines = "".join(f"  {name:<10}{summary}\n" for name, (_, summary) in COMMANDS.items())
    return f"Commands:\n{lines}\n'orlop COMMAND --help' tells more."
