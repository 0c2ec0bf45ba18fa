"""Sessions and their clients, over real pipes and socket pairs."""

import os
import random
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from supervisor.shim import client as client_module
from supervisor.shim.client import BUFFER_LIMIT, Client
from supervisor.shim.loop import IN, Loop
from supervisor.shim.session import Session
from supervisor.wire import stdcopy

OWNER = 0  # as outside of a user namespace
_opened: list[socket.socket] = []
_sessions: list[Session] = []


@pytest.fixture(autouse=True)
def _close_all() -> Iterator[None]:
    yield
    while _sessions:
        session = _sessions.pop()
        session.close()
        session.loop.epoll.close()
    while _opened:
        _opened.pop().close()


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected stream sockets, closed after the test."""
    near, far = socket.socketpair()
    _opened.extend((near, far))
    return near, far


def turn(loop: Loop, over: Callable[[], bool], seconds: float = 30.0) -> None:
    """Run the loop until `over()`; fail when it does not come."""
    late: list[bool] = []

    def check() -> None:
        if over():
            loop.done = True
        else:
            loop.call_later(0.005, check)

    def give_up() -> None:
        late.append(True)
        loop.done = True

    loop.done = False
    limit = loop.call_later(seconds, give_up)
    check()
    loop.run()
    limit.cancel()
    assert not late, "it did not happen"


def attach(
    loop: Loop, session: Session, *, stdin: bool = False, keys: bytes = b"", framed: bool = False
) -> tuple[Client, socket.socket]:
    """A client of `session` and its far end."""
    near, far = pair()
    far.settimeout(5)
    client = Client(
        loop,
        near,
        wants=frozenset({stdcopy.STDOUT, stdcopy.STDERR}),
        stdin=stdin,
        framed=framed,
        detach_keys=keys,
        on_change=session.client_changed,
        on_input=session.take_input,
        on_gone=session.client_gone,
    )
    session.add_client(client)
    return client, far


def new(*, once: bool = True) -> tuple[Loop, Session]:
    """A loop and a session without a log."""
    loop = Loop()
    session = Session(loop, log=None, stdin_once=once)
    _sessions.append(session)
    return loop, session


def test_input_that_comes_before_stdin_is_kept() -> None:
    loop, session = new()
    client, far = attach(loop, session, stdin=True)
    client.feed(b"early ")
    far.sendall(b"bird")
    far.shutdown(socket.SHUT_WR)
    turn(loop, lambda: not client.reading)
    ends = session.open_pipes(True, OWNER)
    with os.fdopen(ends[0], "rb") as stdin:
        assert stdin.read() == b"early bird"


def test_input_without_a_stdin_is_dropped() -> None:
    loop, session = new()
    session.open_pipes(False, OWNER)
    client, far = attach(loop, session, stdin=True)
    far.sendall(b"x" * 200_000)
    far.shutdown(socket.SHUT_WR)
    turn(loop, lambda: not client.reading)
    assert not session.pending_input


def test_stdin_stays_open_without_stdin_once() -> None:
    loop, session = new(once=False)
    stdin, _, _ = session.open_pipes(True, OWNER)
    client, far = attach(loop, session, stdin=True)
    far.close()
    turn(loop, lambda: client.closed)
    os.set_blocking(stdin, False)
    with pytest.raises(BlockingIOError):
        os.read(stdin, 1)


def test_half_closed_client_still_gets_output() -> None:
    loop, session = new()
    _, out, _ = session.open_pipes(True, OWNER)
    client, far = attach(loop, session, stdin=True, framed=True)
    far.shutdown(socket.SHUT_WR)
    turn(loop, lambda: not client.reading)
    os.write(out, b"answer")
    turn(loop, lambda: not client.pieces and bool(select.select([far], [], [], 0)[0]))
    assert far.recv(100) == stdcopy.header(stdcopy.STDOUT, 6) + b"answer"


def test_detach_keys_leave_stdin_open() -> None:
    loop, session = new()
    stdin, _, _ = session.open_pipes(True, OWNER)
    client, far = attach(loop, session, stdin=True, keys=b"\x10\x11")
    far.sendall(b"ab\x10\x11cd")
    turn(loop, lambda: client.closed)
    os.set_blocking(stdin, False)
    assert os.read(stdin, 10) == b"ab"
    with pytest.raises(BlockingIOError):
        os.read(stdin, 1)


def test_full_client_holds_output_until_it_reads() -> None:
    loop, session = new()
    _, out, err = session.open_pipes(False, OWNER)
    client, far = attach(loop, session)
    client.send(stdcopy.STDOUT, b"x" * (2 * BUFFER_LIMIT))
    assert client.full
    os.write(out, b"later")
    far.setblocking(False)
    received = bytearray()

    def read() -> bool:
        with suppress(BlockingIOError):
            received.extend(far.recv(1 << 20))
        return received.endswith(b"later")

    turn(loop, read)
    assert len(received) == 2 * BUFFER_LIMIT + 5
    assert not session.held
    os.close(out)
    os.close(err)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "PATIENCE_SECONDS", 0.4)
    monkeypatch.setattr(client_module, "LOOK_SECONDS", 0.02)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("finishing", [False, True])
def test_a_client_that_reads_nothing_is_dropped(finishing: bool) -> None:
    loop, session = new()
    session.open_pipes(False, OWNER)
    client, _far = attach(loop, session)
    client.send(stdcopy.STDOUT, b"x" * (BUFFER_LIMIT if finishing else 2 * BUFFER_LIMIT))
    if finishing:
        client.finish()
    turn(loop, lambda: client.closed)
    assert not session.held
    assert session.clients == []


@pytest.mark.usefixtures("impatient")
def test_a_client_that_reads_too_little_now_and_then_is_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each look finds that it has read something: its time is up all the same."""
    monkeypatch.setattr(client_module, "SLOWEST", 1 << 40)
    loop, session = new()
    session.open_pipes(False, OWNER)
    client, far = attach(loop, session)
    far.setblocking(False)
    client.send(stdcopy.STDOUT, b"x" * (8 * BUFFER_LIMIT))

    def reads_and_is_dropped() -> bool:
        with suppress(BlockingIOError):
            far.recv(1 << 15)
        return client.closed

    turn(loop, reads_and_is_dropped)
    assert client.taken > 0


@pytest.mark.usefixtures("impatient")
def test_a_client_that_reads_slowly_gets_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less at each look than makes the socket take more, and many times its patience."""
    looks: list[float] = []
    look = Client._look

    def counted(self: Client) -> None:
        look(self)
        looks.append(self.patience)

    monkeypatch.setattr(Client, "_look", counted)
    loop, session = new()
    session.open_pipes(False, OWNER)
    client, far = attach(loop, session)
    far.setblocking(False)
    sent = random.Random(17).randbytes(600_000)
    client.send(stdcopy.STDOUT, sent)
    client.finish()
    received, seen = bytearray(), 0

    def reads_a_little() -> bool:
        nonlocal seen
        if len(looks) > seen:
            seen = len(looks)
            with suppress(BlockingIOError):
                while len(received) < seen * 6000 and (data := far.recv(4000)):
                    received.extend(data)
        return client.closed

    turn(loop, reads_a_little, seconds=60.0)
    with suppress(OSError):
        while data := far.recv(1 << 16):
            received.extend(data)
    assert received == sent
    assert len(looks) * client_module.LOOK_SECONDS > 3 * client_module.PATIENCE_SECONDS


def test_pieces_arrive_whole_and_in_order_however_they_are_taken() -> None:
    loop, session = new()
    session.open_pipes(False, OWNER)
    client, far = attach(loop, session, framed=True)
    client.stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)
    far.setblocking(False)  # how much fits into the socket is the kernel's business
    chance = random.Random(66)
    sent, received = b"", bytearray()

    def take() -> None:
        with suppress(BlockingIOError):
            received.extend(far.recv(chance.randrange(1, 9000)))

    for number in range(200):
        piece = chance.randbytes(chance.choice((1, 2, 7, 8, 300, 5000, 70000)))
        sent += stdcopy.frame(1 + number % 2, piece)
        client.send(1 + number % 2, piece)
        if number % 3 == 0:
            take()
    assert client.full
    assert client.waiting >= sum(map(len, client.pieces)) - client.sent

    def read() -> bool:
        take()
        return len(received) == len(sent)

    turn(loop, read)
    assert bytes(received) == sent
    assert (client.pieces, client.sent, client.waiting) == ([], 0, 0)


def test_many_who_read_nothing_keep_the_same_bytes() -> None:
    loop, session = new()
    _, out, err = session.open_pipes(False, OWNER)
    clients = [attach(loop, session, framed=True)[0] for _ in range(30)]
    os.set_blocking(out, False)
    told: list[bool] = []

    def changed() -> None:
        told.append(True)
        session.client_changed()

    for client in clients:
        client.on_change = changed

    def fill() -> bool:
        with suppress(BlockingIOError):
            os.write(out, b"x" * 65536)
        return session.held

    turn(loop, fill)
    assert all(BUFFER_LIMIT / 2 < client.waiting < 2 * BUFFER_LIMIT for client in clients)
    assert len(told) <= 2 * len(clients), "the session looks at all of them when one becomes full"
    kept = {id(piece): len(piece) for client in clients for piece in client.pieces}
    assert sum(kept.values()) < 2 * BUFFER_LIMIT
    os.close(out)
    os.close(err)


def test_drain_reads_the_rest_and_reports_once() -> None:
    loop, session = new()
    _, out, err = session.open_pipes(False, OWNER)
    _, far = attach(loop, session)
    os.write(out, b"last words")
    os.close(out)
    os.close(err)
    drained: list[bool] = []
    session.process_ended(lambda: drained.append(True))
    turn(loop, lambda: bool(drained))
    session.finish_clients()
    assert far.recv(100) == b"last words"
    assert far.recv(100) == b""
    assert drained == [True]


def test_event_of_a_number_that_was_reused_in_the_round_is_not_delivered() -> None:
    loop = Loop()
    first, first_far = pair()
    second, second_far = pair()
    calls: list[str] = []

    def swap(name: str, other: socket.socket) -> Callable[[int], None]:
        def callback(_events: int) -> None:
            calls.append(name)
            number = other.fileno()
            loop.remove(number)
            loop.add(number, 0, lambda events: calls.append("stale"))
            loop.done = True

        return callback

    loop.add(first.fileno(), IN, swap("first", second))
    loop.add(second.fileno(), IN, swap("second", first))
    first_far.send(b"x")
    second_far.send(b"x")
    loop.run()
    assert len(calls) == 1
