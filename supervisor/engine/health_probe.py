"""One probe of a health check: an exec session in a group of its own, killed at its timeout."""

from __future__ import annotations

import logging
import secrets
import socket
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import msgspec
import trio

from supervisor.docker.exec import ExecBody
from supervisor.engine.exec_session import ExecSession
from supervisor.errors import Conflict, InitError, OrlopError
from supervisor.kernel.cgroups import Group
from supervisor.lifecycle.health import NO_STATUS, OUTPUT_LIMIT, Check, Result
from supervisor.spec.units import format_duration

if TYPE_CHECKING:
    from metrics.serve.agent import HealthResult
    from supervisor.engine.container import Container
    from supervisor.engine.exec_session import ExecSessions

log = logging.getLogger("orlop.health")

GROUP_PREFIX = "orlop-check-"
START_SECONDS = 30.0
KILL_SECONDS = 10.0
_READ_SIZE = 65536


class Output:
    """The begin of what a probe writes; the rest is read and dropped."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._cut = False

    def add(self, data: bytes) -> None:
        """The next piece."""
        room = OUTPUT_LIMIT - len(self._kept)
        self._kept += data[:room]
        self._cut = self._cut or len(data) > room

    def text(self) -> str:
        """What there is, with three dots where something was dropped."""
        return self._kept.decode(errors="replace") + ("..." if self._cut else "")


class Verdict(msgspec.Struct, frozen=True):
    """What came of a probe; `kind` is the metrics' word for it."""

    exit_code: int
    output: str
    kind: HealthResult


async def probe(execs: ExecSessions, container: Container, check: Check) -> tuple[Result, Verdict]:
    """Run the check's command once. Cancelled, it kills what it started."""
    begun = time.time_ns()
    try:
        verdict = await _probe(execs, container, check)
    except (OSError, OrlopError, InitError) as error:
        verdict = Verdict(NO_STATUS, str(error), "error")
    result = Result(
        start_ns=begun,
        end_ns=time.time_ns(),
        exit_code=verdict.exit_code,
        output=verdict.output,
    )
    return result, verdict


async def _probe(execs: ExecSessions, container: Container, check: Check) -> Verdict:
    task = container.task
    if task is None or task.group is None:
        raise Conflict(f"Container {container.id} is not running")
    end_probes(task.group)
    with ExitStack() as undo:
        group = task.group.make_child(GROUP_PREFIX + secrets.token_hex(6))
        undo.callback(_remove, group)  # one that is not empty goes before the next probe
        body = ExecBody(cmd=check.command, attach_stdout=True, attach_stderr=True)
        session = execs.open(container, body, cgroup=group.name, kept=False)
        undo.push(lambda *error: _kill(group) if error[0] else None)
        with await _start(execs, session) as stream:
            verdict = await _see_through(execs, session, stream, group, check)
        if verdict.kind != "timeout":
            _let_stay(task.group, group)
        return verdict


async def _start(execs: ExecSessions, session: ExecSession) -> trio.socket.SocketType:
    """Start the session; the socket that its output comes from.

    What docker says of the timeout holds here, too: the time that it takes to begin is none
    in which the probe runs.
    """
    near, far = socket.socketpair()
    stream = trio.socket.from_stdlib_socket(near)
    try:
        # Shielded: a session that was asked for is told to have ended by the shim only.
        with trio.move_on_after(START_SECONDS, shield=True) as patience:
            await execs.start(session.id, detached=False, framed=False, fd=far.detach())
        if patience.cancelled_caught:
            name = session.container.id
            raise Conflict(f"timed out starting health check for container {name}")
    except BaseException:
        stream.close()
        execs.drop(session)
        raise
    return stream


async def _see_through(
    execs: ExecSessions,
    session: ExecSession,
    stream: trio.socket.SocketType,
    group: Group,
    check: Check,
) -> Verdict:
    output = Output()
    with trio.move_on_after(check.timeout):
        await _read(stream, output)
        if session.exit_code is None:
            await execs.inspect(session.id)
        code = session.exit_code
        if code is None:
            raise Conflict("the end of the health check was not told")
        return Verdict(code, output.text(), "unhealthy" if code else "healthy")
    _kill(group)
    with trio.move_on_after(KILL_SECONDS):  # dying probes do not pile up
        await _read(stream, output)
    said = f"Health check exceeded timeout ({format_duration(round(check.timeout * 1e9))})"
    text = output.text()
    return Verdict(NO_STATUS, f"{said}: {text}" if text else said, "timeout")


async def _read(stream: trio.socket.SocketType, output: Output) -> None:
    while data := await stream.recv(_READ_SIZE):
        output.add(data)


def end_probes(own: Group) -> None:
    """Kill the probes in a container's group: this daemon's, or one's before it."""
    try:
        groups = own.children(GROUP_PREFIX)
    except OSError:
        return  # the run has ended
    for group in groups:
        _kill(group)
        _remove(group)


def _let_stay(own: Group, group: Group) -> None:
    """What a probe that has ended left running is the container's now."""
    try:
        if group.populated():
            own.take_over(group)
    except OSError as error:
        log.info("cgroup %s: %s", group.name, error)


def _kill(group: Group) -> None:
    try:
        group.kill()
    except OSError as error:
        log.info("cgroup %s: %s", group.name, error)


def _remove(group: Group) -> bool:
    try:
        group.remove()
    except OSError:
        return False
    return True
