"""Keys of a service about what it may use: memory, CPU, processes, devices, how many of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from supervisor.cli import values
from supervisor.cli.apply.draft import Draft, Key, each, host, parsed
from supervisor.cli.apply.nodes import Keys, Node, Wrong
from supervisor.cli.apply.reader import Reader
from supervisor.cli.create_flags import memory_swap
from supervisor.cli.flags import integer, natural
from supervisor.spec.units import parse_cpus, parse_size

_DEPLOY = {
    "endpoint_mode": "there is no swarm",
    "labels": "they are labels of a swarm's service: give labels beside deploy",
    "placement": "there is one host",
    "restart_policy": "give restart beside deploy",
    "rollback_config": "there is no swarm",
    "update_config": "there is no swarm",
}
_DEVICES = {
    "devices": "name the device nodes with devices beside deploy",
    "generic_resources": "there is no swarm",
}
_NOT_RESERVED = {"cpus": "CPUs are not reserved: give cpu_shares beside deploy"} | _DEVICES


def _limit(field: str, parse: Callable[[str], Any], word: str) -> Key:
    def key(draft: Draft, node: Node) -> None:
        draft.agree(field, draft.reader.value(node, parse), word, node)

    return key


_MOST_REPLICAS = 10_000
"""Each is a name to begin with: a number of any size would take all memory."""
_MEMORY = ("Memory", parse_size)
_RESERVED = ("MemoryReservation", parse_size)
_CPUS = ("NanoCpus", parse_cpus)
_PIDS = ("PidsLimit", integer)


def _deploy(draft: Draft, node: Node) -> None:
    reader = draft.reader
    keys = {
        "mode": lambda value: reader.word(value, "replicated"),
        "replicas": lambda value: _replicas(draft, value, "deploy.replicas"),
        "resources": lambda value: _resources(draft, value),
    }
    reader.fields(reader.optional_map(node), keys, "deploy", _DEPLOY)


def _resources(draft: Draft, node: Node) -> None:
    limits = {
        "cpus": _limit(*_CPUS, "deploy.resources.limits.cpus"),
        "memory": _limit(*_MEMORY, "deploy.resources.limits.memory"),
        "pids": _limit(*_PIDS, "deploy.resources.limits.pids"),
    }
    reserved = {"memory": _limit(*_RESERVED, "deploy.resources.reservations.memory")}

    def part(keys: Mapping[str, Key], word: str, refused: Mapping[str, str]) -> Any:
        bound = {name: (lambda value, key=key: key(draft, value)) for name, key in keys.items()}
        where = f"deploy.resources.{word}"
        return lambda value: draft.reader.fields(
            draft.reader.optional_map(value), bound, where, refused
        )

    parts = {
        "limits": part(limits, "limits", _DEVICES),
        "reservations": part(reserved, "reservations", _NOT_RESERVED),
    }
    draft.reader.fields(draft.reader.optional_map(node), parts, "deploy.resources")


def _replicas(draft: Draft, node: Node, word: str) -> None:
    number = draft.reader.number(node)
    if number > _MOST_REPLICAS:
        raise Wrong(node.place, f"{word} is at most {_MOST_REPLICAS:,}: {number} is too much")
    draft.agree("replicas", number, word, node)
    del draft.host["replicas"]
    draft.replicas = number


def _ulimits(draft: Draft, node: Node) -> None:
    reader = draft.reader
    found = []
    for name, value in reader.map(node).entries.items():
        with reader.noting():
            numbers = _soft_and_hard(reader, value) if isinstance(value, Keys) else None
            text = f"{name}={numbers or reader.text(value)}"
            try:
                found.append(values.ulimit(text))
            except ValueError as error:
                raise Wrong(value.place, str(error)) from None
    draft.host["Ulimits"] = found


def _soft_and_hard(reader: Reader, node: Keys) -> str:
    found: dict[str, int] = {}
    keys = {
        name: (lambda value, name=name: found.update({name: reader.number(value, -1)}))
        for name in ("soft", "hard")
    }
    reader.fields(node, keys, "ulimits")
    if len(found) < len(keys):
        raise Wrong(node.place, "soft and hard are expected")
    return f"{found['soft']}:{found['hard']}"


KEYS: Mapping[str, Key] = {
    "cpu_period": host("CpuPeriod", parsed(natural)),
    "cpu_quota": host("CpuQuota", parsed(integer)),
    "cpu_shares": host("CpuShares", parsed(natural)),
    "cpus": _limit(*_CPUS, "cpus"),
    "cpuset": host("CpusetCpus", Reader.text),
    "deploy": _deploy,
    "devices": host("Devices", each(values.device)),
    "mem_limit": _limit(*_MEMORY, "mem_limit"),
    "mem_reservation": _limit(*_RESERVED, "mem_reservation"),
    "memswap_limit": host("MemorySwap", parsed(memory_swap)),
    "oom_kill_disable": host("OomKillDisable", Reader.truth),
    "oom_score_adj": host("OomScoreAdj", parsed(integer)),
    "pids_limit": _limit(*_PIDS, "pids_limit"),
    "scale": lambda draft, node: _replicas(draft, node, "scale"),
    "shm_size": host("ShmSize", parsed(parse_size)),
    "ulimits": _ulimits,
}
