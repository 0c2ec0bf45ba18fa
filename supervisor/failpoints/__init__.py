"""Places in the code that can be made to fail: `failpoints.hit("start.cgroup")`.

Off unless the environment variable ORLOP_FAILPOINTS names some when a daemon starts; `registry`
has their names and reads that variable. The zygote and all shims load this file: it has no more
than what an unarmed point costs.
"""

from collections.abc import Callable

VARIABLE = "ORLOP_FAILPOINTS"
_armed: dict[str, Callable[[], None]] | None = None


def hit(name: str) -> None:
    """Do what was asked for at this place: nothing, wait, raise OSError, or die by SIGKILL."""
    if _armed is not None and name in _armed:
        _armed[name]()


def arm(points: dict[str, Callable[[], None]]) -> None:
    """From now on, what to call at which place; {} for nowhere."""
    global _armed  # noqa: PLW0603 - one for the process, as its environment is
    _armed = points or None
