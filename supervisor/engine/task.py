"""One run of a container: cgroup, bundle, shim, the wait for its end, and what is left after.

    live:   cgroup + config.json → zygote: spawn → created → clients → start → … → exited
    follow: the same from the middle, for a shim that a previous supervisor started

A run always reports exactly one of: TaskStarted then Exited; or StartFailed. Only after
that report, durable on disk, is the shim let go.
"""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from supervisor import failpoints
from supervisor.engine.catching_up import follow_again
from supervisor.engine.oom import OomWatcher
from supervisor.engine.shim_client import ShimClient, ShimGone, start_error
from supervisor.engine.task_network import TaskNetwork
from supervisor.errors import (
    InitError,
    Internal,
    KernelError,
    OrlopError,
    ProtocolError,
    Unavailable,
)
from supervisor.kernel.cgroups import Group
from supervisor.lifecycle import machine as m
from supervisor.shim import exit_record
from supervisor.shim.exit_record import ExitRecord, record_from_json
from supervisor.store.disk import LATER
from supervisor.wire.shim_protocol import Message, error_from_json

if TYPE_CHECKING:
    from supervisor.engine.container import Container

log = logging.getLogger("orlop.task")

REMOVE_RETRY_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
EMPTY_SECONDS = 10.0
SPAWN_ATTEMPTS = 2
MOST_CONNECTIONS = 3  # to one shim that lives while its connections break
LOST = "the shim was lost: the exit status is not known"


class Task:
    """`shim` is None until the zygote forked it; `pid` 0 until the container's program runs."""

    def __init__(self, container: Container, run: int) -> None:
        self.container = container
        self.host = container.host
        self.run = run
        self.group: Group | None = None
        self.shim: ShimClient | None = None
        self.oom: OomWatcher | None = None
        self._freezing = trio.Lock()
        self._start_error: InitError | OrlopError | None = None
        self._over = False
        self.recorded = False  # the end of this run is on disk, whatever becomes of the database
        self._launched = trio.Event()
        self._nursery: trio.Nursery | None = None
        self._network = TaskNetwork(container)
        self._spawned = 0.0
        self.accepts = False  # the shim takes clients
        self._stayed = False  # it waits for its next container
        self._given_up = False  # the shim is not to be reached again

    # --- the two ways in ----------------------------------------------------------------

    async def live(self) -> None:
        """Start the run and see it to its end; never raises for a run that fails."""
        self.container.stages = {}
        try:
            self.host.prepare_run(self.container)
            self._network.plan()
            failpoints.hit("start.bundle")
            await self._write_bundle()
            for attempts_left in reversed(range(SPAWN_ATTEMPTS)):
                self._spawned = time.perf_counter()
                failpoints.hit("start.spawn")
                shim = await self.host.zygote.spawn(self.container.bundle, self._network.user)
                self.shim = ShimClient(shim)
                if self.group is None:
                    self._make_cgroup()  # while the shim prepares the root
                if await self._listen(self._launch) or not attempts_left:
                    break
                # The zygote was killed with the request in its queue: nothing was made of it.
        except (OSError, OrlopError, InitError) as error:
            known = error if isinstance(error, OrlopError | InitError) else None
            text = str(error)
            if isinstance(error, OSError):
                known = self.container.refusal = self._host_failed(error)
                text = known.message
            await self._network.end()
            self._report_start_failure(self._network.refusal or known, text)
            if self.shim is not None:
                await self.shim.dismiss()
        else:
            if not self._over:
                await self._lost()
        finally:
            self._network.close()
        await self._release()

    def _host_failed(self, error: OSError) -> OrlopError:
        """What a start is answered that the host, and not its container, stands in the way of."""
        about = error.filename or self.host.bundle(self.container)
        why = str(error) if isinstance(error, KernelError) else f"{about}: {error.strerror}"
        kind = Unavailable if error.errno in LATER else Internal
        return kind(f"failed to start container: {why}")

    async def follow(self) -> None:
        """See a run to its end that a previous supervisor started."""
        self._launched.set()
        try:
            await self._listen(None)
        finally:
            self._network.close()
        if not self._over:
            await self._lost()
        await self._release()

    async def _listen(self, launch: Callable[[], Awaitable[None]] | None) -> bool:
        """Take the shim's events to their end; False if there never was a shim."""
        assert self.shim is not None
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self.shim.run)
            if launch is not None:
                if not self._network.is_done:
                    nursery.start_soon(self._network.make)
                nursery.start_soon(launch)
            async for event in self.shim.events:
                await self.take(event)
        return self._over or self.shim.shim_pid != 0

    def give_up(self) -> None:
        """Report an end for a run that this supervisor cannot follow any more; never raises."""
        self.kill()
        if self.oom is not None:
            self.oom.stop()
        if not self._over:
            self._report_lost()

    @property
    def unspoken(self) -> str:
        """Why nothing can be asked of its shim, "" where everything can."""
        return self.shim.unspoken if self.shim is not None else ""

    def lose_shim(self) -> None:
        """The shim is gone, whatever its connection says."""
        self._given_up = True
        if self.shim is not None:
            self.shim.close()

    def lose_silent_shim(self) -> None:
        """Give up the shim if its container is gone and it has not said so."""
        try:
            if self.group is None or self.group.populated():
                return
        except OSError as error:
            log.info("container %s: its cgroup: %s", self.container.id[:12], error)
        log.error(
            "container %s: it has ended, and its shim does not say how", self.container.id[:12]
        )
        self.lose_shim()

    def adopt_cgroup(self, group: Group, oom_kills: int) -> None:
        """Watch a cgroup that a previous supervisor made; `oom_kills` are already counted."""
        self.group = group
        self.host.metering.adopted(self.container, group.paths)
        self.oom = OomWatcher(self.host, group, oom_kills, self._oom)

    # --- the engine's pokes -------------------------------------------------------------

    async def signal(self, number: int) -> None:
        """Send a signal to PID 1; nothing if it has ended."""
        if self.shim is None:
            return
        failpoints.hit("stop.signal")
        try:
            await self.shim.request("signal", signal=number)
        except OrlopError as error:
            log.info("container %s: signal %d: %s", self.container.id[:12], number, error)

    def kill(self) -> None:
        """SIGKILL every process of the container."""
        if self.group is not None:
            try:
                failpoints.hit("stop.kill")
                self.group.kill()
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENODEV):
                    log.warning("container %s: cgroup.kill: %s", self.container.id[:12], error)

    async def freeze(self, wanted: bool) -> None:
        """Freeze or thaw all processes and report when the kernel says it is so."""
        async with self._freezing:  # in the order asked for
            await self._freeze(wanted)

    async def _freeze(self, wanted: bool) -> None:
        if self.group is None:
            return
        group = self.group
        try:
            watch = group.events_watch()
        except OSError:
            return  # it ended meanwhile
        changed = trio.Event()

        def woke() -> None:
            changed.set()

        self.host.watcher.add(watch.fd, watch.events, woke)
        try:
            (group.freeze if wanted else group.thaw)()
            while watch.frozen() != wanted and not self._over:
                with trio.move_on_after(1.0):
                    await changed.wait()
                changed = trio.Event()
        except OSError as error:
            log.info("container %s: freeze: %s", self.container.id[:12], error)
            return
        finally:
            self.host.watcher.remove(watch.fd)
            watch.close()
        self.container.post(m.Frozen(self.run) if wanted else m.Thawed(self.run))

    # --- starting -----------------------------------------------------------------------

    def _make_cgroup(self) -> None:
        begun = time.perf_counter()
        failpoints.hit("start.cgroup")
        self.group = self.host.hierarchy.create(self.container.id)
        failpoints.hit("start.limits")
        self.host.limit(self.group, self.container.record.options)
        self.oom = OomWatcher(self.host, self.group, 0, self._oom)
        self.host.metering.stage("cgroup", begun, self.container)

    async def _write_bundle(self) -> None:
        container = self.container
        spec, container.first_spec = container.first_spec, None
        written = spec
        if spec is None or spec.run != self.run or container.shares_network:
            spec = self.host.spec(container.record, self.run)
        spec = self._network.fit(spec)
        if spec is not written:
            self.host.write_config(container.record, spec)
        self.host.write_etc(container)
        last = f"{self.container.bundle}/{exit_record.FILE_NAME}"
        if os.path.exists(last):
            await self.container.saved()  # the record of the last run's end is not the only one
            os.unlink(last)

    async def _launch(self) -> None:
        """Hand over the clients that wait, then have the program run.

        As soon as there is a shim, not after `created`: it takes both requests whenever it
        reads, and nobody waits for a round trip.
        """
        if self.accepts:
            return  # adopted just then: told once by the state, once by the event
        assert self.shim is not None
        await self.shim.greeted.wait()
        if self.shim.gone:
            self._launched.set()  # nothing will be: whoever tells the end need not wait
            return
        if self.shim.unspoken:  # the zygote is of another orlop, installed meanwhile
            self._report_start_failure(None, self.shim.unspoken)
            self._launched.set()
            await self.shim.dismiss()
            return
        if self._spawned:  # not by a supervisor before this one
            self.host.metering.stage("shim", self._spawned, self.container)
        self.accepts = True
        for fd, fields in self.container.take_early_clients().items():
            try:
                await self.shim.request("attach", fds=[fd], **fields)
            except OrlopError as error:
                log.info("container %s: attach: %s", self.container.id[:12], error)
            finally:
                os.close(fd)
        try:
            reply = await self._start()
        except (InitError, OrlopError) as error:
            # Reported when the shim says that init is gone.
            self._start_error = error
            if isinstance(error, ShimGone):  # or cannot be spoken to: it leaves unasked
                self.shim.close()
        else:
            failpoints.hit("start.started")
            self.container.post(
                m.TaskStarted(self.run, int(reply["pid"]), int(reply["started_ns"]))
            )
            if "stages" in reply:  # an older shim has none
                self.host.metering.stages(reply["stages"], self.container)
        finally:
            self._launched.set()

    async def _start(self) -> Message:
        """Have the program run, in the namespaces that are given to it."""
        assert self.shim is not None
        failpoints.hit("start.launch")
        try:
            shared = await self._network.shared()
        except OrlopError as error:
            self._report_start_failure(error, error.message)
            self.kill()
            await self.shim.dismiss()
            raise
        given = self._network.given() | shared
        try:
            if not given:
                return await self.shim.request("start")
            fds = list(given.values())
            return await self.shim.request("start", fds, namespaces=list(given))
        finally:
            for fd in shared.values():
                os.close(fd)
            self._network.close()

    # --- what the shim tells ------------------------------------------------------------

    async def take(self, event: Message) -> None:
        """Handle one event of the shim; of one that is not understood only its end counts."""
        if self.unspoken:
            return
        match event.get("event"):
            case "created":
                if not self._network.is_done and self._launched.is_set():
                    await self._network.make_again()
                await self._launch()
            case "network":
                assert self._nursery is not None
                assert self.shim is not None
                self._nursery.start_soon(self._network.wire, self.shim)
            case "exited":
                record = record_from_json(event["record"])
                await self._ended(record, durable=bool(event.get("durable")))
            case "failed":
                error = error_from_json(event["error"])
                self._report_start_failure(error, str(error))
            case "detached":
                self.host.detached(self.container.record, str(event["exec"]))
            case "exec_exited":
                self.host.metering.reaped("exec")
                self.host.exec_exited(str(event["exec"]), int(event["code"]))

    async def _ended(self, record: ExitRecord, *, durable: bool) -> None:
        if self._over or record.run != self.run:
            return
        failpoints.hit("exit.taken")
        self._over = True  # from here on it is reported, once
        self.recorded = durable
        self.host.metering.log_dropped(record.log_dropped)
        if not self._launched.is_set():
            await self._launched.wait()  # a start is told before the end
        await self._empty_cgroup()
        await self._network.end()
        seen = self.oom.seen if self.oom else 0
        if record.oom_kills > seen:
            if self.oom is not None:
                self.oom.stop()
            self._oom(record.oom_kills - seen, record.memory_limit, record.memory_peak)
        if record.error is not None:
            error = InitError.from_json(record.error)
            # A shim that failed before it was asked to start has only that to answer.
            known = self._start_error if isinstance(self._start_error, InitError) else error
            self._report_start_failure(self._network.refusal or known, error.message)
        else:
            self.container.post(m.Exited(self.run, as_exit(record)))
        await self.container.until(lambda s: s.run != self.run or not s.live)
        assert self.shim is not None
        failpoints.hit("exit.acknowledge")
        zygote = self.host.zygote
        with suppress(OrlopError):  # it may be gone already, as it was asked to
            reply = await self.shim.request("acknowledge", stay=zygote.has_room)
            connection = self.shim.release() if reply.get("stays") else None
            if connection is not None:
                zygote.keep(connection)
                self._stayed = True

    async def _lost(self) -> None:
        """The shim's connection ended without a word: as a rule, the shim did.

        Then nothing of the container may live on.
        """
        shim_pid = self.shim.shim_pid if self.shim is not None else 0
        for _ in range(MOST_CONNECTIONS):
            if self._given_up or not self.container.state.pid:
                break
            if not await follow_again(self, shim_pid):
                break
            if self._over:
                return
        self.kill()
        await self._empty_cgroup()
        try:
            record = exit_record.read(str(self.container.bundle))
        except ProtocolError:
            record = None
        if record is not None and record.run == self.run:
            await self._ended(record, durable=True)
            return
        await self._network.end()
        self._report_lost()
        await self.container.until(lambda s: s.run != self.run or not s.live)

    def _report_lost(self) -> None:
        self._over = True
        if self.container.state.pid:
            lost = m.Exit(code=137, signal=9, at_ns=time.time_ns(), error=LOST)
            self.container.post(m.Exited(self.run, lost))
        else:
            self._report_start_failure(None, LOST)

    def _report_start_failure(self, error: InitError | OrlopError | None, text: str) -> None:
        self._over = True
        self.container.drop_early_clients()
        code, message = start_error(error or Internal(text))
        self.container.post(m.StartFailed(self.run, message, code, time.time_ns()))

    def _oom(self, count: int, limit: int, peak: int) -> None:
        self.host.note_oom(self.container, limit, peak)
        self.container.post(m.OomKilled(self.run, count))

    # --- afterwards ---------------------------------------------------------------------

    async def _empty_cgroup(self) -> None:
        """Wait until the last process is gone; kill what outlived PID 1 (pid=host containers)."""
        if self.group is None:
            return
        try:
            if not self.group.populated():
                return
            watch = self.group.events_watch()
        except OSError:
            return
        emptied = trio.Event()
        self.host.watcher.add(
            watch.fd, watch.events, lambda: None if watch.populated() else emptied.set()
        )
        try:
            self.group.kill()
            if watch.populated():
                with trio.move_on_after(EMPTY_SECONDS):
                    await emptied.wait()
        except OSError as error:
            log.warning("container %s: emptying its cgroup: %s", self.container.id[:12], error)
        finally:
            self.host.watcher.remove(watch.fd)
            watch.close()

    async def _release(self) -> None:
        """Give up the watch and the cgroup; one that stays busy is logged, and swept later."""
        await self._network.end()
        self.host.write_soon()
        if self.oom is not None:
            self.oom.stop()
            self.oom = None
        if self.shim is not None and self.shim.shim_pid and not self._stayed:
            self.host.metering.reaped("shim")
        group, self.group = self.group, None
        if group is None:
            return
        for pause in (0.0, *REMOVE_RETRY_SECONDS):
            if pause:
                await trio.sleep(pause)
            try:
                failpoints.hit("exit.cgroup")
                group.remove()
            except OSError as error:
                if error.errno != errno.EBUSY:
                    log.exception("container %s: its cgroup stays", self.container.id[:12])
                    return
            else:
                return
        log.error("container %s: its cgroup is still busy", self.container.id[:12])


def as_exit(record: ExitRecord) -> m.Exit:
    """The machine's view of a shim's exit record."""
    return m.Exit(
        code=record.code,
        signal=record.signal,
        at_ns=record.finished_ns,
        uptime_ns=record.finished_boottime_ns - record.started_boottime_ns,
    )
