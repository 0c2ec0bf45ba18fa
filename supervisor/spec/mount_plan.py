"""The mounts of a container, in order: docker's defaults, then the user's own by depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from supervisor.errors import InvalidArgument
from supervisor.spec.mounts import MS_SHARED, MS_SLAVE, arrange, parse_options, tmpfs
from supervisor.spec.namespaces import HOST, SHARED, Modes
from supervisor.spec.options import DEFAULT_SHM_SIZE, ContainerOptions
from supervisor.spec.types import Mount

TERMINAL_GROUP = 5  # "tty" in every distribution's /etc/group
SHARED_MEMORY = "/dev/shm"  # noqa: S108 - the container's, not a temporary file of ours
_QUIET = ("nosuid", "noexec", "nodev")


def plan_mounts(
    options: ContainerOptions, modes: Modes, *, has_cgroup: bool, provided: Sequence[Mount] = ()
) -> tuple[Mount, ...]:
    """Every mount that init makes; a user's mount replaces the default one at its place.

    `has_cgroup` says whether the host has a hierarchy to show at /sys/fs/cgroup; `provided`
    are files such as /etc/hosts, mounted last as the user may have mounted their folder.
    Raises InvalidArgument for destinations and options that cannot be.
    """
    tmpfs_mounts = (tmpfs(path, words) for path, words in options.tmpfs.items())
    own = arrange((*map(_private, options.binds), *tmpfs_mounts))
    replaced = {mount.destination for mount in own}
    return (
        *(
            mount
            for mount in _default_mounts(options, modes, has_cgroup)
            if mount.destination not in replaced
            # A /dev of the user's own comes with whatever is below it.
            and not ("/dev" in replaced and mount.destination.startswith("/dev/"))
        ),
        *own,
        *(mount for mount in provided if mount.destination not in replaced),
    )


def _private(bind: Mount) -> Mount:
    # A clone of a shared mount stays in its peer group unless told otherwise, and would
    # carry the container's mounts to the host.
    if bind.type != "bind" or parse_options(bind.options).propagation:
        return bind
    return replace(bind, options=(*bind.options, "rprivate"))


def _default_mounts(options: ContainerOptions, modes: Modes, has_cgroup: bool) -> list[Mount]:
    access = () if options.privileged else ("ro",)
    pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]
    if not modes.user or modes.uid_mappings[0].size > TERMINAL_GROUP:  # else: an unmapped id
        pts.append(f"gid={TERMINAL_GROUP}")
    mounts = [
        Mount(destination="/proc", type="proc", source="proc", options=_QUIET),
        Mount(
            destination="/dev",
            type="tmpfs",
            source="tmpfs",
            options=("nosuid", "strictatime", "mode=755", "size=65536k"),
        ),
        Mount(destination="/dev/pts", type="devpts", source="devpts", options=tuple(pts)),
        Mount(destination="/sys", type="sysfs", source="sysfs", options=(*_QUIET, *access)),
        Mount(destination="/dev/mqueue", type="mqueue", source="mqueue", options=_QUIET),
    ]
    if has_cgroup:
        mounts.append(
            Mount(
                destination="/sys/fs/cgroup",
                type="cgroup",
                source="cgroup",
                options=(*_QUIET, *access),
            )
        )
    return mounts + _shared_memory(options, modes)


def _shared_memory(options: ContainerOptions, modes: Modes) -> list[Mount]:
    size = options.shm_size or DEFAULT_SHM_SIZE
    if size < 0:
        raise InvalidArgument(f"SHM size can not be less than 0: {size}")
    if options.ipc == "none":
        return []
    if modes.ipc == HOST:
        # POSIX shared memory lives in /dev/shm, System V's in the namespace: share both.
        words = ("rbind", *_QUIET, "rprivate")
        return [Mount(destination=SHARED_MEMORY, type="bind", source=SHARED_MEMORY, options=words)]
    if modes.ipc == SHARED:
        return [Mount(destination=SHARED_MEMORY, type="joined", source="shm")]
    words = (*_QUIET, "mode=1777", f"size={size}")
    return [Mount(destination=SHARED_MEMORY, type="tmpfs", source="shm", options=words)]


def root_propagation(mounts: Sequence[Mount]) -> str:
    """What the root must be for these binds: a shared or slave one needs such a parent.

    See mount_namespaces(7); docker raises the root's propagation the same way.
    """
    asked = {parse_options(m.options).propagation for m in mounts if m.type == "bind"}
    if MS_SHARED in asked:
        return "shared"
    return "slave" if MS_SLAVE in asked else "private"
