"""`networks:` and `volumes:` of a file, as the requests that create them."""

from __future__ import annotations

from typing import Any

from supervisor.cli import network_values, subnet_values
from supervisor.cli.apply.marks import PREFIX
from supervisor.cli.apply.nodes import Keys, Node, Place, Wrong
from supervisor.cli.apply.reader import Read, Reader
from supervisor.cli.apply.wanted import Resource

Json = dict[str, Any]
Reads = dict[str, Read]


def read_network(key: str, place: Place, node: Node, reader: Reader, project: str) -> Resource:
    """One entry of `networks:`; raises Wrong."""
    made: Json = {"Driver": "bridge"}
    reads: Reads = {
        "attachable": reader.truth,
        "driver": lambda value: made.update(Driver=reader.word(value, "bridge")),
        "driver_opts": lambda value: made.update(Options=_pairs(reader, value)),
        "enable_ipv4": lambda value: made.update(EnableIPv4=reader.truth(value)),
        "enable_ipv6": lambda value: made.update(EnableIPv6=reader.truth(value)),
        "internal": lambda value: made.update(Internal=reader.truth(value)),
        "ipam": lambda value: made.update(IPAM=_ipam(reader, value)),
    }
    return _Entry("networks", key, project, reader).read(place, node, reads, made)


def read_volume(key: str, place: Place, node: Node, reader: Reader, project: str) -> Resource:
    """One entry of `volumes:`; raises Wrong."""
    made: Json = {"Driver": "local"}
    reads: Reads = {
        "driver": lambda value: made.update(Driver=reader.word(value, "local")),
        "driver_opts": lambda value: made.update(DriverOpts=_pairs(reader, value)),
    }
    return _Entry("volumes", key, project, reader).read(place, node, reads, made)


class _Entry:
    """What an entry of either part has: name, labels, external."""

    def __init__(self, part: str, key: str, project: str, reader: Reader) -> None:
        self._title = f"{part}.{key}"
        self._key = key
        self._reader = reader
        self._name = f"{project}_{key}"
        self._labels: Json = {}
        self._external = False

    def read(self, place: Place, node: Node, reads: Reads, made: Json) -> Resource:
        """The entry; `reads` has the fields of its own, which put what they read into `made`."""
        common: Reads = {
            "name": self._read_name,
            "labels": self._read_labels,
            "external": self._read_external,
        }
        entries = self._reader.optional_map(node)
        self._reader.fields(entries, common | reads, self._title)
        if self._external:
            self._check_external(entries)
        return Resource(
            key=self._key,
            name=self._name,
            external=self._external,
            config={"Name": self._name, **made, **self._labels},
            place=place,
        )

    def _check_external(self, entries: Keys) -> None:
        """It is what somebody else has made of it."""
        if "name" not in entries.entries:
            self._name = self._key
        others = sorted(entries.entries.keys() - {"name", "external"})
        if others:
            raise Wrong(
                entries.places[others[0]],
                f"external: true goes with name only, not with {others[0]}: it is there already",
            )

    def _read_name(self, node: Node) -> None:
        self._name = self._reader.text(node)

    def _read_labels(self, node: Node) -> None:
        found: dict[str, str] = {}
        for name, value, at in self._reader.pairs(node):
            if name.startswith(PREFIX):
                raise Wrong(at.place, f"labels that begin with {PREFIX} are for orlop apply itself")
            found[name] = value or ""
        self._labels = {"Labels": found}

    def _read_external(self, node: Node) -> None:
        self._external = self._reader.truth(node)


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
