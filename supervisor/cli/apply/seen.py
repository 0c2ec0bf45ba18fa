"""What there is on the host, as the daemon tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from supervisor.cli.apply import marks

_NOT_AGAIN = frozenset({"", "no", "on-failure"})
RUNS = frozenset({"running", "restarting"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """One container; `status` is docker's word for its state, `health` "" where none is checked.

    `completed`: its last run has ended by itself, with status 0. `anonymous` are the volumes
    without a name that it has, by where they are mounted.
    """

    id: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    image: str = ""
    status: str = "running"
    exit_code: int = 0
    completed: bool = False
    health: str = ""
    restart: str = "no"
    anonymous: Mapping[str, str] = field(default_factory=dict)

    @property
    def over(self) -> bool:
        """Its run is over, or its start has failed."""
        return self.status == "exited" or (self.status == "created" and self.exit_code != 0)

    @property
    def project(self) -> str:
        """Whose it is; "" if `apply` has not made it."""
        return self.labels.get(marks.PROJECT, "")

    @property
    def service(self) -> str:
        """Which service it is one of."""
        return self.labels.get(marks.SERVICE, "")

    @property
    def number(self) -> int:
        """Which one of the service, from 1; 0 if unknown."""
        text = self.labels.get(marks.NUMBER, "")
        return int(text) if text.isascii() and text.isdecimal() else 0

    @property
    def runs(self) -> bool:
        """It runs, or is about to by its restart policy."""
        return self.status in RUNS

    @property
    def done(self) -> bool:
        """It has ended as it was meant to: nobody is to start it again."""
        return self.status == "exited" and self.completed and self.restart in _NOT_AGAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One network; `members` are ids of containers that are in it now."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    members: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """One volume."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """All that matters to one project.

    `containers` are the project's, `strangers` others with names that it wants; networks and
    volumes are all that there are, by name; `images` has the ids of those that are here.
    """

    containers: tuple[Container, ...] = ()
    strangers: Mapping[str, Container] = field(default_factory=dict)
    networks: Mapping[str, Network] = field(default_factory=dict)
    volumes: Mapping[str, Volume] = field(default_factory=dict)
    images: Mapping[str, str] = field(default_factory=dict)
