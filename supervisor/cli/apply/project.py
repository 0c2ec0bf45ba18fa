"""A whole file to the project that it asks for, or all that is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from supervisor.cli.apply import nodes
from supervisor.cli.apply.draft import Scope
from supervisor.cli.apply.nodes import Node, Place, Scalar, Wrong
from supervisor.cli.apply.reader import Reader
from supervisor.cli.apply.resources import read_network, read_volume
from supervisor.cli.apply.services import DEFAULT, ReadService, read_service
from supervisor.cli.apply.wanted import Project, Resource, Service, ordered

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*", re.ASCII)
NAME_FORM = "lower-case letters, digits, '_' and '-' are expected, a letter or digit first"
_NOT_IN_NAMES = re.compile(r"[^a-z0-9_-]+")
_REFUSED = {
    "configs": "mount a file: volumes: [./FILE:/PATH:ro]",
    "include": "a file is applied as a whole: use one file for each",
    "models": "there are none",
    "secrets": "mount a file: volumes: [./FILE:/run/secrets/NAME:ro]",
}
_START = Place(1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a file's text comes from: `folder` is where its relative paths begin."""

    text: str
    folder: Path
    variables: Mapping[str, str]
    """For `${NAME}`, and for variables that containers get by name only."""
    project: str = ""
    """A name that is to be used instead of the file's."""
    fallback: str = ""
    """One for a file that has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What a file was read to; `project` is None where there are problems."""

    project: Project | None
    problems: tuple[tuple[Place, str], ...] = ()
    warnings: tuple[tuple[Place, str], ...] = ()


def is_name(text: str) -> bool:
    """Whether a project may be called so."""
    return bool(_NAME.fullmatch(text))


def name_of_folder(folder: Path) -> str:
    """What a project is called that lies in a folder, as compose has it; "" for none."""
    return _NOT_IN_NAMES.sub("", folder.name.lower()).lstrip("_-")


def read(source: Source) -> Findings:
    """The project, or everything that is wrong with the file."""
    reader = Reader(source.variables, source.folder)
    project = None
    with reader.noting():
        project = _Reading(source, reader).project(nodes.parse(source.text))
    problems = tuple(sorted(reader.problems))
    return Findings(
        project=None if problems else project,
        problems=problems,
        warnings=tuple(sorted(reader.warnings)),
    )


class _Reading:
    def __init__(self, source: Source, reader: Reader) -> None:
        self.source = source
        self.reader = reader
        self.name = source.project
        self.parts: dict[str, Node] = {}

    def project(self, root: Node) -> Project:
        reader = self.reader
        top = reader.map(root)
        keep = {part: self._keep(part) for part in ("services", "networks", "volumes", "name")}
        reader.fields(top, {**keep, "version": lambda _: None}, "the file", _REFUSED)
        if "services" not in self.parts:
            raise Wrong(_START, "services: is missing")
        self._choose_name()
        networks = self._objects("networks", read_network)
        volumes = self._objects("volumes", read_volume)
        networks.setdefault(DEFAULT, self._default_network())
        found = self._services(networks, volumes)
        used = set(chain.from_iterable(one.network_keys for one in found.values()))
        mounted = set(chain.from_iterable(one.volumes for one in found.values()))
        services = _with_shared(found)
        self._check_names(services)
        return Project(
            name=self.name,
            services=ordered(services),
            networks=tuple(one for key, one in networks.items() if key in used),
            volumes=tuple(one for key, one in volumes.items() if key in mounted),
        )

    def _keep(self, part: str) -> Callable[[Node], None]:
        return lambda node: self.parts.__setitem__(part, node)

    def _choose_name(self) -> None:
        given = self.parts.get("name")
        if given is not None:
            name = self.reader.text(given)
            if not is_name(name):
                raise Wrong(given.place, f"'{name}' is no name of a project: {NAME_FORM}")
            self.name = self.name or name
        self.name = self.name or self.source.fallback
        if not self.name:
            raise Wrong(_START, "the project has no name: give name: in the file, or --project")

    def _objects(
        self, part: str, read_one: Callable[[str, Place, Node, Reader, str], Resource]
    ) -> dict[str, Resource]:
        found: dict[str, Resource] = {}
        for key, place, node in self._entries(part):
            with self.reader.noting():
                found[key] = read_one(key, place, node, self.reader, self.name)
        return found

    def _entries(self, part: str) -> list[tuple[str, Place, Node]]:
        node = self.parts.get(part)
        if node is None:
            return []
        entries = self.reader.optional_map(node)
        return [(key, entries.places[key], value) for key, value in entries.entries.items()]

    def _default_network(self) -> Resource:
        empty = Scalar(text="", plain=True, place=_START)
        return read_network(DEFAULT, _START, empty, self.reader, self.name)

    def _services(
        self, networks: Mapping[str, Resource], volumes: Mapping[str, Resource]
    ) -> dict[str, ReadService]:
        entries = self._entries("services")
        if not entries:
            raise Wrong(self.parts["services"].place, "services: has no service")
        scope = Scope(
            services=frozenset(key for key, _, _ in entries),
            # One that is wrong itself is known by its name: that is told already.
            networks={**self._keys("networks"), **{k: one.name for k, one in networks.items()}},
            volumes={**self._keys("volumes"), **{k: one.name for k, one in volumes.items()}},
            variables=self.source.variables,
        )
        found: dict[str, ReadService] = {}
        for key, place, node in entries:
            with self.reader.noting():
                found[key] = read_service(key, place, node, self.reader, scope, self.name)
        if len(found) < len(entries):
            return {}
        return found

    def _keys(self, part: str) -> dict[str, str]:
        return {key: key for key, _, _ in self._entries(part)}

    def _check_names(self, services: Mapping[str, Service]) -> None:
        owners: dict[str, str] = {}
        for service in services.values():
            for name in service.containers:
                other = owners.setdefault(name, service.name)
                if other != service.name:
                    said = f"the services {other} and {service.name} both have a container {name}"
                    self.reader.problems.add((service.place, said))


def _with_shared(found: Mapping[str, ReadService]) -> dict[str, Service]:
    """The services, with names of containers where the namespaces of services are asked for."""
    services: dict[str, Service] = {}
    for name, one in found.items():
        host: dict[str, Any] = dict(one.service.config["HostConfig"])
        for field, owner in one.shares.items():
            containers = found[owner].service.containers
            if not containers:
                raise Wrong(
                    one.service.place, f"{name} is to share with {owner}, which has no replica"
                )
            host[field] = f"container:{containers[0]}"
        services[name] = replace(one.service, config={**one.service.config, "HostConfig": host})
    return services
