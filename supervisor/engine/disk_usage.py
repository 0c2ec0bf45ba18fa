"""How much room images, containers and volumes take."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from supervisor.docker.disk_usage import ContainerUsage, DiskUsage, ImageUsage, VolumeUsage
from supervisor.engine import view
from supervisor.store.folder_sizes import NOTHING, FolderSize
from supervisor.store.volumes import Volume

if TYPE_CHECKING:
    from supervisor.engine.container import Container
    from supervisor.engine.engine import Engine


async def disk_usage(
    engine: Engine, objects: Collection[str], only: Collection[str] | None = None
) -> DiskUsage:
    """What `objects` take ("image", "container", "volume"), in bytes; of containers those whose
    ids are in `only`, None for all.
    """
    service = engine.image_service
    numbers, shared = service.containers_of(), service.shared_sizes()
    images = [
        ImageUsage(
            image=image,
            containers=numbers.get(image.id, 0),
            shared_size=shared[image.id],
        )
        for image in engine.images.list()
    ]
    containers = [c for c in engine.containers.values() if only is None or c.id in only]
    volumes = engine.volumes.list()
    layers = _layers(engine, containers) if "container" in objects else {}
    mountpoints = [volume.mountpoint for volume in volumes] if "volume" in objects else []
    sizes = await engine.host.sizes.of([*layers.values(), *mountpoints], _told(engine, layers))
    written_by = _by_container(layers, sizes)
    return DiskUsage(
        layers_size=service.layers_size() if "image" in objects else 0,
        images=images if "image" in objects else None,
        containers=[_of_container(engine, c, written_by.get(c.id, 0)) for c in containers]
        if "container" in objects
        else None,
        volumes=[_of_volume(engine, v, sizes.get(v.mountpoint, NOTHING).content) for v in volumes]
        if "volume" in objects
        else None,
    )


async def written(engine: Engine, containers: Iterable[Container]) -> dict[str, int]:
    """Bytes in writable layers by the containers' ids; without those where that cannot be said."""
    layers = _layers(engine, containers)
    return _by_container(layers, await engine.host.sizes.of(layers.values(), _told(engine, layers)))


def _layers(engine: Engine, containers: Iterable[Container]) -> dict[str, str]:
    """The folders of writable layers, by the containers' ids."""
    return {
        container.id: os.fspath(engine.host.bundle(container) / "upper")
        for container in containers
        if not container.record.rootfs_writable
    }


def _by_container(layers: Mapping[str, str], sizes: Mapping[str, FolderSize]) -> dict[str, int]:
    return {id: sizes[folder].content for id, folder in layers.items() if folder in sizes}


def _told(engine: Engine, layers: Mapping[str, str]) -> Callable[[str, FolderSize], None]:
    """Metrics have what writable layers take on the disk."""
    owners = {folder: id for id, folder in layers.items()}
    # Not the layer's own folder: it may be gone by now, and is on the same file system.
    place = os.fspath(engine.host.root.containers)

    def tell(folder: str, size: FolderSize) -> None:
        if folder in owners:
            engine.metering.written(owners[folder], place, size.on_disk)

    return tell


def _of_container(engine: Engine, container: Container, size: int) -> ContainerUsage:
    image = engine.images.find(container.record.image_id)
    return ContainerUsage(
        view=view.container_view(engine, container),
        written=size,
        whole=size + (image.size if image else 0),
    )


def _of_volume(engine: Engine, volume: Volume, size: int) -> VolumeUsage:
    return VolumeUsage(volume=volume, size=size, users=len(engine.volumes.users(volume.name)))
