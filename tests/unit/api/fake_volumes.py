"""Volumes in memory."""

from __future__ import annotations

import builtins
from collections.abc import Callable

from supervisor.docker.volumes import ANONYMOUS_LABEL, VolumeBody, VolumeLike
from supervisor.errors import Conflict, NotFound
from supervisor.store.volumes import Volume


class FakeVolumes:
    """`taken` are the names of those that a container has."""

    def __init__(self) -> None:
        self.volumes: dict[str, Volume] = {}
        self.taken: set[str] = set()

    def list(self) -> builtins.list[Volume]:
        return sorted(self.volumes.values(), key=lambda volume: volume.name)

    def get(self, name: str) -> Volume:
        if name not in self.volumes:
            raise NotFound(f"get {name}: no such volume")
        return self.volumes[name]

    def used(self) -> frozenset[str]:
        return frozenset(self.taken)

    async def create(self, body: VolumeBody) -> Volume:
        name = body.name or "f" * 64
        labels = body.labels if body.name else {**body.labels, ANONYMOUS_LABEL: ""}
        volume = Volume(
            name=name, folder=f"/v/{name}", created_ns=0, labels=labels, options=body.driver_opts
        )
        return self.volumes.setdefault(name, volume)

    async def remove(self, name: str, *, force: bool) -> None:
        if force and name not in self.volumes:
            return
        self.get(name)
        if name in self.taken:
            raise Conflict(f"remove {name}: volume is in use - [c]")
        del self.volumes[name]

    async def prune(self, wanted: Callable[[VolumeLike], bool]) -> tuple[builtins.list[str], int]:
        names = [v.name for v in self.list() if v.name not in self.taken and wanted(v)]
        for name in names:
            del self.volumes[name]
        return names, 100 * len(names)
