"""Taking volumes for a container that is being made: found or made, held, and filled.

Several containers may come first to one empty volume: each holds the lock of its volumes
until it is there itself, so one of them fills it and the others find it filled.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from supervisor.docker.volumes import ANONYMOUS_LABEL
from supervisor.errors import KernelError
from supervisor.kernel.paths import DIRECTORY, RESOLVE_IN_ROOT, RESOLVE_NO_SYMLINKS, openat2
from supervisor.spec.mount_points import VOLUME, MountPoint
from supervisor.spec.types import Mount
from supervisor.spec.volume_options import BIND, MEMORY, Backing, read_options, volume_mount
from supervisor.store import volumes as folders
from supervisor.store.database import Put
from supervisor.store.volumes import KIND, Volume
from supervisor.store.work import work

if TYPE_CHECKING:
    from supervisor.engine.volumes import Volumes


class Taking(msgspec.Struct):
    """The volumes of a container that is being made.

    `points` are the container's, every volume with its name and folder; `mounts` those of the
    volumes; `new` the volumes that do not exist yet, whose `rows` go with the container's.
    """

    points: tuple[MountPoint, ...] = ()
    mounts: tuple[Mount, ...] = ()
    new: list[Volume] = msgspec.field(default_factory=list)
    to_fill: list[tuple[MountPoint, Volume, Backing]] = msgspec.field(default_factory=list)

    @property
    def rows(self) -> list[Put]:
        """To be written in one transaction with the container's record."""
        return [Put(KIND, volume.name, folders.encode(volume)) for volume in self.new]


@asynccontextmanager
async def taking(volumes: Volumes, points: Sequence[MountPoint]) -> AsyncIterator[Taking]:
    """Take the volumes of a container that is made in this block.

    They are not removed meanwhile, and new ones go again if the block raises.
    """
    if not any(point.type == VOLUME for point in points):
        yield Taking(points=tuple(points))
        return
    points = [_named(point) for point in points]
    names = sorted({point.name for point in points if point.type == VOLUME})
    with volumes.holding(names):
        async with volumes.locks.held(names):
            taken = _take(volumes, points)
            try:
                yield taken
            except BaseException:
                with trio.CancelScope(shield=True):
                    await volumes.give_back(taken.new)
                raise


async def fill(volumes: Volumes, taken: Taking, lowers: Sequence[str]) -> None:
    """Make the new volumes, whose rows are written by now, and fill those that are empty."""
    if taken.new:
        with trio.CancelScope(shield=True):
            await volumes.make(taken.new)
    wanted = [
        _argument(point, volume, backing)
        for point, volume, backing in taken.to_fill
        if _may_have(lowers, point.destination) and _may_be_empty(point, volume, backing)
    ]
    if wanted:
        root = volumes.host.root
        arguments = {
            "lowers": list(lowers),
            "volumes": wanted,
            "scratch": str(root.tmp),
            "trash": str(root.trash),
        }
        await work("copy_up", arguments)
        volumes.host.empty_trash_soon()


def _take(volumes: Volumes, points: Sequence[MountPoint]) -> Taking:
    taken = Taking()
    new: dict[str, Volume] = {}
    for point in points:
        if point.type != VOLUME:
            taken.points += (point,)
            continue
        volume = new.get(point.name) or volumes.find(point.name)
        if volume is None:
            volume = new[point.name] = _new(volumes, point)
        settled = replace(point, source=volume.mountpoint, labels={}, driver_options={})
        backing = read_options(volume.name, volume.options)
        taken.points += (settled,)
        taken.mounts += (volume_mount(settled, backing),)
        if point.copy_up and backing.kind != MEMORY:
            taken.to_fill.append((settled, volume, backing))
    taken.new = list(new.values())
    return taken


def _named(point: MountPoint) -> MountPoint:
    if point.type == VOLUME and not point.name:
        return replace(point, name=new_name())
    return point


def new_name() -> str:
    """The name of a volume that got none."""
    return secrets.token_hex(32)


def _new(volumes: Volumes, point: MountPoint) -> Volume:
    labels = {ANONYMOUS_LABEL: "", **point.labels} if point.anonymous else point.labels
    read_options(point.name, point.driver_options)
    return folders.new_volume(volumes.host.root, point.name, labels, point.driver_options)


def _argument(point: MountPoint, volume: Volume, backing: Backing) -> dict[str, Any]:
    plain = backing.kind == BIND or bool(point.subpath)
    folder = backing.device or (volume.mountpoint if plain else volume.folder)
    return {"path": point.destination, "folder": folder, "plain": plain, "subpath": point.subpath}


def _may_be_empty(point: MountPoint, volume: Volume, backing: Backing) -> bool:
    return bool(point.subpath) or backing.kind == BIND or folders.is_empty(volume)


def _may_have(lowers: Sequence[str], path: str) -> bool:
    """False if no layer has anything at `path`: then nobody need look at them together.

    Links are not judged here, as another layer may have what they lead to.
    """
    for lower in lowers:
        try:
            folder = os.open(lower, DIRECTORY)
        except OSError:
            return True
        try:
            flags = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS
            os.close(openat2(folder, path, os.O_PATH, resolve=flags))
        except KernelError as error:
            if error.errno != errno.ENOENT:
                return True
        else:
            return True
        finally:
            os.close(folder)
    return False
