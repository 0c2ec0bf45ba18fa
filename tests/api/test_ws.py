"""Attaching by websocket to containers of a running daemon."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator

import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Message, Request

from tests.api.box import IMAGE, Box, eventually
from tests.support.pace import limit

ALL = "stream=1&stdin=1&stdout=1&stderr=1"


class WebSocket:
    """A websocket's client, blocking."""

    def __init__(self, box: Box, ref: str, query: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(limit(20))
        self.socket.connect(str(box.daemon.socket))
        self.protocol = WSConnection(ConnectionType.CLIENT)
        self.output = b""
        self.code = 0
        self.accepted = False
        target = f"/v1.51/containers/{ref}/attach/ws?{query}"
        self.socket.sendall(self.protocol.send(Request(host="x", target=target)))
        while not self.accepted:
            self._read()

    def send(self, data: bytes) -> None:
        """To the container."""
        self.socket.sendall(self.protocol.send(BytesMessage(data=data)))

    def until(self, text: bytes) -> None:
        """Until the container has written it."""
        while text not in self.output:
            self._read()

    def rest(self) -> bytes:
        """All output, once the server has closed."""
        while not self.code:
            self._read()
        return self.output

    def _read(self) -> None:
        data = self.socket.recv(4096)
        assert data, (self.output, self.code)
        self.protocol.receive_data(data)
        for event in self.protocol.events():
            if isinstance(event, AcceptConnection):
                self.accepted = True
            elif isinstance(event, CloseConnection):
                self.code = event.code
            else:
                assert isinstance(event, Message)
                self.output += bytes(event.data)


Open = Callable[..., WebSocket]


@pytest.fixture
def attach(box: Box) -> Iterator[Open]:
    """`attach(ref)`: an open websocket, closed at the end."""
    with contextlib.ExitStack() as stack:

        def open_one(ref: str, query: str = ALL) -> WebSocket:
            made = WebSocket(box, ref, query)
            stack.callback(made.socket.close)
            return made

        yield open_one


def test_input_output_and_the_end(box: Box, attach: Open) -> None:
    script = "read x; echo got $x; echo wrong >&2; exit 3"
    ref = box.ok("create", "-i", IMAGE, "sh", "-c", script)
    made = attach(ref)
    box.ok("start", ref)
    made.send(b"wo")
    made.send(b"rd\n")
    output = made.rest()
    assert sorted(output.splitlines()) == [b"got word", b"wrong"]
    assert made.code == 1000
    assert box.ok("wait", ref) == "3"


def test_the_end_of_input_by_half_closing(box: Box, attach: Open) -> None:
    ref = box.ok("create", "-i", IMAGE, "sh", "-c", "cat; echo end")
    made = attach(ref)
    box.ok("start", ref)
    # The detach keys are data where there is no terminal.
    made.send(b"a\x10\x11b\n")
    made.socket.shutdown(socket.SHUT_WR)
    assert made.rest() == b"a\x10\x11b\nend\n"


def test_detach_keys_at_a_terminal(box: Box, attach: Open) -> None:
    ref = box.start("-it", script="cat")
    made = attach(ref, f"{ALL}&detachKeys=ctrl-x,y")
    made.send(b"here\n")
    made.until(b"here\r\nhere\r\n")
    made.send(b"\x18y")
    made.rest()
    assert made.code == 1000
    assert box.status(ref) == "running"
    again = attach(ref)
    again.send(b"again\n")
    again.until(b"again\r\nagain\r\n")


def test_logs_alone_and_with_what_comes(box: Box, attach: Open) -> None:
    ref = box.start(script="echo first; while [ ! -e /go ]; do sleep 0.05; done; echo second")
    box.wait_for_log(ref, "first")
    assert attach(ref, "logs=1&stdout=1").rest() == b"first\n"
    made = attach(ref, "logs=1&stream=1&stdout=1")
    made.until(b"first\n")
    box.ok("exec", ref, "touch", "/go")
    assert made.rest() == b"first\nsecond\n"


def test_much_output_for_a_client_that_reads_late(box: Box, attach: Open) -> None:
    size = 5 << 20
    ref = box.ok("create", IMAGE, "sh", "-c", f"head -c {size} /dev/zero; echo over >&2")
    made = attach(ref)
    box.ok("start", ref)
    assert len(made.rest()) == size + len("over\n")


def test_a_client_that_goes_leaves_the_container(box: Box, attach: Open) -> None:
    ref = box.ok("create", "-i", IMAGE, "sh", "-c", "cat >/dev/null; sleep 1000")
    made = attach(ref)
    box.ok("start", ref)
    made.socket.close()
    # That was the end of its input, too: it goes on.
    eventually(lambda: box.ok("top", ref, "-o", "args").endswith("\nsleep 1000"))
    assert box.status(ref) == "running"


def test_a_daemon_that_stops_ends_it(new_box: Box) -> None:
    ref = new_box.start()
    made = WebSocket(new_box, ref, ALL)
    with made.socket:
        assert new_box.daemon.stop(9.5) == 0  # the drain would take 10
        assert made.socket.recv(1) == b""
    new_box.daemon.start()
    assert new_box.status(ref) == "running"
