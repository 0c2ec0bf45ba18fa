"""TCP throughput between containers and their host, beside a bridge and pairs made by hand."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from contextlib import closing
from ipaddress import IPv4Address
from pathlib import Path

from pyroute2 import IPRoute

from netplumb.plan import links
from tests.bench.figures import Figure, median
from tests.kernel.netplumb.rig import Space, run_operations

AMOUNT = "1G"
GATEWAY = "10.77.0.1"
BRIDGE_NF = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")  # of the thread's namespace

Way = tuple[Space, Space, str]  # from whom, to whom, at which address


class Plain(Space):
    """A host with a bridge and two namespaces on it, and nothing else: no firewall, no marks."""

    def __init__(self) -> None:
        super().__init__()
        self.do(lambda: run_operations(links.set_up(1)))
        self.routing(self._make_bridge)
        self.boxes = [Space(), Space()]
        for number, box in enumerate(self.boxes):
            self._attach(box, number)

    def address(self, number: int) -> str:
        """Of one of its two boxes."""
        return str(IPv4Address(GATEWAY) + 1 + number)

    def close(self) -> None:
        """Let all of it go."""
        for box in self.boxes:
            box.close()
        super().close()

    @staticmethod
    def _make_bridge(route: IPRoute) -> None:
        route.link("add", ifname="br0", kind="bridge")
        (bridge,) = route.link_lookup(ifname="br0")
        route.addr("add", index=bridge, address=GATEWAY, prefixlen=24)
        route.link("set", index=bridge, state="up")

    def _attach(self, box: Space, number: int) -> None:
        def outer(route: IPRoute) -> None:
            peer = {"ifname": "eth0", "net_ns_fd": box.fd}
            route.link("add", ifname=f"v{number}", kind="veth", peer=peer)
            (index,) = route.link_lookup(ifname=f"v{number}")
            (bridge,) = route.link_lookup(ifname="br0")
            route.link("set", index=index, master=bridge, state="up")

        def inner(route: IPRoute) -> None:
            (eth0,) = route.link_lookup(ifname="eth0")
            route.addr("add", index=eth0, address=self.address(number), prefixlen=24)
            route.link("set", index=eth0, state="up")
            route.route("add", dst="default", gateway=GATEWAY)

        self.routing(outer)
        box.routing(inner)


def compare(host: Space, boxes: Sequence[tuple[Space, str]], rounds: int) -> list[Figure]:
    """`boxes` are two containers' namespaces on `host`, with their addresses.

    Where bridge-nf-call-iptables is on, as the kernel has it by itself, packets between
    containers also pass the firewall's rules for forwarding: measured both ways.
    """
    with closing(Plain()) as plain:
        (one, first), (two, second) = boxes
        out = (host, one, first), (plain, plain.boxes[0], plain.address(0))
        across = (one, two, second), (plain.boxes[0], plain.boxes[1], plain.address(1))
        figures = _in_turns("host → container", out, rounds)
        if host.do(BRIDGE_NF.exists):
            figures += _in_turns("container → container, bridge-nf on", across, rounds, least=None)
            host.do(lambda: BRIDGE_NF.write_text("0"))
        return [*figures, *_in_turns("container → container", across, rounds)]


def _in_turns(
    name: str, pair: tuple[Way, Way], rounds: int, *, least: float | None = 0.95
) -> list[Figure]:
    for way in pair:  # bridges and caches get to know each other
        rate(way)
    measured: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        for index in (0, 1) if number % 2 else (1, 0):
            measured[index].append(rate(pair[index]))
    ratio = median(ours / plain for ours, plain in zip(*measured, strict=True))
    rows: list[tuple[str, float, str, float | None]] = [
        (f"{name}, p50", median(measured[0]), "MB/s", None),
        (f"{name}, by hand, p50", median(measured[1]), "MB/s", None),
        (f"{name}, p50 of the pairs", ratio, "×", least),
    ]
    return [
        Figure(part="netrate", name=text, value=value, unit=unit, least=limit)
        for text, value, unit, limit in rows
    ]


def rate(way: Way) -> float:
    """Megabytes a second by one connection of iperf3's, as the receiver counts them."""
    sender, receiver, address = way
    serve = ["iperf3", "--server", "--one-off", "--bind", address, "--forceflush"]
    send = ["iperf3", "--client", address, "--bytes", AMOUNT, "--json"]
    with receiver.do(lambda: subprocess.Popen(serve, stdout=subprocess.PIPE, text=True)) as server:
        try:
            assert server.stdout is not None
            while "listening" not in (line := server.stdout.readline()):
                assert line, "iperf3 --server has ended"
            sent = sender.do(lambda: subprocess.run(send, check=True, stdout=subprocess.PIPE))
        except BaseException:
            server.kill()
            raise
    bits: float = json.loads(sent.stdout)["end"]["sum_received"]["bits_per_second"]
    return bits / 8e6
