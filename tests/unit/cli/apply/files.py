"""Texts of files, read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from supervisor.cli.apply.project import Findings, Source, read
from supervisor.cli.apply.wanted import Project, Service

FOLDER = Path("/srv/shop")


def findings(
    text: str, variables: Mapping[str, str] | None = None, folder: Path = FOLDER, project: str = ""
) -> Findings:
    """What comes of a file in `folder`."""
    return read(
        Source(
            text=text, folder=folder, variables=variables or {}, project=project, fallback="shop"
        )
    )


def project_of(text: str, **options: Any) -> Project:
    """The project of a file without an error."""
    found = findings(text, **options)
    assert found.problems == ()
    assert found.project is not None
    return found.project


def service_of(keys: str, more: str = "", **options: Any) -> Service:
    """The service `web` with an image and `keys`, lines of YAML."""
    lines = "".join(f"    {line}\n" for line in ["image: box", *keys.splitlines()])
    project = project_of(f"services:\n  db: {{image: box}}\n  web:\n{lines}{more}", **options)
    return next(service for service in project.services if service.name == "web")


def config_of(keys: str, more: str = "", **options: Any) -> dict[str, Any]:
    """The create request of that, without what every service has."""
    config = dict(service_of(keys, more, **options).config)
    assert config.pop("Image") == "box"
    host = config.pop("HostConfig")
    if host.get("NetworkMode") == "shop_default":
        del host["NetworkMode"]
        assert config.pop("NetworkingConfig") == {
            "EndpointsConfig": {"shop_default": {"Aliases": ["web"]}}
        }
    return {**config, **host}


def said_of(text: str, **options: Any) -> list[str]:
    """LINE:COLUMN: what is wrong, of each problem."""
    found = findings(text, **options)
    assert (found.project is None) == bool(found.problems)
    return [f"{place.line}:{place.column}: {said}" for place, said in found.problems]


def wrong(keys: str, more: str = "") -> str:
    """The one problem of a service `web` with an image (in line 4) and `keys`."""
    lines = "".join(f"    {line}\n" for line in ["image: box", *keys.splitlines()])
    (said,) = said_of(f"services:\n  db: {{image: box}}\n  web:\n{lines}{more}")
    return said
