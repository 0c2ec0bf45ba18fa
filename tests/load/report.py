"""A load's outcome as figures, and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from tests.bench.figures import Figure, median, number, percentile
from tests.load.drive import Outcome

MB = 1000 * 1000
WIDTH, HEIGHT, MARGIN = 860, 250, 56
INK, GRID, FIRST, SECOND = "#334155", "#e2e8f0", "#2563eb", "#ea580c"


def figures(outcome: Outcome) -> list[Figure]:
    """Latency by kind, rates, memory, CPU, what went wrong and what is left."""
    starts = outcome.starts
    rows: list[tuple[str, float, str]] = [
        ("containers started", len(starts), ""),
        ("started per second, waits of those that end included", _rate(outcome), "/s"),
    ]
    for name in ("create", "start"):
        taken = [1000 * float(getattr(one, name)) for one in starts] or [0.0]
        rows += [(f"{name}, p{p}", percentile(taken, p), "ms") for p in (50, 90, 99)]
        rows.append((f"{name}, max", max(taken), "ms"))
    for kind in sorted({one.kind for one in starts}):
        of_kind = [1000 * one.start for one in starts if one.kind == kind]
        rows.append((f"start of one that {kind}, p50", median(of_kind), "ms"))
    in_order = [one.start for one in sorted(starts, key=lambda one: one.at)]
    first, last = _ends(in_order or [1.0])
    rows += [
        ("start, p50 of the last tenth / of the first", last / first, "×"),
        ("containers that live on", outcome.kept, ""),
        ("removed per second", outcome.kept / (outcome.removing_seconds or 1), "/s"),
        ("supervisor's private memory with them", outcome.supervisor_private / MB, "MB"),
        ("a shim's private memory, p50", median(outcome.shim_private or [0]) / MB, "MB"),
        ("supervisor's CPU for a start", 1000 * _cpu(outcome) / (len(starts) or 1), "ms"),
    ]
    return [
        *(Figure(part="load", name=name, value=value, unit=unit) for name, value, unit in rows),
        Figure(part="load", name="what went wrong", value=len(outcome.wrong), unit="", most=0),
        *(
            Figure(part="load", name=f"{name} left", value=count, unit="", most=0)
            for name, count in outcome.left.items()
        ),
    ]


def picture(outcome: Outcome) -> str:
    """An SVG: each start's time over the load, and how many ran beside the supervisor's memory."""
    starts = [(one.at, 1000 * one.start) for one in outcome.starts]
    end = max([at for at, _ in starts] + [one.at for one in outcome.samples], default=1.0)
    running = [(one.at, float(one.running)) for one in outcome.samples]
    memory = [(one.at, one.rss / MB) for one in outcome.samples]
    upper = _Panel(0, "start of each container, ms", end, [y for _, y in starts])
    middle = _Panel(1, "containers that run", end, [y for _, y in running])
    lower = _Panel(2, "supervisor's resident memory, MB", end, [y for _, y in memory])
    parts = [
        *upper.frame(),
        *(f'<circle cx="{upper.x(x)}" cy="{upper.y(y)}" r="2" fill="{FIRST}"/>' for x, y in starts),
        *middle.frame(),
        middle.line(running, FIRST),
        *lower.frame(),
        lower.line(memory, SECOND),
    ]
    height = 3 * HEIGHT
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="sans-serif" font-size="12" fill="{INK}">'
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>{"".join(parts)}</svg>\n'
    )


class _Panel:
    """One diagram, below `index` others; its axes begin at 0."""

    def __init__(self, index: int, title: str, end: float, values: Sequence[float]) -> None:
        self.top, self.title = index * HEIGHT, title
        self.end, self.most = end or 1.0, _round_up(max(values, default=1.0))

    def x(self, seconds: float) -> str:
        return f"{MARGIN + (WIDTH - 2 * MARGIN) * seconds / self.end:.1f}"

    def y(self, value: float) -> str:
        return f"{self.top + HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * value / self.most:.1f}"

    def frame(self) -> list[str]:
        """Title, grid and the axes' numbers."""
        quarters = [part / 4 for part in range(5)]
        left, right = self.x(0), self.x(self.end)
        lines = [
            f'<text x="{left}" y="{self.top + 34}" font-weight="bold">{escape(self.title)}</text>'
        ]
        for part in quarters:
            value, seconds = self.most * part, self.end * part
            lines += [
                f'<path d="M{left} {self.y(value)}H{right}" stroke="{GRID}"/>',
                _text(MARGIN - 6, float(self.y(value)) + 4, number(value), "end"),
                _text(float(self.x(seconds)), float(self.y(0)) + 18, f"{seconds:.0f} s", "middle"),
            ]
        return lines

    def line(self, points: Sequence[tuple[float, float]], colour: str) -> str:
        """The points joined."""
        text = " ".join(f"{self.x(x)},{self.y(y)}" for x, y in points)
        return f'<polyline points="{text}" fill="none" stroke="{colour}" stroke-width="1.5"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _round_up(value: float) -> float:
    """To one, two or five times a power of ten, so that axes have plain numbers."""
    step = 1.0
    while step < value:
        step *= 10
    return next(s for s in (step / 5, step / 2, step) if s >= value)


def _rate(outcome: Outcome) -> float:
    return len(outcome.starts) / (outcome.starting_seconds or 1)


def _ends(values: Sequence[float]) -> tuple[float, float]:
    """The medians of the first and of the last tenth."""
    tenth = max(1, len(values) // 10)
    return median(values[:tenth]), median(values[-tenth:])


def _cpu(outcome: Outcome) -> float:
    """Seconds of the supervisor's CPU between the first and the last look at it while starting."""
    during = [one.cpu for one in outcome.samples if one.at <= outcome.starting_seconds]
    return during[-1] - during[0] if during else 0.0
