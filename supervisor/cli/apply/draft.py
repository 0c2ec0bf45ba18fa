"""A service while its keys are read: the create request that they add up to, and the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from supervisor.cli.apply.nodes import Items, Node, Place, Wrong
from supervisor.cli.apply.reader import Reader

Json = dict[str, Any]

STARTED = "service_started"
HEALTHY = "service_healthy"
COMPLETED = "service_completed_successfully"
CONDITIONS = (STARTED, HEALTHY, COMPLETED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependency:
    """A service that has to be so far before another one starts."""

    service: str
    condition: str = STARTED
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What a service may refer to: services by name, networks and volumes with their real names."""

    services: frozenset[str]
    networks: Mapping[str, str]
    volumes: Mapping[str, str]
    variables: Mapping[str, str]
    """This process's environment, for variables that are given by name only."""


@dataclass(slots=True, kw_only=True)
class Draft:
    """What has been read so far of one service."""

    name: str
    place: Place
    reader: Reader
    scope: Scope
    body: Json = field(default_factory=dict)
    host: Json = field(default_factory=dict)
    env_files: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str | None] = field(default_factory=dict)
    networks: dict[str, Json] | None = None
    mode: str = ""
    mac_address: str = ""
    shares: dict[str, str] = field(default_factory=dict)
    """HostConfig's field → the service whose namespace is shared."""
    depends: dict[str, Dependency] = field(default_factory=dict)
    volumes: set[str] = field(default_factory=set)
    replicas: int = 1
    container_name: str = ""
    pull: str = ""
    _given: dict[str, tuple[Any, str]] = field(default_factory=dict)

    def agree(self, field: str, value: Any, word: str, node: Node) -> None:
        """Set HostConfig's field; two keys that say different things of it are Wrong."""
        before = self._given.setdefault(field, (value, word))
        if before[0] != value:
            raise Wrong(node.place, f"{word} differs from {before[1]}: give one of them")
        self.host[field] = value

    def depend(self, service: str, node: Node, condition: str = STARTED) -> None:
        """The service has to wait for another one."""
        if service not in self.scope.services:
            known = ", ".join(sorted(self.scope.services - {self.name})) or "no other one"
            raise Wrong(node.place, f"there is no service '{service}': there is {known}")
        if service == self.name:
            raise Wrong(node.place, f"the service {service} cannot wait for itself")
        found = Dependency(service=service, condition=condition, place=node.place)
        if condition != STARTED or service not in self.depends:
            self.depends[service] = found


Key = Callable[[Draft, Node], None]


def host(field: str, read: Callable[[Reader, Node], Any]) -> Key:
    """A key that is one field of HostConfig."""

    def key(draft: Draft, node: Node) -> None:
        draft.host[field] = read(draft.reader, node)

    return key


def body(field: str, read: Callable[[Reader, Node], Any]) -> Key:
    """A key that is one field of the request."""

    def key(draft: Draft, node: Node) -> None:
        draft.body[field] = read(draft.reader, node)

    return key


def each(parse: Callable[[str], Any]) -> Callable[[Reader, Node], list[Any]]:
    """A list, or one alone, whose texts are parsed."""

    def read(reader: Reader, node: Node) -> list[Any]:
        if not isinstance(node, Items):
            return [reader.value(node, parse)]
        return list(reader.each(node, lambda item: reader.value(item, parse)))

    return read


def parsed(parse: Callable[[str], Any]) -> Callable[[Reader, Node], Any]:
    """One value, parsed."""
    return lambda reader, node: reader.value(node, parse)
