"""How what is there compares with what is wanted, in words."""

from __future__ import annotations

from collections.abc import Mapping

from supervisor.cli.apply import marks, seen, steps, wanted
from supervisor.cli.apply.differences import Difference, differences

Words = tuple[str, ...]

_FIRST_WORDS = 6


def state(there: seen.Container) -> tuple[str, Words]:
    """What is to be done with a container that is as it should be, but for whether it runs."""
    if there.runs:
        return steps.KEEP, ()
    if there.done:
        return steps.KEEP, ("completed",)
    if there.status == "paused":
        return steps.UNPAUSE, ()
    if there.status == "exited":
        return steps.START, (f"it had ended with status {there.exit_code}",)
    return steps.START, ()


def changes(labels: Mapping[str, str], config: wanted.Json) -> tuple[Difference, ...]:
    """What has changed since something with these labels was made; () if it does not tell."""
    before = marks.config_of(dict(labels))
    return differences(before, config) if before else ()


def reasons(labels: Mapping[str, str], config: wanted.Json, found: tuple[Difference, ...]) -> Words:
    """Why something is to be made anew; () if its configuration is the same. `found`: changes."""
    if labels.get(marks.HASH) == marks.config_hash(marks.config_text(config)):
        return ()
    words = list(dict.fromkeys(difference.word for difference in found))
    shown = [f"{word} changed" for word in words[:_FIRST_WORDS]]
    return tuple([*shown, *(["more"] if len(words) > _FIRST_WORDS else [])] or ["config changed"])


def not_ours(labels: Mapping[str, str]) -> str:
    """Whose something is that is not of the project."""
    if marks.PROJECT in labels:
        return f"of the project {labels[marks.PROJECT]}"
    if marks.COMPOSE_PROJECT in labels:
        return f"made by docker compose for {labels[marks.COMPOSE_PROJECT]}"
    return "not made by orlop apply"
