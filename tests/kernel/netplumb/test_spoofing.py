"""A container sends what it likes by packet sockets, and only what it may send arrives.

Each attack is sent between two honest frames of the same make, which must arrive: what is looked
at is the victim's own packet socket, and the host's, so that nothing depends on a stack's mercy.
"""

from __future__ import annotations

import select
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from netplumb.apply.plumber import Plumber
from netplumb.plan.names import bridge_mac
from tests.kernel.netplumb import frames
from tests.kernel.netplumb.frames import ARP, IPV4, IPV6, ethernet, mac
from tests.kernel.netplumb.rig import ANY4, PATIENCE, Container, endpoint, network

Make = Callable[..., Container]
GATEWAY4, GATEWAY6 = "172.30.1.1", "fd30:1::1"
OTHER_MAC = mac("02:42:de:ad:be:ef")


@dataclass
class Street:
    """The attacker, the victim and a third one in net1, with packet sockets."""

    attacker: Container
    victim: Container
    third: Container
    sends: socket.socket
    hears: socket.socket

    @property
    def own(self) -> bytes:
        return mac(self.attacker.endpoints[0].mac)

    @property
    def to(self) -> bytes:
        return mac(self.victim.endpoints[0].mac)

    def arrive(self, *attacks: bytes) -> list[bytes]:
        """Which of the frames arrive; honest ones before and behind them must."""
        first, last = self.honest(b"first"), self.honest(b"last")
        for frame in (first, *attacks, last):
            self.sends.send(frame)
        found: list[bytes] = []
        while last not in found:
            assert select.select([self.hears], [], [], PATIENCE)[0], "the honest one is missing"
            found.append(self.hears.recv(2000))
        assert first in found
        return [frame for frame in attacks if frame in found]

    def honest(self, word: bytes) -> bytes:
        """A datagram with the right addresses."""
        return self.datagram(self.own, self.attacker.ip4, word)

    def datagram(self, source_mac: bytes, source: str, word: bytes = b"attack") -> bytes:
        packet = frames.udp4(source, self.victim.ip4, 9, 99, word)
        return ethernet(self.to, source_mac, IPV4, packet)

    def datagram6(self, source_mac: bytes, source: str) -> bytes:
        packet = frames.udp6(source, self.victim.ip6, 9, 99, b"attack")
        return ethernet(self.to, source_mac, IPV6, packet)

    def advert(self, target: str, address: bytes, source: str | None = None) -> bytes:
        body = frames.advertisement(target, address)
        packet = frames.icmp6(source or self.attacker.ip6, self.victim.ip6, 136, body)
        return ethernet(self.to, self.own, IPV6, packet)


@pytest.fixture
async def street(plumber: Plumber, container: Make) -> AsyncIterator[Street]:
    net = network(1)
    await plumber.add_network(net)
    boxes = [container(endpoint(name, net, n)) for name, n in (("evil", 2), ("v", 3), ("t", 4))]
    for box in boxes:
        await plumber.connect(box.fd, box.endpoints)
    with boxes[0].raw() as sends, boxes[1].raw() as hears:
        yield Street(boxes[0], boxes[1], boxes[2], sends, hears)


async def test_the_honest_ones_arrive(street: Street) -> None:
    own, ip4, ip6 = street.own, street.attacker.ip4, street.attacker.ip6
    good = [
        street.datagram(own, ip4),
        street.datagram6(own, ip6),
        street.datagram6(own, "fe80::42:acff:fe1e:102"),
        ethernet(street.to, own, ARP, frames.arp(1, own, ip4, bytes(6), street.victim.ip4)),
        ethernet(street.to, own, ARP, frames.arp(2, own, ip4, street.to, street.victim.ip4)),
        street.advert(ip6, own),
    ]
    assert street.arrive(*good) == good


async def test_another_mac(street: Street) -> None:
    ip4, ip6, third = street.attacker.ip4, street.attacker.ip6, mac(street.third.endpoints[0].mac)
    bad = [street.datagram(m, ip4) for m in (OTHER_MAC, third, mac(bridge_mac("net1")))]
    bad.append(street.datagram6(OTHER_MAC, ip6))
    # With the addresses of the third one altogether, from the wrong port.
    bad.append(street.datagram(third, street.third.ip4))
    assert street.arrive(*bad) == []


async def test_another_ip(street: Street) -> None:
    ips = (GATEWAY4, street.third.ip4, street.victim.ip4, "172.30.1.77", "8.8.8.8", ANY4)
    bad = [street.datagram(street.own, ip) for ip in ips]
    ips6 = (GATEWAY6, street.third.ip6, "fd30:1::77", "fe80::1", "::", "2001:db8::1")
    bad += [street.datagram6(street.own, ip) for ip in ips6]
    assert street.arrive(*bad) == []


async def test_arp_for_others(street: Street) -> None:
    own, ip4 = street.own, street.attacker.ip4
    liar = [
        frames.arp(operation, sender_mac, ip, street.to, street.victim.ip4)
        for operation in (1, 2)
        for sender_mac, ip in (
            (own, GATEWAY4),
            (own, street.third.ip4),
            (OTHER_MAC, ip4),
            (OTHER_MAC, GATEWAY4),
        )
    ]
    bad = [ethernet(street.to, own, ARP, packet) for packet in liar]
    bad += [ethernet(frames.BROADCAST, own, ARP, packet) for packet in liar]
    bad += [ethernet(street.to, OTHER_MAC, ARP, frames.arp(2, own, ip4, street.to, ip4))]
    assert street.arrive(*bad) == []


async def test_the_victims_neighbours_stay_true(street: Street) -> None:
    """The whole attack, seen from the victim: it goes on talking to the real gateway."""
    own = street.own
    lie = frames.arp(2, own, GATEWAY4, street.to, street.victim.ip4)
    with street.victim.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        await asking.sendto(b"?", (GATEWAY4, 9))
        for _ in range(20):
            street.arrive(ethernet(street.to, own, ARP, lie), street.advert(GATEWAY6, own))
        await asking.sendto(b"?", (GATEWAY4, 9))
    neighbours = street.victim.do(Path("/proc/thread-self/net/arp").read_text)
    (line,) = [line for line in neighbours.splitlines() if line.startswith(f"{GATEWAY4} ")]
    assert bridge_mac("net1") in line


async def test_the_bridge_learns_no_lies(street: Street) -> None:
    """A frame with the victim's MAC as its source does not turn the victim's frames away."""
    for _ in range(5):
        street.arrive(street.datagram(street.to, street.attacker.ip4))
    with street.attacker.raw() as eavesdrops, street.third.raw() as third:
        packet = frames.udp4(street.third.ip4, street.victim.ip4, 9, 99, b"private")
        frame = ethernet(street.to, mac(street.third.endpoints[0].mac), IPV4, packet)
        third.send(frame)
        assert street.arrive() == []
        while select.select([eavesdrops], [], [], 0)[0]:
            assert b"private" not in eavesdrops.recv(2000)


async def test_neighbour_discovery_for_others(street: Street) -> None:
    own = street.own
    bad = [street.advert(target, own) for target in (GATEWAY6, street.third.ip6, "fd30:1::77")]
    bad.append(street.advert(GATEWAY6, own, source="fe80::42:acff:fe1e:102"))
    bad.append(street.advert(GATEWAY6, own, source=GATEWAY6))
    assert street.arrive(*bad) == []


async def test_no_router_no_redirect_no_dhcp(street: Street) -> None:
    own, source = street.own, "fe80::42:acff:fe1e:102"

    def discovery(kind: int, body: bytes) -> bytes:
        return ethernet(street.to, own, IPV6, frames.icmp6(source, street.victim.ip6, kind, body))

    ip4, ip6 = street.attacker.ip4, street.attacker.ip6
    bad = [
        discovery(134, frames.router_advertisement(own)),
        discovery(137, bytes(36)),
        ethernet(street.to, own, IPV4, frames.udp4(ip4, street.victim.ip4, 67, 68, bytes(240))),
        ethernet(street.to, own, IPV6, frames.udp6(ip6, street.victim.ip6, 547, 546, bytes(30))),
    ]
    good = [
        discovery(135, bytes(4) + socket.inet_pton(socket.AF_INET6, street.victim.ip6)),
        ethernet(street.to, own, IPV4, frames.udp4(ip4, street.victim.ip4, 68, 67, bytes(240))),
    ]
    assert street.arrive(*bad, *good) == good


async def test_other_protocols_and_tags(street: Street) -> None:
    own = street.own
    packet = frames.udp4(GATEWAY4, street.victim.ip4, 9, 99, b"attack")
    bad = [
        ethernet(street.to, own, frames.EXPERIMENTAL, packet),
        frames.tagged(street.to, own, IPV4, packet),
        frames.tagged(street.to, own, ARP, frames.arp(2, own, GATEWAY4, street.to, GATEWAY4)),
        ethernet(street.to, own, 0x0026, bytes(38)),  # 802.3, as bridges' own protocol has it
        ethernet(mac("01:80:c2:00:00:00"), own, 0x0026, b"\x42\x42\x03" + bytes(35)),
    ]
    assert street.arrive(*bad) == []


async def test_the_host_hears_no_lies(street: Street) -> None:
    bridge = mac(bridge_mac("net1"))
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as host:
        host.bind((network(1).bridge, 0))
        honest = frames.udp4(street.attacker.ip4, GATEWAY4, 9, 99, b"good")
        lie = frames.udp4(street.victim.ip4, GATEWAY4, 9, 99, b"lie")
        street.sends.send(ethernet(bridge, street.own, IPV4, lie))
        street.sends.send(ethernet(bridge, street.own, IPV4, honest))
        words = b""
        while b"good" not in words:
            assert select.select([host], [], [], PATIENCE)[0]
            words += host.recv(2000)
        assert b"lie" not in words


async def test_the_control_without_our_table_the_lies_arrive(
    street: Street, plumber: Plumber
) -> None:
    """What all these tests send is able to do harm."""
    await plumber._firewall.remove()
    own = street.own
    bad = [
        street.datagram(OTHER_MAC, street.attacker.ip4),
        street.datagram(own, GATEWAY4),
        street.datagram6(own, GATEWAY6),
        street.advert(GATEWAY6, own),
        ethernet(street.to, own, ARP, frames.arp(2, own, GATEWAY4, street.to, GATEWAY4)),
        ethernet(street.to, own, frames.EXPERIMENTAL, bytes(50)),
        ethernet(
            street.to,
            own,
            IPV4,
            frames.udp4(street.attacker.ip4, street.victim.ip4, 67, 68, b"x" * 240),
        ),
    ]
    assert street.arrive(*bad) == bad
