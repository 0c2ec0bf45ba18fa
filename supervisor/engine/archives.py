"""Looking into a container's filesystem, and copying into and out of it.

Whether it runs or rests, the work is done by a worker process in the mounts of the container
(`supervisor.snapshot.view`); here it is decided which those are, and that nobody else writes
to them meanwhile (`supervisor.engine.tree_use`).
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from supervisor.docker.changes import Change, without_stubs
from supervisor.docker.times import rfc3339_nano
from supervisor.engine.tree_use import Use
from supervisor.errors import InvalidArgument, NotFound
from supervisor.lifecycle.machine import Phase
from supervisor.snapshot.ids import IDENTITY, read_maps
from supervisor.spec import etc_files
from supervisor.spec.codec import to_json
from supervisor.spec.mount_plan import plan_mounts
from supervisor.spec.namespaces import Modes, read_modes
from supervisor.spec.types import Mount
from supervisor.store.comparisons import Comparisons
from supervisor.store.work import work
from supervisor.store.work_pipes import Output, draw, feed
from supervisor.wire.path_stat import PathStat

if TYPE_CHECKING:
    from supervisor.engine.container import Container
    from supervisor.engine.engine import Engine
    from supervisor.engine.record import Record

# What init mounts there in every container is not what a copy at rest is made of.
_KERNEL_FOLDERS = ("/dev/", "/proc/", "/sys/")


class View(msgspec.Struct, frozen=True):
    """A container's filesystem as arguments and fds of a worker's operation."""

    fields: Mapping[str, Any]
    fds: Mapping[str, int]


class Archives:
    """The engine's part for `docker cp`, `export` and `diff`. Raises OrlopError."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._comparisons = Comparisons()

    async def stat(self, ref: str, path: str) -> PathStat:
        """What is at `path`: a link itself, unless the path ends in a slash or "/."."""
        async with self._view(self._engine.find(ref)) as view:
            arguments = {"view": view.fields, "path": path}
            with _naming(path, ref):
                return _path_stat(await work("archive_stat", arguments, fds=view.fds))

    @asynccontextmanager
    async def get(self, ref: str, path: str) -> AsyncIterator[tuple[PathStat, Output]]:
        """What is at `path`, and a tar of it in pieces."""
        container = self._engine.find(ref)
        async with self._view(container) as view:
            arguments = {"view": view.fields, "path": path}
            with _naming(path, ref):
                async with draw("archive_get", arguments, fds=view.fds) as output:
                    self._emit(container, "archive-path")
                    yield _path_stat(output.first), output

    async def put(
        self,
        ref: str,
        path: str,
        pieces: AsyncIterable[bytes],
        *,
        keep_types: bool,
        as_user: bool,
    ) -> None:
        """Make what a tar holds, plain or compressed, in the folder `path`.

        `keep_types` refuses to replace a folder by something else and the reverse; `as_user`
        gives it all to the container's configured user, if it has one.
        """
        container = self._engine.find(ref)
        async with self._view(container, write=True) as view:
            arguments = {
                "view": view.fields,
                "path": path,
                "keep_types": keep_types,
                "user": container.record.options.user if as_user else "",
            }
            with _naming(path, ref):
                await feed("archive_put", arguments, pieces, fds=view.fds)
        self._emit(container, "extract-to-dir")

    @asynccontextmanager
    async def export(self, ref: str) -> AsyncIterator[Output]:
        """A tar of the root filesystem, without what is mounted in it."""
        container = self._engine.find(ref)
        async with (
            self._view(container, mounts=False) as view,
            draw("export", {"view": view.fields}, fds=view.fds) as output,
        ):
            self._emit(container, "export")
            yield output

    async def changes(self, ref: str) -> list[Change]:
        """What differs from the image, in docker's order."""
        record = self._engine.find(ref).record
        if record.rootfs_writable:
            raise InvalidArgument(
                f"container {record.name} runs on a folder itself: there is nothing to compare"
            )
        upper = self._engine.host.root.bundle(record.id) / "upper"
        changes = await self._comparisons.of(str(upper), record.lowers)
        return without_stubs([Change(kind, path) for kind, path in changes], record.stubs)

    def _emit(self, container: Container, action: str) -> None:
        self._engine.host.emit(container.record, action, {})

    # --- views --------------------------------------------------------------------------

    @asynccontextmanager
    async def _view(
        self, container: Container, *, write: bool = False, mounts: bool = True
    ) -> AsyncIterator[View]:
        """The container's filesystem, for as long as the block needs it."""
        inside: list[View] = []

        def choose() -> Use | None:
            if container.state.phase in (Phase.REMOVING, Phase.DEAD):
                return None
            if container.state.pid:
                view = look_inside(container.state.pid, container.id, bare=not mounts)
                if view is None:
                    return None
                inside.append(view)
                return Use.INSIDE
            if container.state.live:
                return None
            return Use.WRITER if write else Use.READER

        try:
            async with container.tree.copy(choose) as use:
                if use is Use.INSIDE:
                    yield inside[-1]
                else:
                    yield View(self._at_rest(container, write=write, mounts=mounts), {})
        finally:
            for view in inside:
                os.close(view.fds["namespace"])

    def _at_rest(self, container: Container, *, write: bool, mounts: bool) -> dict[str, Any]:
        """The fields of a view of a container that does not run."""
        record = container.record
        bundle = self._engine.host.root.bundle(record.id)
        modes = read_modes(record.options)
        wanted = binds_at_rest(record, modes, bundle) if mounts else []
        return {
            "lowers": list(record.lowers),
            "upper": "" if record.rootfs_writable else str(bundle / "upper"),
            "work": str(bundle / "work"),
            "mounts": [to_json(mount) for mount in wanted],
            "write": write,
            "read_only": record.options.read_only,
            "ids": modes.uid_mappings[0].size if modes.uid_mappings else 0,
        }


def binds_at_rest(record: Record, modes: Modes, bundle: Path) -> list[Mount]:
    """What of a container's mounts is there without a run: binds, volumes, its last files."""
    provided = [
        Mount(destination=path, type="bind", source=str(bundle / Path(path).name))
        for path in etc_files.PATHS
        if record.state.run and (bundle / Path(path).name).exists()
    ]
    planned = plan_mounts(record.options, modes, has_cgroup=False, provided=provided)
    return [
        mount
        for mount in planned
        if mount.type == "bind" and not mount.destination.startswith(_KERNEL_FOLDERS)
    ]


def look_inside(pid: int, container_id: str, *, bare: bool) -> View | None:
    """The mounts of a container's process; None when it has ended.

    The fd of its mount namespace keeps them all, also when the process ends meanwhile.
    """
    try:
        namespace = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        maps = read_maps(pid)
        ours = _is_in_cgroup_of(pid, container_id)
    except OSError:
        maps, ours = IDENTITY, False
    if not ours:
        os.close(namespace)
        return None
    fields = {"uids": maps.uids, "gids": maps.gids, "bare": bare}
    return View(fields, {"namespace": namespace})


def _is_in_cgroup_of(pid: int, container_id: str) -> bool:
    """Whether it is a container's process still, not another one with its number."""
    fd = os.open(f"/proc/{pid}/cgroup", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return container_id.encode() in os.read(fd, 1 << 16)
    finally:
        os.close(fd)


@contextmanager
def _naming(path: str, ref: str) -> Iterator[None]:
    """An error about a path that is not there names path and container as they were given."""
    try:
        yield
    except NotFound:
        raise NotFound(f"Could not find the file {path} in container {ref}") from None


def _path_stat(fields: Mapping[str, Any]) -> PathStat:
    return PathStat(
        name=fields["name"],
        size=fields["size"],
        mode=fields["mode"],
        mtime=rfc3339_nano(fields["mtime_ns"]),
        link_target=fields["link_target"],
    )
