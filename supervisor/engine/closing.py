"""Stopping every container because the daemon ends (`--on-exit stop`)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio

from supervisor.engine.engine import KILL_SECONDS
from supervisor.errors import NotModified, OrlopError
from supervisor.lifecycle import machine as m

if TYPE_CHECKING:
    from supervisor.engine.container import Container
    from supervisor.engine.engine import Engine

log = logging.getLogger("orlop.closing")

# packaging/orlop.service gives more than this until it kills the daemon itself.
LONGEST = 60.0


async def stop_all(engine: Engine, seconds: float = LONGEST) -> list[str]:
    """Stop all containers at once, each as `orlop stop` would; the names of those that run on.

    Nothing is started any more from now on, by nobody and by no policy. It takes no longer than
    `seconds`: a container whose own grace is longer than that allows is killed earlier.
    """
    engine.host.closing = True
    containers = list(engine.containers.values())
    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            for container in containers:
                nursery.start_soon(_stop, engine, container, max(0.0, seconds - KILL_SECONDS))
    return [container.record.name for container in containers if container.state.live]


async def _stop(engine: Engine, container: Container, longest: float) -> None:
    signal, grace = engine.stop_terms(container)
    grace = longest if grace is None else min(grace, longest)
    try:
        await container.ask(m.StopRequested(signal, grace, by_agent=True))
    except NotModified:
        pass  # it is at rest; or being removed, which is seen to its end
    except OrlopError as error:
        log.warning("container %s is not stopped: %s", container.record.name, error)
        return
    await container.until(lambda state: not state.live)
    await container.rest()
