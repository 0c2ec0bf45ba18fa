"""Explaining the illusion: layers, where a path comes from, and what a container is made of."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from supervisor.docker.explain import Subject, explain_json
from supervisor.docker.explain_layers import LayerFacts, StepLike, layers_json, names, stack_json
from supervisor.docker.explain_mounts import Purposes
from supervisor.docker.explain_whence import Layers, whence_json
from supervisor.engine.archives import look_inside
from supervisor.engine.kernel_reading import host_namespaces, read_live
from supervisor.errors import InvalidArgument, NotFound, Unavailable
from supervisor.lifecycle.state import docker_status
from supervisor.oci.config import parse_history
from supervisor.spec.codec import from_json, to_json
from supervisor.spec.namespaces import donors
from supervisor.spec.types import Spec
from supervisor.store.images import Image
from supervisor.store.work import work
from supervisor.wire.shim_protocol import CONFIG_NAME

if TYPE_CHECKING:
    from supervisor.engine.container import Container
    from supervisor.engine.engine import Engine


PATIENCE_SECONDS = 30.0


class Found(msgspec.Struct, frozen=True):
    """What a reference is: a container with its image, if that is known, or an image."""

    container: Container | None
    image: Image | None

    @property
    def subject(self) -> dict[str, Any]:
        """Who it is, for the answers."""
        image = self.image
        container = self.container
        if container is not None:
            return {
                "kind": "container",
                "id": container.id,
                "name": container.record.name,
                "image": names(image.tags, image.id)[0] if image else container.record.image_ref,
            }
        assert image is not None
        name = names(image.tags, image.id)[0]
        return {"kind": "image", "id": image.id, "name": name, "image": name}


class Explaining:
    """The engine's part of `orlop layers`, `whence` and `explain`. Raises OrlopError."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # Reading a process's memory (its command line) may wait for what it has mapped there.
        self._readers = trio.CapacityLimiter(4)

    # --- layers -------------------------------------------------------------------------

    async def layers(self, ref: str) -> dict[str, Any]:
        """The stack of a container or image: sizes, instructions, who shares what."""
        found = self._find(ref)
        rows = await self._layers(found)
        writable = None
        if found.container is not None and not found.container.record.rootfs_writable:
            folder = str(self._engine.host.bundle(found.container) / "upper")
            usage = await work("usage", {"folder": folder})
            writable = {"folder": folder, "size": usage["size"], "inodes": usage["inodes"]}
        return stack_json(found.subject, rows, writable)

    async def _layers(self, found: Found) -> list[dict[str, Any]]:
        """The read-only layers, top-most first."""
        sharing = self._sharing()
        if found.image is None:  # a folder of the host instead of an image's layers
            assert found.container is not None
            facts = [
                LayerFacts(folder=folder, containers=tuple(sharing.containers[folder]))
                for folder in found.container.record.lowers
            ]
            return layers_json(facts, ())
        image = found.image
        sizes = image.layer_sizes
        facts = [
            LayerFacts(
                folder=folder,
                chain_id=str(chain_id),
                diff_id=diff_id,
                size=size,
                images=tuple(sharing.images[folder]),
                containers=tuple(sharing.containers[folder]),
            )
            for folder, chain_id, diff_id, size in zip(
                map(str, self._engine.images.lowers(image)),
                reversed(image.chain),
                reversed(image.layers),
                reversed(sizes),
                strict=True,
            )
        ]
        return layers_json(facts, _history(image))

    def _sharing(self) -> Sharing:
        sharing = Sharing(defaultdict(list), defaultdict(list))
        for image in self._engine.images.list():
            for layer in self._engine.images.lowers(image):
                sharing.images[str(layer)] += names(image.tags, image.id)
        for container in self._engine.containers.values():
            for folder in container.record.lowers:
                sharing.containers[folder].append(container.record.name)
        return sharing

    # --- whence -------------------------------------------------------------------------

    async def whence(self, ref: str, path: str, *, follow: bool = True) -> dict[str, Any]:
        """Which layer or mount a path comes from; a path begins at the container's root."""
        if not path:
            raise InvalidArgument("the query parameter 'path' is missing: give a path")
        found = self._find(ref)
        rows = await self._layers(found)
        if found.container is None:
            folders, writable, purposes = [row["folder"] for row in rows], False, None
            answer = await self._ask(path, follow, folders, mounts=[])
        else:
            writable = not found.container.record.rootfs_writable
            spec = await self._spec(found.container)
            purposes = Purposes(spec, found.container.record.mounts)
            answer = await self._ask_container(found.container, spec, path, follow)
        return whence_json(found.subject, path, answer, Layers(rows, writable=writable), purposes)

    async def _ask_container(
        self, container: Container, spec: Spec, path: str, follow: bool
    ) -> dict[str, Any]:
        root = spec.root
        folders = [root.upper, *root.lower] if root.upper else list(root.lower[:1])
        overlay = bool(root.upper)
        pid = container.state.pid
        view = look_inside(pid, container.id, bare=False) if pid else None
        if view is None:
            mounts = [to_json(mount) for mount in spec.mounts]
            return await self._ask(path, follow, folders, overlay=overlay, mounts=mounts)
        try:
            return await self._ask(
                path, follow, folders, overlay=overlay, fds=view.fds, view=view.fields, pid=pid
            )
        finally:
            for fd in view.fds.values():
                os.close(fd)

    async def _ask(
        self,
        path: str,
        follow: bool,
        folders: Sequence[str],
        *,
        overlay: bool = True,
        fds: Mapping[str, int] | None = None,
        **place: Any,
    ) -> dict[str, Any]:
        arguments = {"path": path, "follow": follow, "layers": list(folders), "overlay": overlay}
        with _patience():
            return await work("whence", {**arguments, **place}, fds=fds)

    # --- explain ------------------------------------------------------------------------

    async def explain(self, ref: str) -> dict[str, Any]:
        """What makes the container: from the kernel while it runs, else what it will be."""
        container = self._engine.find(ref)
        record, host = container.record, self._engine.host
        spec = await self._spec(container)
        limits: dict[str, str] = {}
        for write in host.writes(record.options):
            before = limits.get(write.file)
            limits[write.file] = f"{before}\n{write.value}" if before else write.value
        subject = Subject(
            id=record.id,
            name=record.name,
            status=docker_status(container.state),
            image=record.image_ref,
            spec=spec,
            points=record.mounts,
            limits=limits,
            cgroups=self._cgroups(container),
            host_name=os.uname().nodename,
            host_namespaces=await trio.to_thread.run_sync(host_namespaces),
            security_opts=record.options.security_opts,
            joined={k: f"container {ref[:12]}" for k, ref in donors(record.options).items()},
        )
        pid = container.state.pid
        if not pid:
            return explain_json(subject, None)
        group = host.hierarchy.open(container.id)
        hidden = (*spec.masked_paths, *spec.readonly_paths)
        with _patience():
            live = await trio.to_thread.run_sync(
                read_live,
                *(pid, container.id, group, hidden),
                limiter=self._readers,
                abandon_on_cancel=True,
            )
        return explain_json(subject, live)

    def _cgroups(self, container: Container) -> list[tuple[str, str]]:
        """Where the container's groups will be: (controllers, path), "" for v2."""
        hierarchy, layout = self._engine.host.hierarchy, self._engine.host.layout
        path = f"/{hierarchy.parent}/{container.id}"
        found = [(",".join(names), path) for names in _together(layout.v1)]
        return [*found, ("", path)] if layout.unified else found

    # --- finding ------------------------------------------------------------------------

    def _find(self, ref: str) -> Found:
        if not ref:
            raise InvalidArgument("the query parameter 'ref' is missing: name a container or image")
        try:
            container = self._engine.find(ref)
        except NotFound:
            try:
                return Found(None, self._engine.images.get(ref))
            except (NotFound, InvalidArgument):
                raise NotFound(f"No such container or image: {ref}") from None
        return Found(container, self._engine.images.find(container.record.image_id))

    async def _spec(self, container: Container) -> Spec:
        """The runtime spec of the present run, else of the next one."""
        host = self._engine.host
        if container.state.live:
            path = host.bundle(container) / CONFIG_NAME
            spec = await trio.to_thread.run_sync(_read_spec, path)
            if spec is not None:
                return spec
        return host.spec(container.record, container.state.run + 1)


class Sharing(msgspec.Struct, frozen=True):
    """Names of images, and of containers, by the folder of a layer they stand on."""

    images: defaultdict[str, list[str]]
    containers: defaultdict[str, list[str]]


@contextmanager
def _patience() -> Iterator[None]:
    """Unavailable where the container's own files or memory do not let us look in time."""
    with trio.move_on_after(PATIENCE_SECONDS) as scope:
        yield
    if scope.cancelled_caught:
        raise Unavailable(f"looking into the container took longer than {PATIENCE_SECONDS:g} s")


def _together(v1: Mapping[str, str]) -> list[list[str]]:
    """Controllers grouped by the hierarchy they share."""
    folders: dict[str, list[str]] = {}
    for controller in sorted(v1):
        folders.setdefault(v1[controller], []).append(controller)
    return list(folders.values())


def _history(image: Image) -> Sequence[StepLike]:
    return parse_history(image.config_json)


def _read_spec(path: Path) -> Spec | None:
    """A bundle's spec; None where it is being written or the bundle is gone."""
    try:
        return from_json(Spec, json.loads(path.read_bytes()))
    except (OSError, ValueError):
        return None
