"""The streams of one process in a container: its output to log and clients, its stdin.

Output never waits for the log. It waits for an attached client only while that client
keeps reading (see `client.PATIENCE_SECONDS`); without clients it is never held.
"""

import fcntl
import os
from collections.abc import Callable

from supervisor.kernel import tty
from supervisor.shim.client import Client
from supervisor.shim.log_file import LogFile
from supervisor.shim.loop import IN, OUT, Loop, Timer
from supervisor.wire import stdcopy

READ_SIZE = 65536
STDIN_LIMIT = 1 << 16
DRAIN_SECONDS = 2.0


class Session:
    """Owns the near ends of the pipes (or the pty's master), and the clients.

    `on_drained` is called once: the process has ended and its output is read to the end,
    or DRAIN_SECONDS after it where a descendant keeps the pipe open.
    """

    def __init__(self, loop: Loop, *, log: LogFile | None, stdin_once: bool) -> None:
        self.loop = loop
        self.log = log
        self.stdin_once = stdin_once
        self.outputs: dict[int, int] = {}
        self.stdin = -1
        self.terminal = -1
        self.pending_input = bytearray()
        self.input_ended = False
        self.input_closed = False
        self.clients: list[Client] = []
        self.held = False
        self.on_drained: Callable[[], None] | None = None
        self.drain_timer: Timer | None = None
        self.on_last_client_gone: Callable[[], None] | None = None

    def open_pipes(self, with_stdin: bool, owner: int) -> tuple[int, int, int]:
        """Make the pipes; the far ends (stdin's is -1 without stdin) for the new process.

        They belong to host id `owner`, root of the container's user namespace, so that init
        may give them to the container's user.
        """
        far_in = -1
        if with_stdin:
            far_in, near = os.pipe2(os.O_CLOEXEC)
            self._set_stdin(near)
        else:
            self._close_stdin()
        far = []
        for stream in (stdcopy.STDOUT, stdcopy.STDERR):
            near, end = os.pipe2(os.O_CLOEXEC)
            self._add_output(near, stream)
            far.append(end)
        if owner:
            for fd in (*far, *([far_in] if far_in >= 0 else [])):
                os.fchown(fd, owner, owner)
        return (far_in, far[0], far[1])

    def use_terminal(self, master: int) -> None:
        """Take the pty's master: output and input in one."""
        self.terminal = master
        self._add_output(master, stdcopy.STDOUT)
        self._set_stdin(fcntl.fcntl(master, fcntl.F_DUPFD_CLOEXEC, 3))

    def resize(self, rows: int, columns: int) -> None:
        """Set the terminal's size, if there is one (the kernel sends SIGWINCH)."""
        if self.terminal >= 0:
            tty.set_window_size(self.terminal, rows, columns)

    def add_client(self, client: Client) -> None:
        """Attach a client made with this session's callbacks."""
        self.clients.append(client)

    def client_changed(self) -> None:
        """Hold or resume reading output, as a client's buffer filled or emptied."""
        held = any(c.full for c in self.clients)
        if held != self.held:
            self.held = held
            for fd in self.outputs:
                self.loop.modify(fd, 0 if held else IN)

    def client_gone(self, client: Client, detached: bool) -> None:
        """A client closed; with `stdin_once` its end is the end of stdin, unless it detached."""
        if client in self.clients:
            self.clients.remove(client)
        if client.stdin and not detached and client.reading:
            self.take_input(client, b"")
        self.client_changed()
        if not self.clients and self.on_last_client_gone is not None:
            self.on_last_client_gone()

    def take_input(self, client: Client, data: bytes) -> None:
        """Pass a client's bytes to the process; b"" is its end of input."""
        if not data:
            # A terminal has no end of input but its own ^D.
            if self.stdin_once and self.terminal < 0:
                self.input_ended = True
                self._write_stdin()
            return
        if self.input_closed or self.input_ended:
            return
        self.pending_input += data  # before there is a stdin (a pty comes late), it waits
        self._write_stdin()

    def process_ended(self, on_drained: Callable[[], None]) -> None:
        """The process was reaped: read what is left, then call `on_drained`."""
        self.on_drained = on_drained
        self._close_stdin()
        for fd in list(self.outputs):
            self._read_all(fd)
        if self.outputs:
            self.drain_timer = self.loop.call_later(DRAIN_SECONDS, self._drain_over)
        else:
            self._drained()

    def _drain_over(self) -> None:
        if self.held:  # the rest is in the pipe, and a client is still taking it
            self.drain_timer = self.loop.call_later(DRAIN_SECONDS, self._drain_over)
        else:
            self.abandon_outputs()

    def abandon_outputs(self) -> None:
        """Stop reading although somebody still holds the other ends."""
        for fd in list(self.outputs):
            self._close_output(fd)

    def finish_clients(self, farewell: bytes = b"") -> None:
        """Send a last text and close every client once its buffer is out."""
        for client in list(self.clients):
            if farewell:
                apart = client.framed and stdcopy.STDERR in client.wants
                client.send(stdcopy.STDERR if apart else stdcopy.STDOUT, farewell)
            client.finish()

    def close(self) -> None:
        """Release pipes and log of a session that never ran or is over."""
        self._close_stdin()
        self.abandon_outputs()
        if self.log is not None:
            self.log.close()

    def _add_output(self, fd: int, stream: int) -> None:
        os.set_blocking(fd, False)
        self.outputs[fd] = stream
        self.loop.add(fd, IN, lambda _events: self._readable(fd))

    def _readable(self, fd: int) -> None:
        self._read_once(fd)

    def _read_once(self, fd: int) -> bool:
        """Read one piece; whether there may be more now."""
        try:
            data = os.read(fd, READ_SIZE)
        except BlockingIOError:
            return False
        except OSError:  # EIO: a pty whose last slave closed
            data = b""
        if not data:
            self._close_output(fd)
            return False
        stream = self.outputs[fd]
        if self.log is not None:
            self.log.write(stream, data)
        for client in list(self.clients):
            client.send(stream, data)
        return fd in self.outputs

    def _read_all(self, fd: int) -> None:
        # Bounded: a descendant that goes on writing must not keep the loop here.
        for _ in range(64):
            if self.held or not self._read_once(fd):
                return

    def _close_output(self, fd: int) -> None:
        if fd not in self.outputs:
            return
        self.loop.remove(fd)
        del self.outputs[fd]
        if fd == self.terminal:
            self.terminal = -1
        os.close(fd)
        if not self.outputs and self.on_drained is not None:
            self._drained()

    def _drained(self) -> None:
        callback, self.on_drained = self.on_drained, None
        if self.drain_timer is not None:
            self.drain_timer.cancel()
        if callback is not None:
            callback()

    def _set_stdin(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self.stdin = fd
        self.loop.add(fd, 0, self._stdin_ready)
        self._write_stdin()

    def _stdin_ready(self, events: int) -> None:
        if events & OUT:
            self._write_stdin()
        elif self.terminal < 0:  # the reader closed its end (a pty's HUP is seen by its output)
            self._close_stdin()
        else:
            self.loop.remove(self.stdin)

    def _write_stdin(self) -> None:
        if self.stdin < 0:
            self._pace_clients()
            return
        try:
            while self.pending_input:
                sent = os.write(self.stdin, self.pending_input[:READ_SIZE])
                del self.pending_input[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self._close_stdin()
            return
        if self.input_ended and not self.pending_input:
            self._close_stdin()
            return
        if self.stdin in self.loop.callbacks:
            self.loop.modify(self.stdin, OUT if self.pending_input else 0)
        self._pace_clients()

    def _pace_clients(self) -> None:
        for client in self.clients:
            client.pause_input(len(self.pending_input) > STDIN_LIMIT)

    def _close_stdin(self) -> None:
        self.input_closed = True
        if self.stdin >= 0:
            fd, self.stdin = self.stdin, -1
            self.loop.remove(fd)
            os.close(fd)
        self.pending_input.clear()
        self._pace_clients()
