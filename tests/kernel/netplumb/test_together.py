"""Everything as docs/networking.md puts it together, then with the next process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from ipaddress import ip_address
from pathlib import Path

import trio

from netplumb.apply.nameserver import NameServer, open_nameserver
from netplumb.apply.plumber import Plumber, open_plumber
from netplumb.apply.ports import Ports, open_ports
from netplumb.apply.settings import Settings
from netplumb.plan.ipam import DEFAULT_POOLS, Ledger, choose_subnet
from netplumb.plan.model import Desired, Endpoint, Network, PortBinding
from netplumb.plan.names import Identity, bridge_name, mac_of
from netplumb.plan.ports import PortRange
from tests.kernel.netplumb.rig import ANY4, Container, Outside, ask, echo_from

Make = Callable[..., Container]
IDENTITY = Identity()
PORT = 8080
ANYWHERE = ip_address(ANY4)


async def start(
    plumber: Plumber, names: NameServer, box: Container, network: Network, end: Endpoint
) -> None:
    (made,) = await plumber.connect(box.fd, [end])
    box.endpoints = (made,)
    names.add(made)
    await names.attach(end.container, box.fd, [network.id])


async def publish(plumber: Plumber, ports: Ports, box: Container) -> PortBinding:
    end = box.endpoints[0]
    port = await ports.reserve(end.container, [ANYWHERE], PortRange(PORT, PORT))
    binding = PortBinding(
        container=end.container,
        host_ip=ANYWHERE,
        host_port=port,
        container_ip=end.addresses[0].ip,
        container_port=80,
    )
    await plumber.publish([binding])
    ports.serve(binding)
    return binding


async def all_ways_are_open(
    web: Container, client: Container, outside: Outside, folder: Path
) -> None:
    assert await ask(outside, outside.HOST4, PORT) == outside.OWN4
    assert await ask(None, "127.0.0.1", PORT) == "172.17.0.1"
    assert await ask(client, outside.HOST4, PORT) == "172.17.0.1"
    program = "import socket; print(socket.create_connection(('web', 80), 5).recv(100).decode())"
    run = partial(client.run_with_resolver, folder, sys.executable, "-c", program)
    done = await trio.to_thread.run_sync(run)
    assert done.stdout.strip() == client.ip4, done.stderr


async def test_the_documented_use(container: Make, outside: Outside, tmp_path: Path) -> None:
    web, client = container(), container()
    async with (
        open_plumber() as plumber,
        open_ports() as ports,
        open_nameserver() as names,
        trio.open_nursery() as nursery,
    ):
        await plumber.restore(Desired())
        book = Ledger.make(choose_subnet(DEFAULT_POOLS, await plumber.host_subnets()))
        net = Network(
            id="n1", name="n1", bridge=bridge_name("n1"), gateways=(book.gateway_interface,)
        )
        await plumber.add_network(net)
        names.set_network(net)
        for name, box in (("web", web), ("client", client)):
            book, ip = book.allocate()
            end = Endpoint(
                container=name,
                network=net.id,
                port=IDENTITY.port_name(name, net.id),
                addresses=(book.interface(ip),),
                mac=mac_of(ip),
                names=(name,),
            )
            await start(plumber, names, box, net, end)
        await echo_from(nursery, web)
        await publish(plumber, ports, web)
        await all_ways_are_open(web, client, outside, tmp_path)
        wanted, forwarding = plumber.desired, plumber.forwarding
        nursery.cancel_scope.cancel()

    async with (
        open_plumber(Settings(forwarding=forwarding)) as plumber,
        open_ports() as ports,
        open_nameserver() as names,
        trio.open_nursery() as nursery,
    ):
        restored = await plumber.restore(wanted)
        assert (restored.missing, restored.conflicts) == ((), ())
        names.set_network(net, wanted.endpoints)
        for box in (web, client):
            await names.attach(box.endpoints[0].container, box.fd, [net.id])
        await echo_from(nursery, web)
        await publish(plumber, ports, web)
        await all_ways_are_open(web, client, outside, tmp_path)
        for box in (web, client):
            name = box.endpoints[0].container
            names.detach(name)
            names.remove(box.endpoints[0])
            ports.release(name)
            await plumber.forget(name)
        await plumber.remove_network(net.id)
        assert plumber.desired == Desired()
        nursery.cancel_scope.cancel()
