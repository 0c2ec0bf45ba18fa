"""Snapshots to render."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from metrics.model import Container, Limits, Storage
from metrics.parse import group
from metrics.parse.figures import Figures, Link
from metrics.parse.host import Process
from metrics.render import labels
from metrics.render.snapshot import Collector, Known, Machine, Row, Snapshot, Totals
from tests.unit.metrics import trees

LINK = Link(1, 2, 3, 4, 5, 6, 7, 8)
V2_KEYS = {
    "cpu.stat": "cpu",
    "cgroup.procs": "procs",
    "memory.current": "memory",
    "memory.stat": "memory_stat",
    "memory.peak": "memory_peak",
    "memory.swap.current": "memory_swap",
    "memory.events": "memory_events",
    "pids.current": "pids",
    "io.stat": "io",
}


def container(name: str = "web", **changes: Any) -> Container:
    fields: dict[str, Any] = {
        "id": f"{name:x<64}"[:64],
        "name": name,
        "image": "docker.io/library/alpine:3.20",
        "cgroup": f"/orlop/{name}",
        "limits": Limits(memory=1 << 20, cpu_quota=50_000, pids=100),
    }
    return Container(**{**fields, **changes})


def figures() -> Figures:
    """A v2 group's, with two disks and an interface."""
    readings = {key: trees.V2[name] for name, key in V2_KEYS.items()}
    for resource in ("cpu", "memory", "io"):
        readings[f"{resource}_pressure"] = trees.V2[f"{resource}.pressure"]
    found, wrong = group.Decoder().figures(readings)
    assert wrong == ()
    return found._replace(network={"eth0": LINK})


def blocks(one: Container) -> labels.Blocks:
    return labels.blocks(one, one.labels, Counter())


def row(one: Container, found: Figures | None) -> Row:
    storage = (Storage("/dev/sda", 10, 20, 30, 40),)
    return Row(blocks(one).full, found, one.limits, storage, 1000.5, 2000.25, 1)


def known(one: Container, **changes: Any) -> Known:
    made = blocks(one)
    return Known(made.name, made.info, 1, 2, 137)._replace(**changes)


def snapshot(containers: Mapping[str, Figures | None]) -> Snapshot:
    """Of these containers by name, with something in every other part."""
    every = {name: container(name) for name in containers}
    host = Row('{id="/"', figures()._replace(tasks=None))
    return Snapshot(
        rows=(host, *(row(every[name], found) for name, found in containers.items())),
        known=tuple(known(one) for one in every.values()),
        states={"running": len(containers), "exited": 0},
        totals=Totals(1_500_000, 2, 3, 4, 5),
        machine=Machine(2, 1 << 30, "6.18", "Debian", "0.1"),
        process=Process(1.5, 2, 3, 4.5, 6, 7),
        collectors={"containers": Collector(0.25, 1)},
        capped={"label_value": 1},
    )
