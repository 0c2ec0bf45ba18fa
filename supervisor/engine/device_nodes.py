"""Device nodes of the host, as what a container may be given."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from supervisor.errors import InvalidArgument
from supervisor.spec.types import Device

_KINDS = {stat.S_IFCHR: "c", stat.S_IFBLK: "b"}
# Of the container's own making, whatever the host has there.
_OWN_FOLDERS = frozenset({"pts", "shm", "mqueue", "fd"})


def look_up(path: str) -> tuple[Device, ...]:
    """The device node at `path`, or all below it if it is a folder; InvalidArgument for neither."""
    try:
        mode = Path(path).stat().st_mode
    except OSError as error:
        raise InvalidArgument(f"device {path}: {(error.strerror or '').lower()}") from None
    if stat.S_ISDIR(mode):
        found = [_device(f"{d}/{n}") for d, _, names in os.walk(path) for n in names]
        return tuple(device for device in found if device is not None)
    device = _device(path)
    if device is None:
        raise InvalidArgument(f"device {path}: not a device node")
    return (device,)


def of_host() -> tuple[Device, ...]:
    """The host's device nodes, for privileged containers; those of /dev itself and below."""
    found = []
    for folder, subfolders, names in os.walk("/dev"):
        subfolders[:] = [d for d in subfolders if d not in _OWN_FOLDERS]
        for name in names:
            device = _device(f"{folder}/{name}", follow_links=False)
            if device is not None and device.path != "/dev/console":
                found.append(device)
    return tuple(found)


def _device(path: str, *, follow_links: bool = True) -> Device | None:
    node = Path(path).stat(follow_symlinks=follow_links)
    kind = _KINDS.get(stat.S_IFMT(node.st_mode))
    if kind is None:
        return None
    return Device(
        path=path,
        type=kind,
        major=os.major(node.st_rdev),
        minor=os.minor(node.st_rdev),
        mode=node.st_mode & 0o777,
        uid=node.st_uid,
        gid=node.st_gid,
    )
