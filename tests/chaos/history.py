"""A container's life as its events and what inspect shows tell it, against what there can be.

The model is coarser than the machine of `supervisor.lifecycle`, and not made from it: at rest,
up, paused, gone.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

REST, UP, PAUSED, GONE = "at rest", "up", "paused", "gone"
# Event → where it may be told, and where the container is then ("" for where it was).
MOVES: dict[str, tuple[tuple[str, ...], str]] = {
    "create": (("",), REST),
    "start": ((REST,), UP),
    "restart": ((UP,), UP),
    "pause": ((UP,), PAUSED),
    "unpause": ((PAUSED,), UP),
    "kill": ((REST, UP, PAUSED), ""),  # at rest: a start is under way
    "oom": ((UP, PAUSED), ""),
    "die": ((UP, PAUSED, REST), REST),  # at rest: a start that failed
    "stop": ((REST,), REST),
    "destroy": ((REST,), GONE),
}


class History:
    """What was told of all containers, in the order in which it was; `wrong` are sentences."""

    def __init__(self) -> None:
        self.now: dict[str, str] = {}
        self.told: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._of: dict[str, list[str]] = defaultdict(list)

    def event(self, container: str, action: str) -> None:
        """The next event."""
        self.told[action] += 1
        before = self.now.get(container, "")
        self._of[container].append(action)
        places, after = MOVES.get(action, ((), ""))
        if before not in places:
            told = " ".join(self._of[container])
            self.wrong.append(f"{container[:12]}: {action} while it is {before or 'not'}: {told}")
        self.now[container] = after or before

    def all_gone(self) -> bool:
        """Every container that there was has been destroyed."""
        return set(self.now.values()) <= {GONE}

    def not_gone(self) -> list[str]:
        """What was told of each that has not."""
        return [" ".join(self._of[one]) for one, place in self.now.items() if place != GONE]


class Views:
    """What one client was shown of each container, one look after the other."""

    def __init__(self) -> None:
        self._last: dict[str, dict[str, Any]] = {}

    def wrong(self, container: str, state: dict[str, Any]) -> str:
        """What cannot be in an inspect's State, or not after the one before; "" if nothing."""
        last = self._last.get(container, {})
        self._last[container] = state
        live = state["Running"]
        agreeing = {
            "Running": state["Status"] in {"running", "paused"},
            "Paused": state["Status"] == "paused",
            "Restarting": state["Status"] == "restarting",
            "Dead": state["Status"] == "dead",
        }
        for flag, expected in agreeing.items():
            if state[flag] != expected:
                return f"{flag} is {state[flag]} while Status is {state['Status']}"
        if bool(state["Pid"]) != live:
            return f"Pid is {state['Pid']} while Running is {live}"
        if live and state["ExitCode"]:
            return f"ExitCode is {state['ExitCode']} while it runs"
        for name in ("StartedAt", "FinishedAt"):
            if state[name] < last.get(name, ""):
                return f"{name} goes back from {last[name]} to {state[name]}"
        if last.get("Status", "created") != "created" and state["Status"] == "created":
            return f"created again after {last['Status']}"
        return ""
