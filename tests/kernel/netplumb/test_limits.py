"""Traffic limits, where the kernel has them; a clear error where it has not."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest
import trio
from msgspec.structs import replace
from pyroute2 import IPRoute

from netplumb.apply.plumber import Plumber
from netplumb.errors import Invalid, Unsupported
from netplumb.plan.model import Limits
from tests.kernel.netplumb.rig import (
    ANY4,
    PATIENCE,
    Container,
    Space,
    ask,
    echo_from,
    endpoint,
    network,
)

Make = Callable[..., Container]
SIZE = 512 << 10
MEGABIT = 1_000_000
DELAY = Limits(delay_ms=80)


def disciplines(space: Space | None, interface: str) -> list[str]:
    """The kinds that an interface has."""

    def look() -> list[str]:
        with IPRoute() as route:
            index = socket.if_nametoindex(interface)
            return [q.get_attr("TCA_KIND") for q in route.get_qdiscs(index=index)]

    return look() if space is None else space.do(look)


async def seconds_for(source: Space | None, target: Container) -> float:
    """How long SIZE octets take."""

    async def receive(listener: trio.socket.SocketType) -> None:
        connection, _ = await listener.accept()
        with connection:
            got = 0
            while got < SIZE:
                got += len(await connection.recv(1 << 16))
            await connection.send(b"x")

    family, kind = socket.AF_INET, socket.SOCK_STREAM
    with target.socket(family, kind) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        await listener.bind((ANY4, 81))
        listener.listen()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive, listener)
            sending = trio.socket.socket() if source is None else source.socket(family, kind)
            with sending:
                await sending.connect((target.ip4, 81))
                begun = trio.current_time()
                await trio.SocketStream(sending).send_all(bytes(SIZE))
                await sending.recv(1)
                return trio.current_time() - begun
    raise AssertionError("not reached")


async def pair(plumber: Plumber, container: Make, limits: Limits) -> tuple[Container, Container]:
    """One with the limits, one without."""
    net = network(1)
    await plumber.add_network(net)
    slow = container(endpoint("slow", net, 2, limits=limits))
    free = container(endpoint("free", net, 3))
    for box in (slow, free):
        await plumber.connect(box.fd, box.endpoints)
    return slow, free


async def test_each_direction_has_its_rate(plumber: Plumber, container: Make) -> None:
    limits = Limits(down=8 * MEGABIT, up=16 * MEGABIT)
    await plumber.check_limits(limits)
    slow, free = await pair(plumber, container, limits)
    assert disciplines(None, slow.endpoints[0].port) == ["tbf"]
    assert disciplines(slow, "eth0") == ["tbf"]
    # 4 Mbit, of which a burst of at least 64 KiB goes at once.
    down, up = await seconds_for(free, slow), await seconds_for(slow, free)
    assert 0.35 < down < 0.35 + PATIENCE
    assert 0.17 < up < 0.17 + PATIENCE
    assert await seconds_for(None, free) < down, "the other one is not limited"


async def test_a_rate_beyond_4_gigabytes_a_second(plumber: Plumber, container: Make) -> None:
    slow, free = await pair(plumber, container, Limits(down=80_000 * MEGABIT))
    assert await seconds_for(free, slow) < PATIENCE


async def lacking(plumber: Plumber) -> str:
    """Why this kernel cannot delay packets; "" if it can."""
    try:
        await plumber.check_limits(DELAY)
    except Unsupported as error:
        return error.message
    return ""


async def test_a_delay(plumber: Plumber, container: Make) -> None:
    """Where the kernel has netem; else the error says what is lacking, and nothing is left."""
    lack = await lacking(plumber)
    if lack:
        assert lack == (
            "cannot delay or lose packets: this kernel lacks CONFIG_NET_SCH_NETEM "
            "(module sch_netem)"
        )
        with pytest.raises(Unsupported, match="lacks CONFIG_NET_SCH_NETEM"):
            await pair(plumber, container, DELAY)
        assert plumber.desired.endpoints == ()
        with trio.fail_after(PATIENCE):
            while {name for _, name in socket.if_nameindex()} != {"lo", network(1).bridge}:
                await trio.sleep(0.01)
        return
    slow, free = await pair(plumber, container, replace(DELAY, down=100 * MEGABIT))
    async with trio.open_nursery() as nursery:
        await echo_from(nursery, slow)
        await ask(free, slow.ip4, 80, "udp")
        begun = trio.current_time()
        assert await ask(free, slow.ip4, 80, "udp") == free.ip4
        assert trio.current_time() - begun > 0.08
        nursery.cancel_scope.cancel()


async def test_limits_of_a_running_container_change(plumber: Plumber, container: Make) -> None:
    slow, free = await pair(plumber, container, Limits(up=16 * MEGABIT))
    port = slow.endpoints[0].port
    for rate in (8, 16):
        limits = Limits(down=rate * MEGABIT, up=16 * MEGABIT)
        changed = await plumber.limit("slow", "net1", limits)
        assert changed.limits == limits
        assert changed in plumber.desired.endpoints
        assert disciplines(None, port) == ["tbf"]
    assert await seconds_for(free, slow) > 0.17
    for _ in range(2):
        await plumber.limit("slow", "net1", None)
        assert "tbf" not in disciplines(None, port)
    with pytest.raises(Invalid, match="nobody is not in network net1"):
        await plumber.limit("nobody", "net1", None)


async def test_limits_that_cannot_be_leave_the_old_ones(plumber: Plumber, container: Make) -> None:
    old = Limits(down=8 * MEGABIT)
    slow, _ = await pair(plumber, container, old)
    with pytest.raises(Invalid, match="too small"):
        await plumber.limit("slow", "net1", Limits(down=5))
    if await lacking(plumber):
        with pytest.raises(Unsupported, match="lacks CONFIG_NET_SCH_NETEM"):
            await plumber.limit("slow", "net1", replace(DELAY, down=8 * MEGABIT))
    assert disciplines(None, slow.endpoints[0].port) == ["tbf"]
    assert plumber.desired.endpoints[0].limits == old


async def test_limits_that_make_no_sense(plumber: Plumber) -> None:
    with pytest.raises(Invalid, match="limit of 5 bit/s is too small"):
        await plumber.check_limits(Limits(down=5))
    with pytest.raises(Invalid, match="percentage"):
        await plumber.check_limits(Limits(loss_percent=200))
