"""What a create or update request needs of the host, checked before anything is made."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from supervisor.engine import system_calls
from supervisor.errors import InvalidArgument
from supervisor.kernel.cgroups import Group
from supervisor.spec.cgroup import order_for_update
from supervisor.spec.limits import missing, validate
from supervisor.spec.mount_points import BIND, MountPoint
from supervisor.spec.options import ContainerOptions
from supervisor.spec.types import Resources

if TYPE_CHECKING:
    from supervisor.engine.host import Host


def check_resources(resources: Resources) -> None:
    """InvalidArgument for limits that cannot be on this host."""
    cpus = ""
    if resources.cpuset_cpus:
        cpus = f"0-{os.sysconf('SC_NPROCESSORS_CONF') - 1}"
    validate(resources, cpus=cpus)


def check_binds(points: Iterable[MountPoint]) -> None:
    """InvalidArgument for a bind source that does not exist and is not to be made at the start."""
    for point in points:
        if point.type == BIND and not point.make_source and not os.path.lexists(point.source):
            raise InvalidArgument(
                f'invalid mount config for type "bind": bind source path does not exist: '
                f"{point.source}"
            )


def check_rootfs(folder: str) -> str:
    """The folder a container is to run from; InvalidArgument unless it is one."""
    if not folder.startswith("/"):
        raise InvalidArgument(f"rootfs {folder!r:.200}: give an absolute path")
    if not Path(folder).is_dir():
        raise InvalidArgument(f"rootfs {folder}: no such folder")
    return os.path.realpath(folder)


def warnings(host: Host, options: ContainerOptions) -> list[str]:
    """Sentences about what was asked for and cannot be kept on this host."""
    found = list(
        missing(
            options.resources, host.hierarchy.controllers, unified=host.layout.kind == "unified"
        )
    )
    found += system_calls.warnings(host.facts, options)
    for limit in options.ulimits:
        hard = resource.getrlimit(getattr(resource, limit.type))[1]
        if not host.can_raise_limits and _above(limit.hard, hard):
            found.append(
                f"{limit.type.removeprefix('RLIMIT_').lower()} is limited to {hard}: raising it "
                "further needs CAP_SYS_RESOURCE, which this host withholds"
            )
    return found


def _above(asked: int, hard: int) -> bool:
    return hard != resource.RLIM_INFINITY and (asked == -1 or asked > hard)


def update_group(host: Host, group: Group, options: ContainerOptions) -> list[str]:
    """Write new limits to a live cgroup; sentences for what could not be written."""
    writes = host.writes(options)
    if "memory" in group.paths.v1:
        try:
            limit = int(group.read("memory", "memory.memsw.limit_in_bytes"))
        except OSError:  # a kernel without swap accounting
            limit = -1
        writes = order_for_update(writes, limit)
    return group.write(writes)
