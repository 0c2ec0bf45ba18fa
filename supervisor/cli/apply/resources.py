"""`networks:` and `volumes:` of a file, as the requests that create them."""

from __future__ import annotations

from typing import Any

from supervisor.cli import network_values, subnet_values
from supervisor.cli.apply.marks import PREFIX
from supervisor.cli.apply.nodes import Keys, Node, Place, Wrong
from supervisor.cli.apply.reader import Reader
from supervisor.cli.apply.wanted import Network, Volume

Json = dict[str, Any]


def read_network(key: str, place: Place, node: Node, reader: Reader, project: str) -> Network:
    """One entry of `networks:`; raises Wrong."""
    made: Json = {"Driver": "bridge"}
    common = _Common(key, f"{project}_{key}", reader)
    entries = reader.optional_map(node)
    reader.fields(
        entries,
        {
            **common.reads,
            "attachable": reader.truth,
            "driver": lambda value: made.update(Driver=reader.word(value, "bridge")),
            "driver_opts": lambda value: made.update(Options=_pairs(reader, value)),
            "enable_ipv4": lambda value: made.update(EnableIPv4=reader.truth(value)),
            "enable_ipv6": lambda value: made.update(EnableIPv6=reader.truth(value)),
            "internal": lambda value: made.update(Internal=reader.truth(value)),
            "ipam": lambda value: made.update(IPAM=_ipam(reader, value)),
        },
        f"networks.{key}",
    )
    common.check(entries)
    return Network(
        key=key,
        name=common.name,
        external=common.external,
        config={"Name": common.name, **made, **common.labels},
        place=place,
    )


def read_volume(key: str, place: Place, node: Node, reader: Reader, project: str) -> Volume:
    """One entry of `volumes:`; raises Wrong."""
    made: Json = {"Driver": "local"}
    common = _Common(key, f"{project}_{key}", reader)
    entries = reader.optional_map(node)
    reader.fields(
        entries,
        {
            **common.reads,
            "driver": lambda value: made.update(Driver=reader.word(value, "local")),
            "driver_opts": lambda value: made.update(DriverOpts=_pairs(reader, value)),
        },
        f"volumes.{key}",
    )
    common.check(entries)
    return Volume(
        key=key,
        name=common.name,
        external=common.external,
        config={"Name": common.name, **made, **common.labels},
        place=place,
    )


class _Common:
    """What networks and volumes both have: name, labels, external."""

    def __init__(self, key: str, name: str, reader: Reader) -> None:
        self.name = name
        self.external = False
        self._key = key
        self.labels: Json = {}
        self.reads = {"name": self._name, "labels": self._labels, "external": self._external}
        self._reader = reader

    def check(self, entries: Keys) -> None:
        """An external one is what somebody else has made of it; raises Wrong."""
        if self.external and "name" not in entries.entries:
            self.name = self._key
        others = sorted(entries.entries.keys() - {"name", "external"})
        if self.external and others:
            raise Wrong(
                entries.places[others[0]],
                f"external: true goes with name only, not with {others[0]}: it is there already",
            )

    def _name(self, node: Node) -> None:
        self.name = self._reader.text(node)

    def _labels(self, node: Node) -> None:
        found: dict[str, str] = {}
        for name, value, at in self._reader.pairs(node):
            if name.startswith(PREFIX):
                raise Wrong(at.place, f"labels that begin with {PREFIX} are for orlop apply itself")
            found[name] = value or ""
        self.labels = {"Labels": found}

    def _external(self, node: Node) -> None:
        self.external = self._reader.truth(node)


def _pairs(reader: Reader, node: Node) -> dict[str, str]:
    return {name: value or "" for name, value, _ in reader.pairs(node)}


def _ipam(reader: Reader, node: Node) -> Json:
    pools: list[Json] = []

    def config(value: Node) -> None:
        subnets: list[str] = []
        ranges: list[str] = []
        gateways: list[str] = []
        taken: list[tuple[str, str]] = []
        before = len(reader.problems)
        for item in reader.items(value):
            with reader.noting():
                _pool(reader, item, subnets, ranges, gateways, taken)
        if len(reader.problems) > before:
            return
        try:
            pools.extend(subnet_values.pools(subnets, ranges, gateways, taken))
        except ValueError as error:
            raise Wrong(value.place, str(error)) from None

    reads = {"driver": lambda value: reader.word(value, "default"), "config": config}
    reader.fields(reader.map(node), reads, "ipam", {"options": "there is none"})
    return {"Driver": "default", "Config": pools}


def _pool(
    reader: Reader,
    node: Node,
    subnets: list[str],
    ranges: list[str],
    gateways: list[str],
    taken: list[tuple[str, str]],
) -> None:
    def reserved(value: Node) -> None:
        for name, text, at in reader.pairs(value):
            try:
                taken.append((name, network_values.address(text or "")))
            except ValueError as error:
                raise Wrong(at.place, str(error)) from None

    entries = reader.map(node)
    if "subnet" not in entries.entries:
        raise Wrong(node.place, "subnet is missing")
    reads = {
        "aux_addresses": reserved,
        "gateway": lambda value: gateways.extend(reader.value(value, subnet_values.gateway)),
        "ip_range": lambda value: ranges.extend(reader.value(value, subnet_values.ip_range)),
        "subnet": lambda value: subnets.extend(reader.value(value, subnet_values.subnet)),
    }
    reader.fields(entries, reads, "ipam.config")
