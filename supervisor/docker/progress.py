"""The JSON objects by which pulls and pushes tell how far they are.

Form: moby's pkg/jsonmessage and pkg/streamformatter.
"""

from __future__ import annotations

from typing import Any

from supervisor.spec.units import format_size

_WIDTH = 50


def status(text: str, id: str = "") -> dict[str, Any]:
    """A message about the whole (`id` ""), or one that is the headline of a tag."""
    return {"status": text, "id": id} if id else {"status": text}


def step(text: str, id: str) -> dict[str, Any]:
    """What a layer has come to: "Pulling fs layer", "Pull complete"."""
    return {"status": text, "progressDetail": {}, "id": id}


def part(text: str, id: str, current: int, total: int) -> dict[str, Any]:
    """How many bytes of a layer are done: "Downloading", "Extracting", "Pushing"."""
    return {
        "status": text,
        "progressDetail": {"current": current, "total": total},
        "progress": bar(current, total),
        "id": id,
    }


def aux(value: dict[str, Any]) -> dict[str, Any]:
    """A result for programs."""
    return {"progressDetail": {}, "aux": value}


def bar(current: int, total: int) -> str:
    """A bar for terminals of clients that cannot draw one, then the sizes."""
    done = format_size(current, precision=4)
    if total <= 0:
        return done
    filled = min(_WIDTH, current * _WIDTH // total)
    if current > total:
        return done
    head = "=" * filled + ">" + " " * (_WIDTH - filled)
    return f"[{head}] {done:>8}/{format_size(total, precision=4)}"


def short(digest: str) -> str:
    """Twelve digits of a digest: a layer's name in messages."""
    return digest.partition(":")[2][:12]
