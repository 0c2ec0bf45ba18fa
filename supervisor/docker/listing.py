"""GET /containers/json: which containers, and one summary of each in docker's words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from supervisor.docker.create import command
from supervisor.docker.filters import Filters
from supervisor.docker.inspect import mounts_json
from supervisor.docker.network_json import endpoints_json
from supervisor.docker.ports import filter_ports, port_rows
from supervisor.docker.views import ContainerView
from supervisor.lifecycle import filters as lifecycle_filters
from supervisor.lifecycle.filters import ContainerSummary
from supervisor.lifecycle.health import NONE, STARTING
from supervisor.spec.networks import HOST
from supervisor.spec.units import human_duration


def select(
    views: Sequence[ContainerView], raw: Filters, *, everything: bool, limit: int
) -> list[ContainerView]:
    """Which of `views` (newest first) the list shows; InvalidArgument for unknown filters.

    Without `everything`, a limit or a filter about it, only containers that run.
    """
    shown = list(views)
    if raw:
        summaries = [filter_summary(view) for view in views]
        filters = lifecycle_filters.parse(raw, summaries)
        shown = [
            view
            for view, summary in zip(views, summaries, strict=True)
            if lifecycle_filters.matches(summary, filters)
        ]
    if not (everything or limit > 0 or lifecycle_filters.shows_stopped(raw)):
        shown = [view for view in shown if view.running]
    return shown[:limit] if limit > 0 else shown


def filter_summary(view: ContainerView) -> ContainerSummary:
    """What filters look at."""
    return ContainerSummary(
        id=view.id,
        name=view.name,
        status=view.status,
        created_ns=view.created_ns,
        labels=view.labels,
        exit_code=view.exit_code,
        started=bool(view.started_ns),
        image=view.image,
        image_id=view.image_id,
        volumes=frozenset(
            text for p in view.mounts for text in (p.name, p.source, p.destination) if text
        ),
        networks=frozenset(
            text for e in view.endpoints for text in (e.network_name, e.network_id) if text
        )
        or frozenset({view.network_mode}),
        health=view.health.status if view.health else NONE,
        published=filter_ports(view.body.host_config.port_bindings),
        exposed=filter_ports(view.body.exposed_ports),
    )


def summary_row(view: ContainerView, now_ns: int) -> msgspec.Raw:
    """`summary_json`, encoded. All but its Status is encoded once for a view."""
    row = view.made.get("row")
    if row is None:
        row = view.made["row"] = msgspec.json.encode(_summary(view))[:-1] + b',"Status":'
    return msgspec.Raw(row + msgspec.json.encode(status_text(view, now_ns)) + b"}")


def summary_json(view: ContainerView, now_ns: int) -> dict[str, Any]:
    """One row of `docker ps`; `now_ns` is the wall clock."""
    return _summary(view) | {"Status": status_text(view, now_ns)}


def _summary(view: ContainerView) -> dict[str, Any]:
    own = bool(view.sandbox_id) and view.running and view.network_mode != HOST
    return {
        "Id": view.id,
        "Names": (f"/{view.name}",),
        "Image": view.image or view.image_id,
        "ImageID": view.image_id,
        "Command": command_text(command(view.body)),
        "Created": view.created_ns // 1_000_000_000,
        "Ports": port_rows(view.ports, view.body.exposed_ports) if own else (),
        "Labels": view.labels,
        "State": view.status,
        "HostConfig": {"NetworkMode": view.network_mode},
        "NetworkSettings": {"Networks": endpoints_json(view.endpoints, view.network_mode)},
        "Mounts": mounts_json(view.mounts),
    }


def status_text(view: ContainerView, now_ns: int) -> str:
    """Docker's Status: "Up 3 minutes (Paused)", "Exited (137) 2 hours ago", …"""
    if view.status in ("running", "paused"):
        up = human_duration(max(0, now_ns - view.started_ns))
        return f"Up {up}{_health(view) if view.status == 'running' else ' (Paused)'}"
    ended = human_duration(max(0, now_ns - view.finished_ns))
    match view.status:
        case "restarting":
            return f"Restarting ({view.exit_code}) {ended} ago"
        case "removing":
            return "Removal In Progress"
        case "dead":
            return "Dead"
    if view.status == "created":
        return "Created"
    return f"Exited ({view.exit_code}) {ended} ago"


def _health(view: ContainerView) -> str:
    if view.health is None:
        return ""
    status = view.health.status
    return f" (health: {status})" if status == STARTING else f" ({status})"


def command_text(words: tuple[str, ...]) -> str:
    """The command as one line; arguments with spaces quoted, as docker does."""
    return " ".join([*words[:1], *(f"'{w}'" if " " in w else w for w in words[1:])])
