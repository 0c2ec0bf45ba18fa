"""Networks as containers of the daemon have them: what they add to a start, many of them, ports,
what kills leave behind, and throughput.

The daemons run in network namespaces of the bench's own (`tests.api.network_box.Machine`).
"""

from __future__ import annotations

import os
import random
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tests.api.network_box import SPARE_SANDBOXES, Entered, Footprint, Machine, NetworkBox
from tests.bench import network_rate
from tests.bench.client import Client
from tests.bench.figures import Figure, median, spread
from tests.bench.fleet import KIB_PER_MB, cpu_seconds, memory
from tests.bench.rig import CLIENTS, IMAGE, Rig, Sizes, create, rig
from tests.support import places
from tests.support.network_storm import Storm, namespaces_held
from tests.support.procfs import descendants

NETWORK = "bench"
METRICS_PORT = 9
STAGE = re.compile(
    r'orlop_container_stage_duration_seconds_(sum|count)\{stage="(\w+)"\} ([0-9.e+-]+)'
)
REFILL_SECONDS = 0.15  # for the spare sandboxes, which are made when nothing is started
PUBLISHED = 500
PUBLISHED_EACH = 10
CRASH_EVERY = 200
SETTLE_SECONDS = 20.0
LEFT = (  # the fields of a Footprint
    ("links", "interfaces"),
    ("addresses", "addresses of the host"),
    ("rules", "routing rules"),
    ("filters", "elements of nftables"),
    ("listening", "listening sockets"),
    ("ledgers", "changed ledgers"),
)


@contextmanager
def networked(part: str, profile: Path | None, *arguments: str) -> Iterator[tuple[Rig, Machine]]:
    """A daemon with networks, on its own machine; cProfile's data goes beside `profile`."""
    own = profile and profile.with_name(f"{profile.stem}-{part}.prof")
    with (
        places.short_folder() as folder,
        closing(Machine(folder)) as machine,
        rig(own, arguments, machine.inside) as made,
    ):
        yield made, machine


def address_of(container: dict[str, Any]) -> str:
    """A container's address in the bench's network."""
    return str(container["NetworkSettings"]["Networks"][NETWORK]["IPAddress"])


# --- what it adds to a start ------------------------------------------------------------------


def starts(rig: Rig, sizes: Sizes) -> list[Figure]:
    """Lifecycles on the default network and without one, taking turns, with spare sandboxes and
    with none."""
    figures: list[Figure] = []
    for spare, most in ((2, 0.5), (0, 2.0)):
        name = f"{spare or 'no'} spare sandboxes"
        arguments = ("--warm-sandboxes", str(spare), "--metrics-addr", f"127.0.0.1:{METRICS_PORT}")
        with networked(f"start{spare}", rig.profile, *arguments) as (made, machine):
            before = stages(machine)
            figures += _compare(made, name, sizes.pairs, most=most)
            figures += _stages(name, before, stages(machine))
            figures += _in_a_row(made, name, sizes.pairs)
    return figures


def _compare(rig: Rig, name: str, count: int, *, most: float) -> list[Figure]:
    times: dict[str, list[dict[str, float]]] = {"bridge": [], "none": []}
    with rig.client() as client:
        for number in range(count):
            for mode in ("bridge", "none") if number % 2 else ("none", "bridge"):
                times[mode].append(lifecycle(client, mode))
                time.sleep(REFILL_SECONDS)
    figures = []
    for step in ("create", "start", "wait", "delete", "all"):
        with_it, without = ([t[step] for t in times[mode]] for mode in ("bridge", "none"))
        added = median(a - b for a, b in zip(with_it, without, strict=True))
        rows = [
            (f"{step}, default network, {name}, p50", median(with_it), 0.015),
            (f"{step}, network none, {name}, p50", median(without), None),
            (f"{step}, added by the network, {name}, p50 of the pairs", added, most / 1000),
        ]
        for text, value, limit in rows:
            wanted = limit if (step, limit == 0.015) in {("start", False), ("all", True)} else None
            target = wanted and 1000 * wanted
            figures.append(
                Figure(part="netstart", name=text, value=1000 * value, unit="ms", most=target)
            )
    return figures


Stages = dict[tuple[str, str], float]


def stages(machine: Machine) -> Stages:
    """Sum and count of the agent's own histogram, by stage."""
    reading = partial(socket.create_connection, ("127.0.0.1", METRICS_PORT), 10)
    found: Stages = {}
    with machine.host.do(reading) as connection:
        connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        text = connection.makefile().read()
    for line in text.splitlines():
        if match := STAGE.match(line):
            found[match[2], match[1]] = float(match[3])
    return found


def _stages(name: str, before: Stages, after: Stages) -> list[Figure]:
    """The mean of each stage of the starts between two readings."""
    figures = []
    for stage in sorted({stage for stage, _ in after}):
        total, count = (after[stage, k] - before[stage, k] for k in ("sum", "count"))
        if count:
            text, value = f"stage {stage}, {name}, mean", 1000 * total / count
            figures.append(Figure(part="netstart", name=text, value=value, unit="ms"))
    return figures


def lifecycle(client: Client, mode: str) -> dict[str, float]:
    """Seconds by request of create, start, wait, delete of `true`, and `all` of it."""
    marks = [time.perf_counter()]
    container = create(client, ["true"], NetworkMode=mode)
    marks.append(time.perf_counter())
    client.call("POST", f"/containers/{container}/start")
    marks.append(time.perf_counter())
    answer = client.call("POST", f"/containers/{container}/wait")
    marks.append(time.perf_counter())
    client.call("DELETE", f"/containers/{container}")
    marks.append(time.perf_counter())
    assert answer["StatusCode"] == 0, answer
    steps = zip(("create", "start", "wait", "delete"), marks, marks[1:], strict=False)
    return {"all": marks[-1] - marks[0], **{name: after - before for name, before, after in steps}}


def _in_a_row(rig: Rig, name: str, count: int) -> list[Figure]:
    """Without a pause: sandboxes are used up faster than they are made."""
    with rig.client() as client:
        times = [lifecycle(client, "bridge")["all"] for _ in range(count)]
    return spread("netstart", f"one after the other, {name}", times)


# --- many -------------------------------------------------------------------------------------


def fleet(rig: Rig, sizes: Sizes) -> list[Figure]:
    """Many containers on one network of the user's: started, talking, removed."""
    count = sizes.networked
    with networked("fleet", rig.profile) as (made, _):
        with made.client() as client:
            client.call("POST", "/networks/create", {"Name": NETWORK})
        before, empty = memory(made.daemon.pid), cpu_seconds([made.daemon.pid])
        begun = time.perf_counter()
        containers = made.by_clients(
            lambda client, _: made.running(client, NetworkMode=NETWORK), count
        )
        started = count / (time.perf_counter() - begun)
        cpu = cpu_seconds([made.daemon.pid]) - empty
        after = memory(made.daemon.pid)
        lost, slowest = _pings(made, containers, 2 * count)
        begun = time.perf_counter()
        made.remove_all(containers)
        removed = count / (time.perf_counter() - begun)
    rows: list[tuple[str, float, str, float | None, float | None]] = [
        (f"create+start of {count} on a network, {CLIENTS} clients", started, "/s", None, 100),
        ("CPU of the supervisor for a create+start", 1000 * cpu / count, "ms", None, None),
        ("supervisor at 0, Rss", before["Rss"] / KIB_PER_MB, "MB", None, None),
        (f"supervisor at {count}, Rss", after["Rss"] / KIB_PER_MB, "MB", None, None),
        (f"pings lost of {2 * count} between partners", lost, "", 0, None),
        ("the slowest ping", slowest, "ms", None, None),
        (f"rm -f of {count}, {CLIENTS} clients", removed, "/s", None, 100),
    ]
    return [
        Figure(part="netfleet", name=name, value=value, unit=unit, most=most, least=least)
        for name, value, unit, most, least in rows
    ]


def _pings(rig: Rig, containers: list[str], count: int) -> tuple[int, float]:
    """How many got no answer, and the slowest answer in ms.

    Each container has one partner, by chance: all network namespaces of a machine have one table
    of neighbours, which takes 1024 (net.ipv4.neigh.default.gc_thresh3) and then loses packets.
    """
    views = rig.by_clients(
        lambda client, i: client.call("GET", f"/containers/{containers[i]}/json"), len(containers)
    )
    places = [(view["State"]["Pid"], address_of(view)) for view in views]
    random.Random(count).shuffle(places)
    partners = list(zip(places[::2], places[1::2], strict=True))
    both_ways = [*partners, *((two, one) for one, two in partners)]
    pairs = [both_ways[number % len(both_ways)] for number in range(count)]

    def ping(_client: Client, number: int) -> float | None:
        (pid, _), (_, address) = pairs[number]
        done = subprocess.run(
            ["nsenter", f"--net=/proc/{pid}/ns/net", "busybox", "ping", "-c1", "-W2", address],
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            return None
        return float(done.stdout.split("time=")[1].split(" ")[0])

    answers = rig.by_clients(ping, count)
    return answers.count(None), max((a for a in answers if a is not None), default=0.0)


# --- published ports --------------------------------------------------------------------------


def ports(rig: Rig, sizes: Sizes) -> list[Figure]:
    """Start and end of a container with a published port and without, beside many others."""
    published = PUBLISHED if sizes.networked >= PUBLISHED else PUBLISHED // 5
    times: dict[bool, tuple[list[float], list[float]]] = {True: ([], []), False: ([], [])}
    with networked("ports", rig.profile, "--warm-sandboxes", "0") as (made, _):
        made.by_clients(
            lambda client, i: made.running(client, **_publish(range(PUBLISHED_EACH))),
            published // PUBLISHED_EACH,
        )
        with made.client() as client:
            for number in range(sizes.pairs):
                for with_port in (True, False) if number % 2 else (False, True):
                    options = _publish(range(1)) if with_port else {"NetworkMode": "bridge"}
                    for row, taken in zip(
                        times[with_port], _start_and_end(client, options), strict=True
                    ):
                        row.append(taken)
                    time.sleep(REFILL_SECONDS / 3)
    figures = []
    for index, what in enumerate(("start", "rm -f")):
        port, without = times[True][index], times[False][index]
        added = median(a - b for a, b in zip(port, without, strict=True))
        rows = [
            (f"{what} without a port beside {published}, p50", median(without), None),
            (f"{what} with one, p50", median(port), None),
            (f"{what}, added by the port, p50 of the pairs", added, 5.0),
        ]
        figures += [
            Figure(part="netports", name=name, value=1000 * value, unit="ms", most=most)
            for name, value, most in rows
        ]
    return figures


def _publish(numbers: range) -> dict[str, Any]:
    bindings = {f"{8000 + number}/tcp": [{"HostPort": ""}] for number in numbers}
    return {"NetworkMode": "bridge", "PortBindings": bindings}


def _start_and_end(client: Client, options: dict[str, Any]) -> tuple[float, float]:
    container = create(client, ["sleep", "3600"], **options)
    begun = time.perf_counter()
    client.call("POST", f"/containers/{container}/start")
    started = time.perf_counter()
    client.call("DELETE", f"/containers/{container}?force=1")
    return started - begun, time.perf_counter() - started


# --- throughput ---------------------------------------------------------------------------------


def rates(rig: Rig, sizes: Sizes) -> list[Figure]:
    """TCP between containers, and from the host, beside the same made by hand."""
    with networked("rate", rig.profile) as (made, machine), made.client() as client:
        client.call("POST", "/networks/create", {"Name": NETWORK})
        views = [
            client.call("GET", f"/containers/{made.running(client, NetworkMode=NETWORK)}/json")
            for _ in range(2)
        ]
        inside = [Entered(open_namespace(view["State"]["Pid"])) for view in views]
        try:
            boxes = [(space, address_of(view)) for space, view in zip(inside, views, strict=True)]
            return network_rate.compare(machine.host, boxes, max(5, sizes.pairs // 5))
        finally:
            for space in inside:
                space.close()


def open_namespace(pid: int) -> int:
    """A process's network namespace, as an fd."""
    return os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)


# --- what kills leave ---------------------------------------------------------------------------


def storm(rig: Rig, sizes: Sizes) -> list[Figure]:
    """Lifecycles with random kills, of the supervisor too; what there is more of afterwards.

    In two halves: the daemon is killed in the first one, its descriptors are compared over the
    second.
    """
    half = sizes.storm // 2
    with networked("storm", None) as (made, machine):
        box = NetworkBox(made.daemon, machine)
        with made.client() as client:
            client.call("POST", "/networks/create", {"Name": NETWORK})
        storm = Storm(made.daemon, IMAGE, ["bridge", NETWORK])
        storm.run(20)
        before = _settled(box, None)
        begun = time.perf_counter()
        storm.run(half, crashes=max(1, half // CRASH_EVERY))
        between = _settled(box, before)
        storm.run(sizes.storm - half)
        taken = time.perf_counter() - begun
        after = _settled(box, before)
    for line in [*before.footprint.differs(after.footprint), *storm.surprises]:
        print(f"netstorm: {line}")
    differences = [before.footprint.differs(one.footprint) for one in (between, after)]
    counts = {
        **{f"{what} left": max(_count(kind, one) for one in differences) for kind, what in LEFT},
        "network namespaces left": after.namespaces - before.namespaces,
        "processes left": after.processes - before.processes,
        "descriptors more in the second half": after.descriptors - between.descriptors,
        "answers that nothing explains": len(storm.surprises),
    }
    done = ", ".join(f"{count} {what}" for what, count in sorted(storm.happened.items()))
    print(f"netstorm: {done}, {taken:.0f} s")
    return [
        Figure(part="netstorm", name=f"{name}, {sizes.storm} lifecycles", value=n, unit="", most=0)
        for name, n in counts.items()
    ]


def _count(kind: str, differences: list[str]) -> int:
    return sum(line.startswith(f"{kind}:") for line in differences)


class Standing:
    """Of what storms may leave, what there is now."""

    def __init__(self, box: NetworkBox) -> None:
        self.footprint = Footprint.take(box)
        self.namespaces = namespaces_held(box.daemon)
        # Of the shims that wait for their next container there are now more, now fewer.
        self.processes = len(descendants(box.daemon.warden.pid)) - box.daemon.idle_shims()
        self.descriptors = box.daemon.open_files()

    def same(self, other: Standing) -> bool:
        """Nothing more or less."""
        return not self.footprint.differs(other.footprint) and (
            (self.namespaces, self.processes, self.descriptors)
            == (other.namespaces, other.processes, other.descriptors)
        )


def _settled(box: NetworkBox, wanted: Standing | None) -> Standing:
    """What there is once it is as `wanted`, or else when nothing has changed for a while."""
    deadline = time.monotonic() + SETTLE_SECONDS
    last = Standing(box)
    while time.monotonic() < deadline:
        time.sleep(0.5)
        now = Standing(box)
        full = now.footprint.links["a pair"] == SPARE_SANDBOXES
        if full and now.same(wanted or last):
            return now
        last = now
    return last
