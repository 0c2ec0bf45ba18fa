"""Connections whose requests have needed no waiting so far: one task looks after all of them.

    accepted ──► lobby ──► answered at once ──► lobby …
                   └─────► whatever takes longer: a task of its own, for good

`docker stats` of all containers opens a connection for each, asks once and closes it. A task for
each, with its waits, costs as much as what they ask for.
"""

from __future__ import annotations

import logging
import select
from collections.abc import Callable

import trio

from supervisor.api.arrival import Disconnected
from supervisor.api.connection import Connection
from supervisor.api.patience import Patience

log = logging.getLogger("orlop.api")

AT_ONCE = 16
"""Connections that are looked at before what is under way gets its turn again."""


class Lobby:
    """`answer` answers what has come on a connection; False where that takes a task.

    It may raise Disconnected. `leave` is called with a connection that needs a task, `over` with
    one that is at its end; whoever is told closes it.
    """

    def __init__(
        self,
        patience: Patience,
        *,
        answer: Callable[[Connection, bytes], bool],
        leave: Callable[[Connection], None],
        over: Callable[[Connection], None],
    ) -> None:
        self._patience = patience
        self._answer, self._leave, self._over = answer, leave, over
        self._epoll = select.epoll()
        self._present: dict[int, Connection] = {}

    async def run(self) -> None:
        """Look after those that are in, until cancelled."""
        while True:
            await trio.lowlevel.wait_readable(self._epoll.fileno())
            for fd, _ in self._epoll.poll(0, AT_ONCE):
                if (connection := self._present.get(fd)) is not None:
                    self._patience.end(connection)
                    self._look_at(connection)

    def close(self) -> None:
        """Everybody's wait ends here and now; release the epoll."""
        for connection in list(self._present.values()):
            self._end(connection)
        self._epoll.close()

    def enter(self, connection: Connection) -> None:
        """A new connection; whoever connects has mostly sent its request by now."""
        fd = connection.fileno()
        try:
            self._epoll.register(fd, select.EPOLLIN)
        except OSError as error:  # this user may watch no more (epoll(7)), or memory is short
            log.warning("a connection cannot be watched: %s", error.strerror)
            self._over(connection)
            return
        self._present[fd] = connection
        self._look_at(connection)

    def _look_at(self, connection: Connection) -> None:
        try:
            data = connection.arrived()
            if data is None or (data and self._answer(connection, data)):
                self._wait_for(connection)
                return
        except Disconnected:
            log.debug("a client hung up")
            data = b""
        except Exception:
            log.exception("a connection broke")
            data = b""
        if data:
            self._epoll.unregister(connection.fileno())
            self._forget(connection)
            self._leave(connection)
        else:
            self._end(connection)

    def _wait_for(self, connection: Connection) -> None:
        if connection.waiting is None:
            connection.waiting = lambda: self._end(connection)
        self._patience.begin(connection)

    def _end(self, connection: Connection) -> None:
        self._patience.end(connection)
        self._forget(connection)
        self._over(connection)  # closing is what takes it out of the epoll

    def _forget(self, connection: Connection) -> None:
        connection.waiting = None
        del self._present[connection.fileno()]
