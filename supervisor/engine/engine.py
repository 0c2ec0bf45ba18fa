"""The engine: every container of this supervisor by id and name, and what one can ask of them.

The API calls it; it validates, finds the container, posts requests to its actor and waits
for the state that answers. It answers questions about state from memory, never from a
container's task: a stuck container slows nobody.
"""

from __future__ import annotations

import builtins
import logging
import os
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from netplumb.plan.model import Limits
from supervisor import failpoints
from supervisor.docker.create import CreateBody, merge_image
from supervisor.docker.disk_usage import DiskUsage
from supervisor.docker.exec import ExecBody
from supervisor.docker.impair import ImpairBody
from supervisor.docker.mounts import inherit, mount_points, volumes_from
from supervisor.docker.options import container_options
from supervisor.docker.ports import port_warnings
from supervisor.docker.streams import AttachOptions, LogOptions
from supervisor.docker.update import UpdateBody, apply_update
from supervisor.docker.views import ContainerView, Event, ExecView, HostInfo
from supervisor.engine import (
    checks,
    device_nodes,
    disk_usage,
    host_info,
    processes,
    recovery,
    view,
)
from supervisor.engine.archives import Archives
from supervisor.engine.attach import attach_fields, send_log
from supervisor.engine.container import Container
from supervisor.engine.exec_session import ExecSessions
from supervisor.engine.health import HealthChecks
from supervisor.engine.host import Host
from supervisor.engine.image_service import ImageService
from supervisor.engine.logs import read_log
from supervisor.engine.network_copies import NetworkCopies
from supervisor.engine.network_members import as_resolved, resolve_body, resolve_networks
from supervisor.engine.network_runs import NetworkRuns
from supervisor.engine.networks import Networks
from supervisor.engine.prune import Pruning
from supervisor.engine.reconcile import Reconciler
from supervisor.engine.record import Record
from supervisor.engine.userns import UserNamespaces
from supervisor.engine.volume_runs import VolumeRuns
from supervisor.engine.volume_taking import Taking, fill, taking
from supervisor.engine.volumes import Volumes
from supervisor.engine.waiter import Waiter
from supervisor.errors import Conflict, InvalidArgument, NotFound, OrlopError
from supervisor.kernel.probe import Feature, probe
from supervisor.lifecycle import ids
from supervisor.lifecycle import machine as m
from supervisor.lifecycle.restart import RestartPolicy, restart_policy
from supervisor.oci.platform import of_machine
from supervisor.oci.reference import Reference
from supervisor.registry.config import RegistryConfig
from supervisor.registry.service import Registries
from supervisor.spec.mount_points import MountPoint
from supervisor.spec.options import ContainerOptions
from supervisor.spec.signals import parse_signal
from supervisor.spec.types import Spec
from supervisor.spec.values import replace
from supervisor.store.images import Image, ImageStore
from supervisor.store.removal import ImageUse
from supervisor.store.row_copies import RowCopies
from supervisor.wire.logrecord import Record as LogRecord

if TYPE_CHECKING:
    from supervisor.engine.explain import Explaining

log = logging.getLogger("orlop.engine")

DEFAULT_STOP_SECONDS = 10.0
KILL_SECONDS = 10.0


class Engine:
    """`images` is the image store. All methods raise OrlopError for what cannot be."""

    def __init__(self, host: Host, images: ImageStore, engine_id: str) -> None:
        self.host = host
        self.images = images
        self.engine_id = engine_id
        self.containers: ids.ById[Container] = ids.ById()
        self.names: dict[str, str] = {}
        self.execs = ExecSessions(self)
        self.health = HealthChecks(self)
        self.volumes = Volumes(host, self.containers.values)
        self.networks = Networks(host, engine_id, self.containers.values, self.find)
        self.network_runs = NetworkRuns(host, self.networks, self.containers.values)
        self.networks.runs, host.network_runs = self.network_runs.changes, self.network_runs
        self.networks.copies = NetworkCopies(RowCopies(host.root.networks))
        self.userns = UserNamespaces(self.containers.values)
        self.archives = Archives(self)
        self.registries = Registries(
            images, RegistryConfig(), of_machine(os.uname().machine), self._image_moved
        )
        self.metering = host.metering
        self.image_service = ImageService(self)
        self.metering.image_bytes = self.image_service.layers_size
        self.registries.received = self.metering.received
        self.pruning = Pruning(self)
        self.reconciling = Reconciler(self)
        self._nursery: trio.Nursery | None = None
        self._rng = random.Random()  # noqa: S311 - names are no secrets
        host.forget, host.find = self._forget, self.find
        host.exec_exited, host.detached = self.execs.exited, self.execs.detached
        host.look_at_execs = self.execs.look_again
        host.run_ended = self.execs.container_ended
        host.run_seen = self.health.look
        host.copies.is_made = self.containers.__contains__
        runs = VolumeRuns(self.volumes)
        host.prepare_run, host.tell_volumes = runs.prepare, runs.tell
        host.let_go_volumes = self.volumes.let_go

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Recover what is on disk, then serve until cancelled; started once recovery is done."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await self.host.run(nursery)
            await self.volumes.load()
            await self.networks.load()
            await recovery.recover(self)
            nursery.start_soon(self._run_networks)
            nursery.start_soon(self.reconciling.run)
            task_status.started()
            await trio.sleep_forever()

    async def _run_networks(self) -> None:
        await self.userns.is_default()  # the first create need not wait for it
        await self.network_runs.run()

    # --- finding ------------------------------------------------------------------------

    def find(self, ref: str) -> Container:
        """By id, name or unique id prefix; NotFound or InvalidArgument in docker's words."""
        container = self.containers.get(ids.resolve(ref, self.containers, self.names))
        if container is None:  # the name is taken by one that is still being created
            raise NotFound(f"No such container: {ref}")
        return container

    def container_id(self, ref: str) -> str:
        """The whole id of what `find` finds."""
        return self.find(ref).id

    def inspect(self, ref: str) -> ContainerView:
        """What there is to say about one container."""
        return view.container_view(self, self.find(ref))

    def list(self) -> list[ContainerView]:
        """All containers, newest first."""
        newest = sorted(self.containers.values(), key=lambda c: -c.record.created_ns)
        return [view.container_view(self, c) for c in newest]

    def _image_moved(self, action: str, image: Image, ref: Reference) -> None:
        attributes = {**image.config.labels, "name": ref.familiar_name}
        self.host.bus.publish("image", action, ref.familiar, attributes)

    # --- creating -----------------------------------------------------------------------

    async def create(self, body: CreateBody, name: str | None) -> tuple[str, builtins.list[str]]:
        """Make a container's record and folders; its id and warnings."""
        if body.host_config.orlop_rootfs:
            return await self._create(body, name, None)
        image = self.images.get(body.image)
        with self.images.hold(image):  # its layers stay until the record refers to them
            return await self._create(body, name, image)

    async def _create(
        self, body: CreateBody, name: str | None, image: Image | None
    ) -> tuple[str, builtins.list[str]]:
        merged = merge_image(body, image.config if image else None)
        points = mount_points(merged, self._inherited(merged))
        options = self._options(merged, points)
        options = resolve_networks(self.networks, self.find, options)
        checks.check_binds(points)
        lowers = self._lowers(image, body)
        policy = _policy(options)
        container_id = self._new_id()
        record = Record(
            id=container_id,
            name=self._take_name(name, container_id),
            created_ns=time.time_ns(),
            image_id=image.id if image else "",
            image_ref=body.image,
            lowers=lowers,
            rootfs_writable=body.host_config.orlop_rootfs_writable,
            body=resolve_body(merged, options),
            options=options,
            endpoints=options.endpoints,
            state=m.State(auto_remove=options.auto_remove, policy=policy),
        )
        try:
            async with taking(self.volumes, points) as taken:
                record.mounts = taken.points
                if taken.mounts:
                    record.options = replace(options, binds=(*options.binds, *taken.mounts))
                options = await self.userns.give(record)
                first = await self._store(record, taken)
                self.add(record).first_spec = first
        except BaseException:
            self.names.pop(record.name, None)
            raise
        finally:
            self.userns.settled(record)
        self.host.copies.note(record)
        failpoints.hit("create.answer")
        self.host.emit(record, "create", {})
        return container_id, [*port_warnings(merged), *checks.warnings(self.host, options)]

    async def _store(self, record: Record, taken: Taking) -> Spec:
        """Put a new container, and its volumes that are new, on disk; nothing stays if it fails.

        Gives the spec of its first run.
        """
        try:
            first = self.host.spec(record, 1)  # what cannot start is refused now
            failpoints.hit("create.record")
            # The record first: a crash in between leaves a row that start-up can clean after.
            saved = self.host.save(record, taken.rows)
            failpoints.hit("create.folders")
            self.host.make_folders(record)
            self.host.write_config(record, first)  # most are started at once; and the disk is busy
            await saved.wait()
            failpoints.hit("create.volumes")
            await fill(self.volumes, taken, record.lowers)
            return first
        except BaseException:
            with trio.CancelScope(shield=True):
                await self.host.delete(record).wait()
                await self.host.remove_resources(record)
            raise

    def _inherited(self, merged: CreateBody) -> builtins.list[MountPoint]:
        """The mount points of the containers that --volumes-from names."""
        return [
            point
            for ref, access in volumes_from(merged.host_config)
            for point in inherit(self.find(ref).record.mounts, access)
        ]

    def _options(self, merged: CreateBody, points: Sequence[MountPoint]) -> ContainerOptions:
        """The options of a merged request, checked against this host."""
        options = container_options(merged, device_nodes.look_up, points)
        asked = merged.host_config.log_config.config
        options = replace(
            options,
            log_max_size=options.log_max_size if "max-size" in asked else self.host.log_max_size,
            log_max_files=options.log_max_files if "max-file" in asked else self.host.log_max_files,
        )
        checks.check_resources(options.resources)
        return options

    def add(self, record: Record) -> Container:
        """Take a record into service: its actor runs from now on."""
        assert self._nursery is not None
        container = Container(self.host, record, self._nursery)
        self.containers[record.id] = container
        self.names[record.name] = record.id
        self.metering.added(record)
        self._nursery.start_soon(container.run)
        return container

    @property
    def nursery(self) -> trio.Nursery:
        """The engine's tasks."""
        assert self._nursery is not None
        return self._nursery

    @cached_property
    def explaining(self) -> Explaining:
        """What of a container is explained; a daemon is ready without it."""
        from supervisor.engine.explain import Explaining  # noqa: PLC0415 - few ask for it

        return Explaining(self)

    def settle(self, container: Container) -> None:
        """End a run that nobody follows, as its exit record says or as lost."""
        recovery.settle(self, container)

    def _forget(self, container: Container) -> None:
        if container.id in self.containers:
            del self.containers[container.id]
        if self.names.get(container.record.name) == container.id:
            del self.names[container.record.name]
        self.execs.forget(container.id)
        self.userns.removed(container.record)
        self.metering.removed(container.id)
        if self.images.has_removed:
            self.nursery.start_soon(self.images.release, self.uses)

    def _new_id(self) -> str:
        while (new := ids.new_id(secrets.token_bytes(32))) in self.containers:
            pass
        return new

    def _take_name(self, name: str | None, container_id: str) -> str:
        if name is None:
            while (chosen := ids.generate_name(self._rng)) in self.names:
                pass
        else:
            chosen = self._check_name(name)
        self.names[chosen] = container_id
        return chosen

    def _check_name(self, name: str) -> str:
        name = name.removeprefix("/")
        ids.check_name(name)
        if name in self.names:
            raise Conflict(
                f'Conflict. The container name "/{name}" is already in use by container '
                f'"{self.names[name]}". You have to remove (or rename) that container to be able '
                "to reuse that name."
            )
        return name

    def _lowers(self, image: Image | None, body: CreateBody) -> tuple[str, ...]:
        if image is None:
            return (checks.check_rootfs(body.host_config.orlop_rootfs),)
        return tuple(str(path) for path in self.images.lowers(image))

    # --- lifecycle ----------------------------------------------------------------------

    async def start(self, ref: str) -> None:
        """Start; returns when the container's program runs, raises why it does not."""
        container = self.find(ref)
        await container.ask(m.StartRequested())
        await self._until_started(container)

    async def _until_started(self, container: Container) -> None:
        run = container.state.run
        await container.until(lambda s: s.run != run or s.phase is not m.Phase.STARTING)
        state = container.state
        if state.run == run and state.error_code == "start_failed":
            if container.refusal is not None:
                raise container.refusal
            raise InvalidArgument(f"failed to start container: {state.failure}")

    async def stop(self, ref: str, timeout: float | None, signal: str | None) -> None:
        """Signal, grace, kill; returns when it has stopped. `timeout` None = the container's."""
        container = self.find(ref)
        number, grace = self.stop_terms(container, timeout, signal)
        await container.ask(m.StopRequested(number, grace))
        await self._until_over(container, grace)

    async def restart(self, ref: str, timeout: float | None, signal: str | None) -> None:
        """Stop as `stop` does, then start; just start what does not run."""
        container = self.find(ref)
        number, grace = self.stop_terms(container, timeout, signal)
        run = container.state.run
        await container.ask(m.RestartRequested(number, grace))
        with self._patience(container, grace):
            await container.until(lambda s: s.run != run or not s.restart_requested)
        await self._until_started(container)

    async def _until_over(self, container: Container, grace: float | None) -> None:
        run = container.state.run
        with self._patience(container, grace):
            await container.until(lambda s: s.run != run or not s.live)

    @contextmanager
    def _patience(self, container: Container, grace: float | None) -> Iterator[None]:
        """Conflict if the wait for a stop lasts longer than a process can that obeys SIGKILL."""
        limit = float("inf") if grace is None or grace < 0 else grace + KILL_SECONDS
        with trio.move_on_after(limit) as scope:
            yield
        if scope.cancelled_caught:
            raise Conflict(
                f"cannot stop container {container.record.name}: it has not ended "
                f"{KILL_SECONDS:.0f} s after SIGKILL (a process waits in the kernel)"
            )

    def stop_terms(
        self, container: Container, timeout: float | None = None, signal: str | None = None
    ) -> tuple[int, float | None]:
        """The signal and the grace of a stop, the container's own where none is given."""
        options = container.record.options
        number = parse_signal(signal or options.stop_signal or "SIGTERM")
        if timeout is None:
            configured = options.stop_timeout
            timeout = DEFAULT_STOP_SECONDS if configured is None else float(configured)
        return number, None if timeout < 0 else timeout

    async def kill(self, ref: str, signal: str) -> None:
        """Send a signal to PID 1; after SIGKILL, wait until it is gone, as docker does."""
        container = self.find(ref)
        number = parse_signal(signal or "SIGKILL")
        stop_signal = parse_signal(container.record.options.stop_signal or "SIGTERM")
        await container.ask(m.KillRequested(number, stop_signal))
        if number == 9:
            with trio.move_on_after(KILL_SECONDS):
                run = container.state.run
                await container.until(lambda s: s.run != run or not s.live)

    async def pause(self, ref: str) -> None:
        """Freeze all processes; returns when they are frozen."""
        container = self.find(ref)
        await container.ask(m.PauseRequested())
        await container.until(lambda s: not s.freezing)

    async def unpause(self, ref: str) -> None:
        """Thaw all processes; returns when they run."""
        container = self.find(ref)
        await container.ask(m.UnpauseRequested())
        await container.until(lambda s: s.phase is not m.Phase.PAUSED)

    async def remove(self, ref: str, force: bool, volumes: bool, link: bool) -> None:
        """Remove the container and its writable layer; the name is free when it returns."""
        if link:
            raise InvalidArgument("links between containers are not supported")
        container = self.find(ref)
        if volumes != container.record.take_volumes:  # saved when the removal is decided
            container.record.take_volumes = volumes
            container.record.changed()
        await container.ask(m.RemoveRequested(force))
        await container.until(lambda s: s.phase is m.Phase.DEAD)
        if not container.forgotten.is_set():
            raise Conflict(
                f"cannot remove container {container.record.name}: {container.state.failure}"
            )

    async def prune(
        self, wanted: Callable[[ContainerView], bool]
    ) -> tuple[builtins.list[str], int]:
        """Remove what is `wanted` of the containers at rest; ids and bytes."""
        return await self.pruning.containers(wanted)

    async def rename(self, ref: str, new: str) -> None:
        """Give the container another name."""
        container = self.find(ref)
        if not new.removeprefix("/"):
            raise InvalidArgument("Neither old nor new names may be empty")
        if new.removeprefix("/") == container.record.name:
            raise InvalidArgument("Renaming a container with the same name as its current name")
        name = self._check_name(new)
        old = container.record.name
        self.names[name] = container.id
        container.record.name = name
        try:
            await self._save(container.record)
        except OrlopError:
            container.record.name = old
            container.record.changed()
            del self.names[name]
            raise
        self.names.pop(old, None)
        self.metering.changed(container.record)
        self.network_runs.changes.renamed(container)
        self.host.emit(container.record, "rename", {"oldName": f"/{old}"})

    async def update(self, ref: str, body: UpdateBody) -> builtins.list[str]:
        """Change limits and restart policy, live where it runs."""
        container = self.find(ref)
        record = container.record
        merged = msgspec.structs.replace(
            record.body, host_config=apply_update(record.body.host_config, body)
        )
        # Its mounts and networks stay as they were made.
        options = replace(
            as_resolved(self._options(merged, record.mounts), record.options),
            binds=record.options.binds,
            tmpfs=record.options.tmpfs,
        )
        policy = _policy(options)
        if policy.name != "no" and options.auto_remove:
            raise Conflict(
                "Restart policy cannot be updated because AutoRemove is enabled for the container"
            )
        task = container.task
        unwritten: builtins.list[str] = []
        if task is not None and task.group is not None:
            unwritten = checks.update_group(self.host, task.group, options)
        before = (record.body, record.options, record.state.policy)
        record.body, record.options = merged, options
        container.first_spec = None
        record.state = msgspec.structs.replace(record.state, policy=policy)
        try:
            await self._save(record)
        except OrlopError:
            record.body, record.options, policy = before
            record.state = msgspec.structs.replace(record.state, policy=policy)
            record.changed()
            if task is not None and task.group is not None:
                checks.update_group(self.host, task.group, record.options)
            raise
        self.metering.changed(record)
        self.host.emit(record, "update", {})
        return [*checks.warnings(self.host, options), *unwritten]

    async def _save(self, record: Record) -> None:
        """Write down what was changed by request; what was handed in is done, whoever leaves."""
        record.changed()
        with trio.CancelScope(shield=True):
            await self.host.save(record).wait()

    async def impair(self, ref: str, body: ImpairBody) -> None:
        """Delay and lose what goes to a running container, or stop that."""
        limits = Limits(
            delay_ms=body.delay_ms, jitter_ms=body.jitter_ms, loss_percent=body.loss_percent
        )
        await self.network_runs.changes.impair(self.find(ref), body.network, limits)

    async def wait(self, ref: str, condition: str) -> Waiter:
        """A registered waiter for `not-running`, `next-exit` or `removed`."""
        return Waiter(self.find(ref), condition)

    # --- looking inside -----------------------------------------------------------------

    async def top(
        self, ref: str, ps_args: str
    ) -> tuple[builtins.list[str], builtins.list[builtins.list[str]]]:
        """Titles and rows of the container's processes."""
        container = self.find(ref)
        if container.task is None or container.task.group is None or not container.state.pid:
            raise Conflict(f"Container {container.id} is not running")
        found = processes.table(container.task.group.procs(), ps_args)
        self.host.emit(container.record, "top", {})
        return found

    def logs(self, ref: str, options: LogOptions) -> AsyncIterator[LogRecord]:
        """Records of the container's log, following it as asked."""
        container = self.find(ref)
        return read_log(
            self.host.bundle(container),
            options,
            self.host.folders,
            lambda: not container.state.live and container.state.phase is not m.Phase.RESTARTING,
        )

    def events(self, since_ns: int | None, until_ns: int | None) -> AsyncIterator[Event]:
        """The event stream."""
        return self.host.bus.stream(since_ns, until_ns)

    # --- streams ------------------------------------------------------------------------

    async def attach(self, ref: str, options: AttachOptions, fd: int) -> None:
        """Give a connected socket to the container's streams; owns `fd` from the call on."""
        container = self.find_or_close(ref, fd)
        kept = False
        try:
            fields = attach_fields(options)
            self.host.emit(container.record, "attach", {})
            if options.logs:
                await send_log(self.host.bundle(container), options, fd)
            if not options.stream:
                return
            container.check_understood()
            task = container.task
            if task is not None and task.shim is not None and task.accepts and container.state.live:
                await task.shim.request("attach", fds=[fd], **fields)
            else:
                container.keep_client(fd, fields)
                kept = True
        finally:
            if not kept:
                os.close(fd)

    def find_or_close(self, ref: str, fd: int) -> Container:
        """`find`, closing `fd` where there is no such container."""
        try:
            return self.find(ref)
        except (NotFound, InvalidArgument):
            os.close(fd)
            raise

    async def resize(self, ref: str, rows: int, columns: int) -> None:
        """Set the terminal's size in characters."""
        container = self.find(ref)
        if container.task is None or container.task.shim is None or not container.state.pid:
            raise Conflict(f"Container {container.id} is not running")
        await container.task.shim.request("resize", rows=rows, columns=columns)
        size = {"height": str(rows), "width": str(columns)}
        self.host.emit(container.record, "resize", size)

    async def exec_create(self, ref: str, body: ExecBody) -> str:
        """Prepare an exec session in a running container; its id."""
        return self.execs.create(self.find(ref), body)

    async def exec_start(self, exec_id: str, **options: Any) -> None:
        """Run an exec session; see ExecSessions.start."""
        await self.execs.start(exec_id, **options)

    async def exec_inspect(self, exec_id: str) -> ExecView:
        """The session's state, its exit code final once its stream has ended."""
        return await self.execs.inspect(exec_id)

    async def exec_resize(self, exec_id: str, rows: int, columns: int) -> None:
        """Set the size of the session's terminal."""
        await self.execs.resize(exec_id, rows, columns)

    # --- the host -----------------------------------------------------------------------

    async def info(self) -> HostInfo:
        """The host and this agent."""
        await self.userns.is_default()  # known from here on
        return host_info.host_info(self)

    async def disk_usage(
        self, objects: Collection[str], only: Collection[str] | None = None
    ) -> DiskUsage:
        """How much room "image", "container" (those of the ids `only`), "volume" take."""
        return await disk_usage.disk_usage(self, objects, only)

    def features(self) -> tuple[Feature, ...]:
        """What the host can do, probed now."""
        return probe()

    def uses(self) -> Iterator[ImageUse]:
        """Which containers stand on which images."""
        for container in self.containers.values():
            record = container.record
            yield ImageUse(
                container=record.id,
                image_id=record.image_id,
                running=container.state.live,
                lowers=record.lowers,
            )


def _policy(options: ContainerOptions) -> RestartPolicy:
    return restart_policy(options.restart_policy, options.restart_max_retries)
