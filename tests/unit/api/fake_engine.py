"""An engine in memory: containers that `echo` or `cat`, without a process or a kernel object."""

from __future__ import annotations

import builtins
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass, field, replace

import msgspec
import trio

from supervisor.docker.create import CreateBody, command, merge_image
from supervisor.docker.disk_usage import ContainerUsage, DiskUsage, ImageUsage
from supervisor.docker.exec import ExecBody
from supervisor.docker.impair import ImpairBody
from supervisor.docker.options import container_options
from supervisor.docker.streams import AttachOptions, LogOptions
from supervisor.docker.update import UpdateBody
from supervisor.docker.views import ContainerView, Event, ExecView, HostInfo
from supervisor.errors import Conflict, InvalidArgument, NotFound, NotModified
from supervisor.oci.config import ImageConfig
from supervisor.spec.types import Device
from supervisor.store.image import Image
from supervisor.wire import stdcopy
from supervisor.wire.logrecord import Record
from tests.unit.api.fake_archives import FakeArchives
from tests.unit.api.fake_explaining import FakeExplaining
from tests.unit.api.fake_images import FakeImageService
from tests.unit.api.fake_metering import FakeMetering
from tests.unit.api.fake_networks import FakeNetworks
from tests.unit.api.fake_registries import FakeRegistries
from tests.unit.api.fake_volumes import FakeVolumes

IMAGE = Image(
    id=f"sha256:{'a' * 64}",
    tags=("tools:latest",),
    created="2026-11-21T03:27:45Z",
    size=1986170,
    layer_sizes=(1986170,),
    layers=(f"sha256:{'b' * 64}",),
    architecture="amd64",
    config=ImageConfig(cmd=("sh",), env=("PATH=/bin",), labels={"from": "image"}),
)


@dataclass
class FakeContainer:
    view: ContainerView
    attached: list[tuple[int, AttachOptions]] = field(default_factory=list)
    log: list[Record] = field(default_factory=list)
    over: trio.Event = field(default_factory=trio.Event)
    gone: trio.Event = field(default_factory=trio.Event)
    kill: trio.Event = field(default_factory=trio.Event)


@dataclass
class FakeExec:
    view: ExecView


@dataclass(frozen=True)
class FakeFeature:
    name: str = "overlay"
    status: str = "ok"
    found: str = "yes"
    why: str = "root filesystems"
    fix: str = ""


class FakeImages:
    def __init__(self) -> None:
        self.images = [IMAGE]

    def list(self) -> Sequence[Image]:
        return self.images

    def get(self, ref: str) -> Image:
        name = ref if ":" in ref.rpartition("/")[2] else f"{ref}:latest"
        for image in self.images:
            if name in image.tags or image.id == ref:
                return image
        raise NotFound(f"No such image: {name}")

    async def scratch(self, ref: str, binaries: Sequence[str]) -> Image:
        image = msgspec.structs.replace(IMAGE, id=f"sha256:{secrets.token_hex(32)}", tags=(ref,))
        self.images.append(image)
        return image


class FakeWaiter:
    def __init__(self, container: FakeContainer, event: trio.Event) -> None:
        self._container, self._event = container, event

    async def result(self) -> tuple[int, str]:
        await self._event.wait()
        return self._container.view.exit_code, self._container.view.error


class FakeEngine:
    """`waiting` counts waits; `timeouts` are what stop was asked for."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.images = FakeImages()
        self.image_service = FakeImageService(self)
        self.archives = FakeArchives()
        self.explaining = FakeExplaining()
        self.metering = FakeMetering()
        self.networks = FakeNetworks(self.find)
        self.registries = FakeRegistries()
        self.volumes = FakeVolumes()
        self.containers: dict[str, FakeContainer] = {}
        self.execs: dict[str, FakeExec] = {}
        self.stops: list[tuple[float | None, str | None]] = []
        self.kills: list[str] = []
        self.resizes: list[tuple[str, int, int]] = []
        self.updates: list[UpdateBody] = []
        self.impairments: list[ImpairBody] = []
        self.subscribers: list[trio.MemorySendChannel[Event]] = []
        self.past: list[Event] = []
        self.following = 0

    # --- containers -----------------------------------------------------------------------

    async def create(self, body: CreateBody, name: str | None) -> tuple[str, Sequence[str]]:
        image = None if body.host_config.orlop_rootfs else self.images.get(body.image)
        merged = merge_image(body, image.config if image else None)
        container_options(merged, no_devices)
        new = secrets.token_hex(32)
        if name is not None and any(c.view.name == name for c in self.containers.values()):
            raise Conflict(f'Conflict. The container name "/{name}" is already in use')
        self.containers[new] = FakeContainer(
            ContainerView(
                id=new,
                name=name or f"n{new[:8]}",
                created_ns=time.time_ns(),
                image_id=image.id if image else "",
                body=merged,
                hostname=new[:12],
            )
        )
        self.emit("create", new)
        return new, []

    def find(self, ref: str) -> FakeContainer:
        for container in self.containers.values():
            if container.view.id.startswith(ref) or container.view.name == ref.removeprefix("/"):
                return container
        raise NotFound(f"No such container: {ref}")

    def change(self, container: FakeContainer, **fields: object) -> None:
        container.view = replace(container.view, **fields)  # type: ignore[arg-type]

    async def start(self, ref: str) -> None:
        container = self.find(ref)
        if container.view.running:
            raise NotModified("running already")
        if command(container.view.body)[0] == "/nonexistent":
            error = 'exec: "/nonexistent": stat /nonexistent: no such file or directory'
            self._end(container, 127, error)
            raise InvalidArgument(error)
        self.change(container, status="running", pid=4711, started_ns=time.time_ns())
        if container.over.is_set():
            container.over, container.kill = trio.Event(), trio.Event()
        self.emit("start", container.view.id)
        self.nursery.start_soon(self._run, container)

    async def _run(self, container: FakeContainer) -> None:
        words = command(container.view.body)
        code = 0
        if words[0] == "echo":
            await self.say(container, "stdout", " ".join(words[1:]).encode() + b"\n")
        elif words[0] == "cat":
            await self._cat(container)
        elif words[0] == "exit":
            code = int(words[1])
        elif words[0] == "sleep":
            await container.kill.wait()
            code = 137
        self._end(container, code)

    async def say(self, container: FakeContainer, stream: str, data: bytes) -> None:
        """Output: to the log and to whoever is attached."""
        container.log.append(Record(time.time_ns(), stream, data))
        for fd, options in container.attached:
            head = stdcopy.header(1 if stream == "stdout" else 2, len(data))
            send(fd, (head if options.framed else b"") + data)

    async def _cat(self, container: FakeContainer) -> None:
        fd, options = container.attached[0]
        if options.preface:
            await self.say(container, "stdout", options.preface)
        client = trio.socket.fromfd(fd, socket.AF_UNIX, socket.SOCK_STREAM)
        with client:
            while data := await client.recv(4096):
                await self.say(container, "stdout", data)

    def _end(self, container: FakeContainer, code: int, error: str = "") -> None:
        for fd, _ in container.attached:
            socket.close(fd)
        container.attached.clear()
        self.change(
            container,
            status="exited",
            pid=0,
            exit_code=code,
            error=error,
            finished_ns=time.time_ns(),
        )
        container.over.set()
        self.emit("die", container.view.id, exitCode=str(code))
        if container.view.body.host_config.auto_remove:
            self._forget(container)

    def _forget(self, container: FakeContainer) -> None:
        del self.containers[container.view.id]
        container.gone.set()
        self.emit("destroy", container.view.id)

    async def stop(self, ref: str, timeout: float | None, signal: str | None) -> None:
        container = self.find(ref)
        self.stops.append((timeout, signal))
        if not container.view.running:
            raise NotModified("stopped already")
        container.kill.set()
        await container.over.wait()

    async def restart(self, ref: str, timeout: float | None, signal: str | None) -> None:
        await self.stop(ref, timeout, signal)
        await self.start(ref)

    async def kill(self, ref: str, signal: str) -> None:
        container = self.find(ref)
        if not container.view.running:
            raise Conflict(f"cannot kill container: {ref}: container {ref} is not running")
        self.kills.append(signal)
        container.kill.set()

    async def pause(self, ref: str) -> None:
        self.change(self.find(ref), status="paused")

    async def unpause(self, ref: str) -> None:
        self.change(self.find(ref), status="running")

    async def rename(self, ref: str, new: str) -> None:
        self.change(self.find(ref), name=new)

    async def remove(self, ref: str, force: bool, volumes: bool, link: bool) -> None:
        container = self.find(ref)
        if container.view.running and not force:
            raise Conflict(f"cannot remove container {ref!r}: container is running")
        if container.view.running:
            container.kill.set()
            await container.over.wait()
        self._forget(container)

    async def prune(self, wanted: Callable[[ContainerView], bool]) -> tuple[Sequence[str], int]:
        gone = [view.id for view in self.list() if wanted(view)]
        for container in gone:
            await self.remove(container, force=False, volumes=False, link=False)
        return gone, 100 * len(gone)

    async def update(self, ref: str, body: UpdateBody) -> Sequence[str]:
        self.find(ref)
        self.updates.append(body)
        return []

    async def impair(self, ref: str, body: ImpairBody) -> None:
        self.find(ref)
        self.impairments.append(body)

    async def wait(self, ref: str, condition: str) -> FakeWaiter:
        container = self.find(ref)
        event = container.gone if condition == "removed" else container.over
        return FakeWaiter(container, event)

    async def top(self, ref: str, ps_args: str) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
        self.find(ref)
        return ["PID", "CMD"], [["4711", ps_args]]

    def container_id(self, ref: str) -> str:
        return self.find(ref).view.id

    def inspect(self, ref: str) -> ContainerView:
        return self.find(ref).view

    def list(self) -> Sequence[ContainerView]:
        return [c.view for c in reversed(self.containers.values())]

    # --- streams --------------------------------------------------------------------------

    async def attach(self, ref: str, options: AttachOptions, fd: int) -> None:
        self.find(ref).attached.append((fd, options))

    async def resize(self, ref: str, rows: int, columns: int) -> None:
        self.resizes.append((self.find(ref).view.id, rows, columns))

    async def logs(self, ref: str, options: LogOptions) -> AsyncIterator[Record]:
        container = self.find(ref)
        records = container.log if options.tail is None else container.log[-options.tail :]
        for record in list(records):
            yield record
        if options.follow:
            self.following += 1
            try:
                seen = len(container.log)
                while container.view.running:
                    await trio.sleep(0.001)
                    for record in container.log[seen:]:
                        yield record
                    seen = len(container.log)
            finally:
                self.following -= 1

    def emit(self, action: str, id: str, **attributes: str) -> None:
        event = Event(
            type="container",
            action=action,
            id=id,
            time_ns=time.time_ns(),
            attributes={"name": "x", "image": "tools", **attributes},
        )
        self.past.append(event)
        for channel in self.subscribers:
            channel.send_nowait(event)

    async def events(self, since_ns: int | None, until_ns: int | None) -> AsyncIterator[Event]:
        sender, receiver = trio.open_memory_channel[Event](100)
        self.subscribers.append(sender)
        try:
            if since_ns is not None:
                for event in self.past:
                    yield event
            if until_ns is None:
                async for event in receiver:
                    yield event
        finally:
            self.subscribers.remove(sender)

    # --- exec -----------------------------------------------------------------------------

    async def exec_create(self, ref: str, body: ExecBody) -> str:
        container = self.find(ref)
        new = secrets.token_hex(32)
        self.execs[new] = FakeExec(ExecView(id=new, container_id=container.view.id, body=body))
        return new

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
        session = self.execs[exec_id]
        text = " ".join(session.view.body.cmd[1:]).encode() + b"\n" + preface
        if fd >= 0:
            send(fd, (stdcopy.header(1, len(text)) if framed else b"") + text)
            socket.close(fd)
        session.view = msgspec.structs.replace(session.view, exit_code=3, pid=99)

    async def exec_inspect(self, exec_id: str) -> ExecView:
        if exec_id not in self.execs:
            raise NotFound(f"No such exec instance: {exec_id}")
        return self.execs[exec_id].view

    async def exec_resize(self, exec_id: str, rows: int, columns: int) -> None:
        self.resizes.append((exec_id, rows, columns))

    # --- the host -------------------------------------------------------------------------

    async def disk_usage(
        self, objects: Collection[str], only: Collection[str] | None = None
    ) -> DiskUsage:
        images = [
            ImageUsage(image=image, containers=0, shared_size=0) for image in self.images.images
        ]
        containers = [
            ContainerUsage(view=view, written=7, whole=9)
            for view in self.list()
            if only is None or view.id in only
        ]
        return DiskUsage(
            layers_size=IMAGE.size,
            images=images if "image" in objects else None,
            containers=containers if "container" in objects else None,
            volumes=[] if "volume" in objects else None,
        )

    async def info(self) -> HostInfo:
        return HostInfo(
            id="host-1",
            name="here",
            version="0.1",
            root="/var/lib/orlop",
            kernel="6.1.0",
            machine="x86_64",
            containers=len(self.containers),
        )

    def features(self) -> builtins.list[FakeFeature]:
        return [FakeFeature()]


def no_devices(path: str) -> tuple[Device, ...]:
    """A host without devices."""
    raise InvalidArgument(f"{path} is not there")


def send(fd: int, data: bytes) -> None:
    """To a socket that belongs to the engine; a client that has left is no error."""
    end = socket.socket(fileno=fd)
    try:
        end.send(data)
    except OSError:
        pass
    finally:
        end.detach()
