"""How long one thing takes on an idle supervisor: a lifecycle, an exec, an end noticed."""

from __future__ import annotations

import os
import signal
import time

from tests.bench import peer
from tests.bench.client import Client
from tests.bench.figures import Figure, median, spread
from tests.bench.rig import Rig, Sizes

MOST_OF_RUNC = 1 / 3
# On the machine that the targets in ms are for, runc takes 15 ms for an exec.
EXEC_OF_RUNC = 6 / 15
SETTLE_SECONDS = 0.005


def lifecycle(rig: Rig, sizes: Sizes) -> list[Figure]:
    """Create, start, wait, delete of `true`, each followed by one `runc run` of the same."""
    exits: list[float] = []
    ours: list[float] = []
    theirs: list[float] = []
    with rig.client() as client, peer.runc(rig.layer()) as runc:
        runc.prepare("true", ["true"])
        runc.run("true")  # its own warm-up: the copied files come into the page cache
        for _ in range(sizes.pairs):
            begun = time.perf_counter()
            container = rig.run_true(client)
            ended = time.perf_counter()
            client.call("DELETE", f"/containers/{container}")
            between = time.perf_counter()
            runc.run("true")
            exits.append(ended - begun)
            ours.append(between - begun)
            theirs.append(time.perf_counter() - between)
    return [
        *spread("lifecycle", "create, start, wait of true", exits, most=10),
        *spread("lifecycle", "the same and delete", ours),
        *spread("lifecycle", "runc run of true", theirs),
        _ratio("create→exit", exits, theirs, most=MOST_OF_RUNC),
        _ratio("create→delete", ours, theirs),
    ]


def _ratio(what: str, ours: list[float], theirs: list[float], most: float | None = None) -> Figure:
    return Figure(
        part="lifecycle",
        name=f"{what} of true / runc run, p50 of the pairs",
        value=median(a / b for a, b in zip(ours, theirs, strict=True)),
        unit="×",
        most=most,
    )


def steps(rig: Rig, sizes: Sizes) -> list[Figure]:
    """The same lifecycle, request by request."""
    times: dict[str, list[float]] = {"create": [], "start": [], "wait": [], "delete": []}
    body = {"Image": "bench:latest", "Cmd": ["true"], "HostConfig": {"NetworkMode": "none"}}
    with rig.client() as client:
        for _ in range(sizes.pairs):
            marks = [time.perf_counter()]
            container = client.call("POST", "/containers/create", body)["Id"]
            marks.append(time.perf_counter())
            client.call("POST", f"/containers/{container}/start")
            marks.append(time.perf_counter())
            client.call("POST", f"/containers/{container}/wait")
            marks.append(time.perf_counter())
            client.call("DELETE", f"/containers/{container}")
            marks.append(time.perf_counter())
            for name, begun, ended in zip(times, marks, marks[1:], strict=False):
                times[name].append(ended - begun)
    return [
        Figure(part="steps", name=f"{name}, p50", value=1000 * median(taken), unit="ms")
        for name, taken in times.items()
    ]


def execs(rig: Rig, sizes: Sizes) -> list[Figure]:
    """Exec of `true`: create, start attached until its stream ends, inspect; beside `runc exec`."""
    ours: list[float] = []
    theirs: list[float] = []
    with rig.client() as client, peer.runc(rig.layer()) as runc:
        container = rig.running(client)
        runc.prepare("sleeps", peer.SLEEP)
        runc.start("sleeps")
        runc.exec("sleeps", "true")
        for _ in range(sizes.execs):
            ours.append(exec_of_true(rig, client, container))
            begun = time.perf_counter()
            runc.exec("sleeps", "true")
            theirs.append(time.perf_counter() - begun)
        client.call("DELETE", f"/containers/{container}?force=1")
    ratio = Figure(
        part="exec",
        name="exec of true / runc exec, p50 of the pairs",
        value=median(a / b for a, b in zip(ours, theirs, strict=True)),
        unit="×",
        most=EXEC_OF_RUNC,
    )
    return [
        *spread("exec", "exec of true", ours, most=6),
        *spread("exec", "runc exec of true", theirs),
        ratio,
    ]


def exec_of_true(rig: Rig, client: Client, container: str) -> float:
    """Seconds until the exit code of one is known."""
    begun = time.perf_counter()
    body = {"Cmd": ["true"], "AttachStdout": True, "AttachStderr": True}
    session = client.call("POST", f"/containers/{container}/exec", body)["Id"]
    with rig.client() as attached:
        upgrade = "Connection: Upgrade\r\nUpgrade: tcp\r\n"
        attached.send("POST", f"/exec/{session}/start", {"Detach": False}, upgrade)
        status, _ = attached.head()
        assert status == 101, status
        attached.until_end()
    while (code := client.call("GET", f"/exec/{session}/json")["ExitCode"]) is None:
        pass  # dockerd may know it only after the stream's end
    taken = time.perf_counter() - begun
    assert code == 0, code
    return taken


def kills(rig: Rig, sizes: Sizes) -> list[Figure]:
    """SIGKILL of PID 1 from outside until a waiting client has its answer."""
    with rig.client() as client:
        times = [kill_of_one(rig, client) for _ in range(sizes.kills)]
    return spread("kill", "SIGKILL of PID 1 until wait answers", times, most=3)


def kill_of_one(rig: Rig, client: Client) -> float:
    """Seconds from the SIGKILL of a new container's PID 1 until a waiting client knows its end."""
    container = rig.running(client)
    pid = client.call("GET", f"/containers/{container}/json")["State"]["Pid"]
    client.send("POST", f"/containers/{container}/wait")
    time.sleep(SETTLE_SECONDS)  # the wait is registered
    begun = time.perf_counter()
    os.kill(pid, signal.SIGKILL)
    answer = client.answer(*client.head())
    taken = time.perf_counter() - begun
    client.call("DELETE", f"/containers/{container}")
    assert answer["StatusCode"] == 128 + signal.SIGKILL, answer
    return taken
