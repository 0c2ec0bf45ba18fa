"""The HTTP client against every way to cut and frame an answer."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from supervisor.cli.http import Connection, Disconnected
from supervisor.errors import ProtocolError

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@contextmanager
def served(folder: Path, *pieces: bytes | threading.Event) -> Iterator[Connection]:
    """A connection to a server that sends `pieces`, waits for the events, and closes."""
    path = str(folder / "http.sock")
    Path(path).unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def serve() -> None:
            sock, _ = listener.accept()
            with sock, suppress(BrokenPipeError):  # the client may have what it wanted
                for piece in pieces:
                    if isinstance(piece, threading.Event):
                        assert piece.wait(20)
                    else:
                        sock.sendall(piece)

        thread = threading.Thread(target=serve)
        thread.start()
        connection = Connection(path)
        try:
            yield connection
        finally:
            connection.close()
            thread.join()


@given(data=st.data())
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_cut_gives_the_same_answers(tmp_path: Path, data: st.DataObject) -> None:
    stream = (
        b"HTTP/1.1 100 Continue\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello"
        b"HTTP/1.1 204 No Content\r\n\r\n"
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n"
        + CHUNKED
        + b"3;ext=1\r\nabc\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n"
        b"HTTP/1.1 500 Oops\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    edges = [0, *cuts, len(stream)]
    pieces = [stream[a:b] for a, b in pairwise(edges)]
    with served(tmp_path, *pieces) as connection:
        answers = []
        for _ in range(5):
            response = connection.receive()
            answers.append((response.status, response.read(), response.reusable))
    assert answers == [
        (200, b"hello", True),
        (204, b"", True),
        (304, b"", True),
        (200, b"abc0123456789", True),
        (500, b"{}", False),
    ]


def test_a_body_without_length_ends_with_the_connection(tmp_path: Path) -> None:
    with served(tmp_path, b"HTTP/1.1 200 OK\r\n\r\nall", b" of it") as connection:
        response = connection.receive()
        assert response.read() == b"all of it"
        assert response.reusable is False


def test_pieces_come_as_they_arrive_and_not_when_a_chunk_is_whole(tmp_path: Path) -> None:
    seen = threading.Event()
    rest = b"def\r\n0\r\n\r\n"
    with served(tmp_path, CHUNKED + b"6\r\nabc", seen, rest) as connection:
        pieces = connection.receive().pieces()
        assert next(pieces) == b"abc"
        seen.set()
        assert b"".join(pieces) == b"def"


def test_bytes_behind_an_upgrade_belong_to_the_stream(tmp_path: Path) -> None:
    head = b"HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\n"
    with served(tmp_path, head + b"early", b" late") as connection:
        assert connection.receive().status == 101
        stream, early = connection.take_stream()
        with stream:
            rest = b"".join(iter(lambda: stream.recv(100), b""))
        assert early + rest == b"early late"
        assert early.startswith(b"early")


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" + b"".join(b"H%d: x\r\n" % i for i in range(300)),
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000,
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        CHUNKED + b"zz\r\n\r\n",
    ],
)
def test_what_is_no_http_is_a_protocol_error(tmp_path: Path, answer: bytes) -> None:
    with served(tmp_path, answer) as connection, pytest.raises(ProtocolError):
        connection.receive().read()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
        CHUNKED + b"5\r\nhell",
        CHUNKED + b"5\r\nhello\r\n",
    ],
)
def test_an_answer_cut_short_is_told(tmp_path: Path, answer: bytes) -> None:
    with served(tmp_path, answer) as connection, pytest.raises(Disconnected):
        connection.receive().read()


def test_a_closed_idle_connection_is_stale(tmp_path: Path) -> None:
    with served(tmp_path, b"HTTP/1.1 204 No Content\r\n\r\n") as connection:
        connection.receive().read()
        assert connection.readable(10)  # the server's close
        assert connection.stale()


def test_a_missing_socket_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Connection(str(tmp_path / "none"))
