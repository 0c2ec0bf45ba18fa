"""The supervisor's end of one shim connection: requests, replies, events."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import trio

from supervisor.engine import encoding
from supervisor.engine.queue import Queue
from supervisor.errors import InitError, InvalidArgument, OrlopError, ProtocolError, Unavailable
from supervisor.kernel import process
from supervisor.kernel.paths import DIRECTORY
from supervisor.shim.exit_record import record_from_json
from supervisor.shim.packets import receive
from supervisor.wire import shim_protocol
from supervisor.wire.shim_protocol import SOCKET_NAME, Message

SILENCE_SECONDS = 30.0
LEAVE_SECONDS = 10.0  # for a shim that nobody wants anything of; a stopped one does not leave
NOT_BEGUN = 128
"""Docker's exit code of a container that could not be started, for no reason of its program's."""

_NOT_EXECUTABLE = frozenset({errno.EACCES, errno.EISDIR, errno.ENOTDIR})
_OF_THE_PROGRAM = frozenset({"execve", "cwd"})


class ShimGone(Unavailable):
    """The connection to the shim broke before it answered."""


async def connect(bundle: Path) -> ShimClient:
    """Connect to the shim that serves `bundle`; OSError where none does."""
    folder = os.open(bundle, DIRECTORY)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.setblocking(False)
        # By the folder's fd: the path may be longer than sun_path holds.
        connection.connect(f"/proc/self/fd/{folder}/{SOCKET_NAME}")
    except BaseException:
        connection.close()
        raise
    finally:
        os.close(folder)
    return ShimClient(connection)


class ShimClient:
    """`run` reads until the shim closes; events go to the channel `events`, which then ends.

    A shim of a version that is not spoken is asked nothing: every request is Unavailable.

    The descriptor of the event `network` waits here until it is taken.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.shim_pid = 0
        self.version = 0
        self.unspoken = ""  # why nothing can be asked of it
        self.gone = False
        self.greeted = trio.Event()  # said hello, or is gone
        self._next_id = 1
        self._waiting: dict[int, trio.Event] = {}
        self._replies: dict[int, Message] = {}
        self._network = -1
        self._waiting_for_room = trio.Lock()
        # Unbounded: whoever takes events also waits for replies, which come behind them.
        self.events: Queue[Message] = Queue()

    async def run(self) -> None:
        """Read messages until the end; fails every request that still waits."""
        try:
            while True:
                packet, fds = await self._receive()
                try:
                    if not packet:
                        break
                    self._take(checked(encoding.decode(packet)), fds)
                finally:
                    for fd in fds:  # what nobody took
                        os.close(fd)
        except (OSError, ProtocolError, trio.ClosedResourceError):
            pass  # a broken connection is the same to everybody as a closed one
        finally:
            self.events.close()
            self.close()

    async def request(self, op: str, fds: Sequence[int] = (), **fields: Any) -> Message:
        """Send a request and wait for its `ok`; raises what the shim answers, or ShimGone.

        The fds are duplicated by the kernel: the caller still owns its own.
        """
        if self.unspoken:
            raise Unavailable(self.unspoken)
        number = self._next_id
        self._next_id += 1
        try:
            packet = encoding.packet({"id": number, "op": op, **fields})
        except ProtocolError as error:
            raise InvalidArgument(f"{op}: {error}") from None
        event = self._waiting[number] = trio.Event()
        try:
            await self._send(packet, fds)
            await event.wait()
            reply = self._replies.pop(number, None)
        finally:
            self._waiting.pop(number, None)
            self._replies.pop(number, None)
        if reply is None:
            raise ShimGone(f"the shim ended before it answered {op}")
        if "error" in reply:
            raise shim_protocol.error_from_json(reply["error"])
        ok: Message = reply.get("ok", {})
        return ok

    def take_network(self) -> int:
        """The descriptor that the event `network` brought: the caller's now; else ShimGone."""
        fd, self._network = self._network, -1
        if fd < 0:
            raise ShimGone("the shim ended before its container had a network")
        return fd

    def release(self) -> socket.socket | None:
        """The connection, which is not read any more, for another use: the caller's now.

        None where it broke meanwhile.
        """
        if self.gone:
            return None
        connection = self.connection.dup()
        self.close()
        return connection

    def close(self) -> None:
        """Close the connection, and a descriptor that nobody took; idempotent."""
        if self._network >= 0:
            os.close(self.take_network())
        self.gone = True
        self.greeted.set()
        if self.connection.fileno() >= 0:
            trio.lowlevel.notify_closing(self.connection)
            self.connection.close()
        for event in self._waiting.values():
            event.set()

    async def dismiss(self) -> None:
        """Hang up before the start, and wait until the shim is gone, with all it has mounted.

        What a later run mounts there may not meet it: two overlays on the same folders spoil
        each other. With or without `run`.
        """
        with trio.move_on_after(LEAVE_SECONDS):
            if not self.greeted.is_set():  # or nobody knows which process it is, or will be
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self.run)
                    await self.greeted.wait()
                    nursery.cancel_scope.cancel()
        try:
            pidfd = process.pidfd_open(self.shim_pid)  # while the pid cannot be another's
        except OSError:
            pidfd = -1  # gone, or there never was one
        self.close()
        if pidfd < 0:
            return
        try:
            with trio.move_on_after(LEAVE_SECONDS):
                await trio.lowlevel.wait_readable(pidfd)
        finally:
            os.close(pidfd)

    async def _receive(self) -> tuple[bytes, list[int]]:
        # Waiting comes first: messages seldom come together, and if they do, others get a turn.
        while True:
            await trio.lowlevel.wait_readable(self.connection)
            with suppress(BlockingIOError):
                return receive(self.connection)

    async def _send(self, packet: bytes, fds: Sequence[int]) -> None:
        if self._fits(packet, fds):
            return
        with trio.move_on_after(SILENCE_SECONDS) as scope:
            await self._room()
            while not self._fits(packet, fds):
                await self._room()
        if scope.cancelled_caught:
            raise Unavailable(f"the shim has not read for {SILENCE_SECONDS:.0f} s (is it stopped?)")

    def _fits(self, packet: bytes, fds: Sequence[int]) -> bool:
        """Send it; False where there is no room now. ShimGone."""
        if self.gone:
            raise ShimGone("the shim is gone")
        try:
            if fds:
                socket.send_fds(self.connection, [packet], list(fds))
            else:
                self.connection.send(packet)
        except BlockingIOError:
            return False
        except OSError as error:
            raise ShimGone(f"the shim is gone: {error}") from None
        return True

    async def _room(self) -> None:
        """Wait until a message fits, or the connection is closed."""
        async with self._waiting_for_room:  # trio lets one task wait for a socket
            with suppress(trio.ClosedResourceError):
                if not self.gone:
                    await trio.lowlevel.wait_writable(self.connection)

    def _take(self, message: Message, fds: list[int]) -> None:
        if message.get("event") == "hello":
            self.shim_pid = message.get("shim_pid", 0)
            self.version = message.get("version", 0)
            self.unspoken = shim_protocol.unspoken(self.version)
            self.greeted.set()
        elif "event" in message:
            if message["event"] == "network" and fds and self._network < 0:
                self._network = fds.pop()
            self.events.put(message)
        elif (number := message.get("id")) in self._waiting:
            self._replies[number] = message
            self._waiting[number].set()


def checked(message: Message) -> Message:
    """The message, if everybody who is told of it can take it; else ProtocolError."""
    match message:
        case {"event": "exited", "record": record}:
            error = record_from_json(record).error
            if error is not None:
                InitError.from_json(error)
        case {"event": "failed", "error": error} | {"id": int(), "error": error}:
            shim_protocol.error_from_json(error)
        case {"event": "detached", "exec": str()}:
            pass
        case {"event": "exec_exited", "exec": str(), "code": int()}:
            pass
        case {"event": "exited" | "failed" | "detached" | "exec_exited"}:
            raise ProtocolError(f"not an event of a shim: {message!r:.200}")
        case {"event": "hello"}:
            numbers = [message.get(name, 0) for name in ("shim_pid", "version")]
            if not all(type(number) is int for number in numbers):
                raise ProtocolError(f"not a hello: {message!r:.200}")
        case {"event": str()} | {"id": int(), "ok": {}}:
            pass
        case _:
            raise ProtocolError(f"neither a reply nor an event: {message!r:.200}")
    return message


def start_error(error: OrlopError | InitError) -> tuple[int, str]:
    """Docker's exit code and the text of a failed start: 127 not found, 126 not executable, 128.

    Of whatever step, as docker goes by the text. (`docker run` itself exits with 125 for the last.)
    """
    if isinstance(error, InitError):
        if error.errno == errno.ENOENT:
            return 127, error.message
        if error.step in _OF_THE_PROGRAM or error.errno in _NOT_EXECUTABLE:
            return 126, error.message
    return NOT_BEGUN, error.message
