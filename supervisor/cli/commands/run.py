"""`orlop run` and `orlop create`."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from supervisor.cli.attached import Following, declare_detach_keys
from supervisor.cli.client import Client, container_path
from supervisor.cli.context import Context
from supervisor.cli.create_body import create_body
from supervisor.cli.create_flags import declare_create
from supervisor.cli.failures import (
    AGENT_FAILED,
    NOT_EXECUTABLE,
    NOT_FOUND,
    DaemonError,
    Failure,
    StreamFailed,
    Unreachable,
)
from supervisor.cli.flags import Parser

_OPERANDS = "IMAGE [COMMAND] [ARG...]"
_NOTES = "With --rootfs DIR there is no IMAGE: the operands are the command."


def create(words: Sequence[str], context: Context) -> int:
    """Create a container and print its id."""
    parser = Parser("create", _OPERANDS, "Create a new container", interspersed=False, notes=_NOTES)
    declare_create(parser)
    options = parser.parse(words)
    body = create_body(options, parser.prog)
    with _CidFile(options.cidfile) as cidfile:
        print(_create(context.client(), options, body, cidfile))
    return 0


def run(words: Sequence[str], context: Context) -> int:
    """Create a container, start it, and stay with it unless -d is given."""
    parser = Parser(
        "run",
        _OPERANDS,
        "Create and run a new container from an image",
        interspersed=False,
        notes=_NOTES,
    )
    declare_create(parser)
    parser.switch("-d", "--detach", help="Run in the background and print the container ID")
    declare_detach_keys(parser)
    parser.switch(
        "--sig-proxy", default=True, help="Proxy received signals to the process (default true)"
    )
    options = parser.parse(words)
    body = create_body(options, parser.prog, detached=options.detach)
    client = context.client()
    if options.detach:
        return _run_detached(client, options, body)
    return _run_attached(client, options, body)


def _run_detached(client: Client, options: Namespace, body: dict[str, Any]) -> int:
    with _blamed_on_agent(), _CidFile(options.cidfile) as cidfile:
        container = _create(client, options, body, cidfile)
        _start(client, container)
    print(container)
    return 0


def _run_attached(client: Client, options: Namespace, body: dict[str, Any]) -> int:
    how = Following(
        tty=options.tty,
        stdin=options.interactive,
        proxy=options.sig_proxy,
        keys=options.detach_keys,
        until="removed" if options.rm else "next-exit",
    )
    if how.tty and how.stdin:
        from supervisor.cli.terminal import require_terminal

        require_terminal()
    with _blamed_on_agent():
        with _CidFile(options.cidfile) as cidfile:
            container = _create(client, options, body, cidfile)
        status = how.follow(client, container, lambda: _start(client, container))
    return 0 if status is None else status


def _create(client: Client, options: Namespace, body: dict[str, Any], cidfile: _CidFile) -> str:
    answer = _created(client, options, body)
    for warning in answer.get("Warnings") or ():
        from supervisor.cli.listing import plain

        print(plain(f"WARNING: {warning}"), file=sys.stderr)
    container = str(answer["Id"])
    cidfile.write(container)
    return container


def _created(client: Client, options: Namespace, body: dict[str, Any]) -> Any:
    """The daemon's answer; the image is pulled first where --pull says so."""
    query = {"name": options.name or None}
    image = str(body.get("Image") or "")
    if image and options.pull == "always":
        _pull(client, options, image)
    try:
        return client.post("/containers/create", query, body)
    except DaemonError as error:
        missing = error.code == 404 and error.reason.startswith("No such image")
        if not (missing and options.pull == "missing" and _has_name(image)):
            raise
    _pull(client, options, image, missing=True)
    return client.post("/containers/create", query, body)


def _pull(client: Client, options: Namespace, image: str, *, missing: bool = False) -> None:
    from supervisor.cli.commands.registries import pull_image
    from supervisor.oci.reference import parse

    ref = parse(image).with_default_tag()
    if missing and not options.quiet:
        print(f"Unable to find image '{ref.familiar}' locally", file=sys.stderr, flush=True)
    pull_image(client, ref, options.platform, quiet=options.quiet, aside=True)


def _has_name(image: str) -> bool:
    """Whether a registry may have it; none has images by their id."""
    from supervisor.oci.reference import is_full_id

    return bool(image) and not is_full_id(image)


def _start(client: Client, container: str) -> None:
    """Start; a command that is not there or cannot be executed has docker's status."""
    try:
        client.post(container_path(container, "start"))
    except DaemonError as error:
        error.status = _start_status(error.reason.lower())
        raise


def _start_status(reason: str) -> int:
    if "executable file not found" in reason or "no such file or directory" in reason:
        return NOT_FOUND
    if "permission denied" in reason or "is a directory" in reason:
        return NOT_EXECUTABLE
    return AGENT_FAILED


@contextmanager
def _blamed_on_agent() -> Iterator[None]:
    """What the daemon refuses before the container runs is 125 for `run`."""
    try:
        yield
    except (DaemonError, StreamFailed, Unreachable) as failure:
        if failure.status not in (NOT_FOUND, NOT_EXECUTABLE):
            failure.status = AGENT_FAILED
        raise


class _CidFile:
    """--cidfile: claimed before anything is created, removed again if nothing was."""

    def __init__(self, path: str | None) -> None:
        self._path = Path(path) if path else None
        self._written = False

    def __enter__(self) -> _CidFile:
        if self._path is not None:
            try:
                self._path.open("x").close()
            except FileExistsError:
                raise Failure(
                    f"container ID file found, make sure the other container isn't running"
                    f" or delete {self._path}",
                    AGENT_FAILED,
                ) from None
            except OSError as error:
                raise Failure(f"{self._path}: {error.strerror}", AGENT_FAILED) from None
        return self

    def write(self, container: str) -> None:
        """Put the id in."""
        if self._path is not None:
            self._path.write_text(container)
            self._written = True

    def __exit__(self, *_: object) -> None:
        if self._path is not None and not self._written:
            self._path.unlink(missing_ok=True)
