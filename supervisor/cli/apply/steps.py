"""What is to be done, as values: a plan is a list of steps, each a line that is printed."""

from __future__ import annotations

from dataclasses import dataclass, field

from supervisor.cli.apply import seen, wanted
from supervisor.cli.apply.differences import Difference

CREATE = "create"
RECREATE = "recreate"
RENAME = "rename"
START = "start"
UNPAUSE = "unpause"
REMOVE = "remove"
KEEP = "unchanged"

_SIGNS = {
    CREATE: "+",
    RECREATE: "~",
    RENAME: "~",
    START: ">",
    UNPAUSE: ">",
    REMOVE: "-",
    KEEP: "=",
}
DONE_WORDS = {
    CREATE: "created",
    RECREATE: "recreated",
    RENAME: "renamed",
    START: "started",
    UNPAUSE: "unpaused",
    REMOVE: "removed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that is done, or is as it should be."""

    verb: str
    kind: str
    """container, network or volume."""
    name: str
    why: tuple[str, ...] = ()
    differences: tuple[Difference, ...] = ()
    container: seen.Container | None = None
    """The one that is there."""
    number: int = 0
    resource: wanted.Resource | None = None
    """The network or volume that the file has."""

    @property
    def changes(self) -> bool:
        """Something is to be done."""
        return self.verb != KEEP

    @property
    def starts(self) -> bool:
        """A container runs afterwards that does not, or not so, before."""
        return self.kind == "container" and self.verb in (CREATE, RECREATE, START)

    def __str__(self) -> str:
        why = f" ({', '.join(self.why)})" if self.why else ""
        return f"{_SIGNS[self.verb]} {self.verb} {self.kind} {self.name}{why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Steps in the order in which they are done; with `problems` none of them is.

    `services` are in the order in which they start; `notes` are for people.
    """

    networks: tuple[Step, ...] = ()
    volumes: tuple[Step, ...] = ()
    removals: tuple[Step, ...] = ()
    services: tuple[tuple[wanted.Service, tuple[Step, ...]], ...] = ()
    cleared: tuple[Step, ...] = ()
    """Networks that go when nobody is in them any more."""
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def steps(self) -> tuple[Step, ...]:
        """All of them."""
        containers = (step for _, steps in self.services for step in steps)
        return (*self.networks, *self.volumes, *self.removals, *containers, *self.cleared)
