"""Delay and loss towards a container, in the guest, whose kernel has netem but perhaps no nftables.
So it is wired as the plumber does it, without a firewall; tests/kernel/netplumb has all of it."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from msgspec.structs import replace

from netplumb.apply import namespace, trials
from netplumb.apply.wiring import Pair, Wiring
from netplumb.plan.model import Desired, Endpoint, Limits
from netplumb.plan.names import Identity
from netplumb.plan.reconcile import Aim
from tests.kernel.netplumb.rig import Container, endpoint, network, own_host

pytestmark = [pytest.mark.guest, pytest.mark.feature("netem", "bridge", "veth")]

NET = network(1, ipv6=False)
DELAY = Limits(delay_ms=400)  # many times what the guest takes without it
PACKETS = 200


@pytest.fixture
def wiring() -> Iterator[Wiring]:
    with own_host(), namespace.home(), closing(Wiring(Aim(Identity(), 0x2000))) as made:
        made.reconcile(Desired(networks=(NET,)))
        yield made


def wired(wiring: Wiring, limits: Limits) -> tuple[Container, Endpoint]:
    end = endpoint("box", NET, 2, limits=limits)
    box = Container(end)
    wiring.connect(box.fd, [Pair(end, NET)], True)
    return box, end


def arrived(box: Container, count: int, within: float) -> tuple[int, float]:
    """Of so many datagrams how many come, and seconds until the first."""
    receiving = box.do(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    with receiving, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
        receiving.bind((box.ip4, 9))
        receiving.settimeout(within)
        begun, first, got = time.monotonic(), 0.0, 0
        for number in range(count):
            sending.sendto(bytes([number]), (box.ip4, 9))
        while got < count:
            try:
                receiving.recv(10)
            except TimeoutError:
                break
            got += 1
            first = first or time.monotonic() - begun
        return got, first


def test_packets_are_late_until_that_is_lifted(wiring: Wiring) -> None:
    trials.try_limits(DELAY)
    box, end = wired(wiring, DELAY)
    with closing(box):
        arrived(box, 1, 10.0)  # the neighbour is known then
        got, first = arrived(box, 3, 10.0)
        assert got == 3
        assert first >= 0.4
        wiring.limit_anew(end, replace(end, limits=None))
        got, first = arrived(box, 3, 10.0)
        assert got == 3
        assert first < 0.4


def test_some_packets_are_lost(wiring: Wiring) -> None:
    box, end = wired(wiring, Limits(loss_percent=0))
    with closing(box):
        assert arrived(box, PACKETS, 5.0)[0] == PACKETS
        wiring.limit_anew(end, replace(end, limits=Limits(loss_percent=50, down=80_000_000)))
        got, _ = arrived(box, PACKETS, 2.0)
        assert PACKETS / 4 < got < PACKETS * 3 / 4, "the rest is lost, also below a rate"
