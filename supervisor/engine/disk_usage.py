"""How much room images, containers and volumes take."""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import TYPE_CHECKING, TypeVar

import trio

from supervisor.docker.disk_usage import ContainerUsage, DiskUsage, ImageUsage, VolumeUsage
from supervisor.engine import view
from supervisor.errors import OrlopError
from supervisor.store.volumes import Volume
from supervisor.store.work import work

if TYPE_CHECKING:
    from supervisor.engine.container import Container
    from supervisor.engine.engine import Engine

log = logging.getLogger("orlop.images")

_AT_ONCE = 4

T = TypeVar("T")
R = TypeVar("R")


class Measuring:
    """A look at a writable layer that is under way; `size` is None if it was broken off."""

    def __init__(self) -> None:
        self.over = trio.Event()
        self.size: int | None = None


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

    async def of_container(container: Container) -> ContainerUsage:
        return await _of_container(engine, container)

    async def of_volume(volume: Volume) -> VolumeUsage:
        size = await engine.volumes.size(volume)
        return VolumeUsage(volume=volume, size=size, users=len(engine.volumes.users(volume.name)))

    return DiskUsage(
        layers_size=service.layers_size() if "image" in objects else 0,
        images=images if "image" in objects else None,
        containers=await each(
            of_container, [c for c in engine.containers.values() if only is None or c.id in only]
        )
        if "container" in objects
        else None,
        volumes=await each(of_volume, engine.volumes.list()) if "volume" in objects else None,
    )


async def _of_container(engine: Engine, container: Container) -> ContainerUsage:
    record = container.record
    image = engine.images.find(record.image_id)
    size = await written(engine, container)
    return ContainerUsage(
        view=view.container_view(engine, container),
        written=size,
        whole=size + (image.size if image else 0),
    )


async def written(engine: Engine, container: Container) -> int:
    """Bytes in the container's writable layer; 0 where that cannot be said.

    It takes a worker and reads the whole layer: who asks meanwhile gets the same answer.
    """
    if container.record.rootfs_writable:
        return 0
    while container.measuring is not None:
        before = container.measuring
        await before.over.wait()
        if before.size is not None:
            return before.size
    mine = container.measuring = Measuring()
    try:
        mine.size = await _measure(engine, container)
        return mine.size
    finally:
        container.measuring = None
        mine.over.set()


async def _measure(engine: Engine, container: Container) -> int:
    upper = os.fspath(engine.host.bundle(container) / "upper")
    try:
        size = int((await work("usage", {"folder": upper}))["size"])
    except OrlopError as error:  # it is being removed
        log.info("container %s: its size: %s", container.record.name, error)
        return 0
    engine.metering.written(container.id, upper, size)
    return size


async def each(measure: Callable[[T], Awaitable[R]], items: Sequence[T]) -> list[R]:
    """`measure` of all items, a few at a time, in their order."""
    found: dict[int, R] = {}
    limit = trio.CapacityLimiter(_AT_ONCE)

    async def one(number: int, item: T) -> None:
        async with limit:
            found[number] = await measure(item)

    async with trio.open_nursery() as nursery:
        for number, item in enumerate(items):
            nursery.start_soon(one, number, item)
    return [found[number] for number in sorted(found)]
