"""The volumes of this supervisor: made, listed, removed.

A volume is used by the containers whose records name it, and held while one is being made
that will (`supervisor.engine.volume_taking`). Nothing is counted that would have to be
counted again after a crash. Decisions about one volume are made in turn, under its lock.
"""

from __future__ import annotations

import builtins
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import trio

from supervisor import failpoints
from supervisor.docker.volumes import ANONYMOUS_LABEL, VolumeBody
from supervisor.engine.name_locks import NameLocks
from supervisor.engine.record import Record
from supervisor.engine.volume_taking import new_name
from supervisor.errors import Conflict, NotFound, OrlopError
from supervisor.spec.mount_points import DRIVER
from supervisor.spec.volume_options import read_options
from supervisor.store import volumes as folders
from supervisor.store.database import Delete, Put
from supervisor.store.folder_sizes import NOTHING
from supervisor.store.volumes import KIND, Volume, disk_errors

if TYPE_CHECKING:
    from supervisor.engine.container import Container
    from supervisor.engine.host import Host

log = logging.getLogger("orlop.volumes")


class Volumes:
    """`containers` gives all containers there are, at the moment of asking."""

    def __init__(self, host: Host, containers: Callable[[], Iterable[Container]]) -> None:
        self.host = host
        self.containers = containers
        self.locks = NameLocks()
        self._volumes: dict[str, Volume] = {}
        self._held: Counter[str] = Counter()

    async def load(self) -> None:
        """Read the records; once, before containers are."""
        root, database = self.host.root, self.host.database
        rows = await database.all(KIND)
        loaded = await trio.to_thread.run_sync(folders.load, root, rows)
        await database.apply(Put(KIND, v.name, folders.encode(v)) for v in loaded.rebuilt)
        self._volumes = {volume.name: volume for volume in loaded.volumes}

    # --- asking -------------------------------------------------------------------------

    def list(self) -> builtins.list[Volume]:
        """All volumes, by name."""
        return sorted(self._volumes.values(), key=lambda volume: volume.name)

    def find(self, name: str) -> Volume | None:
        """One volume, None if there is no such."""
        return self._volumes.get(name)

    def get(self, name: str) -> Volume:
        """One volume; NotFound in docker's words."""
        volume = self.find(name)
        if volume is None:
            raise NotFound(f"get {name:.255}: no such volume")
        return volume

    def users(self, name: str) -> builtins.list[str]:
        """Ids of the containers that have the volume, running or not."""
        return [c.id for c in self.containers() if name in c.record.volumes]

    def used(self) -> frozenset[str]:
        """The names of all volumes that a container has."""
        return frozenset(name for c in self.containers() for name in c.record.volumes)

    # --- making and removing --------------------------------------------------------------

    async def create(self, body: VolumeBody) -> Volume:
        """Make a volume, or find the one that has this name."""
        name, labels = body.name, body.labels
        if not name:
            name, labels = new_name(), {**labels, ANONYMOUS_LABEL: ""}
        read_options(name, body.driver_opts)
        async with self.locks.held([name]):
            if name in self._volumes:
                return self._volumes[name]
            volume = folders.new_volume(self.host.root, name, labels, body.driver_opts)
            with trio.CancelScope(shield=True):
                failpoints.hit("volume.row")
                await self.host.database.put(KIND, name, folders.encode(volume))
                await self.make([volume])
        return volume

    async def make(self, volumes: Sequence[Volume]) -> None:
        """Make the folders of volumes whose rows are written; both go again if that fails."""
        for volume in volumes:
            try:
                with disk_errors(volume.name):
                    await trio.to_thread.run_sync(folders.make, volume)
            except OrlopError:
                with suppress(OSError):  # a folder without a row would be a volume again
                    folders.remove(self.host.root, volume)
                self.host.empty_trash_soon()
                await self.host.database.apply(Delete(KIND, v.name) for v in volumes)
                raise
            self._volumes[volume.name] = volume
            self.publish("create", volume.name, {})

    async def remove(self, name: str, *, force: bool) -> None:
        """Remove a volume that no container has; with `force`, one that is not there is fine."""
        async with self.locks.held([name]):
            if force and name not in self._volumes:
                return
            volume = self.get(name)
            users = self.users(name)
            if users or self._held[name]:
                who = ", ".join(users) or "a container that is being created"
                raise Conflict(f"remove {name}: volume is in use - [{who}]")
            await self._remove(volume)

    async def prune(self, wanted: Callable[[Volume], bool]) -> tuple[builtins.list[str], int]:
        """Remove what is `wanted` of the volumes that no container has; names and bytes."""
        names, reclaimed = [], 0
        used = self.used()
        chosen = [one for one in self.list() if one.name not in used and wanted(one)]
        sizes = await self.host.sizes.of(volume.mountpoint for volume in chosen)
        for volume in chosen:
            with suppress(NotFound, Conflict):  # removed, or taken, a moment ago
                await self.remove(volume.name, force=False)  # which asks once more
                names.append(volume.name)
                reclaimed += sizes.get(volume.mountpoint, NOTHING).content
        self.host.bus.publish(KIND, "prune", "", {"reclaimed": str(reclaimed)})
        return names, reclaimed

    async def _remove(self, volume: Volume) -> None:
        with trio.CancelScope(shield=True):
            with disk_errors(volume.name):
                folders.remove(self.host.root, volume)
            del self._volumes[volume.name]
            self.host.empty_trash_soon()
            failpoints.hit("volume.forget")
            await self.host.database.delete(KIND, volume.name)
        self.publish("destroy", volume.name, {})

    # --- for containers that are made and removed -------------------------------------------

    @contextmanager
    def holding(self, names: Sequence[str]) -> Iterator[None]:
        """Keep volumes, which need not be there yet, from being removed."""
        self._held.update(names)
        try:
            yield
        finally:
            self._held.subtract(names)
            for name in names:
                if not self._held[name]:
                    del self._held[name]

    async def give_back(self, volumes: Sequence[Volume]) -> None:
        """Remove volumes that were made for a container which was not; never raises."""
        for volume in volumes:
            try:
                if volume.name in self._volumes:
                    await self._remove(volume)
                else:
                    await self.host.database.delete(KIND, volume.name)
            except OrlopError as error:
                log.warning("volume %s: %s", volume.name, error)

    async def let_go(self, record: Record) -> None:
        """A container is being removed: its anonymous volumes go, if they are to.

        Not those that another container has, too.
        """
        if not (record.take_volumes or record.options.auto_remove):
            return
        for name in record.anonymous_volumes:
            async with self.locks.held([name]):
                others = [user for user in self.users(name) if user != record.id]
                volume = self.find(name)
                if volume is not None and not others and not self._held[name]:
                    await self._remove(volume)

    def publish(self, action: str, name: str, attributes: Mapping[str, str]) -> None:
        """An event about a volume."""
        self.host.bus.publish(KIND, action, name, {**attributes, "driver": DRIVER})
