"""The process that does the plumbing is killed at random; the next one leaves nothing behind."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import trio

from netplumb.apply.plumber import open_plumber
from netplumb.errors import Exhausted
from netplumb.plan.ipam import Ledger
from netplumb.plan.model import Desired, Network
from netplumb.plan.names import mac_of
from netplumb.plan.observed import Observed
from tests.kernel.netplumb.rig import (
    ANY4,
    PATIENCE,
    Container,
    ask,
    echo_from,
    endpoint,
    interface,
    network,
    publish,
)
from tests.kernel.netplumb.test_firewall import elements_of, tables
from tests.kernel.netplumb.test_wiring import look, ours
from tests.support.pace import IN_GUEST

Make = Callable[..., Container]
KILLS = 3 if IN_GUEST else 12

# Networks, containers and ports come and go, in this process's namespace, until it is killed.
# argv: a seed, and whether the tables have an owner.
CHURN = """
import random, sys, trio
from netplumb.apply.plumber import open_plumber
from netplumb.apply.settings import Settings
from tests.kernel.netplumb.rig import ANY4, Container, endpoint, network, publish

async def main():
    chance = random.Random(int(sys.argv[1]))
    async with open_plumber(Settings(own_tables=sys.argv[2] == "own")) as plumber:
        running, life = {}, 0
        nets = [network(number, internal=number == 3) for number in (1, 2, 3)]
        for net in nets:
            await plumber.add_network(net)
        print("ready", flush=True)
        while True:
            life += 1
            number = chance.randrange(20)
            name = f"c{number}"
            net = chance.choice(nets)
            if name in running:
                box = running.pop(name)
                await plumber.forget(name)
                box.close()
            else:
                box = running[name] = Container(endpoint(name, net, number + 2, life=life))
                await plumber.connect(box.fd, box.endpoints)
                if not net.internal:
                    await plumber.publish([publish(ANY4, 8000 + number, box, 80)])
            if not running:
                await plumber.remove_network("net1")
                await plumber.add_network(nets[0])

trio.run(main)
"""


@contextmanager
def churning(seed: int, mode: str) -> Iterator[subprocess.Popen[str]]:
    """Such a process, at work."""
    command = [sys.executable, "-c", CHURN, str(seed), mode]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("mode", ["own", "unowned"])
async def test_random_kills_leave_nothing(container: Make, mode: str) -> None:
    before = look()
    chance = random.Random(7)
    for seed in range(KILLS):
        with churning(seed, mode) as process:
            await trio.sleep(chance.uniform(0, 0.15))
            assert process.poll() is None, "it died by itself"
            process.send_signal(signal.SIGKILL)
        if seed % 3 != 2:
            continue  # several dead ones after each other
        async with open_plumber() as plumber:
            # The next process wants one of the networks, and starts a container in it.
            net = network(1)
            restored = await plumber.restore(Desired(networks=(net,)))
            assert restored.conflicts == ()
            box = container(endpoint("c1", net, 3, life=10_000 + seed))
            await plumber.connect(box.fd, box.endpoints)
            assert ours() == sorted([net.bridge, box.endpoints[0].port])
            assert [element["concat"][1] for element in elements_of("members4")] == ["172.30.1.3"]
            assert elements_of("ports4") == []
            async with trio.open_nursery() as nursery:
                await echo_from(nursery, box)
                assert await ask(None, box.ip4, 80) == "172.30.1.1"
                nursery.cancel_scope.cancel()
            box.close()
            await plumber.restore(Desired())
    await nothing_but(before)


async def nothing_but(before: Observed) -> None:
    with trio.fail_after(PATIENCE):
        while look() != before:
            await trio.sleep(0.02)
    assert tables() == set()


async def test_a_container_that_lives_on_is_taken_over(container: Make) -> None:
    """Its pair is found by its name, whatever the killed process had time to say."""
    net = network(1)
    program = CHURN.replace('print("ready"', 'await survive(plumber); print("ready"')
    program = (
        "import os\n"
        "async def survive(plumber):\n"
        "    fd = os.open('/proc/%d/fd/%d' % (os.getppid(), int(sys.argv[3])), os.O_RDONLY)\n"
        "    end = endpoint('survivor', network(1), 99)\n"
        "    await plumber.connect(fd, [end])\n" + program
    )
    end = endpoint("survivor", net, 99)
    box = container(end)
    command = [sys.executable, "-c", program, "1", "own", str(box.fd)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        await trio.sleep(0.1)
        process.kill()
    async with open_plumber() as plumber, trio.open_nursery() as nursery:
        restored = await plumber.restore(Desired(networks=(net,), endpoints=(end,)))
        assert restored.missing == ()
        assert ours() == sorted([net.bridge, end.port])
        await echo_from(nursery, box)
        await plumber.publish([publish(ANY4, 8080, box, 80)])
        assert await ask(None, box.ip4, 80) == "172.30.1.1"
        nursery.cancel_scope.cancel()


async def test_a_subnet_runs_out_and_is_usable_again(container: Make) -> None:
    """13 of 13 addresses of a /28, then a clean error; one given back is enough."""
    gateway = interface("172.30.1.1/28")
    net = Network(id="n", name="n", bridge="ol-n", gateways=(gateway,))
    book = Ledger.make(gateway.network)
    boxes: dict[str, Container] = {}

    async with open_plumber() as plumber:
        await plumber.add_network(net)

        async def start(name: str) -> None:
            nonlocal book
            book, address = book.allocate()
            own = (book.interface(address),)
            box = Container(endpoint(name, net, 2, addresses=own, mac=mac_of(address)))
            boxes[name] = box
            await plumber.connect(box.fd, box.endpoints)

        for number in range(13):
            await start(f"c{number}")
        with pytest.raises(Exhausted, match=r"no available IPv4 addresses on 172\.30\.1\.0/28"):
            await start("one-too-many")
        stored = json.dumps(book.to_json())
        await plumber.forget("c5")
        book = Ledger.from_json(json.loads(stored)).release(
            boxes["c5"].endpoints[0].addresses[0].ip
        )
        boxes.pop("c5").close()
        await start("next")
        assert boxes["next"].ip4 == "172.30.1.7"
        async with trio.open_nursery() as nursery:
            await echo_from(nursery, boxes["next"])
            assert await ask(boxes["c0"], "172.30.1.7", 80) == boxes["c0"].ip4
            nursery.cancel_scope.cancel()
        for box in boxes.values():
            box.close()
