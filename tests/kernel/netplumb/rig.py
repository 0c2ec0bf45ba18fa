"""Network namespaces of a test's own: a "host" that the test runs in, containers, other machines.

The test's thread enters the host's namespace; sockets are opened in the others by threads that
end at once. So nothing of the real host's network is ever touched, and all of it goes when the
descriptors are closed.
"""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from ipaddress import IPv4Address, IPv4Interface, IPv6Interface, ip_interface
from pathlib import Path
from typing import Any, TypeVar

import trio
from pyroute2 import IPRoute
from trio._core._thread_cache import THREAD_CACHE

from netplumb.apply.netlink import ROUTE, Netlink
from netplumb.plan import links, resolv
from netplumb.plan.model import Endpoint, Network, PortBinding
from netplumb.plan.names import Identity, bridge_name, mac_of
from netplumb.plan.operation import Operation
from tests.support.pace import limit

ANY4, ANY6 = str(IPv4Address(0)), "::"

T = TypeVar("T")
StdSocket = socket.socket  # `Space.socket` hides the module in that class

CLONE_NEWNET, CLONE_NEWNS = 0x40000000, 0x20000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
PATIENCE = limit(3.0)
# How long a packet that must not come is waited for; there is always a positive control.
QUIET = 0.3

libc = ctypes.CDLL(None, use_errno=True)


def check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def own_namespace() -> int:
    """A descriptor of this thread's network namespace."""
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def inode(fd: int | None = None) -> int:
    """What tells namespaces apart; this thread's by default."""
    return os.stat("/proc/thread-self/ns/net" if fd is None else fd).st_ino


def in_thread(function: Callable[[], T]) -> T:
    """What `function` returns or raises, called in a thread that ends then."""
    result: list[Any] = []

    def work() -> None:
        try:
            result.append((True, function()))
        except BaseException as error:
            result.append((False, error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    done, value = result[0]
    if not done:
        raise value
    return value  # type: ignore[no-any-return]


@contextmanager
def own_host() -> Iterator[None]:
    """This thread is in a new network namespace, with lo up."""
    home = own_namespace()
    try:
        check(libc.unshare(CLONE_NEWNET))
        try:
            run_operations(links.set_up(1))
            # What the machine itself forwards at this moment is inherited.
            Path("/proc/sys/net/ipv4/ip_forward").write_text("0")
            yield
        finally:
            check(libc.setns(home, CLONE_NEWNET))
            bring_threads_home(home)
    finally:
        os.close(home)


@contextmanager
def own_sysfs(folder: Path) -> Iterator[Path]:
    """The /sys of this thread's network namespace, mounted where nobody else sees it."""

    def mount() -> int:
        check(libc.unshare(CLONE_NEWNS))
        check(libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None))
        check(libc.mount(b"sysfs", os.fsencode(folder), b"sysfs", 0, None))
        return os.open(folder, os.O_PATH | os.O_CLOEXEC)

    fd = in_thread(mount)
    try:
        yield Path(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


def bring_threads_home(home: int) -> None:
    """trio keeps its worker threads for the next test: they must not stay in this one's place."""
    idle = len(THREAD_CACHE._idle_workers)
    together = threading.Barrier(idle + 1)

    def come_home() -> None:
        check(libc.setns(home, CLONE_NEWNET))
        together.wait(PATIENCE)  # so that each thread does it

    for _ in range(idle):
        trio.lowlevel.start_thread_soon(come_home, lambda _: None)
    together.wait(PATIENCE)


def run_operations(*messages: bytes) -> None:
    """rtnetlink requests in this thread's namespace."""
    with Netlink(ROUTE) as route:
        route.execute([Operation("the test's own set-up", message) for message in messages])


class Space:
    """A network namespace that only this descriptor holds."""

    def __init__(self) -> None:
        def make() -> int:
            check(libc.unshare(CLONE_NEWNET))
            return own_namespace()

        self.fd = in_thread(make)

    def close(self) -> None:
        """Let it go."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def do(self, function: Callable[[], T]) -> T:
        """Call `function` inside."""

        def inside() -> T:
            check(libc.setns(self.fd, CLONE_NEWNET))
            return function()

        return in_thread(inside)

    def socket(self, family: int, kind: int, protocol: int = 0) -> trio.socket.SocketType:
        """A socket of this namespace."""
        made = self.do(lambda: socket.socket(family, kind, protocol))
        return trio.socket.from_stdlib_socket(made)

    def raw(self, interface: str = "eth0") -> StdSocket:
        """A packet socket that sends and gets whole frames."""

        def make() -> socket.socket:
            made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            made.bind((interface, 0))
            return made

        return self.do(make)

    def links(self) -> list[str]:
        """The names of its interfaces."""
        return self.do(lambda: [name for _, name in socket.if_nameindex()])

    def run(self, *command: str, input_: str | None = None) -> subprocess.CompletedProcess[str]:
        """A command inside."""
        return self.do(
            lambda: subprocess.run(
                command, input=input_, capture_output=True, text=True, timeout=30
            )
        )

    def run_with_resolver(self, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
        """A command inside whose /etc/resolv.conf has the name server 127.0.0.11."""
        file = folder / "resolv.conf"
        file.write_text(resolv.render("127.0.0.11", options=["timeout:2", "attempts:2"]))

        def run() -> subprocess.CompletedProcess[str]:
            check(libc.unshare(CLONE_NEWNS))
            check(libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None))
            check(libc.mount(os.fsencode(file), b"/etc/resolv.conf", None, MS_BIND, None))
            return subprocess.run(command, capture_output=True, text=True, timeout=30)

        return self.do(run)

    def routing(self, *changes: Callable[[IPRoute], object]) -> None:
        """Changes of its routes and routing rules, by pyroute2."""

        def change() -> None:
            with IPRoute() as route:
                for one in changes:
                    one(route)

        self.do(change)

    def default_route(self, *gateways: str) -> None:
        """Routes by these out of eth0."""
        index = self.do(lambda: socket.if_nametoindex("eth0"))
        made = [links.default_route(interface(gateway).ip, index) for gateway in gateways]
        self.do(lambda: run_operations(*made))

    def write(self, path: str, value: str) -> None:
        """A value below /proc/sys/net."""

        def write() -> None:
            with open(f"/proc/sys/net/{path}", "w") as file:
                file.write(value)

        self.do(write)


def make_veth(name: str, peer: str, namespace: int) -> None:
    """A plain pair: `name` here, `peer` in the namespace."""
    from netplumb.plan.netlink import NLM_F_ACK, NLM_F_CREATE, attribute, message, nested, text, u32

    header = bytes(16)
    inner = header + text(links.IFLA_IFNAME, peer) + u32(links.IFLA_NET_NS_FD, namespace)
    data = nested(links.IFLA_INFO_DATA, attribute(links.VETH_INFO_PEER, inner))
    info = nested(links.IFLA_LINKINFO, text(links.IFLA_INFO_KIND, "veth"), data)
    made = message(
        links.RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE, header, text(links.IFLA_IFNAME, name), info
    )
    run_operations(made)


def configure(name: str, *addresses: str) -> None:
    """Addresses for an interface of this namespace, and up."""
    index = socket.if_nametoindex(name)
    run_operations(
        *(links.add_address(index, interface(address)) for address in addresses),
        links.set_up(index),
    )


def interface(text: str) -> IPv4Interface | IPv6Interface:
    """An address with a length."""
    return ip_interface(text)


class Outside(Space):
    """Another machine on the host's uplink `up0`: 10.9.0.2 and fd99::2; the host has …1."""

    HOST4, HOST6 = "10.9.0.1", "fd99::1"
    OWN4, OWN6 = "10.9.0.2", "fd99::2"

    def __init__(self) -> None:
        super().__init__()
        make_veth("up0", "eth0", self.fd)
        configure("up0", f"{self.HOST4}/24", f"{self.HOST6}/64")
        self.do(lambda: configure("eth0", f"{self.OWN4}/24", f"{self.OWN6}/64"))
        self.do(lambda: run_operations(links.set_up(1)))

    def route_to_host(self) -> None:
        """Send everything to the host."""
        self.default_route(self.HOST4, self.HOST6)


class Container(Space):
    """A namespace with endpoints."""

    def __init__(self, *endpoints: Endpoint) -> None:
        super().__init__()
        self.endpoints = endpoints

    @property
    def ip4(self) -> str:
        """Its first IPv4 address."""
        return str(self.endpoints[0].address(4))

    @property
    def ip6(self) -> str:
        """Its first IPv6 address."""
        return str(self.endpoints[0].address(6))


def network(number: int = 1, **options: Any) -> Network:
    """Network "netN" with 172.30.N.0/24 and fd30:N::/64."""
    gateways = [f"172.30.{number}.1/24"]
    if options.pop("ipv6", True):
        gateways.append(f"fd30:{number}::1/64")
    name = f"net{number}"
    return Network(
        id=name,
        name=name,
        bridge=bridge_name(name),
        gateways=tuple(interface(gateway) for gateway in gateways),
        **options,
    )


def endpoint(
    container: str,
    net: Network,
    number: int,
    *,
    identity: Identity | None = None,
    life: int = 0,
    **options: Any,
) -> Endpoint:
    """The endpoint with that number (from 2) in a network's subnets."""
    addresses = tuple(
        interface(f"{gateway.network[number]}/{gateway.network.prefixlen}")
        for gateway in net.gateways
    )
    made: dict[str, Any] = {
        "port": (identity or Identity()).port_name(container, net.id, life),
        "mac": mac_of(addresses[0].ip),
        "names": (container,),
        "addresses": addresses,
    }
    return Endpoint(container=container, network=net.id, **(made | options))


def publish(
    host: str, host_port: int, box: Container, port: int, protocol: str = "tcp"
) -> PortBinding:
    """Port `port` of the container, by the IP version of `host` if it has it."""
    host_ip = interface(host).ip
    end = box.endpoints[0]
    inside = end.address(host_ip.version) or end.addresses[0].ip
    return PortBinding(
        container=end.container,
        host_ip=host_ip,
        host_port=host_port,
        container_ip=inside,
        container_port=port,
        protocol=protocol,
    )


# --- talking ------------------------------------------------------------------------------------


async def serve_tcp(
    space: Space | None, port: int, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Tell everybody who connects to the port, by either IP version, who they are."""
    with open_socket(space, socket.AF_INET6, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        await listener.bind(("::", port))
        listener.listen(64)
        task_status.started()
        while True:
            connection, peer = await listener.accept()
            with connection:
                await connection.send(_plain(peer[0]))


async def serve_udp(
    space: Space | None, port: int, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Tell everybody who sends something to the port who they are, from where they sent it to."""
    with open_socket(space, socket.AF_INET6, socket.SOCK_DGRAM) as server:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        await server.bind(("::", port))
        task_status.started()
        while True:
            _, ancillary, _, peer = await server.recvmsg(2000, 64)
            assert isinstance(peer, tuple)
            await server.sendmsg([_plain(peer[0])], ancillary, 0, peer)


def _plain(address: str) -> bytes:
    return address.removeprefix("::ffff:").encode()


def open_socket(space: Space | None, family: int, kind: int) -> trio.socket.SocketType:
    """A socket in a namespace; None is the host's."""
    if space is None:
        return trio.socket.socket(family, kind)
    return space.socket(family, kind)


async def ask(
    client: Space | None, address: str, port: int, kind: str = "tcp", *, within: float = PATIENCE
) -> str | None:
    """Whom the server at that address saw; None if none answers in time."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with trio.move_on_after(within):
        if kind == "tcp":
            with open_socket(client, family, socket.SOCK_STREAM) as connection:
                try:
                    await connection.connect((address, port))
                    return (await connection.recv(100)).decode() or None
                except OSError:
                    return None
        return await _ask_udp(client, family, address, port)
    return None


async def _ask_udp(client: Space | None, family: int, address: str, port: int) -> str | None:
    with open_socket(client, family, socket.SOCK_DGRAM) as asking:
        try:  # connected: an answer from another address is none
            await asking.connect((address, port))
        except OSError:
            return None
        while True:  # the first one may be lost while a neighbour is looked for
            with trio.move_on_after(0.5), suppress(OSError):
                await asking.send(b"?")
                return (await asking.recv(100)).decode()
            await trio.sleep(0.01)


async def echo_from(nursery: trio.Nursery, *spaces: Space | None, port: int = 80) -> None:
    """Serve the port by TCP and UDP in all of them."""
    for space in spaces:
        await nursery.start(serve_tcp, space, port)
        await nursery.start(serve_udp, space, port)
