"""Pause and unpause."""

from __future__ import annotations

from msgspec.structs import replace

from supervisor.errors import Conflict
from supervisor.lifecycle.effects import Emit, Freeze, Persist, Thaw
from supervisor.lifecycle.facts import Frozen, PauseRequested, Thawed, UnpauseRequested
from supervisor.lifecycle.state import Phase, State
from supervisor.lifecycle.transitions.common import ALREADY_PAUSED, Outcome


def pause(state: State, fact: PauseRequested, now: float) -> Outcome:
    """Ask for it; paused is what the kernel reports as frozen."""
    if state.freezing:
        raise Conflict(ALREADY_PAUSED)
    return replace(state, freezing=True), (Persist(), Freeze())


def frozen(state: State, fact: Frozen, now: float) -> Outcome:
    """All processes are frozen, by us or by somebody else."""
    return replace(state, phase=Phase.PAUSED, freezing=False), (Persist(), Emit("pause"))


def unpause(state: State, fact: UnpauseRequested, now: float) -> Outcome:
    """Ask for it; asking twice is harmless."""
    return state, (Thaw(),)


def thawed(state: State, fact: Thawed, now: float) -> Outcome:
    """The processes run again."""
    return replace(state, phase=Phase.RUNNING), (Persist(), Emit("unpause"))
