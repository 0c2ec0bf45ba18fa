"""Following the events of a daemon while something is done to it."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress

from tests.chaos.rig import Rig
from tests.support.daemon import UnixConnection
from tests.support.pace import limit

SILENCE = 3600.0


@contextmanager
def listening(
    rig: Rig, take: Callable[[str, str], None], codes: bool = False
) -> Iterator[threading.Thread]:
    """`take(container, action)` for each event of a container, exec's left out, in their order.

    With `codes` the exit code stands behind an action that has one. The thread that is given
    lives as long as the daemon goes on telling.
    """
    connection = UnixConnection(rig.daemon.socket, limit(SILENCE))

    def listen() -> None:
        with suppress(OSError, http.client.HTTPException):  # hung up on, below
            for line in response:
                event = json.loads(line)
                if event["Type"] == "container" and not event["Action"].startswith("exec"):
                    code = event["Actor"]["Attributes"].get("exitCode", "") if codes else ""
                    take(event["Actor"]["ID"], event["Action"] + code)

    with closing(connection):
        connection.request("GET", "/events")
        stream = connection.sock
        response = connection.getresponse()
        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield thread
        finally:
            stream.shutdown(socket.SHUT_RDWR)
            thread.join()
