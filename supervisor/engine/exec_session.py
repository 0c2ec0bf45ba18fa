"""Exec sessions: prepared in memory here, run by the container's shim."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from supervisor.docker.exec import ExecBody
from supervisor.docker.views import ExecView
from supervisor.engine.attach import DEFAULT_DETACH_KEYS
from supervisor.engine.container import Container
from supervisor.engine.joins import is_watched
from supervisor.engine.record import Record
from supervisor.errors import Conflict, InitError, InvalidArgument, NotFound, OrlopError
from supervisor.lifecycle.machine import Phase
from supervisor.spec import users
from supervisor.spec.build import (
    environment,
    process_capabilities,
    process_filter,
    process_limits,
    working_directory,
)
from supervisor.spec.codec import to_json
from supervisor.spec.types import Process
from supervisor.wire import detach

if TYPE_CHECKING:
    from supervisor.engine.engine import Engine


class ExecSession(msgspec.Struct):
    """One session. `exit_code` is None until it ended; `started` is set by the first start.

    `cgroup` is the group in the container's that it runs in, "" = the container's. One that is
    not `kept` is of the engine's own: it is forgotten as soon as it has ended.
    """

    id: str
    container: Container
    body: ExecBody
    started: bool = False
    running: bool = False
    exit_code: int | None = None
    pid: int = 0
    cgroup: str = ""
    kept: bool = True


class ExecSessions:
    """All sessions of living containers; they go with their container."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._sessions: dict[str, ExecSession] = {}

    def create(self, container: Container, body: ExecBody) -> str:
        """Prepare a session; its id. Conflict unless the container runs."""
        return self.open(container, body).id

    def open(
        self, container: Container, body: ExecBody, *, cgroup: str = "", kept: bool = True
    ) -> ExecSession:
        """As `create`, for who needs more than the id."""
        _check_running(container)
        users.parse_user(body.user)
        detach.parse_keys(body.detach_keys or DEFAULT_DETACH_KEYS)
        session = ExecSession(secrets.token_hex(32), container, body, cgroup=cgroup, kept=kept)
        self._sessions[session.id] = session
        self._emit(session, "exec_create")
        return session

    async def start(
        self,
        exec_id: str,
        *,
        detached: bool,
        framed: bool,
        rows: int = 0,
        columns: int = 0,
        preface: bytes = b"",
        fd: int = -1,
    ) -> None:
        """Run the session; returns when its program runs. Owns `fd`, the client's (-1: none).

        A program that cannot run is an error here and a text on the client's stream, exit
        code 126 or 127.
        """
        try:
            session = self._find(exec_id)
            await self._start(session, detached, framed, (rows, columns), preface, fd)
        finally:
            if fd >= 0:
                os.close(fd)

    async def _start(
        self,
        session: ExecSession,
        detached: bool,
        framed: bool,
        size: tuple[int, int],
        preface: bytes,
        fd: int,
    ) -> None:
        container = session.container
        _check_running(container)
        if session.started:
            raise Conflict(f"exec session {session.id} has already run")
        task = container.task
        if task is None or task.shim is None:
            raise Conflict(f"Container {container.id} is not running")
        containers = self._engine.containers.values()
        session.started = session.running = True
        self._emit(session, "exec_start")
        body = session.body
        spec = os.memfd_create("exec", os.MFD_CLOEXEC)
        try:
            os.write(spec, json.dumps(to_json(self._process(session, size))).encode())
            attached = fd >= 0 and not detached
            # Only a person at a terminal detaches: in a pipe the same bytes are data.
            keys = detach.parse_keys(body.detach_keys or DEFAULT_DETACH_KEYS) if body.tty else b""
            reply = await task.shim.request(
                "exec",
                fds=[spec, fd] if attached else [spec],
                exec=session.id,
                stdin=attached and body.attach_stdin,
                stdout=body.attach_stdout or body.tty,
                stderr=body.attach_stderr,
                framed=framed,
                detach_keys=keys.hex(),
                preface=preface.hex(),
                **({"watched": True} if is_watched(container, containers) else {}),
                **({"cgroup": session.cgroup} if session.cgroup else {}),
            )
        except InitError as error:
            session.running = False
            if session.exit_code is None:
                session.exit_code = 127 if error.errno == 2 else 126
            raise InvalidArgument(f"exec failed: {error.message}") from None
        except OrlopError:
            session.running = False
            raise
        finally:
            os.close(spec)
        session.pid = int(reply["pid"])

    def _process(self, session: ExecSession, size: tuple[int, int]) -> Process:
        body = session.body
        rows, columns = size if any(size) else body.console_size
        options = session.container.record.options
        facts = self._engine.host.facts
        system_calls = process_filter(options, facts)  # a privileged session's, too, as docker's
        if body.privileged:
            options = replace(options, privileged=True)
        hostname = next(
            (e.partition("=")[2] for e in options.env if e.startswith("HOSTNAME=")),
            options.hostname or session.container.id[:12],
        )
        return Process(
            args=body.cmd,
            env=environment((*options.env, *body.env), hostname=hostname, terminal=body.tty),
            cwd=working_directory(body.working_dir or options.cwd),
            user=body.user or options.user,
            additional_groups=options.groups if not body.user else (),
            terminal=body.tty,
            console_rows=rows,
            console_columns=columns,
            capabilities=process_capabilities(options, facts),
            rlimits=process_limits(options, facts),
            no_new_privileges=options.no_new_privileges,
            seccomp=system_calls,
            oom_score_adj=options.oom_score_adj,
        )

    async def inspect(self, exec_id: str) -> ExecView:
        """The session as it is now: while it seems to run, the shim is asked.

        The shim tells of an exit before it ends the client's stream, but the client's
        question may overtake that message.
        """
        session = self._find(exec_id)
        task = session.container.task
        if session.running and task is not None and task.shim is not None:
            try:
                state = await task.shim.request("exec_state", exec=exec_id)
            except OrlopError:
                pass  # it ended with its container: what is known is all there will be
            else:
                if state["code"] is not None:
                    self.exited(exec_id, int(state["code"]))
        return ExecView(
            id=session.id,
            container_id=session.container.id,
            body=session.body,
            running=session.running,
            exit_code=session.exit_code,
            pid=session.pid,
        )

    async def look_again(self, container_id: str) -> None:
        """Ask for the sessions of a container whose shim may have told of their end in vain."""
        for exec_id in self.of(container_id):
            if exec_id in self._sessions:
                await self.inspect(exec_id)

    async def resize(self, exec_id: str, rows: int, columns: int) -> None:
        """Set the terminal's size; a session that is about to start gets it when it does."""
        session = self._find(exec_id)
        task = session.container.task
        if not session.running or task is None or task.shim is None:
            raise Conflict(f"exec session {exec_id} is not running")
        await task.shim.request("resize", exec=exec_id, rows=rows, columns=columns)

    def detached(self, record: Record, exec_id: str) -> None:
        """A client has left the container's main process ("") or an exec session to itself."""
        if not exec_id:
            self._engine.host.emit(record, "detach", {})
        elif exec_id in self._sessions:
            self._emit(self._sessions[exec_id], "exec_detach")

    def exited(self, exec_id: str, code: int) -> None:
        """The shim reports an exit."""
        session = self._sessions.get(exec_id)
        if session is not None and session.exit_code is None:
            session.running = False
            session.exit_code = code
            self._emit(session, "exec_die", {"exitCode": str(code)})
            if not session.kept:
                self.drop(session)

    def container_ended(self, container_id: str) -> None:
        """No session outlives its container's run."""
        for session in list(self._sessions.values()):
            if session.container.id == container_id and session.running:
                self.exited(session.id, 137)

    def drop(self, session: ExecSession) -> None:
        """Forget one session; it need not be there."""
        self._sessions.pop(session.id, None)

    def of(self, container_id: str) -> tuple[str, ...]:
        """Ids of the sessions of a container that run."""
        return tuple(
            s.id for s in self._sessions.values() if s.container.id == container_id and s.running
        )

    def forget(self, container_id: str) -> None:
        """Drop a removed container's sessions."""
        self._sessions = {i: s for i, s in self._sessions.items() if s.container.id != container_id}

    def _find(self, exec_id: str) -> ExecSession:
        session = self._sessions.get(exec_id)
        if session is None:
            raise NotFound(f"No such exec instance: {exec_id}")
        return session

    def _emit(
        self, session: ExecSession, action: str, attributes: dict[str, str] | None = None
    ) -> None:
        if action in ("exec_create", "exec_start"):
            action = f"{action}: {' '.join(session.body.cmd)}"
        extra = {"execID": session.id, **(attributes or {})}
        self._engine.host.emit(session.container.record, action, extra)


def _check_running(container: Container) -> None:
    state = container.state
    if state.phase is Phase.PAUSED:
        raise Conflict(
            f"Container {container.record.name} is paused, unpause the container before exec"
        )
    if not state.pid:
        raise Conflict(f"container {container.id} is not running")
    container.check_understood()
