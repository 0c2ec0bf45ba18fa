"""The supervisor's side of the zygote: starting it, asking it for shims, replacing it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import trio

import supervisor
from supervisor import failpoints
from supervisor.engine import encoding
from supervisor.errors import Unavailable
from supervisor.kernel import mounts
from supervisor.shim.packets import receive
from supervisor.wire import shim_protocol

BOOT = (
    "import sys; sys.path[:0] = [sys.argv[1] + '/supervisor/shim/lean', sys.argv[1]]; "
    "from supervisor.shim import zygote; zygote.main(int(sys.argv[2]), "
    "mergeable=sys.argv[3] == 'mergeable')"
)
MOST_IDLE = 4
ANSWER_SECONDS = 10.0
NAMESPACES = 2


def start_zygote(*, mergeable: bool = True) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """A new zygote process and our end of its socket; `mergeable` is the memory of its shims.

    `-I -S`: no site-packages, no environment, no user code; the path of this very package
    is its only addition. posix_spawn or vfork underneath: the supervisor's memory is not copied.
    KernelError where the interpreter cannot be had read-only.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    root = str(Path(supervisor.__file__).parent.parent)
    armed = {key: value for key, value in os.environ.items() if key == failpoints.VARIABLE}
    interpreter = read_only(sys.executable)
    with theirs:
        arguments = [root, str(theirs.fileno()), "mergeable" if mergeable else "private"]
        try:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter, our own module
                [sys.executable, "-I", "-S", "-c", BOOT, *arguments],
                executable=f"/proc/{os.getpid()}/fd/{interpreter}",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env={"PATH": os.defpath, "LANG": "C.UTF-8", **armed},
            )
        finally:
            os.close(interpreter)
    ours.setblocking(False)
    return process, ours


def read_only(program: str) -> int:
    """An fd of that file on a mount of its own that is read-only.

    An image may have `/proc/self/exe` executed, by its entrypoint or after `#!`: that is the
    interpreter, and the container then has it as /proc/PID/exe, to write to it or to make it
    setuid (CVE-2019-5736). What is executed through this mount stays read-only there (EROFS).
    """
    fd = mounts.open_tree(mounts.AT_FDCWD, program, mounts.OPEN_TREE_CLONE)
    try:
        mounts.mount_setattr(fd, "", set=mounts.MOUNT_ATTR_RDONLY)
    except OSError:
        os.close(fd)
        raise
    return fd


class Zygote:
    """Spawns shims; a zygote that died is replaced at the next request, once.

    Shims whose container has ended, and that stayed, take the next ones before any fork does:
    what a fork would have to touch they have in memory already.
    """

    def __init__(self) -> None:
        self.mergeable = True
        self._idle: list[socket.socket] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    @property
    def pid(self) -> int:
        """The zygote's pid, 0 when none runs."""
        return self._process.pid if self._process else 0

    def start(self) -> None:
        """Start it now, so that the first container does not pay for it."""
        self.close()
        self._process, self._socket = start_zygote(mergeable=self.mergeable)

    async def spawn(self, bundle: Path, user: int = -1) -> socket.socket:
        """Fork a shim for `bundle`; our end of the socket it speaks the shim protocol on.

        It prepares what needs no cgroup, and clones init when it is asked to start. `user` is
        the user namespace for the container, which stays the caller's; -1: the shim makes it, if
        there is to be one.
        """
        request = {"op": "spawn", "bundle": str(bundle), "hold": True}
        return (await self._ask(request, (user,) if user >= 0 else ()))[0]

    async def namespaces(self, uid_map: str, gid_map: str) -> tuple[int, int]:
        """New ones, as fds that the caller closes: a user namespace with these maps (their
        files' text), and a network namespace that it owns. OSError, InitError or OrlopError.
        """
        request = {"op": "namespaces", "uid_map": uid_map, "gid_map": gid_map}
        answering, was_idle = await self._ask(request)
        fds: list[int] = []
        try:
            with trio.fail_after(ANSWER_SECONDS):
                await trio.lowlevel.wait_readable(answering)
            packet, fds = receive(answering)
            answer = shim_protocol.decode(packet) if packet else {}
            if "ok" in answer and len(fds) == NAMESPACES:
                if was_idle:  # it has had containers before, and takes others
                    self.keep(answering.dup())
                (user, network), fds = fds, []
                return user, network
        except trio.TooSlowError:
            raise Unavailable("the zygote makes no namespaces") from None
        finally:
            answering.close()
            for fd in fds:
                os.close(fd)
        if "error" in answer:
            raise shim_protocol.error_from_json(answer["error"])
        raise Unavailable("the zygote ended before it had made namespaces")

    async def _ask(
        self, request: shim_protocol.Message, fds: tuple[int, ...] = ()
    ) -> tuple[socket.socket, bool]:
        """Our end of a new socket to whoever takes the request, and whether that was idle."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        packet = encoding.packet(request)
        ours.setblocking(False)
        with theirs:
            try:
                was_idle = self._ask_idle(packet, (theirs.fileno(), *fds))
                if not was_idle:
                    await self._ask_zygote(packet, (theirs.fileno(), *fds))
            except BaseException:
                ours.close()
                raise
        return ours, was_idle

    @property
    def has_room(self) -> bool:
        """Whether one more idle shim is wanted."""
        return len(self._idle) < MOST_IDLE

    def keep(self, connection: socket.socket) -> None:
        """Take the connection of a shim that stayed; it goes where there are enough by now."""
        if self.has_room:
            self._idle.append(connection)
        else:
            connection.close()

    def _ask_idle(self, request: bytes, fds: tuple[int, ...]) -> bool:
        """Have an idle shim take the container, the one used last; False if there is none."""
        while self._idle:
            with self._idle.pop() as idle:
                try:
                    socket.send_fds(idle, [request], fds)
                except OSError:
                    continue  # it died meanwhile
                return True
        return False

    async def _ask_zygote(self, request: bytes, fds: tuple[int, ...]) -> None:
        for attempt in (1, 2):
            if self._socket is None or (self._process and self._process.poll() is not None):
                self.start()
            assert self._socket is not None
            try:
                await _send(self._socket, request, fds)
            except OSError as error:
                self._forget()
                if attempt == 2:
                    raise Unavailable(f"the zygote does not answer: {error}") from None
            else:
                return

    def close(self) -> None:
        """End the zygote (its shims live on) and reap it; idle shims end, too."""
        self._forget()
        while self._idle:
            self._idle.pop().close()
        if self._process is not None:
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:  # stopped, or stuck in the kernel
                self._process.kill()
                self._process.wait()
            self._process = None

    def _forget(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


async def _send(sock: socket.socket, packet: bytes, fds: tuple[int, ...]) -> None:
    while True:
        try:
            socket.send_fds(sock, [packet], fds)
        except BlockingIOError:
            await trio.lowlevel.wait_writable(sock)
        else:
            return
