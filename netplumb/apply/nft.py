"""Transactions of nftables, for a KernelThread."""

from __future__ import annotations

import errno
from collections.abc import Iterable

from netplumb.apply.netlink import Netlink
from netplumb.errors import Refused
from netplumb.plan.nft import objects
from netplumb.plan.operation import Operation


def commit(socket: Netlink, operations: Iterable[Operation]) -> None:
    """All of it or nothing; `Refused` names the operation that failed."""
    wanted = list(operations)
    if not wanted:
        return
    first = socket.send(objects.batch(wanted))
    done = False
    failure: Refused | None = None
    for answer in socket.answers():
        place = answer.sequence - first - 1  # behind the batch's begin
        if place not in range(-1, len(wanted)):
            continue  # to an earlier request
        done = done or place == len(wanted) - 1
        if answer.errno and failure is None:
            what = wanted[place].describe() if place >= 0 else "change the firewall"
            failure = Refused(what, answer.errno, answer.text)
    if failure is not None:
        raise failure
    if not done:
        raise Refused("change the firewall", errno.ENOBUFS, "the kernel gave no answer")
