"""`orlop container prune` and `orlop system prune`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from supervisor.cli.client import Client, filters_json
from supervisor.cli.context import Context
from supervisor.cli.failures import DaemonError, Failure
from supervisor.cli.flags import Parser
from supervisor.spec.units import format_size

Filters = Sequence[tuple[str, str]]

_NO_NETWORKS = (501, 503)
"""What a daemon answers that has no networks: none of them are unused."""


def container_prune(words: Sequence[str], context: Context) -> int:
    """Remove all containers that do not run."""
    parser = Parser("container prune", "", "Remove all stopped containers", count=(0, 0))
    parser.filters(
        "--filter", help="Remove only containers with this (until=24h, label=x, label!=x)"
    )
    parser.switch("-f", "--force", help="Do not prompt for confirmation")
    options = parser.parse(words)
    if not options.force:
        from supervisor.cli.confirm import confirmed

        if not confirmed("This will remove all stopped containers."):
            return 0
    print(f"Total reclaimed space: {_size(_containers(context.client(), options.filter))}")
    return 0


def system_prune(words: Sequence[str], context: Context) -> int:
    """Remove containers, networks, images and, if asked, volumes that nothing uses."""
    parser = Parser("system prune", "", "Remove unused data", count=(0, 0))
    parser.switch("-a", "--all", help="Remove all unused images not just dangling ones")
    parser.filters("--filter", help="Remove only what has this (until=24h, label=x, label!=x)")
    parser.switch("-f", "--force", help="Do not prompt for confirmation")
    parser.switch("--volumes", help="Prune anonymous volumes")
    options = parser.parse(words)
    if options.volumes and any(name == "until" for name, _ in options.filter):
        raise Failure('the "until" filter is not supported with "--volumes"')
    if not options.force:
        from supervisor.cli.confirm import confirmed

        if not confirmed(_warning(options.filter, images=options.all, volumes=options.volumes)):
            return 0
    client, filters = context.client(), options.filter
    reclaimed = _containers(client, filters)
    _networks(client, filters)
    if options.volumes:
        reclaimed += _volumes(client, filters)
    reclaimed += _images(client, [*filters, ("dangling", "false" if options.all else "true")])
    print(f"Total reclaimed space: {_size(reclaimed)}")
    return 0


def _warning(filters: Filters, *, images: bool, volumes: bool) -> str:
    unused = "without at least one container associated to them"
    what = [
        "all stopped containers",
        "all networks not used by at least one container",
        *(["all anonymous volumes not used by at least one container"] if volumes else []),
        f"all images {unused}" if images else "all dangling images",
    ]
    lines = ["This will remove:", *(f"  - {line}" for line in what)]
    if filters:
        lines += ["", "  Items to be pruned will be filtered with:"]
        lines += [f"  - {name}={value}" for name, value in sorted(filters)]
    return "\n".join([*lines, ""])


def _containers(client: Client, filters: Filters) -> int:
    return _prune(client, "containers", filters, "Deleted Containers:", "ContainersDeleted", str)


def _networks(client: Client, filters: Filters) -> None:
    try:
        _prune(client, "networks", filters, "Deleted Networks:", "NetworksDeleted", str)
    except DaemonError as error:
        if error.code not in _NO_NETWORKS:
            raise


def _volumes(client: Client, filters: Filters) -> int:
    return _prune(client, "volumes", filters, "Deleted Volumes:", "VolumesDeleted", str)


def _images(client: Client, filters: Filters) -> int:
    return _prune(client, "images", filters, "Deleted Images:", "ImagesDeleted", _image_line)


def _image_line(row: dict[str, str]) -> str:
    return "\n".join(f"{word.lower()}: {what}" for word, what in row.items())


def _prune(
    client: Client,
    kind: str,
    filters: Filters,
    title: str,
    field: str,
    line: Callable[[Any], str],
) -> int:
    answer = client.post(f"/{kind}/prune", {"filters": filters_json(filters)})
    deleted = answer.get(field) or ()
    if deleted:
        print(title, *map(line, deleted), "", sep="\n")
    return int(answer.get("SpaceReclaimed", 0))


def _size(value: int) -> str:
    return format_size(value, precision=4)
