"""What a file asks for: services in an order to start them in, networks, volumes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from supervisor.cli.apply import marks
from supervisor.cli.apply.draft import Dependency
from supervisor.cli.apply.nodes import Place, Wrong

Json = dict[str, Any]
DEFAULT_NETWORK = "bridge"  # its name, and the mode that asks for it


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A network or a volume; an external one has to be there."""

    key: str
    name: str
    external: bool = False
    config: Json
    """The create request, without labels of ours."""
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """`config` is the create request of each of its containers, without labels of ours."""

    name: str
    place: Place
    config: Json
    containers: tuple[str, ...]
    """Their names; number 1 first."""
    depends: tuple[Dependency, ...] = ()
    shares: tuple[str, ...] = ()
    """Services whose namespaces it is in."""
    networks: tuple[str, ...] = ()
    """Real names."""
    pull: str = ""

    @property
    def image(self) -> str:
        """As it is written."""
        return str(self.config["Image"])

    @property
    def in_default_network(self) -> bool:
        """It asks for the network that a daemon has by itself, unless it was told to have none."""
        mode = self.config.get("HostConfig", {}).get("NetworkMode")
        return str(mode) == DEFAULT_NETWORK

    def body(self, project: str, number: int) -> Json:
        """The create request of one container."""
        own = {marks.PROJECT: project, marks.SERVICE: self.name, marks.NUMBER: str(number)}
        return {**self.config, "Labels": marks.marked(self.config, own)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """All of a file; `services` in the order in which they start."""

    name: str
    services: tuple[Service, ...] = ()
    networks: tuple[Resource, ...] = ()
    volumes: tuple[Resource, ...] = ()


def ordered(services: Mapping[str, Service]) -> tuple[Service, ...]:
    """Each after those that it waits for, else as in the file; raises Wrong for a circle."""
    done: dict[str, Service] = {}
    path: list[str] = []

    def visit(name: str, by: Dependency | None) -> None:
        if name in done:
            return
        if name in path:
            circle = " → ".join([*path[path.index(name) :], name])
            place = by.place if by else services[name].place
            raise Wrong(place, f"these services wait for each other: {circle}")
        path.append(name)
        for dependency in services[name].depends:
            visit(dependency.service, dependency)
        path.pop()
        done[name] = services[name]

    for name in services:
        visit(name, None)
    return tuple(done.values())
