"""The engine's networks over a fake host; containers join by name only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from supervisor.docker.network_body import ConnectBody, NetworkBody
from supervisor.docker.networks import NetworkView
from supervisor.engine.network_records import Network
from tests.unit.engine.fake_network import NetworkWorld


class FakeNetworks:
    """`joins` are what connect and disconnect were asked for."""

    def __init__(self, find: Callable[[str], Any]) -> None:
        self.world = NetworkWorld()
        self.find = find
        self.joins: list[tuple[str, str, ConnectBody | bool]] = []

    async def load(self) -> None:
        """Make the predefined ones."""
        await self.world.networks.load()

    def views(self) -> list[NetworkView]:
        return self.world.networks.views()

    def view(self, ref: str) -> NetworkView:
        return self.world.networks.view(ref)

    async def create(self, body: NetworkBody) -> Network:
        return await self.world.networks.create(body)

    async def remove(self, ref: str) -> None:
        await self.world.networks.remove(ref)

    async def prune(self, wanted: Callable[[NetworkView], bool]) -> list[str]:
        return await self.world.networks.prune(wanted)

    async def connect(self, ref: str, body: ConnectBody) -> None:
        self.find(body.container)
        self.joins.append((self.view(ref).name, body.container, body))

    async def disconnect(self, ref: str, container: str, *, force: bool) -> None:
        self.find(container)
        self.joins.append((self.view(ref).name, container, force))
