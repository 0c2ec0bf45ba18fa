"""The exec sessions of one container, as its shim keeps them."""

import json
import os
from collections.abc import Callable

from supervisor.errors import InvalidArgument, NotFound
from supervisor.kernel import namespaces
from supervisor.shim.cgroup import open_tasks
from supervisor.shim.exec_session import ExecSession, Launcher
from supervisor.shim.loop import Loop
from supervisor.shim.peer import Peer
from supervisor.shim.session import Session
from supervisor.shim.userns import root_of
from supervisor.spec.codec import from_json
from supervisor.spec.types import Process, Spec
from supervisor.wire.shim_protocol import Message

REMEMBERED = 256
Attach = Callable[[Session, Message, list[int]], None]


class Execs:
    """Sessions by name; of those that ended, REMEMBERED can still be asked about.

    `attach` gives a session the client whose socket came with a request, `tell` tells everybody
    of an event.
    """

    def __init__(self, loop: Loop, attach: Attach, tell: Callable[[Message], None]) -> None:
        self.loop = loop
        self.attach = attach
        self.tell = tell
        self.sessions: dict[str, ExecSession] = {}
        self.unclaimed: dict[int, int] = {}  # exit statuses of children nobody knows yet

    def launch(self, spec: Spec, pidfd: int, peer: Peer, request: Message, fds: list[int]) -> None:
        """Begin the session that `request` asks for, in the container of `spec` and `pidfd`.

        Takes the first of `fds`, the process's description, and the client's, if there is one.
        The answer comes from the session.
        """
        spec_fd = fds.pop(0)
        try:
            process = from_json(Process, json.loads(os.pread(spec_fd, 1 << 24, 0)))
        finally:
            os.close(spec_fd)
        launcher = Launcher(
            pidfd=pidfd,
            namespace_flags=_flags(spec),
            cgroup_path=_cgroup(spec, str(request.get("cgroup", ""))),
            open_tasks=lambda: open_tasks(spec),
            owner=root_of(spec),
            unseen=bool(request.get("watched")) or may_be_traced(spec),
        )
        session = Session(self.loop, log=None, stdin_once=True)
        name = str(request["exec"])
        if fds:
            self.attach(session, request, fds)
        self._forget_old()
        self.sessions[name] = ExecSession(name, session, peer, request, on_exit=self.tell)
        try:
            self.sessions[name].launch(self.loop, launcher, process)
        except OSError:
            del self.sessions[name]
            session.finish_clients()
            session.close()
            raise

    def find(self, name: str) -> ExecSession:
        """The session; NotFound."""
        if name not in self.sessions:
            raise NotFound(f"shim: no exec session {name}")
        return self.sessions[name]

    def child_ended(self, pid: int, status: int) -> None:
        """A child that is not init was reaped: some session's stage or process, or an orphan."""
        sessions = list(self.sessions.values())
        for session in sessions:
            if session.child_ended(pid, status):
                # An exec's process may end before its stage has told its pid.
                early = self.unclaimed.pop(session.pid, None)
                if early is not None:
                    session.child_ended(session.pid, early)
                break
        else:
            self.unclaimed[pid] = status
        if not any(session.stage_pid for session in sessions):
            self.unclaimed.clear()

    def _forget_old(self) -> None:
        ended = [name for name, session in self.sessions.items() if session.code is not None]
        for name in ended[: max(0, len(ended) - REMEMBERED)]:
            del self.sessions[name]


def may_be_traced(spec: Spec) -> bool:
    """Whether a process in the container's pid namespace may have CAP_SYS_PTRACE over root.

    In a user namespace of its own nobody has it over what comes from outside, unless its
    processes are in another container's sight.
    """
    if spec.uid_mappings:
        return False
    return "pid" in spec.given or "CAP_SYS_PTRACE" in spec.process.capabilities.bounding


def _cgroup(spec: Spec, name: str) -> str:
    """The container's v2 group, or the one in it with that name."""
    folder = spec.cgroup.unified
    if "/" in name or name == "..":
        raise InvalidArgument(f"shim: {name!r} is no name of a group")
    return f"{folder}/{name}" if folder and name else folder


def _flags(spec: Spec) -> int:
    flags = namespaces.CLONE_NEWNS
    for namespace in spec.namespaces:
        flags |= namespaces.NAMESPACE_FLAGS[namespace.type]
    return flags
