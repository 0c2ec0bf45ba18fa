"""Finding again what a previous supervisor left: records, living shims, ended runs, remains.

Start-up is the only shutdown procedure there is: it makes no difference whether the last
supervisor was stopped or killed.
"""

from __future__ import annotations

import logging
import os
import time
from functools import partial
from typing import TYPE_CHECKING

import trio

from supervisor import failpoints
from supervisor.engine import rebuild
from supervisor.engine.catching_up import catch_up
from supervisor.engine.container import Container
from supervisor.engine.host import KIND
from supervisor.engine.shim_client import NOT_BEGUN, ShimClient, connect, start_error
from supervisor.engine.task import LOST, Task, as_exit
from supervisor.errors import InitError, OrlopError, ProtocolError
from supervisor.kernel import process
from supervisor.kernel.cgroups import Group
from supervisor.lifecycle import machine as m
from supervisor.shim import exit_record
from supervisor.shim.exit_record import ExitRecord
from supervisor.store.database import Delete, Put

if TYPE_CHECKING:
    from supervisor.engine.engine import Engine

log = logging.getLogger("orlop.recovery")
ADOPT_SECONDS = 5.0
REBOOTED = "the host was restarted: the exit status is not known"
_HOST, _BOOT = "host", "boot-id"
YOUNG_SHIM_SECONDS = (0.02, 0.05, 0.1, 0.3)


async def recover(engine: Engine) -> None:
    """Load all records, adopt what lives, settle what ended, remove what belongs to nobody.

    Then the restart policies count, which start what was stopped with the last supervisor.
    """
    await _load(engine)
    boot = process.boot_id().encode()
    known = dict(await engine.host.database.all(_HOST)).get(_BOOT)
    rebooted = known not in (None, boot)
    await engine.network_runs.restoring.restore()
    async with trio.open_nursery() as nursery:
        for container in list(engine.containers.values()):
            nursery.start_soon(_recover_one, engine, container, rebooted)
    if known != boot:
        await engine.host.database.put(_HOST, _BOOT, boot)
    failpoints.hit("recover.sweep")
    await engine.reconciling.look(first=True)
    for container in list(engine.containers.values()):
        container.post(m.AgentStarted())


async def _load(engine: Engine) -> None:
    database, root = engine.host.database, engine.host.root.path
    rows = await database.all(KIND)
    damaged = [key for kind, key in database.damaged if kind == KIND]
    loaded = await trio.to_thread.run_sync(
        partial(rebuild.load, root, rows, damaged, fresh=database.fresh)
    )
    restored = [Put(KIND, one.id, one.encode()) for one in loaded.restored]
    await database.apply([*restored, *(Delete(KIND, key) for key in loaded.removed)])
    for record in loaded.records:
        engine.add(record)
        engine.host.copies.note(record)  # a kill may have come before its last copy
    engine.reconciling.unreadable = frozenset(loaded.unreadable)


async def _recover_one(engine: Engine, container: Container, rebooted: bool) -> None:
    state = container.state
    if state.live:
        await _recover_run(engine, container, rebooted)
    else:
        _complete(engine, container)
        await engine.network_runs.end(container)
    for effect in m.resume(container.state, trio.current_time()):
        container.do(effect)


async def _recover_run(engine: Engine, container: Container, rebooted: bool) -> None:
    """The run was not seen to end: its shim lives, or its exit record tells, or it is lost."""
    shim = None if rebooted else await _connect(engine, container)
    if shim is None:
        await engine.network_runs.end(container)
        settle(engine, container, REBOOTED if rebooted else LOST)
        run = container.state.run
        await container.until(lambda s: s.run != run or not s.live)
        return
    adopted = trio.Event()
    engine.nursery.start_soon(_adopt, engine, container, shim, adopted)
    with trio.move_on_after(ADOPT_SECONDS):
        await adopted.wait()


def _complete(engine: Engine, container: Container) -> None:
    """Make the folders of a container whose creation was broken off between record and folders."""
    if container.state.phase is not m.Phase.CREATED:
        return
    if not engine.host.bundle(container).exists():
        try:
            engine.host.make_folders(container.record)
        except OSError as error:
            log.warning("container %s: its folders: %s", container.id[:12], error)


async def _connect(engine: Engine, container: Container) -> ShimClient | None:
    """The living shim; one forked just before the supervisor died may not listen yet."""
    for pause in (*(() if container.state.pid else YOUNG_SHIM_SECONDS), 0.0):
        try:
            return await connect(engine.host.bundle(container))
        except OSError:
            await trio.sleep(pause)
    return None


async def _adopt(
    engine: Engine, container: Container, shim: ShimClient, adopted: trio.Event
) -> None:
    task = Task(container, container.state.run)
    task.shim = shim
    async with trio.open_nursery() as nursery:
        nursery.start_soon(container.adopt, task)
        try:
            await shim.greeted.wait()
            _adopt_cgroup(engine, container, task)
            if task.unspoken:
                log.error("container %s is left alone: %s", container.id[:12], task.unspoken)
                await _adopt_unheard(engine, container, task)
                return
            state = await shim.request("state")
            if state["phase"] in ("starting", "running"):
                await engine.network_runs.restoring.adopt(container, int(state["pid"]))
            await catch_up(task, state)
            engine.health.look(container)
        except OrlopError as error:
            log.warning("container %s: adopting: %s", container.id[:12], error)
        finally:
            adopted.set()


async def _adopt_unheard(engine: Engine, container: Container, task: Task) -> None:
    """Serve the names and ports of a container whose shim tells nothing that is understood."""
    pid = container.state.pid
    try:
        if pid and task.group is not None and pid in task.group.procs():  # and no later process
            await engine.network_runs.restoring.adopt(container, pid)
    except OSError as error:
        log.warning("container %s: its cgroup: %s", container.id[:12], error)


def _adopt_cgroup(engine: Engine, container: Container, task: Task) -> None:
    try:
        group = engine.host.hierarchy.open(container.id)
        task.adopt_cgroup(group, container.state.oom_kills)
    except OSError as error:
        log.warning("container %s: its cgroup: %s", container.id[:12], error)


def settle(engine: Engine, container: Container, why_lost: str = LOST) -> None:
    """No shim answers: the exit record says how it ended, or nothing does."""
    failpoints.hit("recover.settle")
    run = container.state.run
    record = _read(engine, container)
    group = _group(engine, container)
    if group is not None:
        _kill(group)
    if record is None or record.run != run:
        # Whether it had begun to run is not known where all for it was there: a start is answered
        # before the record that says so is durable.
        if container.state.pid or why_lost == REBOOTED or group is not None:
            lost = m.Exit(code=137, signal=9, at_ns=time.time_ns(), error=why_lost)
            container.post(m.Exited(run, lost))
        else:
            container.post(m.StartFailed(run, why_lost, NOT_BEGUN, time.time_ns()))
        return
    if record.oom_kills > container.state.oom_kills:
        engine.host.note_oom(container, record.memory_limit, record.memory_peak)
        container.post(m.OomKilled(run, record.oom_kills - container.state.oom_kills))
    if record.error is not None:
        code, message = start_error(InitError.from_json(record.error))
        container.post(m.StartFailed(run, message, code, record.finished_ns))
    else:
        container.post(m.Exited(run, as_exit(record)))


def _read(engine: Engine, container: Container) -> ExitRecord | None:
    try:
        return exit_record.read(os.fspath(engine.host.bundle(container)))
    except (ProtocolError, OSError) as error:
        log.warning("container %s: %s", container.id[:12], error)
        return None


def _group(engine: Engine, container: Container) -> Group | None:
    try:
        return engine.host.hierarchy.open(container.id)
    except OSError:
        return None


def _kill(group: Group) -> None:
    for step in (group.kill, group.remove):  # it may be gone from some hierarchies already
        try:
            step()
        except OSError as error:
            log.warning("cgroup %s: %s", group.name, error)
