"""`orlop inspect`, and what the other inspecting commands share with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from supervisor.cli.client import Client, container_path, image_path, network_path, volume_path
from supervisor.cli.context import Context
from supervisor.cli.failures import FAILED, DaemonError, Failure, report
from supervisor.cli.flags import Parser
from supervisor.cli.listing import shown
from supervisor.cli.template import Template, compact, readable

_KINDS: dict[str, Callable[[str, str], str]] = {
    "container": container_path,
    "image": image_path,
    "network": lambda name, _action: network_path(name),
    "volume": volume_path,
}


def inspect(words: Sequence[str], context: Context) -> int:
    """Print what the daemon knows of containers, images, networks and volumes, as a JSON array."""
    parser = Parser(
        "inspect",
        "NAME|ID [NAME|ID...]",
        "Return low-level information on containers, images, networks and volumes",
        count=(1, None),
    )
    declare_format(parser)
    parser.flag("--type", parse=_kind, help=f"Only inspect objects of the type {_names()}")
    options = parser.parse(words)
    kinds = [options.type] if options.type else list(_KINDS)
    client = context.client()
    return print_objects(options.operands, options.format, lambda name: _find(client, name, kinds))


def declare_format(parser: Parser) -> None:
    """--format of the inspecting commands."""
    parser.flag(
        "-f",
        "--format",
        help="'json' or a Go template ('{{.State.Status}}', '{{json .Mounts}}',"
        " '{{range .Args}}{{println .}}{{end}}') instead of the array",
    )


def print_objects(
    names: Sequence[str], shape: str | None, find: Callable[[str], dict[str, Any]]
) -> int:
    """Print those that are found, then tell of the others; the exit status."""
    render = _renderer(shape)
    found: list[dict[str, Any]] = []
    failures: list[Failure] = []
    for name in names:
        try:
            found.append(find(name))
        except DaemonError as error:
            failures.append(error if error.code != 404 else Failure(f"No such object: {name}"))
    if render is None:
        print(readable(json.dumps(found, indent=4, ensure_ascii=False)))
    else:
        for view in found:
            print(shown(render(view)))
    for failure in failures:
        report(failure)
    return FAILED if failures else 0


def get_known(client: Client, path: str) -> dict[str, Any]:
    """An object of one kind; the error has the daemon's own words, not those for any kind.

    "No such container: NAME", say, where `print_objects` would put "No such object: NAME".
    """
    try:
        view: dict[str, Any] = client.get(path)
    except DaemonError as error:
        raise DaemonError(FAILED, error.reason) from None
    return view


def _find(client: Client, name: str, kinds: Sequence[str]) -> dict[str, Any]:
    for kind in kinds:
        try:
            view: dict[str, Any] = client.get(_KINDS[kind](name, "json"))
            return view
        except DaemonError as error:
            if error.code != 404 or kind == kinds[-1]:
                raise
    raise AssertionError("there is at least one kind")


def _renderer(shape: str | None) -> Callable[[Any], str] | None:
    if not shape:
        return None
    return compact if shape == "json" else Template(shape).render


def _kind(text: str) -> str:
    if text not in _KINDS:
        raise ValueError(f"{_names()} is expected")
    return text


def _names() -> str:
    *others, last = _KINDS
    return f"{', '.join(others)} or {last}"
