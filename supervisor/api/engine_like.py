"""The engine as the API sees it; `supervisor.engine.engine.Engine` is the real one.

A `ref` is an id, a unique prefix of one, or a name. Everything raises OrlopError.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Protocol

from supervisor.docker.create import CreateBody
from supervisor.docker.exec import ExecBody
from supervisor.docker.images import ImageLike
from supervisor.docker.streams import AttachOptions, LogOptions
from supervisor.docker.update import UpdateBody
from supervisor.docker.views import ContainerView, Event, ExecView, HostInfo
from supervisor.store.removal import ImageUse
from supervisor.wire.logrecord import Record


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

    async def remove(
        self, ref: str, *, in_use: Callable[[], Iterable[ImageUse]], force: bool
    ) -> Sequence[Mapping[str, str]]:
        """Untag, and delete what has no name any more; docker's rows of what was done."""

    async def scratch(self, ref: str, binaries: Sequence[str]) -> ImageLike:
        """A one-layer image of these programs of the host, of busybox for none."""


class EngineLike(Protocol):
    """What the handlers ask for."""

    @property
    def images(self) -> ImagesLike: ...

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

    async def update(self, ref: str, body: UpdateBody) -> Sequence[str]: ...

    async def wait(self, ref: str, condition: str) -> Waiter:
        """Registered when this returns; `condition` is not-running, next-exit or removed."""

    async def top(self, ref: str, ps_args: str) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
        """Titles and rows."""

    def inspect(self, ref: str) -> ContainerView: ...

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

    def info(self) -> HostInfo: ...

    def features(self) -> Sequence[FeatureLike]: ...
