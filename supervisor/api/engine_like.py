"""The engine as the API sees it; `supervisor.engine.engine.Engine` is the real one.

A `ref` is an id, a unique prefix of one, or a name. Everything raises OrlopError.
"""

from __future__ import annotations

from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Mapping,
    Sequence,
)
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, Protocol

from supervisor.docker.changes import Change
from supervisor.docker.commit import CommitOptions
from supervisor.docker.create import CreateBody
from supervisor.docker.disk_usage import DiskUsage
from supervisor.docker.exec import ExecBody
from supervisor.docker.image_filters import ImageFilter
from supervisor.docker.images import ImageLike
from supervisor.docker.impair import ImpairBody
from supervisor.docker.network_body import ConnectBody, NetworkBody
from supervisor.docker.networks import NetworkView
from supervisor.docker.streams import AttachOptions, LogOptions
from supervisor.docker.update import UpdateBody
from supervisor.docker.views import ContainerView, Event, ExecView, HostInfo
from supervisor.docker.volumes import VolumeBody, VolumeLike
from supervisor.oci.config import HistoryEntry
from supervisor.oci.platform import Platform
from supervisor.oci.registry_auth import Credentials
from supervisor.wire.logrecord import Record
from supervisor.wire.path_stat import PathStat


class Waiter(Protocol):
    """A wait that is registered already."""

    async def result(self) -> tuple[int, str]:
        """Exit code, or -1 and why there is none to be had, when it has happened."""


class FeatureLike(Protocol):
    """One line of the doctor's report."""

    @property
    def name(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def found(self) -> str: ...
    @property
    def why(self) -> str: ...
    @property
    def fix(self) -> str: ...


class ImagesLike(Protocol):
    """The image store."""

    def list(self) -> Sequence[ImageLike]:
        """All images."""

    def get(self, ref: str) -> ImageLike:
        """By name[:tag], id prefix or full id."""

    async def scratch(self, ref: str, binaries: Sequence[str]) -> ImageLike:
        """A one-layer image of these programs of the host, of busybox for none."""


class ImageServiceLike(Protocol):
    """What is done with images besides running them; `tell` takes docker's messages."""

    async def load(
        self,
        pieces: AsyncIterable[bytes],
        *,
        platform: Platform | None,
        quiet: bool,
        tell: Callable[[dict[str, Any]], None],
    ) -> None:
        """Load an archive's images."""

    def save(self, refs: Sequence[str]) -> AbstractAsyncContextManager[AsyncIterable[bytes]]:
        """An archive of images in pieces."""

    async def import_tar(
        self,
        pieces: AsyncIterable[bytes],
        *,
        tag: str | None,
        comment: str = "",
        changes: Sequence[str] = (),
        platform: Platform | None = None,
    ) -> ImageLike:
        """An image of one layer from a tar of a root filesystem."""

    async def from_folder(self, folder: str, *, tag: str) -> ImageLike:
        """An image of one layer from a folder of the host."""

    async def commit(self, ref: str, options: CommitOptions) -> ImageLike:
        """An image of what a container has written, over its image."""

    async def tag(self, ref: str, tag: str) -> None: ...

    async def remove(self, ref: str, *, force: bool) -> Sequence[Mapping[str, str]]:
        """Untag, and delete what has no name any more; docker's rows of what was done."""

    async def prune(self, wanted: ImageFilter) -> tuple[Sequence[Mapping[str, str]], int]:
        """Delete what is wanted of those that no container is made of; rows and bytes."""

    def history(self, ref: str) -> tuple[ImageLike, Sequence[HistoryEntry], Sequence[ImageLike]]:
        """An image, its history (oldest first), and itself, its parent and so on."""

    def layer_folders(self, ref: str) -> Sequence[str]:
        """Top-most first."""

    def created_of(self, ref: str) -> str:
        """RFC 3339; InvalidArgument for an image that is not there."""

    def containers_of(self) -> Mapping[str, int]:
        """How many containers there are of each image, by its id."""

    def shared_sizes(self) -> Mapping[str, int]:
        """Bytes in layers that another image has too, by the image's id."""


class ArchivesLike(Protocol):
    """Containers' filesystems."""

    async def stat(self, ref: str, path: str) -> PathStat:
        """What is at `path`; a link itself."""

    def get(
        self, ref: str, path: str
    ) -> AbstractAsyncContextManager[tuple[PathStat, AsyncIterable[bytes]]]:
        """What is at `path`, and a tar of it in pieces."""

    async def put(
        self,
        ref: str,
        path: str,
        pieces: AsyncIterable[bytes],
        *,
        keep_types: bool,
        as_user: bool,
    ) -> None:
        """Extract a tar into the folder `path`."""

    def export(self, ref: str) -> AbstractAsyncContextManager[AsyncIterable[bytes]]:
        """A tar of the root filesystem in pieces."""

    async def changes(self, ref: str) -> Sequence[Change]:
        """What differs from the image."""


class VolumesLike(Protocol):
    """The volumes."""

    def list(self) -> Sequence[VolumeLike]:
        """All volumes, by name."""

    def get(self, name: str) -> VolumeLike: ...

    def used(self) -> Collection[str]:
        """The names of those that a container has."""

    async def create(self, body: VolumeBody) -> VolumeLike:
        """Make one, or find the one that has this name."""

    async def remove(self, name: str, *, force: bool) -> None:
        """With `force`, one that is not there is fine."""

    async def prune(self, wanted: Callable[[VolumeLike], bool]) -> tuple[Sequence[str], int]:
        """Remove what is wanted of those that no container has; names and bytes."""


class NetworkLike(Protocol):
    """A network that was just made."""

    @property
    def id(self) -> str: ...


class NetworksLike(Protocol):
    """The networks."""

    def views(self) -> Sequence[NetworkView]:
        """All networks, with their running containers."""

    def view(self, ref: str) -> NetworkView:
        """By id, unique prefix of one, or name."""

    async def create(self, body: NetworkBody) -> NetworkLike: ...

    async def remove(self, ref: str) -> None:
        """One that no running container is in."""

    async def prune(self, wanted: Callable[[NetworkView], bool]) -> Sequence[str]:
        """Remove what is wanted of those that no running container is in; names."""

    async def connect(self, ref: str, body: ConnectBody) -> None: ...

    async def disconnect(self, ref: str, container: str, *, force: bool) -> None: ...


class ExplainingLike(Protocol):
    """What containers and images are made of, as JSON values."""

    async def layers(self, ref: str) -> Mapping[str, Any]:
        """The stack of layers."""

    async def whence(self, ref: str, path: str, *, follow: bool = True) -> Mapping[str, Any]:
        """Which layer or mount `path` comes from."""

    async def explain(self, ref: str) -> Mapping[str, Any]:
        """Namespaces, mounts, limits and privileges of a container."""


class RegistriesLike(Protocol):
    """What is done with registries; `tell` takes docker's progress messages."""

    async def pull(
        self,
        ref: str,
        *,
        platform: Platform | None,
        credentials: Credentials,
        tell: Callable[[dict[str, Any]], None],
        all_tags: bool,
    ) -> None:
        """Bring an image in; `platform` None is the host's."""

    async def push(
        self, ref: str, *, credentials: Credentials, tell: Callable[[dict[str, Any]], None]
    ) -> None:
        """Bring an image out; all tags of a name without one."""

    async def log_in(self, credentials: Credentials) -> str:
        """Check credentials; an identity token in exchange, or ""."""

    async def inspect(self, ref: str, credentials: Credentials) -> Mapping[str, Any]:
        """Docker's DistributionInspect."""

    async def search(
        self, term: str, limit: int, credentials: Credentials
    ) -> Sequence[Mapping[str, Any]]:
        """Docker's rows of repositories."""


class MeteringLike(Protocol):
    """What containers use; Unavailable where metrics are off."""

    def operation(self, operation: str) -> AbstractContextManager[None]:
        """Around the answer to one of the routing table's operations: it is timed."""

    def pulling(self) -> AbstractContextManager[None]:
        """Around a pull: it is timed."""

    def answered(self, operation: str, status: int, begun: float) -> None:
        """A request, begun at that `time.perf_counter()`, has its answer; "" = no operation."""

    async def scrape(
        self, accept: str
    ) -> tuple[str, Callable[[Callable[[bytes], Awaitable[None]]], Awaitable[None]]]:
        """A content type that suits the Accept header, and what writes the exposition."""

    async def usage(
        self, *, history: bool
    ) -> Callable[[Callable[[bytes], Awaitable[None]]], Awaitable[None]]:
        """What writes the JSON of what all containers use now, or used in their last minute."""

    def stats(
        self, container_id: str, before: Any = None, *, compare: bool = False
    ) -> tuple[Mapping[str, Any], Any]:
        """Docker's figures now, and a sample: the next call's `before`."""


class EngineLike(Protocol):
    """What the handlers ask for."""

    @property
    def archives(self) -> ArchivesLike: ...

    @property
    def explaining(self) -> ExplainingLike: ...

    @property
    def images(self) -> ImagesLike: ...

    @property
    def image_service(self) -> ImageServiceLike: ...

    @property
    def metering(self) -> MeteringLike: ...

    @property
    def networks(self) -> NetworksLike: ...

    @property
    def registries(self) -> RegistriesLike: ...

    @property
    def volumes(self) -> VolumesLike: ...

    async def create(self, body: CreateBody, name: str | None) -> tuple[str, Sequence[str]]:
        """Id and warnings of a new container; `name` None = a generated one."""

    async def start(self, ref: str) -> None: ...

    async def stop(self, ref: str, timeout: float | None, signal: str | None) -> None:
        """`timeout` None = the container's own, negative = for ever; likewise `signal`."""

    async def restart(self, ref: str, timeout: float | None, signal: str | None) -> None: ...

    async def kill(self, ref: str, signal: str) -> None: ...

    async def pause(self, ref: str) -> None: ...

    async def unpause(self, ref: str) -> None: ...

    async def rename(self, ref: str, new: str) -> None: ...

    async def remove(self, ref: str, force: bool, volumes: bool, link: bool) -> None: ...

    async def prune(self, wanted: Callable[[ContainerView], bool]) -> tuple[Sequence[str], int]:
        """Remove what is wanted of the containers at rest; ids, and bytes they had written."""

    async def update(self, ref: str, body: UpdateBody) -> Sequence[str]: ...

    async def impair(self, ref: str, body: ImpairBody) -> None: ...

    async def wait(self, ref: str, condition: str) -> Waiter:
        """Registered when this returns; `condition` is not-running, next-exit or removed."""

    async def top(self, ref: str, ps_args: str) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
        """Titles and rows."""

    def inspect(self, ref: str) -> ContainerView: ...

    def container_id(self, ref: str) -> str: ...

    def list(self) -> Sequence[ContainerView]:
        """All containers, newest first."""

    async def attach(self, ref: str, options: AttachOptions, fd: int) -> None:
        """Owns `fd`, a connected stream socket, from the call on, also when it raises."""

    async def resize(self, ref: str, rows: int, columns: int) -> None: ...

    def logs(self, ref: str, options: LogOptions) -> AsyncIterator[Record]: ...

    def events(self, since_ns: int | None, until_ns: int | None) -> AsyncIterator[Event]:
        """Subscribed at the first step of the iteration, before it waits."""

    async def exec_create(self, ref: str, body: ExecBody) -> str:
        """The session's id."""

    async def exec_start(
        self,
        exec_id: str,
        *,
        detached: bool,
        framed: bool,
        rows: int,
        columns: int,
        preface: bytes,
        fd: int,
    ) -> None:
        """Owns `fd` (-1: no client), as `attach` does; returns when the session's program runs.

        Why it cannot is raised, and told to the client on `fd`.
        """

    async def exec_inspect(self, exec_id: str) -> ExecView: ...

    async def exec_resize(self, exec_id: str, rows: int, columns: int) -> None: ...

    async def info(self) -> HostInfo: ...

    async def disk_usage(
        self, objects: Collection[str], only: Collection[str] | None = None
    ) -> DiskUsage:
        """Of "image", "container", "volume"; of containers those whose ids are in `only`."""

    def features(self) -> Sequence[FeatureLike]: ...
