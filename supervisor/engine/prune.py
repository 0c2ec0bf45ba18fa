"""Removing the containers that do not run."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from supervisor.docker.views import ContainerView
from supervisor.engine import disk_usage, view
from supervisor.errors import Conflict, NotFound, OrlopError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supervisor.engine.container import Container
    from supervisor.engine.engine import Engine

log = logging.getLogger("orlop.engine")


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
            sizes = await disk_usage.each(self._remove, chosen)
        gone = [(c.id, size) for c, size in zip(chosen, sizes, strict=True) if size is not None]
        reclaimed = sum(size for _, size in gone)
        engine.host.bus.publish("container", "prune", "", {"reclaimed": str(reclaimed)})
        return [container for container, _ in gone], reclaimed

    async def _remove(self, container: Container) -> int | None:
        """The bytes it had written; None where it stays."""
        written = await disk_usage.written(self._engine, container)
        try:
            await self._engine.remove(container.id, force=False, volumes=False, link=False)
        except (Conflict, NotFound):  # it runs again, or is gone already
            return None
        except OrlopError as error:
            log.warning("prune: container %s stays: %s", container.record.name, error)
            return None
        return written

    @contextmanager
    def _alone(self) -> Iterator[Any]:
        if self._under_way:
            raise Conflict("a prune operation is already running")
        self._under_way = True
        try:
            yield
        finally:
            self._under_way = False
