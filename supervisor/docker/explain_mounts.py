"""What each mount of a container is for, in plain words.

The table comes from the kernel (proc_pid_mountinfo(5)); the reasons from the runtime spec
and from what people asked for. What neither knows was mounted by the container itself.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from supervisor.spec.etc_files import PATHS as PROVIDED
from supervisor.spec.mount_plan import SHARED_MEMORY
from supervisor.spec.mount_points import BIND, VOLUME, MountPoint
from supervisor.spec.types import Mount, Spec

_WHY = {
    "/proc": "the processes of its pid namespace, and kernel settings",
    "/dev": "its own small set of devices, in memory",
    "/dev/pts": "its own terminals",
    SHARED_MEMORY: "shared memory of its programs (shm_open(3))",
    "/dev/mqueue": "POSIX message queues of its ipc namespace",
    "/dev/console": "the container's terminal",
    "/sys": "the kernel's view of devices",
    "/sys/fs/cgroup": "its own control group, with its limits",
}
# The null device on a devtmpfs or in a container's own /dev.
_NULL = "/null"
_FLAGS = {
    "nosuid": "no set-user-id programs",
    "nodev": "no devices",
    "noexec": "no programs",
}


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A mount as the kernel has it, or will have it: see proc_pid_mountinfo(5)."""

    point: str
    fstype: str
    source: str = ""
    root: str = "/"
    options: tuple[str, ...] = ()
    read_only: bool = False


class Purposes:
    """Tells what the mounts of one container are for."""

    def __init__(self, spec: Spec, points: Sequence[MountPoint]) -> None:
        self._spec = spec
        self._points = {point.destination: point for point in points}
        self._mounts = {mount.destination: mount for mount in spec.mounts}
        self._masked = frozenset(spec.masked_paths)
        self._readonly = frozenset(spec.readonly_paths)

    def kind(self, row: Row) -> str:
        """root, masked, read-only, bind, volume, provided, tmpfs, kernel or other."""
        if row.point == "/":
            return "root"
        if row.point in self._masked and _is_cover(row, self._spec):
            return "masked"
        if row.point in self._readonly and row.read_only and row.point not in self._mounts:
            return "read-only"
        point = self._points.get(row.point)
        if point is not None:
            return point.type
        mount = self._mounts.get(row.point)
        if mount is not None:
            if mount.type == "bind":
                return "provided" if row.point in PROVIDED else "bind"
            return "tmpfs" if mount.type == "tmpfs" and row.point not in _WHY else "kernel"
        if row.point == "/dev/console" or row.point.startswith("/sys/fs/cgroup/"):
            return "kernel"
        if row.point in {device.path for device in self._spec.devices}:
            return "device"
        return "other"

    def why(self, row: Row) -> str:
        """The mount's purpose as a sentence without its end."""
        kind = self.kind(row)
        point = self._points.get(row.point)
        if kind == "root":
            return self._root()
        if kind == "masked":
            return "covered: what the kernel tells here is none of a container's business"
        if kind == "read-only":
            return "read-only: kernel settings that a container may see and not change"
        if kind == VOLUME and point is not None:
            anonymous = "the anonymous volume" if point.anonymous else "the volume"
            part = f", its folder {point.subpath}" if point.subpath else ""
            return f"{anonymous} {point.name}{part}"
        if kind == BIND:
            return f"{self._source(row)} of the host"
        if kind == "provided":
            return "written by Orlop for this container, in place of the image's"
        if kind == "device":
            return "a device of the host, bound here as the container may make none"
        if kind == "tmpfs":
            return "files in memory that are gone when the container ends"
        if kind == "kernel":
            return self._kernel(row)
        return f"{row.fstype}, mounted by the container itself or along with a bind"

    def _root(self) -> str:
        root = self._spec.root
        if not root.upper:
            return f"the folder {root.lower[0]} of the host itself"
        count = len(root.lower)
        layers = "one read-only layer" if count == 1 else f"{count} read-only layers"
        kept = ", which goes with the container" if root.volatile else ""
        return f"{layers} and a writable one on top{kept}"

    def _source(self, row: Row) -> str:
        mount = self._mounts.get(row.point)
        point = self._points.get(row.point)
        return mount.source if mount is not None else point.source if point is not None else "?"

    def _kernel(self, row: Row) -> str:
        if row.point in _WHY:
            return _WHY[row.point]
        name = posixpath.basename(row.point)
        if name == "unified":
            return "its control group that is frozen and killed as a whole"
        return f"its own control group for {name}"


def mounts_json(rows: Iterable[Row], purposes: Purposes) -> list[dict[str, Any]]:
    """The mount table with the purpose of each."""
    return [
        {
            "point": row.point,
            "kind": purposes.kind(row),
            "type": row.fstype,
            "source": row.source,
            "root": row.root,
            "options": list(row.options),
            "read_only": row.read_only,
            "why": purposes.why(row),
            "flags": [words for flag, words in _FLAGS.items() if flag in row.options],
        }
        for row in rows
    ]


def planned_rows(spec: Spec) -> list[Row]:
    """The mounts that a container will have, in the order in which init makes them."""
    root = Row(point="/", fstype="overlay", read_only=spec.root_readonly)
    return [root, *map(_planned, spec.mounts)]


def _planned(mount: Mount) -> Row:
    return Row(
        point=mount.destination,
        fstype="tmpfs" if mount.type == "joined" else mount.type,
        source=mount.source,
        options=mount.options,
        read_only="ro" in mount.options,
    )


def hidden_json(
    spec: Spec, rows: Sequence[Row] | None, present: Collection[str]
) -> dict[str, list[dict[str, Any]]]:
    """Masked and read-only paths with their `state`: planned (`rows` is None: it does not
    run), done, absent (this kernel has nothing there), or open, though it is `present`.
    """
    covers: Mapping[str, Row] = {row.point: row for row in rows or ()}

    def state(path: str, *, masked: bool) -> str:
        if rows is None:
            return "planned"
        row = covers.get(path)
        if row is not None and (_is_cover(row, spec) if masked else row.read_only):
            return "done"
        return "open" if path in present else "absent"

    return {
        "masked": [{"path": p, "state": state(p, masked=True)} for p in spec.masked_paths],
        "read_only": [{"path": p, "state": state(p, masked=False)} for p in spec.readonly_paths],
    }


def _is_cover(row: Row, spec: Spec) -> bool:
    """An empty folder in memory, or the null device."""
    if row.root == _NULL or (row.fstype == "tmpfs" and row.read_only):
        return True
    # With user ids of its own, a node that `shim.rootfs` has made, named by its number.
    number = next((n for n, device in enumerate(spec.devices) if device.path == "/dev/null"), -1)
    return (row.fstype, row.source, row.root) == ("tmpfs", "nodes", f"/{number}")
