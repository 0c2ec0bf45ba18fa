"""What belongs to no container goes: at the start, and every INTERVAL seconds.

Nothing that is being made is ever taken for a leftover:

- A container's id is known before anything of it is made (`Engine.names`), and until all of it
  is gone (`Engine.containers`); its run is `live` before the run's cgroup and shim are made, and
  it is `followed` until these are gone. Both change in the event loop only.
- Whether something is needed is looked up right before it is removed, with no `await` between.
- But for the first look, before which no client is served, only what was a leftover at the look
  before is removed, too: an interval ago.
- A process is named by its pid and its start time, and signalled by a pidfd that was opened
  before these were compared.

Interfaces, addresses and rules of the firewall are the network's own to compare
(`netplumb`, by `NetworkStack`), in the same interval.
"""

from __future__ import annotations

import errno
import logging
import os
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import msgspec
import trio

from supervisor.engine import remains
from supervisor.engine.remains import ShimProcess
from supervisor.engine.shim_client import connect
from supervisor.errors import KernelError, OrlopError
from supervisor.kernel import mounts, process
from supervisor.store.files import discard
from supervisor.wire.shim_protocol import SOCKET_NAME

if TYPE_CHECKING:
    from supervisor.engine.container import Container
    from supervisor.engine.engine import Engine

log = logging.getLogger("orlop.reconcile")

INTERVAL = 30.0
ANSWER_SECONDS = 5.0
EMPTY_SECONDS = (0.01, 0.05, 0.2, 1.0)
MNT_DETACH = 2


Kind = Literal["cgroup", "shim", "socket", "mount", "bundle"]


class Owner(Enum):
    """Who something with a container's id belongs to."""

    NOBODY = "no container"
    AT_REST = "a container that does not run"
    BUSY = "a container that runs, is being made, or whose record cannot be read"


class Leftover(msgspec.Struct, frozen=True):
    """`kind` is "cgroup", "shim", "socket", "mount" or "bundle"; `name` tells which."""

    kind: Kind
    name: str
    container: str
    shim: ShimProcess | None = None


class Sightings:
    """What was seen at the last look."""

    def __init__(self) -> None:
        self._before: frozenset[Any] = frozenset()

    def confirm(self, found: Iterable[Any]) -> list[Any]:
        """Those of `found` that were there at the look before, in their order."""
        found = list(found)
        again = [one for one in found if one in self._before]
        self._before = frozenset(found)
        return again


class Reconciler:
    """`unreadable` are ids whose records cannot be read: what is theirs is left alone."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.unreadable: frozenset[str] = frozenset()
        self._leftovers = Sightings()
        self._lost = Sightings()
        self._silent = Sightings()
        self._told: set[Leftover] = set()
        self._dismissed: set[ShimProcess] = set()

    async def run(self) -> None:
        """Look again and again; until cancelled."""
        while True:
            await trio.sleep(INTERVAL)
            try:
                await self.look()
            except (OSError, OrlopError):
                log.exception("looking for leftovers; it is tried again")

    async def look(self, *, first: bool = False) -> None:
        """Compare the host with the records once, and put right what differs."""
        told = {c.id: (c.state.run, pid) for c in self._containers() if (pid := _shim_pid(c))}
        root = self._engine.host.root.path.resolve()
        shims = await trio.to_thread.run_sync(remains.shims, root)
        mounted = await trio.to_thread.run_sync(remains.mounted, root)
        self._dismissed.intersection_update(shims)
        found = self._find(shims, mounted)
        confirmed = self._leftovers.confirm(found)
        stays: Counter[str] = Counter()
        for one in found if first else confirmed:
            if not await self._remove(one):
                stays[one.kind] += 1
        self._told.intersection_update(found)
        self._engine.metering.leftovers_stay({kind: stays[kind] for kind in get_args(Kind)})
        if self._engine.metering.on:
            size = await trio.to_thread.run_sync(remains.own_memory, shims)
            self._engine.metering.shim_memory(size)
        if not first:
            self._look_for_lost(told, {shim.pid for shim in shims})

    # --- whose is it --------------------------------------------------------------------

    def owner(self, container_id: str) -> Owner:
        """Whose the things with a container's id are now."""
        engine = self._engine
        container = engine.containers.get(container_id)
        if container is not None:
            busy = container.state.live or container.followed
            return Owner.BUSY if busy else Owner.AT_REST
        if container_id in self.unreadable or container_id in engine.names.values():
            return Owner.BUSY
        return Owner.NOBODY

    def _containers(self) -> list[Container]:
        return list(self._engine.containers.values())

    def _is_left(self, one: Leftover) -> bool:
        owner = self.owner(one.container)
        if one.kind == "bundle":
            return owner is Owner.NOBODY
        return owner is not Owner.BUSY

    def _find(self, shims: list[ShimProcess], mounted: list[remains.Mount]) -> list[Leftover]:
        """All leftovers, in the order in which they can be removed."""
        host = self._engine.host
        found = [
            Leftover("cgroup", name, name)
            for name in host.hierarchy.names()
            if remains.ID.fullmatch(name)
        ]
        found += [
            Leftover("shim", f"process {shim.pid}", shim.container, shim)
            for shim in shims
            if shim not in self._dismissed
        ]
        found += [Leftover("mount", mount.target, mount.container) for mount in mounted]
        bundles = list(remains.folders(host.root.path))
        served = {shim.container for shim in shims}
        found += [
            Leftover("socket", str(path), name)
            for name in bundles
            if name not in served and (path := host.root.bundle(name) / SOCKET_NAME).exists()
        ]
        found += [Leftover("bundle", str(host.root.bundle(name)), name) for name in bundles]
        return [one for one in found if self._is_left(one)]

    # --- removing -----------------------------------------------------------------------

    async def _remove(self, one: Leftover) -> bool:
        """False if it is still there, which is said once."""
        try:
            match one.kind:
                case "cgroup":
                    removed = await self._remove_group(one)
                case "shim":
                    removed = await self._dismiss(one)
                case _:
                    removed = self._is_left(one) and self._take_away(one)
        except (OSError, OrlopError) as error:
            if one not in self._told:
                self._told.add(one)
                log.warning(
                    "%s %s belongs to %s and cannot be removed: %s",
                    *(one.kind, one.name, self.owner(one.container).value, error),
                )
            return False
        if removed:
            log.info("%s %s was left over: removed", one.kind, one.name)
            self._engine.metering.leftover_removed(one.kind)
        return True

    async def _remove_group(self, one: Leftover) -> bool:
        group = self._engine.host.hierarchy.open(one.name)
        for pause in (*EMPTY_SECONDS, None):
            if not self._is_left(one):
                return False  # it has begun to run
            try:
                if group.paths.unified and Path(group.paths.unified).is_dir():
                    group.kill()
                group.remove()
            except KernelError as error:
                if error.errno != errno.EBUSY or pause is None:
                    raise
                await trio.sleep(pause)  # the processes are about to end
            else:
                return True
        return False

    async def _dismiss(self, one: Leftover) -> bool:
        """Let a shim go whose record is read, or never will be; kill one that does not answer."""
        shim = one.shim
        assert shim is not None
        if one.container and await self._acknowledge(shim):
            self._dismissed.add(shim)  # it ends once its clients have all output
            return True
        try:
            pidfd = process.pidfd_open(shim.pid)
        except KernelError as error:
            if error.errno == errno.ESRCH:
                return False
            raise
        try:
            # It may have another container by now, or its pid belong to another process.
            root = self._engine.host.root.path.resolve()
            if not remains.still(shim, root) or not self._is_left(one):
                return False
            process.pidfd_send_signal(pidfd, 9)
        finally:
            os.close(pidfd)
        return True

    async def _acknowledge(self, shim: ShimProcess) -> bool:
        """False if it cannot be reached, or still has a container."""
        try:
            client = await connect(self._engine.host.root.bundle(shim.container))
        except OSError:
            return False
        done = False
        with trio.move_on_after(ANSWER_SECONDS):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.run)
                await client.greeted.wait()
                if client.shim_pid == shim.pid:  # and no later one of this bundle
                    with suppress(OrlopError):
                        await client.request("acknowledge")
                        done = True
                client.close()
        return done

    def _take_away(self, one: Leftover) -> bool:
        root = self._engine.host.root
        match one.kind:
            case "mount":
                mounts.umount(one.name, MNT_DETACH)
            case "socket":
                Path(one.name).unlink(missing_ok=True)
            case "bundle":
                discard(Path(one.name), root.trash)
                self._engine.host.empty_trash_soon()
        return True

    # --- runs that nobody sees to their end -----------------------------------------------

    def _look_for_lost(self, told: dict[str, tuple[int, int]], alive: set[int]) -> None:
        """End runs whose shim is gone without our having heard of it: it should not happen.

        `told` are run and shim by container, from before `alive` were the shims there are.
        """
        silent = [
            (c.id, run, pid)
            for c in self._containers()
            for run, pid in (told.get(c.id, (0, 0)),)
            if pid and pid not in alive and c.state.run == run and _shim_pid(c) == pid
        ]
        for key, run, pid in self._silent.confirm(silent):
            task = self._engine.containers[key].task
            if task is not None and task.run == run:
                log.error("container %s: its shim %d is gone unheard", key[:12], pid)
                task.lose_shim()
        lost = [(c.id, c.state.run) for c in self._containers() if c.state.live and not c.followed]
        for key, _ in self._lost.confirm(lost):
            log.error("container %s: nobody follows its run: ended", key[:12])
            self._engine.settle(self._engine.containers[key])


def _shim_pid(container: Container) -> int:
    """The pid of the shim that tells of the container's run, 0 where none does."""
    task = container.task
    return 0 if task is None or task.shim is None or task.shim.gone else task.shim.shim_pid
