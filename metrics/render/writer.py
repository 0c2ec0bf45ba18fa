"""Prometheus' text 0.0.4 and OpenMetrics 1.0 for hundreds of containers at little cost.

The label block of a container is made once in its life; a line is its family's name, that
block and a number. One page a family, so that the caller can do other things in between.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from metrics.parse.figures import Figures
from metrics.render import labels
from metrics.render.families import CONTAINER, OWN, Family
from metrics.render.snapshot import Row, Snapshot


class Part(NamedTuple):
    """Open label blocks, and an object for each; a single "" has no labels at all."""

    blocks: list[str]
    sources: list[Any]


def pages(snapshot: Snapshot, *, openmetrics: bool) -> Iterator[str]:
    """The families that have a sample, one after the other, without OpenMetrics' `# EOF`."""
    found = parts(snapshot)
    for family in (*CONTAINER, *OWN):
        text = page(family, found[family.part], openmetrics=openmetrics)
        if text:
            yield text


def page(family: Family, part: Part, *, openmetrics: bool) -> str:
    """One family's HELP, TYPE and samples; "" without samples."""
    lines: list[str] = []
    name, blocks = family.name, part.blocks
    for suffix, get in family.series:
        close = f"{suffix}}} " if blocks and blocks[0] else " "
        # The hottest line of a scrape: 26,000 of them for 500 containers.
        lines += [
            f"{name}{block}{close}{value}\n"
            for block, value in zip(blocks, map(get, part.sources), strict=True)
            if value is not None
        ]
    return head(family, openmetrics=openmetrics) + "".join(lines) if lines else ""


def head(family: Family, *, openmetrics: bool) -> str:
    """HELP and TYPE, in which OpenMetrics leaves a counter's suffix away."""
    name, kind = family.name, family.kind
    if openmetrics:
        name = name.removesuffix("_total") if kind == "counter" else name
        kind = "unknown" if kind == "untyped" else kind
    return f"# HELP {name} {family.help}\n# TYPE {name} {kind}\n"


def parts(snapshot: Snapshot) -> dict[str, Part]:
    """The snapshot by part, as the families name them."""
    found = _of_rows(snapshot)
    known, machine = snapshot.known, snapshot.machine
    found["names"] = Part([k.name for k in known], list(known))
    found["infos"] = Part([k.info for k in known], list(known))
    found["states"] = _by_label("state", snapshot.states)
    found["collectors"] = _by_label("collector", snapshot.collectors)
    found["capped"] = _by_label("kind", snapshot.capped)
    found["machine"] = Part([""], [machine])
    found["totals"] = Part([""], [snapshot.totals])
    found["process"] = Part([""], [snapshot.process]) if snapshot.process else Part([], [])
    versions = (
        ("cadvisorRevision", ""),
        ("cadvisorVersion", ""),
        ("dockerVersion", ""),
        ("kernelVersion", machine.kernel),
        ("osVersion", machine.os),
    )
    found["versions"] = Part([labels.block(versions, Counter())], [None])
    found["build"] = Part([labels.block([("version", machine.version)], Counter())], [None])
    return found


def _by_label(name: str, values: Mapping[str, Any]) -> Part:
    blocks = [labels.block([(name, key)], Counter()) for key in values]
    return Part(blocks, list(values.values()))


_FIGURES = ("cpu", "memory", "tasks", "pressure")
_OTHERS = ("quota", "ooms", "io", "network", "storage", "limits", "life", "containers")


def _of_rows(snapshot: Snapshot) -> dict[str, Part]:
    found: dict[str, Part] = {name: Part([], []) for name in (*_FIGURES, *_OTHERS)}
    for row in snapshot.rows:
        for device in row.storage:
            _add(found["storage"], row.labels + _label("device", device.device), device)
        if row.figures is not None:
            _add_figures(found, row, row.figures)
        elif not row.started:
            _add(found["ooms"], row.labels, 0)  # so that a first OOM is an increase
    return found


def _add_figures(found: dict[str, Part], row: Row, figures: Figures) -> None:
    block = row.labels
    for name in _FIGURES:
        source = getattr(figures, name)
        if source is not None:
            _add(found[name], block, source)
    for device, io in figures.io.items():
        _add(found["io"], block + _label("device", device), io)
    for interface, link in figures.network.items():
        _add(found["network"], block + _label("interface", interface), link)
    if figures.memory is not None and figures.memory.oom_kills is not None:
        _add(found["ooms"], block, row.oom_kills_before + figures.memory.oom_kills)
    if row.started:  # else it is another agent's run that ended unseen
        _add(found["life"], block, row)
    if row.limits is not None:
        _add(found["containers"], block, row)
        _add(found["limits"], block, row.limits)
        if row.limits.cpu_quota > 0 and figures.cpu is not None:
            _add(found["quota"], block, figures.cpu)


def _add(part: Part, block: str, source: object) -> None:
    part.blocks.append(block)
    part.sources.append(source)


def _label(name: str, text: str) -> str:
    return labels.suffix(name, text, Counter())
