"""What this kernel can do, tried in a network namespace of its own: for a KernelThread."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator

from netplumb.apply.firewall import Firewall
from netplumb.apply.namespace import fresh
from netplumb.apply.netlink import ROUTE, Netlink
from netplumb.errors import Refused, Unsupported
from netplumb.plan import links, qdisc
from netplumb.plan.model import Limits
from netplumb.plan.operation import Operation

_LOOPBACK = 1
_MAC = bytes((2, 0, 0, 0, 0, 1))


def try_network(firewall: Firewall) -> None:
    """Unsupported where the kernel lacks bridges, pairs, or what the firewall needs.

    `firewall` must have been used for nothing yet.
    """
    with fresh():
        try:
            with Netlink(ROUTE) as route:
                for what, wanted in _links():
                    _try_link(route, what, wanted)
            firewall.try_tables()
        except OSError as error:
            raise Unsupported(f"this kernel has no network of its own: {error.strerror}") from None


def _links() -> Iterator[tuple[str, bytes]]:
    yield "BRIDGE", links.make_bridge("bridge", group=0, mtu=1500, mac=_MAC)
    bridge = socket.if_nametoindex("bridge")
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield (
            "VETH",
            links.make_pair(
                port="port",
                bridge=bridge,
                group=0,
                mtu=1500,
                interface="inside",
                mac=_MAC,
                namespace=own,
            ),
        )
    finally:
        os.close(own)


def _try_link(route: Netlink, option: str, wanted: bytes) -> None:
    try:
        route.execute([Operation("make a link", wanted)])
    except Refused as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        raise Unsupported(f"this kernel lacks CONFIG_{option} (module {option.lower()})") from error


def try_limits(limits: Limits) -> None:
    """Unsupported where the kernel lacks what the limits need."""
    wanted = []
    if limits.down or limits.up:
        rate = limits.down or limits.up
        wanted.append(("limit bandwidth", "TBF", qdisc.tbf(_LOOPBACK, rate)))
    if limits.impairs:
        impairing = qdisc.netem(_LOOPBACK, limits, below_tbf=False)
        wanted.append(("delay or lose packets", "NETEM", impairing))
    with fresh(), Netlink(ROUTE) as route:
        for what, option, message in wanted:
            try:
                route.execute([Operation(what, message)])
            except Refused as error:
                raise lacking(error, option) from error


def lacking(error: Refused, option: str) -> Refused | Unsupported:
    """The error for a queueing discipline, which is ENOENT if the kernel does not know it."""
    if error.errno != errno.ENOENT:
        return error
    return Unsupported(
        f"cannot {error.operation}: this kernel lacks CONFIG_NET_SCH_{option} "
        f"(module sch_{option.lower()})"
    )
