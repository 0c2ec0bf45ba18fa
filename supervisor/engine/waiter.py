"""`docker wait`: registered before it is waited on, so that no exit slips through."""

from __future__ import annotations

from supervisor.engine.container import Container
from supervisor.errors import InvalidArgument
from supervisor.lifecycle.machine import Phase

CONDITIONS = ("not-running", "next-exit", "removed")


class Waiter:
    """What to wait for, noted at the time of the request."""

    def __init__(self, container: Container, condition: str) -> None:
        if condition not in CONDITIONS:
            known = ", ".join(CONDITIONS)
            raise InvalidArgument(f'invalid condition: "{condition}": give one of {known}')
        self._container = container
        self._condition = condition
        self._exits = container.exits
        self._stops = container.stops

    async def result(self) -> tuple[int, str]:
        """(exit code, error text) once the condition holds."""
        container = self._container
        if self._condition == "next-exit":
            await container.until(lambda _s: container.exits > self._exits)
        elif self._condition == "removed":
            await container.forgotten.wait()
        else:
            # As docker: a restart by request ends the wait, one by the policy does not.
            await container.until(
                lambda s: (
                    container.stops > self._stops
                    or (not s.live and s.phase is not Phase.RESTARTING)
                )
            )
        end = container.last_exit
        return (end.code, end.error) if end is not None else (0, "")
