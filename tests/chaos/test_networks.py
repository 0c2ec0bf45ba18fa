"""R26, R27, R28: names, addresses and ports of networks, taken and given back again and again."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.api.box import IMAGE, eventually
from tests.api.network_box import SPARE_SANDBOXES, Footprint, NetworkBox, network_box
from tests.chaos.rig import FULL, Refused, Rig, sized
from tests.support.network_storm import Storm

pytestmark = pytest.mark.feature("bridge", "veth", "nftables")

Tell = Callable[[str], None]
LIFECYCLES = sized("NETWORK_LIFECYCLES", 5000, 24)
ROUNDS = 20 if FULL else 2
CLIENTS = 4
ROOM = 5  # of a /29: 8 addresses, but for the first, the last and the gateway's


@pytest.fixture
def net(nothing_left_of_all: None) -> Iterator[NetworkBox]:
    with network_box() as box:
        box.network("--subnet", "10.83.0.0/29")
        yield box


class InUse:
    """Addresses and interfaces of the containers that run; `twice` are those seen in two."""

    def __init__(self) -> None:
        self.twice: list[str] = []
        self.seen: Counter[str] = Counter()
        self._now: set[str] = set()
        self._lock = threading.Lock()

    def take(self, *names: str) -> None:
        with self._lock:
            self.twice += [name for name in names if name in self._now]
            self._now.update(names)
            self.seen.update(names)

    def give(self, *names: str) -> None:
        with self._lock:
            self._now.difference_update(names)


def test_addresses_names_and_ports(net: NetworkBox, tell: Tell) -> None:
    """One daemon for all three: making its machine costs more than they do."""
    rig = Rig(net.daemon)
    eventually(lambda: Footprint.take(net).links["a pair"] == SPARE_SANDBOXES)
    before = Footprint.take(net)
    lifecycles(rig, tell)
    storm(net, tell)
    (name,) = net.networks()
    full_subnet(rig, name, tell)
    busy_port(rig, tell)
    eventually(lambda: Footprint.take(net).links["a pair"] == SPARE_SANDBOXES)
    net.settle(before)


def lifecycles(rig: Rig, tell: Tell) -> None:
    """R26: no address is had by two at once."""
    used = InUse()
    numbers = iter(range(LIFECYCLES))

    def client() -> None:
        for number in numbers:
            name = f"net-{number}"
            rig.create(name, "sleep", "100000", HostConfig={"NetworkMode": "bridge"})
            rig.ask("POST", f"/containers/{name}/start")
            view = rig.ask("GET", f"/containers/{name}/json")["NetworkSettings"]
            mine = [
                str(one[key])
                for one in view["Networks"].values()
                for key in ("IPAddress", "MacAddress", "EndpointID")
            ]
            assert all(mine), view
            used.take(*mine)
            rig.ask("POST", f"/containers/{name}/exec", {"Cmd": ["true"]})  # it is up a while
            used.give(*mine)  # right before it goes: from then on others may have it
            rig.ask("DELETE", f"/containers/{name}?force=1")

    with ThreadPoolExecutor(CLIENTS) as pool:
        for done in [pool.submit(client) for _ in range(CLIENTS)]:
            done.result()
    assert used.twice == []
    tell(f"R26: {LIFECYCLES} lifecycles in a network: 0 addresses had by two at once")


def storm(net: NetworkBox, tell: Tell) -> None:
    """R26: with kills of inits, shims and the daemon; a name that is there already is an answer
    that nothing explains.
    """
    kills = Storm(net.daemon, IMAGE, ["bridge"])
    crashes = max(1, LIFECYCLES // 500)
    kills.run(LIFECYCLES // 2, crashes=crashes)
    assert not kills.surprises, "\n".join(kills.surprises)
    tell(
        f"R26: {LIFECYCLES // 2} more with kills of inits and shims and {crashes} of the daemon: "
        "0 names that were there already, 0 pairs, rules, addresses left"
    )


def full_subnet(rig: Rig, network: str, tell: Tell) -> None:
    """R27: one too many is refused, and all addresses can be had again."""
    host = {"NetworkMode": network}
    for _ in range(ROUNDS):
        for number in range(ROOM):
            rig.create(f"full-{number}", "sleep", "100000", HostConfig=host)
            rig.ask("POST", f"/containers/full-{number}/start")
        rig.create("late", "sleep", "100000", HostConfig=host)
        with pytest.raises(Refused, match=r"no available IPv4 addresses on 10\.83\.0\.0/29"):
            rig.ask("POST", "/containers/late/start")
        rig.ask("DELETE", "/containers/full-2?force=1")
        rig.ask("POST", "/containers/late/start")
        rig.remove_all()
    tell(f"R27: a subnet filled {ROUNDS} times: one too many refused, all addresses had again")


def busy_port(rig: Rig, tell: Tell) -> None:
    """R28: who has it is said, and the start that failed holds nothing."""

    def published(*ports: str) -> dict[str, object]:
        bindings = {f"{80 + at}/tcp": [{"HostPort": port}] for at, port in enumerate(ports)}
        return {"NetworkMode": "bridge", "PortBindings": bindings}

    for _ in range(ROUNDS):
        rig.create("owner", "sleep", "100000", HostConfig=published("8391"))
        rig.ask("POST", "/containers/owner/start")
        rig.create("late", "sleep", "100000", HostConfig=published("8390", "8391"))
        with pytest.raises(Refused, match="8391 failed: port is already allocated"):
            rig.ask("POST", "/containers/late/start")
        rig.create("other", "sleep", "100000", HostConfig=published("8390"))
        rig.ask("POST", "/containers/other/start")  # what the failed start had is free
        rig.remove_all()
    tell(f"R28: a port that is taken, {ROUNDS} times: refused by name, its other port free again")
