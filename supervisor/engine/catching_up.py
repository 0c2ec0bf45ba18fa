"""Meeting a shim in the middle of its run: as a later supervisor, or after the connection broke."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio

from supervisor.engine.shim_client import ShimClient, connect
from supervisor.errors import OrlopError
from supervisor.lifecycle import machine as m
from supervisor.wire.shim_protocol import Message

if TYPE_CHECKING:
    from supervisor.engine.task import Task

log = logging.getLogger("orlop.catching-up")

ANSWER_SECONDS = 10.0


async def catch_up(task: Task, state: Message) -> None:
    """Tell the machine what it missed, by the shim's answer to `state`."""
    container, phase = task.container, state["phase"]
    task.accepts = phase in ("starting", "running")
    if state.get("started_ns") and not container.state.pid:
        started = m.TaskStarted(task.run, int(state["pid"]), int(state["started_ns"]))
        container.post(started)
    if phase == "exited" and state.get("record"):
        await task.take({"event": "exited", "record": state["record"]})
    elif phase == "created":
        await task.take({"event": "created"})
    elif task.group is not None and phase == "running":
        frozen = task.group.frozen()
        if frozen != (container.state.phase is m.Phase.PAUSED):
            container.post(m.Frozen(task.run) if frozen else m.Thawed(task.run))


async def follow_again(task: Task, shim_pid: int) -> bool:
    """Follow the run on a new connection, until that ends; False where the shim is gone."""
    container = task.container
    try:
        shim = await connect(container.bundle)
    except OSError:
        return False
    task.shim = shim
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shim.run)
        nursery.start_soon(_meet, task, shim, shim_pid)
        async for event in shim.events:
            await task.take(event)
    return True


async def _meet(task: Task, shim: ShimClient, shim_pid: int) -> None:
    with trio.move_on_after(ANSWER_SECONDS):
        await shim.greeted.wait()
        if shim.shim_pid == shim_pid:
            if shim.unspoken:
                return  # left alone as before
            try:
                state = await shim.request("state")
                log.warning(
                    "container %s: the connection to its shim broke; there is another one",
                    task.container.id[:12],
                )
                await catch_up(task, state)
                await task.host.look_at_execs(task.container.id)
            except OrlopError as error:
                log.info("container %s: its shim: %s", task.container.id[:12], error)
            else:
                return
    shim.close()
