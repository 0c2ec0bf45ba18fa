"""What a container's run needs of its mounts: sources that are there, and who is told."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from supervisor.engine.record import Record
from supervisor.errors import Conflict, InvalidArgument
from supervisor.spec.mount_points import VOLUME
from supervisor.spec.volume_options import MEMORY, read_options

if TYPE_CHECKING:
    from supervisor.engine.container import Container
    from supervisor.engine.volumes import Volumes

EVENTS = {"start": "mount", "die": "unmount"}


class VolumeRuns:
    """Asked by the task of each run, and told of its beginning and end."""

    def __init__(self, volumes: Volumes) -> None:
        self._volumes = volumes

    def prepare(self, container: Container) -> None:
        """See that everything is there for a run: missing sources of binds are made.

        Raises Conflict for a volume in memory that another container has, InvalidArgument
        for a source that cannot be made.
        """
        for point in container.record.mounts:
            if point.make_source and not os.path.lexists(point.source):
                _make_folders(Path(point.source))
            if point.type == VOLUME:
                self._check_memory(container, point.name)

    def _check_memory(self, container: Container, name: str) -> None:
        volume = self._volumes.find(name)
        if volume is None or read_options(name, volume.options).kind != MEMORY:
            return
        for other in self._volumes.containers():
            if other is not container and other.state.live and name in other.record.volumes:
                raise Conflict(
                    f"volume {name} is in memory (type=tmpfs) and in use by container "
                    f"{other.id[:12]}: only one running container at a time can have it"
                )

    def tell(self, record: Record, action: str) -> None:
        """Publish "mount" or "unmount" of each volume when a run starts or ends."""
        told = EVENTS.get(action)
        for point in record.mounts if told else ():
            if told and point.type == VOLUME:
                more = {"container": record.id}
                if told == "mount":
                    more |= {
                        "destination": point.destination,
                        "propagation": point.propagation,
                        "read/write": str(not point.read_only).lower(),
                    }
                self._volumes.publish(told, point.name, more)


def _make_folders(folder: Path) -> None:
    """Make a missing source of a bind and the folders above it: root's, of mode 0755."""
    missing = [f for f in (folder, *folder.parents) if not os.path.lexists(f)]
    for path in reversed(missing):
        try:
            with suppress(FileExistsError):
                path.mkdir()
                path.chmod(0o755)  # whatever the umask
        except OSError as error:
            raise InvalidArgument(
                f"error while creating mount source path '{folder}': mkdir {path}: "
                f"{(error.strerror or '').lower()}"
            ) from None
