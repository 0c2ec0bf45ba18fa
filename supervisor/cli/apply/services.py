"""One entry of `services:` to what is wanted of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from supervisor.cli.apply import file_keys, limit_keys, network_keys, process_keys
from supervisor.cli.apply.draft import Draft, Key, Scope
from supervisor.cli.apply.nodes import Node, Place, Wrong
from supervisor.cli.apply.reader import Reader
from supervisor.cli.apply.wanted import Service

Json = dict[str, Any]

DEFAULT = "default"
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*", re.ASCII)
_NAME_FORM = "letters, digits, '_', '.' and '-' are expected, a letter or digit first"


def _container_name(draft: Draft, node: Node) -> None:
    name = draft.reader.text(node)
    if not _NAME.fullmatch(name):
        raise Wrong(node.place, f"'{name}' is no name of a container: {_NAME_FORM}")
    draft.container_name = name


KEYS: Mapping[str, Key] = {
    **process_keys.KEYS,
    **limit_keys.KEYS,
    **file_keys.KEYS,
    **network_keys.KEYS,
    "container_name": _container_name,
}
REFUSED = {
    "attach": "apply stays with no container: see orlop logs",
    "blkio_config": "use orlop run --blkio-weight and its like",
    "build": "build the image with buildah, give it to this host by orlop load, and name it by"
    " image",
    "cgroup_parent": "orlop keeps its containers together",
    "configs": "mount a file: volumes: [./FILE:/PATH:ro]",
    "cpu_rt_period": "use cpus or cpu_shares",
    "cpu_rt_runtime": "use cpus or cpu_shares",
    "credential_spec": "it is for Windows",
    "develop": "apply does not watch files",
    "device_cgroup_rules": "name the device nodes with devices",
    "extends": "use YAML's anchors and merge keys: <<: *ANCHOR",
    "external_links": "put both containers into one network",
    "gpus": "name the device nodes with devices",
    "isolation": "it is for Windows",
    "links": "services in one network find each other by name; use aliases of networks",
    "mem_swappiness": "use memswap_limit",
    "platform": "this host's only: nothing is emulated",
    "post_start": "apply runs nothing in containers",
    "pre_stop": "apply runs nothing in containers",
    "profiles": "a file is applied as a whole: use one file for each",
    "runtime": "orlop is the one there is",
    "secrets": "mount a file: volumes: [./FILE:/run/secrets/NAME:ro]",
    "storage_opt": "the writable layer has no quota",
    "volumes_from": "name the volumes in both services",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadService:
    """A service, and what can only be filled in when all of them are known."""

    service: Service
    shares: Mapping[str, str]
    volumes: frozenset[str]
    network_keys: tuple[str, ...]


def read_service(
    name: str, place: Place, node: Node, reader: Reader, scope: Scope, project: str
) -> ReadService:
    """The service; raises Wrong, and notes what is wrong with single keys."""
    if not _NAME.fullmatch(name):
        raise Wrong(place, f"'{name}' is no name of a service: {_NAME_FORM}")
    draft = Draft(name=name, place=place, reader=reader, scope=scope)
    keys = {word: _bound(key, draft) for word, key in KEYS.items()}
    entries = reader.map(node)
    reader.fields(entries, keys, f"services.{name}", REFUSED)
    if "image" not in entries.entries and "build" not in entries.entries:
        raise Wrong(place, f"services.{name} has no image")
    _complete(draft, entries.places)
    numbers = range(1, draft.replicas + 1)
    single = draft.container_name
    if single and draft.replicas > 1:
        raise Wrong(entries.places["container_name"], "container_name is for one replica only")
    return ReadService(
        service=Service(
            name=name,
            place=place,
            config={"Image": "", **draft.body, "HostConfig": draft.host},
            containers=tuple(single or f"{project}-{name}-{number}" for number in numbers),
            depends=tuple(draft.depends.values()),
            shares=tuple(dict.fromkeys(draft.shares.values())),
            networks=tuple(scope.networks[key] for key in draft.networks or ()),
            pull=draft.pull,
        ),
        shares=draft.shares,
        volumes=frozenset(draft.volumes),
        network_keys=tuple(draft.networks or ()),
    )


def _bound(key: Key, draft: Draft) -> Any:
    return lambda node: key(draft, node)


def _complete(draft: Draft, places: Mapping[str, Place]) -> None:
    variables = {**draft.env_files, **_environment(draft)}
    if variables:
        draft.body["Env"] = [f"{name}={value}" for name, value in sorted(variables.items())]
    if draft.mode and draft.networks is not None:
        raise Wrong(places["network_mode"], "network_mode and networks exclude each other")
    if draft.mode:
        draft.host["NetworkMode"] = draft.mode
        if draft.mac_address:
            raise Wrong(places["mac_address"], "mac_address goes with networks, not network_mode")
        if draft.host.get("PortBindings") and draft.mode != "bridge":
            raise Wrong(
                places["ports"], f"ports cannot be published with network_mode: {draft.mode}"
            )
        return
    draft.networks = draft.networks or {DEFAULT: {}}
    _attach(draft)


def _environment(draft: Draft) -> dict[str, str]:
    """A name without a value is a variable of this process, or none at all."""
    outside = draft.scope.variables
    return {
        name: outside[name] if value is None else value
        for name, value in draft.environment.items()
        if value is not None or name in outside
    }


def _attach(draft: Draft) -> None:
    assert draft.networks is not None
    endpoints: Json = {}
    for key, asked in draft.networks.items():
        aliases = dict.fromkeys(chain([draft.name], asked.get("Aliases", ())))
        endpoints[draft.scope.networks[key]] = {**asked, "Aliases": list(aliases)}
    first = next(iter(endpoints))
    if draft.mac_address:
        endpoints[first].setdefault("MacAddress", draft.mac_address)
    draft.host["NetworkMode"] = first
    draft.body["NetworkingConfig"] = {"EndpointsConfig": endpoints}
