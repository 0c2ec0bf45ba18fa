"""Removing the containers that do not run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import trio

from supervisor.docker.views import ContainerView
from supervisor.engine import disk_usage, view
from supervisor.errors import Conflict, NotFound, OrlopError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supervisor.engine.container import Container
    from supervisor.engine.engine import Engine

log = logging.getLogger("orlop.engine")

_AT_ONCE = 4


class Pruning:
    """One at a time, as docker's."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._under_way = False

    async def containers(self, wanted: Callable[[ContainerView], bool]) -> tuple[list[str], int]:
        """Remove what is `wanted` of the containers at rest; ids, and bytes they had written.

        What starts meanwhile stays: its own actor refuses the removal.
        """
        engine = self._engine
        with self._alone():
            chosen = [
                c for c in engine.containers.values() if wanted(view.container_view(engine, c))
            ]
            written = await disk_usage.written(engine, chosen)
            gone = await self._remove_all(chosen)
        reclaimed = sum(written.get(container, 0) for container in gone)
        engine.host.bus.publish("container", "prune", "", {"reclaimed": str(reclaimed)})
        return gone, reclaimed

    async def _remove_all(self, chosen: Sequence[Container]) -> list[str]:
        """A few at a time; the ids of those that are gone, in their order."""
        gone: set[str] = set()
        limit = trio.CapacityLimiter(_AT_ONCE)

        async def one(container: Container) -> None:
            async with limit:
                if await self._remove(container):
                    gone.add(container.id)

        async with trio.open_nursery() as nursery:
            for container in chosen:
                nursery.start_soon(one, container)
        return [container.id for container in chosen if container.id in gone]

    async def _remove(self, container: Container) -> bool:
        """False where it stays."""
        try:
            await self._engine.remove(container.id, force=False, volumes=False, link=False)
        except (Conflict, NotFound):  # it runs again, or is gone already
            return False
        except OrlopError as error:
            log.warning("prune: container %s stays: %s", container.record.name, error)
            return False
        return True

    @contextmanager
    def _alone(self) -> Iterator[Any]:
        if self._under_way:
            raise Conflict("a prune operation is already running")
        self._under_way = True
        try:
            yield
        finally:
            self._under_way = False
