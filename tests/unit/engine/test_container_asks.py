"""Requests that are refused whatever the container's state."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from supervisor.docker.create import CreateBody
from supervisor.engine.container import Container
from supervisor.errors import Unavailable
from supervisor.lifecycle import machine as m

START, RESTART = m.StartRequested(), m.RestartRequested(15, 1.0)
STOP, REMOVE = m.StopRequested(15, 1.0), m.RemoveRequested(True)


@pytest.fixture
async def container(nursery: trio.Nursery) -> Container:
    record = SimpleNamespace(id="a" * 64, name="one", body=CreateBody(image="x"), state=m.State())
    host: Any = SimpleNamespace(closing=False)
    return Container(host, cast(Any, record), nursery)


async def passes(container: Container, request: m.Request) -> bool:
    """It gets as far as the mailbox, which nobody reads here."""
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(container.ask, request)
            await wait_all_tasks_blocked()
            scope.cancel()
    return True


async def test_no_start_while_the_daemon_stops_all(container: Container) -> None:
    container.host.closing = True
    for request in (START, RESTART):
        with pytest.raises(Unavailable, match="it starts no container"):
            await container.ask(request)
    assert await passes(container, STOP)
    assert await passes(container, REMOVE)


async def test_nothing_where_the_shim_is_not_understood(container: Container) -> None:
    container.task = cast(Any, SimpleNamespace(unspoken="its shim is of another orlop"))
    for request in (START, RESTART, STOP, REMOVE, m.KillRequested(9), m.PauseRequested()):
        with pytest.raises(Unavailable, match="of another orlop"):
            await container.ask(request)
    container.task = None
    assert await passes(container, STOP)
