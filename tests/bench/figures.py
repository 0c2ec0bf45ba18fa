"""What a part of the bench found, what it should be, and the table of both."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any


def percentile(values: Iterable[float], percent: float) -> float:
    """The nearest-rank percentile: a value that did occur."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def median(values: Iterable[float]) -> float:
    """The 50th percentile."""
    return percentile(values, 50)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number. `most` and `least` are its target, None where it is only reported."""

    part: str
    name: str
    value: float
    unit: str
    most: float | None = None
    least: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the target is reached, None without one."""
        if self.most is None and self.least is None:
            return None
        return (self.most is None or self.value <= self.most) and (
            self.least is None or self.value >= self.least
        )

    @property
    def target(self) -> str:
        """The target as a person reads it."""
        if self.most is not None:
            return f"≤ {number(self.most)}"
        return "" if self.least is None else f"≥ {number(self.least)}"

    def to_json(self) -> dict[str, Any]:
        """For the results file."""
        return {**asdict(self), "met": self.met}


def spread(
    part: str, name: str, seconds: Sequence[float], *, most: float | None = None
) -> list[Figure]:
    """p50, p90, p99 and the largest of times in seconds, as ms; `most` is the p50's target."""
    in_ms = [1000 * value for value in seconds]
    rows = [
        Figure(part=part, name=f"{name}, p50", value=median(in_ms), unit="ms", most=most),
    ]
    rows += [
        Figure(part=part, name=f"{name}, p{p}", value=percentile(in_ms, p), unit="ms")
        for p in (90, 99)
    ]
    rows.append(Figure(part=part, name=f"{name}, max", value=max(in_ms), unit="ms"))
    return rows


def number(value: float) -> str:
    """Three significant digits, more only left of the point."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def table(figures: Sequence[Figure]) -> str:
    """The figures as aligned lines."""
    words = {True: "met", False: "MISSED", None: ""}
    rows = [("part", "figure", "value", "unit", "target", "")]
    rows += [(f.part, f.name, number(f.value), f.unit, f.target, words[f.met]) for f in figures]
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    lines = []
    for row in rows:
        cells = [
            text.rjust(width) if column == 2 else text.ljust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
