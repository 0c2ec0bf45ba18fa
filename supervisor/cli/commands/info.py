"""`orlop info` and `orlop version`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from supervisor import __version__
from supervisor.cli.client import API
from supervisor.cli.context import Context
from supervisor.cli.flags import Parser
from supervisor.cli.listing import shown
from supervisor.spec.units import format_size

_LINES = (
    ("Containers", "Containers"),
    (" Running", "ContainersRunning"),
    (" Paused", "ContainersPaused"),
    (" Stopped", "ContainersStopped"),
    ("Images", "Images"),
    ("Server Version", "ServerVersion"),
    ("Storage Driver", "Driver"),
    ("Logging Driver", "LoggingDriver"),
    ("Cgroup Driver", "CgroupDriver"),
    ("Cgroup Version", "CgroupVersion"),
    ("Kernel Version", "KernelVersion"),
    ("Operating System", "OperatingSystem"),
    ("OSType", "OSType"),
    ("Architecture", "Architecture"),
    ("CPUs", "NCPU"),
    ("Total Memory", "MemTotal"),
    ("Name", "Name"),
    ("ID", "ID"),
    ("Data Root Dir", "DockerRootDir"),
)


def info(words: Sequence[str], context: Context) -> int:
    """What the daemon is and has."""
    parser = Parser("info", "", "Display system-wide information", count=(0, 0))
    shape = _format(parser, words)
    view = context.client().get("/info")
    if shape:
        return _render(shape, view)
    for title, field in _LINES:
        if field in view:
            print(shown(f"{title}: {_text(field, view[field])}"))
    for warning in view.get("Warnings") or ():
        print(shown(f"WARNING: {warning}"))
    return 0


def version(words: Sequence[str], context: Context) -> int:
    """The client's version, and the daemon's where there is one."""
    parser = Parser("version", "", "Show the version of the client and the daemon", count=(0, 0))
    shape = _format(parser, words)
    client = {"Version": __version__, "ApiVersion": API.removeprefix("/v"), "Arch": _machine()}
    if shape:
        return _render(shape, {"Client": client, "Server": context.client().get("/version")})
    _print_part("Client", client)
    server = context.client().get("/version")
    print()
    _print_part("Server", server)
    return 0


def _format(parser: Parser, words: Sequence[str]) -> str | None:
    parser.flag("-f", "--format", help="'json' or a Go template ('{{.Field.Sub}}')")
    shape: str | None = parser.parse(words).format
    return shape


def _render(shape: str, view: Any) -> int:
    from supervisor.cli.template import Template, compact

    print(shown(compact(view) if shape == "json" else Template(shape).render(view)))
    return 0


def _print_part(title: str, part: dict[str, Any]) -> None:
    print(f"{title}:")
    for name, field in (
        ("Version", "Version"),
        ("API version", "ApiVersion"),
        ("Minimum API version", "MinAPIVersion"),
        ("OS", "Os"),
        ("Architecture", "Arch"),
        ("Kernel", "KernelVersion"),
        ("Built", "BuildTime"),
    ):
        if part.get(field):
            print(f" {name + ':':<21}{part[field]}")


def _text(field: str, value: Any) -> str:
    return format_size(value, binary=True) if field == "MemTotal" else str(value)


def _machine() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
