"""The picture and the tables in docs/lifecycle.md, drawn from the transition table.

`python -m supervisor.lifecycle.picture` prints them; with a file name it replaces what
stands between the two markers in that file.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from supervisor.errors import NotModified
from supervisor.lifecycle.facts import FACTS, REQUESTS, Fact
from supervisor.lifecycle.machine import TABLE, Move
from supervisor.lifecycle.state import Phase

BEGIN = "<!-- begin: python -m supervisor.lifecycle.picture docs/lifecycle.md -->"
END = "<!-- end -->"


def words(fact: type[Fact]) -> str:
    """`TaskStarted` → "task started", `StopRequested` → "stop"."""
    name = fact.__name__.removesuffix("Requested")
    return " ".join(part.lower() for part in re.findall("[A-Z][a-z]*", name))


def diagram() -> str:
    """A mermaid state diagram of all changes of phase."""
    edges: dict[tuple[str, str], list[str]] = {("[*]", Phase.CREATED): []}
    for (phase, fact), rule in TABLE.items():
        if isinstance(rule, Move):
            for target in _targets(phase, rule):
                edges.setdefault((phase, target), []).append(words(fact))
    lines = [
        f"    {source} --> {target}" + (f" : {', '.join(labels)}" if labels else "")
        for (source, target), labels in edges.items()
    ]
    return "\n".join(["```mermaid", "stateDiagram-v2", *lines, "```"])


def _targets(phase: Phase, rule: Move) -> Iterator[str]:
    yield from (target for target in rule.to if target is not phase)
    if rule.ends:
        yield "[*]"


def table(facts: tuple[type[Fact], ...]) -> str:
    """A markdown table, facts by phases: where each leads."""
    rows = [["", *Phase], ["---"] * (len(Phase) + 1)]
    rows += [[words(fact), *(_cell(phase, fact) for phase in Phase)] for fact in facts]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(phase: Phase, fact: type[Fact]) -> str:
    rule = TABLE.get((phase, fact))
    if rule is None:
        return "·"
    if not isinstance(rule, Move):
        return "304" if rule.error is NotModified else "409"
    targets = ["✓" if target is phase else target.value for target in rule.to]
    return ", ".join([*targets, "*forgotten*"] if rule.ends else targets)


def render() -> str:
    """All that is generated, in markdown."""
    observations = tuple(fact for fact in FACTS if fact not in REQUESTS)
    return "\n\n".join(
        [diagram(), "### Requests", table(REQUESTS), "### Observations", table(observations)]
    )


def embed(document: str) -> str:
    """`document` with what stands between the markers replaced; ValueError without markers."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no {BEGIN!r} … {END!r} in the document")
    return f"{before}{BEGIN}\n{render()}\n{END}{after}"


def main(arguments: list[str]) -> None:
    """Print the generated part, or bring the files named up to date."""
    if not arguments:
        print(render())
    for name in arguments:
        path = Path(name)
        path.write_text(embed(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
