"""R39, R45, R46, R49: what stands still, says nothing, or is cut off in the middle."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import stat
import struct
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial

import pytest

from supervisor.daemon.pulse import EXIT_STALLED
from supervisor.failpoints import VARIABLE
from tests.api.box import eventually
from tests.chaos.rig import FULL, Gone, Rig, alive, has_ended, is_gone, seconds_since, shim
from tests.support.daemon import UnixConnection
from tests.support.nest import CONSTANT
from tests.support.network_storm import kill
from tests.support.pace import limit

Tell = Callable[[str], None]
PIDFD_GETFD = 438
LONG = ("sleep", "100000")
AT_ONCE = 50 if FULL else 8
STILL_SECONDS = 60.0 if FULL else 0.0


def test_a_supervisor_that_stands_still_loses_no_end(rig: Rig, tell: Tell) -> None:
    pids = [
        rig.up(f"still-{n}", "sh", "-c", "echo up; read x; exit 1", OpenStdin=True)
        for n in range(AT_ONCE)
    ]
    os.kill(rig.daemon.pid, signal.SIGSTOP)
    try:
        for pid in pids:
            kill(pid)
        eventually(lambda: not [pid for pid in pids if alive(pid)])
        time.sleep(STILL_SECONDS)
    finally:
        os.kill(rig.daemon.pid, signal.SIGCONT)
    for number in range(AT_ONCE):
        eventually(partial(has_ended, rig, f"still-{number}"))
        assert (rig.state(f"still-{number}") or {})["ExitCode"] == 137
    tell(f"R45: {AT_ONCE} ends while the supervisor was stopped: all told")


def test_a_supervisor_whose_loop_stands_still_ends(rig: Rig, tell: Tell) -> None:
    """It says where it stood; its successor has everything."""
    pid = rig.up("stays")
    rig.daemon.kill()
    ticks = "supervisor.daemon.pulse.TICK_SECONDS=0.1 supervisor.daemon.pulse.BEAT_SECONDS=0.05"
    rig.daemon.settings = {CONSTANT: ticks, VARIABLE: "create.record=delay:600"}
    rig.daemon.start()
    log = len(rig.daemon.log)
    began = time.monotonic()
    with pytest.raises(Gone):
        rig.create("never", *LONG)
    took = seconds_since(began)
    assert rig.daemon.warden.wait(rig.daemon.pid, limit(20)) == EXIT_STALLED
    said = rig.daemon.log[log:]
    assert "the event loop has not gone round" in said
    assert "failpoints" in said  # the stacks say where
    rig.restart()
    assert (rig.status("stays"), rig.status("never")) == ("running", "absent")
    assert alive(pid)
    tell(f"R46: a loop that stands still for 6 looks ends the supervisor ({took:.1f} s), no more")


def test_one_stopped_shim_holds_up_nobody_else(rig: Rig, tell: Tell) -> None:
    rig.up("stuck")
    stopped = shim(rig, "stuck")
    os.kill(stopped, signal.SIGSTOP)
    try:
        began = time.monotonic()
        rig.up("free")
        rig.ask("POST", "/containers/free/stop?t=20")
        took = seconds_since(began)
        assert (rig.state("free") or {})["ExitCode"] == 7
        assert rig.status("stuck") == "running"
    finally:
        os.kill(stopped, signal.SIGCONT)
    rig.ask("POST", "/containers/stuck/stop?t=20")
    assert (rig.state("stuck") or {})["ExitCode"] == 7
    tell(f"R46: beside a stopped shim another container's life took {took:.2f} s")


def test_a_shim_that_never_speaks_again(rig: Rig, tell: Tell) -> None:
    """What it had is killed and can be removed."""
    rig.daemon.kill()
    rig.daemon.settings = {CONSTANT: "supervisor.engine.container.SILENT_SECONDS=0.5"}
    rig.daemon.start()
    pid = rig.up("mute")
    silent = shim(rig, "mute")
    os.kill(silent, signal.SIGSTOP)
    try:
        began = time.monotonic()
        rig.ask("DELETE", "/containers/mute?force=1")
        took = seconds_since(began)
        eventually(partial(is_gone, pid))
    finally:
        os.kill(silent, signal.SIGCONT)
    tell(
        f"R46: a container whose shim is stopped is removed after {took:.1f} s (waiting for 0.5 s)"
    )
    assert took < limit(5)


def test_a_broken_connection_costs_nothing(rig: Rig, tell: Tell) -> None:
    """The supervisor and a shim live, what is between them does not: the run goes on."""
    pid = rig.up("far")
    rig.restart()  # it connected to the shim, and not the other way round
    body = {"Cmd": ["sh", "-c", "read x; exit 5"], "AttachStdin": True}
    made = rig.ask("POST", "/containers/far/exec", body)["Id"]
    with closing(UnixConnection(rig.daemon.socket, limit(60))) as client:
        client.request("POST", f"/exec/{made}/start", json.dumps({"Detach": False}))
        eventually(lambda: rig.ask("GET", f"/exec/{made}/json")["Pid"])
        began = time.monotonic()
        assert cut(rig.daemon.pid, shim(rig, "far"))  # also one by which it only looks around
        eventually(lambda: "connection to its shim broke" in rig.daemon.log)
        took = seconds_since(began)
    eventually(lambda: rig.ask("GET", f"/exec/{made}/json")["ExitCode"] == 5)
    assert (rig.state("far") or {})["Pid"] == pid
    rig.ask("POST", "/containers/far/stop?t=20")
    assert (rig.state("far") or {})["ExitCode"] == 7
    tell(f"R49: a broken connection to a shim that lives: another one after {took:.2f} s")


def cut(daemon: int, shim: int) -> int:
    """Shut down the daemon's connections to a shim, as only a fault of the kernel's would."""
    libc, found = ctypes.CDLL(None, use_errno=True), 0
    pidfd = os.pidfd_open(daemon)
    try:
        for name in os.listdir(f"/proc/{daemon}/fd"):
            fd = libc.syscall(PIDFD_GETFD, pidfd, int(name), 0)
            if fd < 0 or not stat.S_ISSOCK(os.fstat(fd).st_mode):
                if fd >= 0:
                    os.close(fd)
                continue
            with socket.socket(fileno=fd) as taken:
                if taken.family == socket.AF_UNIX and taken.type == socket.SOCK_SEQPACKET:
                    who = taken.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
                    if struct.unpack("3i", who)[0] == shim:
                        taken.shutdown(socket.SHUT_RDWR)
                        found += 1
    finally:
        os.close(pidfd)
    return found


def test_killed_in_a_stop_its_successor_goes_on_with_it(rig: Rig, tell: Tell) -> None:
    """The grace goes on: the container that ignores the signal is killed by the next supervisor."""
    pid = rig.up("deaf", "sh", "-c", "trap '' TERM; echo up; while :; do sleep 1; done")
    thread = threading.Thread(target=_ask_to_stop, args=(rig, "deaf", 2))
    began = time.monotonic()
    thread.start()
    eventually(lambda: "/containers/deaf/stop" in rig.daemon.log.replace("\n", " "))
    time.sleep(0.1)
    rig.restart()
    thread.join()
    eventually(lambda: rig.status("deaf") == "exited", 20)
    assert not alive(pid)
    assert (rig.state("deaf") or {})["ExitCode"] == 137
    tell(f"R39: a stop of 2 s, the supervisor killed in it, took {seconds_since(began):.1f} s")


def _ask_to_stop(rig: Rig, name: str, seconds: int) -> None:
    with suppress(Gone):
        rig.ask("POST", f"/containers/{name}/stop?t={seconds}")
