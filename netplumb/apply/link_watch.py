"""Noticing that somebody removed a bridge, an address of it or a routing rule of ours.

Only removals wake us: a filter in the kernel keeps back the many messages about new links that
every start of a container causes.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator

import trio

from netplumb.apply import socket_filter
from netplumb.apply.netlink import ROUTE, Netlink
from netplumb.apply.thread import KernelThread
from netplumb.errors import Malformed
from netplumb.plan import links, observed
from netplumb.plan.netlink import Message, split

_GROUPS = (1, 5, 8, 9, 19)  # RTNLGRP_LINK, _IPV4_IFADDR, _IPV4_RULE, _IPV6_IFADDR, _IPV6_RULE
_REMOVALS = (links.RTM_DELLINK, links.RTM_DELADDR, links.RTM_DELRULE)
_READ = 1 << 16


async def watch_links(
    thread: KernelThread, is_ours: Callable[[str], bool], disturbed: Callable[[], None]
) -> None:
    """Call `disturbed` when something of an interface went for which `is_ours`. Never ends."""
    watching = await thread.run(_open)
    try:
        while True:
            await trio.lowlevel.wait_readable(watching.socket)
            if any(name is None or is_ours(name) for name in _removed(watching.socket)):
                disturbed()
    finally:
        watching.close()


def _open() -> Netlink:
    watching = Netlink(ROUTE, _GROUPS)
    socket_filter.only_kinds(watching.socket, _REMOVALS)
    return watching


def _removed(watching: socket.socket) -> Iterator[str | None]:
    """The interfaces that something was removed of; None where that is not known."""
    try:
        data = watching.recv(_READ, socket.MSG_DONTWAIT)
        for message in split(data):
            yield _interface(message)
    except BlockingIOError:
        return
    except OSError as error:
        if error.errno != errno.ENOBUFS:
            raise
        yield None
    except Malformed:
        yield None


def _interface(message: Message) -> str | None:
    if message.kind == links.RTM_DELLINK:
        return observed.read_link_name(message)
    if message.kind == links.RTM_DELADDR:
        address = observed.read_address(message)
        return _name(address.index) if address is not None else ""
    return observed.guarded(message)


def _name(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:
        return ""  # the whole link went, which is another message
