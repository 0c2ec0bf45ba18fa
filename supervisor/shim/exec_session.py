"""The shim's side of exec sessions: launching, the sync conversation, the exit."""

import json
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from supervisor.errors import InitError
from supervisor.kernel import paths, vfork
from supervisor.kernel.process import command_line_as
from supervisor.shim import exec_stage, exec_unseen, handshake
from supervisor.shim.failure import on_one_line
from supervisor.shim.init_state import let_go
from supervisor.shim.loop import IN, Loop
from supervisor.shim.peer import Peer
from supervisor.shim.session import Session
from supervisor.spec.types import Process
from supervisor.wire.shim_protocol import Message


@dataclass(frozen=True, slots=True)
class Launcher:
    """Where an exec session's process has to go."""

    pidfd: int
    namespace_flags: int
    cgroup_path: str
    open_tasks: Callable[[], tuple[int, ...]]
    owner: int
    unseen: bool  # somebody there may trace: see `exec_unseen`


class ExecSession:
    """`code` is None while it lives. The launch request is answered at execve (or its failure)."""

    def __init__(
        self,
        name: str,
        session: Session,
        peer: Peer,
        request: Message,
        on_exit: Callable[[Message], None],
    ) -> None:
        self.name = name
        self.session = session
        self.peer = peer
        self.request = request
        self.on_exit = on_exit
        self.stage_pid = 0
        self.pid = 0
        self.code: int | None = None
        self.error: InitError | None = None
        self.ready = False
        self.started = False
        self.sync: socket.socket | None = None
        self.only_from = 0  # the pid whose words count; 0: whoever has the other end

    def launch(self, loop: Loop, launcher: Launcher, process: Process) -> None:
        """Have the stage; the rest follows in callbacks."""
        self.loop = loop
        opened: list[int] = []
        try:
            near = self._fork(launcher, process, opened)
        finally:
            for fd in opened:
                os.close(fd)
        near.setblocking(False)
        self.sync = near
        loop.add(near.fileno(), IN, lambda _events: self._read_all())

    def _fork(self, launcher: Launcher, process: Process, opened: list[int]) -> socket.socket:
        """Our end of the sync conversation; fds for the stage alone are put into `opened`."""
        far = (-1, -1, -1)
        if not process.terminal:
            far = self.session.open_pipes(bool(self.request.get("stdin")), launcher.owner)
            opened += [fd for fd in far if fd >= 0]
        tasks = launcher.open_tasks()
        opened += tasks
        cgroup = -1
        if launcher.cgroup_path:
            cgroup = os.open(launcher.cgroup_path, paths.DIRECTORY)
            opened.append(cgroup)
        near, sync = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if launcher.unseen:
            near.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        with sync, command_line_as("orlop-exec"):  # the container may read it
            stage = exec_stage.ExecStage(
                process=process,
                sync=sync,
                pidfd=launcher.pidfd,
                namespace_flags=launcher.namespace_flags,
                cgroup_fd=cgroup,
                cgroup_tasks=tasks,
                stdio=far,
            )
            if launcher.unseen:
                self.stage_pid, pidfd = vfork.spawn(
                    lambda: exec_unseen.main(stage), share=False, cgroup_fd=cgroup
                )
                self.only_from = self.stage_pid
            else:
                self.stage_pid, pidfd = vfork.spawn(lambda: exec_stage.main(stage), share=True)
            os.close(pidfd)
            let_go(stage)
        return near

    def state(self) -> Message:
        """Pid and exit code as far as known."""
        return {"pid": self.pid, "code": self.code, "running": self.code is None}

    def child_ended(self, pid: int, status: int) -> bool:
        """Whether the reaped child was this session's; takes its status if so."""
        if pid == self.stage_pid and pid:
            self.stage_pid = 0
            self._read_all()
            if self.pid == 0 and self.code is None:  # the stage failed: no process ever was
                self._finish(127)
            return True
        if pid != self.pid:
            self._read_all()  # the message with the pid may be waiting
        if pid != self.pid or self.code is not None:
            return False
        self._read_all()
        code = os.waitstatus_to_exitcode(status)
        self._finish(code if code >= 0 else 128 - code)
        return True

    def _read_all(self) -> None:
        while self.sync is not None and self._stage_speaks():
            pass

    def _stage_speaks(self) -> bool:
        assert self.sync is not None
        heard = handshake.hear(self.sync, self.only_from)
        if heard is None:
            return False
        packet, fds, stranger = heard
        if stranger:
            self._hear_stranger(packet)
            return True
        if not packet:
            self._close_sync()
            if self.error is None and self.ready and self.pid:
                self._started()
            return False
        message = json.loads(packet)
        if "pid" in message:
            self.pid = message["pid"]
        elif message.get("pty"):
            self.session.use_terminal(fds[0])
        elif message.get("ready"):
            self.ready = True
        else:
            self.error = InitError.from_json(message)
        return True

    def _hear_stranger(self, packet: bytes) -> None:
        """The last words of the process, or what somebody says who has taken it over."""
        if self.error is not None:
            self._close_sync()  # the process has only one thing to say
        self.error = self.error or handshake.last_words(packet)

    def _close_sync(self) -> None:
        if self.sync is not None:
            self.loop.remove(self.sync.fileno())
            self.sync.close()
            self.sync = None

    def _started(self) -> None:
        if not self.started:
            self.started = True
            self.peer.answer(self.request, {"pid": self.pid})

    def _finish(self, code: int) -> None:
        self._close_sync()
        if self.error is not None:
            code = 126 if self.error.errno != 2 else 127
        elif self.ready:
            self._started()
        self.session.process_ended(lambda: self._report(code))

    def _report(self, code: int) -> None:
        farewell = b""
        if self.error is not None:
            farewell = on_one_line(self.error) + b"\r\n"
            self.peer.refuse(self.request, self.error)
        elif not self.started:
            gone = InitError(step="exec", path="", errno=0, message="exec: the process was killed")
            self.peer.refuse(self.request, gone)
        self.code = code
        # Before the clients see the end: they ask for the code at once.
        self.on_exit(
            {
                "event": "exec_exited",
                "exec": self.name,
                "code": code,
                "pid": self.pid,
                "at_ns": time.time_ns(),
            }
        )
        self.session.finish_clients(farewell)
        self.session.close()
