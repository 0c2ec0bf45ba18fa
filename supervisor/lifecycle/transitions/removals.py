"""Removal: kill if forced, clean up once nothing runs, forget."""

from __future__ import annotations

from msgspec.structs import replace

from supervisor.errors import Conflict
from supervisor.lifecycle.effects import Emit, Forget, Persist
from supervisor.lifecycle.facts import Cleaned, CleanFailed, RemoveRequested
from supervisor.lifecycle.state import CLEAN_FAILED, Phase, State
from supervisor.lifecycle.transitions.common import Outcome, clean, kill_all


def remove(state: State, fact: RemoveRequested, now: float) -> Outcome:
    """Remove what does not run."""
    return clean(state)


def remove_live(state: State, fact: RemoveRequested, now: float) -> Outcome:
    """Remove what runs, or is about to, only by force; the end of the run cleans up."""
    if not fact.force:
        raise Conflict(_still(state.phase))
    return kill_all(replace(state, phase=Phase.REMOVING, freezing=False))


def remove_restarting(state: State, fact: RemoveRequested, now: float) -> Outcome:
    """Docker counts a container between two runs as running."""
    if not fact.force:
        raise Conflict(_still(state.phase))
    return clean(state)


def remove_dead(state: State, fact: RemoveRequested, now: float) -> Outcome:
    """Try again what failed."""
    return kill_all(replace(state, phase=Phase.REMOVING)) if state.live else clean(state)


def cleaned(state: State, fact: Cleaned, now: float) -> Outcome:
    """Nothing is left."""
    if not state.cleaning:
        return state, ()
    return replace(state, cleaning=False), (Forget(), Emit("destroy"))


def clean_failed(state: State, fact: CleanFailed, now: float) -> Outcome:
    """Keep the record, so that the removal can be tried again."""
    state = replace(
        state, phase=Phase.DEAD, cleaning=False, failure=fact.error, error_code=CLEAN_FAILED
    )
    return state, (Persist(),)


def _still(phase: Phase) -> str:
    """Docker's refusal to remove what is not at rest."""
    if phase is Phase.PAUSED:
        return 'cannot remove container "{name}": container is paused and must be unpaused first'
    word = "running" if phase is Phase.STOPPING else phase.value
    return (
        f'cannot remove container "{{name}}": container is {word}: '
        "stop the container before removing or force remove"
    )
