"""What all containers of one supervisor share: the kernel's and the disk's side of them."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from supervisor.engine import device_nodes, etc_files, system_calls
from supervisor.engine.copies import Copies
from supervisor.engine.encoding import encode
from supervisor.engine.events import EventBus
from supervisor.engine.logs import FILE_NAME, FolderWatch
from supervisor.engine.metering import Metering
from supervisor.engine.record import Record
from supervisor.engine.spare_bundles import Kind, SpareBundles, make
from supervisor.engine.stubs import layers_stubs, plan_stubs
from supervisor.engine.watcher import Watcher
from supervisor.engine.zygote import Zygote
from supervisor.errors import KernelError, NotFound
from supervisor.kernel import bpf, capabilities
from supervisor.kernel.cgroups import Group, Hierarchy, Layout
from supervisor.spec import cgroup as cgroup_values
from supervisor.spec import devices
from supervisor.spec.build import HostFacts, build_spec, device_rules, effective_hostname
from supervisor.spec.networks import CONTAINER_PREFIX
from supervisor.spec.options import ContainerOptions
from supervisor.spec.types import DeviceRule, Log, Overlay, Spec
from supervisor.store.database import Database, Delete, Put, Ticket
from supervisor.store.files import discard, empty_trash
from supervisor.store.folder_sizes import FolderSizes
from supervisor.store.layout import DataRoot
from supervisor.wire.shim_protocol import CONFIG_NAME

if TYPE_CHECKING:
    from supervisor.engine.container import Container
    from supervisor.engine.network_runs import NetworkRuns

log = logging.getLogger("orlop.host")

KIND = "container"
CAP_SYS_RESOURCE = 24
# What is thrown away within this time is deleted together.
TIDY_SECONDS = 0.2
# What was observed, and would be again, is on disk this much later at most.
WRITE_SECONDS = 0.1


class Host:
    """Services, no policy. Paths are below the data root; all times are the kernel's."""

    def __init__(self, root: DataRoot, database: Database, layout: Layout, parent: str) -> None:
        self.root = root
        self.database = database
        self.layout = layout
        self.hierarchy = Hierarchy(layout, parent)
        self.zygote = Zygote()
        self.watcher = Watcher()
        self.folders = FolderWatch()
        self.bus = EventBus()
        self.metering = Metering(self)
        self.sizes = FolderSizes()
        self.facts = HostFacts(
            cgroup=layout.kind,
            v1_controllers=frozenset(layout.v1),
            last_capability=capabilities.last_capability(),
            capabilities=capabilities.get_capabilities()[1],
            hostname=os.uname().nodename,
            devices=device_nodes.of_host(),
            masked_paths=thermal_paths(),
            filters=system_calls.machine_to_filter(),
        )
        if self.facts.filters is None:
            log.warning("%s", system_calls.UNFILTERED)
        self.copies = Copies(root)
        self.spares = SpareBundles(root.spares, root.trash)
        self.forget: Callable[[Container], None] = lambda _container: None
        self.find: Callable[[str], Container] = _find_none
        self.exec_exited: Callable[[str, int], None] = lambda _exec, _code: None
        self.detached: Callable[[Record, str], None] = lambda _record, _exec: None
        self.look_at_execs: Callable[[str], Awaitable[None]] = _no_execs
        self.run_ended: Callable[[str], None] = lambda _container: None
        self.run_seen: Callable[[Container], None] = lambda _container: None
        self.prepare_run: Callable[[Container], None] = lambda _container: None
        self.tell_volumes: Callable[[Record, str], None] = lambda _record, _action: None
        self.let_go_volumes: Callable[[Record], Awaitable[None]] = _nothing
        self.network_runs: NetworkRuns | None = None
        self.closing = False  # all containers are being stopped for good
        self.dns: tuple[str, ...] = ()  # what containers ask in place of the host's resolvers
        self._unwritten: dict[tuple[str, str], Callable[[], Put | None]] = {}
        self._programs: dict[tuple[DeviceRule, ...], int] = {}
        self._ooms: dict[str, dict[str, str]] = {}
        self._nursery: trio.Nursery | None = None
        self._tidy_wanted = trio.Event()
        self._write_wanted = trio.Event()
        self.can_raise_limits = bool(self.facts.capabilities >> CAP_SYS_RESOURCE & 1)
        self.log_max_size = 10 << 20
        self.log_max_files = 3

    # --- records ------------------------------------------------------------------------

    def save(self, record: Record, others: Sequence[Put] = ()) -> Ticket:
        """Queue the record for the database; the ticket's `wait` returns when it is durable.

        `others` are written in the same transaction, as is what waits to be written.
        """
        self._unwritten.pop((KIND, record.id), None)
        for put in others:
            self._unwritten.pop((put.kind, put.key), None)
        own = Put(KIND, record.id, record.encode())
        self.copies.note(record)
        return self.database.submit([*self._waiting(), own, *others])

    def delete(self, record: Record) -> Ticket:
        """Queue the record's deletion."""
        self._unwritten.pop((KIND, record.id), None)
        return self.database.submit([*self._waiting(), Delete(KIND, record.id)])

    def save_later(self, record: Record) -> None:
        """Let the record as it is then go into whatever transaction comes next."""
        self.copies.note(record)
        self.write_later((KIND, record.id), lambda: Put(KIND, record.id, record.encode()))

    def write_later(self, key: tuple[str, str], make: Callable[[], Put | None]) -> None:
        """Let what `make` gives then (None: nothing) go into whatever transaction comes next."""
        self._unwritten[key] = make

    def save_soon(self, record: Record) -> None:
        """As `save_later`, and within WRITE_SECONDS if no other transaction comes."""
        self.save_later(record)
        self.write_soon()

    def waits(self, record: Record) -> bool:
        """Whether what the record says now is still to be handed to the database."""
        return (KIND, record.id) in self._unwritten

    def write_soon(self) -> None:
        """Have what waits for a transaction written within WRITE_SECONDS."""
        self._write_wanted.set()

    def write_now(self) -> None:
        """Queue what still waits for a transaction."""
        if waiting := self._waiting():
            self.database.submit(waiting)

    async def _write_waiting(self) -> None:
        while True:
            await self._write_wanted.wait()
            await trio.sleep(WRITE_SECONDS)
            self._write_wanted = trio.Event()
            self.write_now()

    def _waiting(self) -> list[Put]:
        waiting, self._unwritten = self._unwritten, {}
        return [put for make in waiting.values() if (put := make()) is not None]

    # --- the disk -----------------------------------------------------------------------

    def bundle(self, container: Container) -> Path:
        """The container's folder."""
        return container.bundle

    def make_folders(self, record: Record) -> None:
        """The bundle with its empty upper; it is there whole or not at all, whenever we die."""
        if record.image_id:
            kind = Kind(layers_stubs(record.lowers, record.stubs), _files(record))
            ready = self.spares.take(kind)
            self._tidy_wanted.set()
        else:
            plan = None if record.rootfs_writable else plan_stubs(record.lowers, record.stubs)
            kind, ready = Kind(plan), ""
        made = ready or make(kind, self.root.tmp, self.root.trash)
        try:
            os.rename(made, self.root.bundle(record.id))
        except BaseException:
            discard(made, self.root.trash)
            raise

    async def remove_resources(self, record: Record) -> None:
        """Take the bundle away; what it held is deleted later, from the trash."""
        if discard(self.root.bundle(record.id), self.root.trash):
            self.empty_trash_soon()

    def empty_trash_soon(self) -> None:
        """Wake whoever tidies: there is something in the trash."""
        self._tidy_wanted.set()

    async def _keep_tidy(self) -> None:
        """Empty the trash, and make new spare bundles."""
        while True:
            await self._tidy_wanted.wait()
            await trio.sleep(TIDY_SECONDS)
            self._tidy_wanted = trio.Event()
            await trio.to_thread.run_sync(self._tidy)

    def _tidy(self) -> None:
        self.spares.fill()
        self._empty_trash()

    def _empty_trash(self) -> None:
        for error in empty_trash(self.root.trash):
            log.warning("trash: %s", error)

    # --- specs and limits ---------------------------------------------------------------

    def spec(self, record: Record, run: int) -> Spec:
        """The runtime spec of one run; InvalidArgument for what cannot start."""
        bundle = self.root.bundle(record.id)
        if record.rootfs_writable:
            root = Overlay(lower=record.lowers)
        else:
            volatile = record.options.auto_remove
            if volatile:
                _forget_volatile(f"{bundle}/work")
            root = Overlay(
                lower=record.lowers,
                upper=f"{bundle}/upper",
                work=f"{bundle}/work",
                volatile=volatile,
            )
        options = record.options
        output = Log(
            path=f"{bundle}/{FILE_NAME}",
            max_size=options.log_max_size,
            max_files=options.log_max_files,
        )
        return build_spec(
            options,
            id=record.id,
            run=run,
            root=root,
            cgroup=self.hierarchy.open(record.id).paths,
            log=output,
            host=self.facts,
            provided=etc_files.mounts(bundle, record),
            shared_name=self._shared_name(options),
        )

    def write_config(self, record: Record, spec: Spec) -> None:
        """Write what a shim reads of a run."""
        # Not durable: a shim of this daemon's reads it, or it is written anew.
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        path, document = f"{self.root.bundle(record.id)}/{CONFIG_NAME}", encode(spec)
        fd = os.open(path, flags, 0o600)
        try:
            if os.write(fd, document) < len(document):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        finally:
            os.close(fd)

    def write_etc(self, container: Container) -> None:
        """Write what a new run finds at /etc/hosts and its like."""
        record = container.record
        runs, around = self.network_runs, etc_files.Surroundings()
        if runs is not None:
            around = etc_files.Surroundings(
                gateway=runs.gateway(record), named=runs.uses_names(record), dns=self.dns
            )
        etc_files.write(container.bundle, record, self.hostname(record), around)

    def hostname(self, record: Record) -> str:
        """What a run of it calls itself."""
        shared_name = self._shared_name(record.options)
        return effective_hostname(record.options, record.id, self.facts, shared_name)

    def _shared_name(self, options: ContainerOptions) -> str:
        """The name of whose network it shares, "" where it shares none."""
        if not options.network.startswith(CONTAINER_PREFIX):
            return ""
        try:
            donor = options.network.removeprefix(CONTAINER_PREFIX)
            return self.hostname(self.find(donor).record)
        except NotFound:
            return ""  # it cannot start either

    def limit(self, group: Group, options: ContainerOptions) -> None:
        """Write the limits and the device rules of a new cgroup."""
        group.write(self.writes(options))
        self._allow_devices(group, options)

    def writes(self, options: ContainerOptions) -> tuple[cgroup_values.Write, ...]:
        """The files to write for the options' limits on this host."""
        convert = (
            cgroup_values.writes_v2 if self.layout.kind == "unified" else cgroup_values.writes_v1
        )
        return convert(options.resources, self.hierarchy.controllers)

    def _allow_devices(self, group: Group, options: ContainerOptions) -> None:
        if not group.paths.unified:
            return
        rules = device_rules(options)
        program = self._programs.get(rules)
        if program is None:
            program = self._programs[rules] = bpf.load_device_program(devices.assemble(rules))
        folder = group.fd()
        try:
            bpf.attach_device_program(folder, program)
        finally:
            os.close(folder)

    # --- telling ------------------------------------------------------------------------

    def note_oom(self, container: Container, limit: int, peak: int) -> None:
        """Remember the figures for the oom event that follows."""
        container.oom_memory = (limit, peak)
        self._ooms[container.id] = {"memoryLimit": str(limit), "memoryPeak": str(peak)}

    def emit(self, record: Record, action: str, attributes: dict[str, str]) -> None:
        """Publish a container event with docker's attributes: image, name, labels."""
        if action == "oom":
            attributes |= self._ooms.pop(record.id, {})
            attributes["oomKills"] = str(record.state.oom_kills)
        self.tell_volumes(record, action)
        common = {**record.body.labels, "image": record.image_ref, "name": record.name}
        self.bus.publish(KIND, action, record.id, {**common, **attributes})
        if action == "die":
            self.run_ended(record.id)
        if action in ("die", "destroy") and self.folders.are_watched:
            self.folders.wake(self.root.bundle(record.id))

    # --- small services -----------------------------------------------------------------

    def later(self, seconds: float, callback: Callable[[], None]) -> None:
        """Call back once in `seconds`."""
        if self._nursery is not None:
            self._nursery.start_soon(_call_later, seconds, callback)

    async def run(self, nursery: trio.Nursery) -> None:
        """Start the shared tasks in `nursery`."""
        self._nursery = nursery
        nursery.start_soon(self.watcher.run)
        nursery.start_soon(self.folders.run)
        self.spares.sweep()
        nursery.start_soon(self._keep_tidy)
        nursery.start_soon(self._write_waiting)
        nursery.start_soon(self.copies.run)

    def close(self) -> None:
        """Release what is held: the zygote ends, its shims do not. The database is still open."""
        self.write_now()
        self.spares.close()
        self._empty_trash()
        self.zygote.close()
        self.watcher.close()
        self.folders.close()
        for program in self._programs.values():
            os.close(program)
        self._programs.clear()


def _files(record: Record) -> tuple[tuple[str, int], ...]:
    """What of a bundle is written to for each run, with its modes."""
    own = () if record.options.network.startswith(CONTAINER_PREFIX) else etc_files.names(record)
    return ((CONFIG_NAME, 0o600), *((name, 0o644) for name in own))


def _find_none(ref: str) -> Container:
    """What an engine without containers knows."""
    raise NotFound(f"No such container: {ref}")


async def _nothing(_record: Record) -> None:
    """What an engine without volumes does for a container's volumes."""


async def _no_execs(_container: str) -> None:
    """What an engine without exec sessions looks at."""


async def _call_later(seconds: float, callback: Callable[[], None]) -> None:
    await trio.sleep(seconds)
    callback()


def thermal_paths() -> tuple[str, ...]:
    """Per-CPU throttle counters: a side channel that docker masks by the number of CPUs."""
    base = Path("/sys/devices/system/cpu")
    return tuple(str(p) for p in sorted(base.glob("cpu[0-9]*/thermal_throttle")))


def _forget_volatile(work: str) -> None:
    """Let a volatile overlay be mounted again: the kernel marks it to refuse (overlayfs.rst)."""
    mark = f"{work}/work/incompat/volatile"
    try:
        os.rmdir(mark)
    except FileNotFoundError:
        return
    except OSError as error:
        raise KernelError("rmdir", mark, error.errno or 0) from None
