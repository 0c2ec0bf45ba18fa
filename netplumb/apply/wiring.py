"""Links of this network namespace and of containers': for a KernelThread."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import socket
import struct
from collections.abc import Sequence

import msgspec

from netplumb.apply import sysctl
from netplumb.apply.namespace import entered
from netplumb.apply.netlink import ROUTE, Netlink
from netplumb.apply.trials import lacking
from netplumb.errors import Refused, Taken, Unsupported
from netplumb.plan import links, observed, pair, qdisc, reconcile
from netplumb.plan.model import Desired, Endpoint, Network, Subnet
from netplumb.plan.names import Identity
from netplumb.plan.observed import Guard, Observed
from netplumb.plan.operation import Operation
from netplumb.plan.reconcile import Aim, Plan

_SIOCETHTOOL, _ETHTOOL_GLINK = 0x8946, 0xA  # linux/sockios.h, linux/ethtool.h
_TOO_MANY = errno.EXFULL  # br_add_if(): a bridge has 1023 ports


class Pair(msgspec.Struct, frozen=True):
    """An endpoint and its network."""

    endpoint: Endpoint
    network: Network


class NameTaken(Refused):
    """An interface on the host has the name already."""


class Wiring:
    """A socket in this namespace, and what is done by it."""

    def __init__(self, aim: Aim) -> None:
        self.aim = aim
        self.guardable: frozenset[int] = frozenset()
        self._socket: Netlink | None = None

    @property
    def identity(self) -> Identity:
        """Whose the links are."""
        return self.aim.identity

    def _route(self) -> Netlink:
        if self._socket is None:
            self._socket = Netlink(ROUTE)
        return self._socket

    def close(self) -> None:
        """Close the socket; it opens again when it is needed."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    # --- one container ------------------------------------------------------------------------

    def connect(self, namespace: int, pairs: Sequence[Pair], first: bool) -> None:
        """Make the pairs, with their peers in the namespace (an fd), and all of it usable.

        Nothing is left of them after an error: `NameTaken` where the host has an interface of
        that name, else `Refused`.
        """
        made = 0
        try:
            for wanted in pairs:
                self._make(namespace, wanted)
                made += 1
            self._inside(namespace, pairs, first)
            for wanted in pairs:
                settle(wanted.endpoint.port)
                self._limit(wanted.endpoint)
        except BaseException:
            self._undo([wanted.endpoint.port for wanted in pairs[:made]])
            raise

    def _make(self, namespace: int, wanted: Pair) -> None:
        endpoint, network = wanted.endpoint, wanted.network
        operations = pair.host_side(
            endpoint,
            network,
            self.identity,
            bridge=_index(network.bridge, f"find the bridge of network {network.name}"),
            namespace=namespace,
        )
        making, *others = self._route().request([o.message for o in operations])
        if making.errno == errno.EEXIST and _exists(endpoint.port):
            raise NameTaken(operations[0].describe(), making.errno, making.text)
        if making.errno == _TOO_MANY:
            raise Taken(f"the network {network.name} is full: its bridge has 1023 ports")
        if making.errno:
            raise Refused(operations[0].describe(), making.errno, making.text)
        for operation, answer in zip(operations[1:], others, strict=True):
            if answer.errno:
                self._undo([endpoint.port])
                raise Refused(operation.describe(), answer.errno, answer.text)

    def _inside(self, namespace: int, pairs: Sequence[Pair], first: bool) -> None:
        with entered(namespace), Netlink(ROUTE) as inner:
            placed = [
                (w.endpoint, w.network, _index(w.endpoint.interface, "find the container's end"))
                for w in pairs
            ]
            operations = pair.inside(placed, first=first)
            try:
                inner.execute(operations)
            except Refused as error:
                raise _translated(error) from error

    def _limit(self, endpoint: Endpoint) -> None:
        if endpoint.limits is not None:
            index = _index(endpoint.port, f"limit {endpoint.port}")
            try:
                self._route().execute(pair.limits_towards(endpoint, index))
            except Refused as error:
                raise _translated(error) from error

    def limit_anew(self, old: Endpoint, new: Endpoint) -> None:
        """Replace the limits towards a container, or keep the old ones if that fails."""
        self._lift(old)
        try:
            self._limit(new)
        except BaseException:
            self._lift(new)
            self._limit(old)
            raise

    def _lift(self, endpoint: Endpoint) -> None:
        index = _index(endpoint.port, f"limit {endpoint.port}")
        (answer,) = self._route().request([qdisc.remove(index)])
        if answer.errno not in (0, errno.ENOENT, errno.EINVAL):  # EINVAL: an interface's own one
            raise Refused(f"lift the limits of {endpoint.port}", answer.errno, answer.text)

    def _undo(self, ports: Sequence[str]) -> None:
        if ports:
            self.discard(ports)
            self.empty_trash()

    def reroute(self, namespace: int, wanted: Pair) -> None:
        """Replace the default routes inside by this endpoint's."""
        endpoint = wanted.endpoint
        with entered(namespace), Netlink(ROUTE) as inner:
            index = _index(endpoint.interface, "find the container's end")
            inner.execute(pair.routes(endpoint, wanted.network, index))

    def rename(self, old: Endpoint, new: Endpoint) -> None:
        """Mark the pair of one endpoint as that of another, with the same port."""
        marked = links.set_alias(new.port, self.identity.port_alias(new))
        self._route().execute([Operation(f"mark {new.port} instead of {old.container}", marked)])

    # --- removing -----------------------------------------------------------------------------

    def discard(self, ports: Sequence[str]) -> None:
        """Take these pairs out of use; `empty_trash` deletes them. Those that are gone are gone."""
        found = [self._own(name) for name in ports]
        moves = [links.set_group(index, self.identity.trash) for index in found if index]
        for answer in self._route().request(moves):
            if answer.errno not in (0, errno.ENODEV):
                raise Refused("take a pair out of use", answer.errno, answer.text)

    def _own(self, name: str) -> int:
        """The index of a link of ours, 0 where there is none of that name."""
        found = observed.read_links(self._route().get(links.get_link(name)))
        return next((x.index for x in found if self.identity.owns(x.group, x.alias)), 0)

    def empty_trash(self) -> None:
        """Delete all pairs that were taken out of use, at once."""
        (answer,) = self._route().request([links.delete_group(self.identity.trash)])
        if answer.errno not in (0, errno.ENODEV):
            raise Refused("delete the pairs that are out of use", answer.errno, answer.text)

    # --- all of it ----------------------------------------------------------------------------

    def observe(self) -> Observed:
        """What there is."""
        route = self._route()
        guards = {version: self._guards(version) for version in (4, 6)}
        known = {version: found for version, found in guards.items() if found is not None}
        self.guardable = frozenset(known)
        return Observed(
            links=observed.read_links(route.dump(links.dump_links())),
            addresses=observed.read_addresses(route.dump(links.dump_addresses())),
            guards=tuple(guard for found in known.values() for guard in found),
            guardable=self.guardable,
        )

    def _guards(self, version: int) -> tuple[Guard, ...] | None:
        """Our routing rules; None where the kernel has none (CONFIG_IPV6_MULTIPLE_TABLES)."""
        try:
            return observed.read_guards(self._route().dump(links.dump_rules(version)))
        except Refused as error:
            if error.errno in (errno.EAFNOSUPPORT, errno.EOPNOTSUPP):
                return None
            raise

    def reconcile(self, desired: Desired) -> Plan:
        """Plan, execute, observe, until there is nothing left to do; the last plan.

        Its `operations` are what was refused all the same, and `conflicts` others' interfaces.
        """
        failure: Refused | None = None
        for _ in range(reconcile.ROUNDS):
            plan = reconcile.plan(desired, self.observe(), self.aim)
            for setting in plan.settings:
                sysctl.write(setting)
            if not plan.operations:
                return plan
            try:
                self._route().execute(plan.operations)
            except Refused as error:
                failure = error
            else:
                failure = None
        if failure is not None:
            raise failure
        return reconcile.plan(desired, self.observe(), self.aim)

    def host_subnets(self) -> tuple[Subnet, ...]:
        """The subnets that this host has routes to, but for those of our own bridges."""
        route = self._route()
        own = [
            link.index
            for link in observed.read_links(route.dump(links.dump_links()))
            if self.identity.owns(link.group, link.alias)
        ]
        routes = observed.read_routes(route.dump(links.dump_routes()))
        return observed.host_subnets(routes, own)


def _translated(error: Refused) -> Refused | Unsupported:
    """A queueing discipline that the kernel does not know is a lack of the kernel's."""
    if "impair" in error.operation:
        return lacking(error, "NETEM")
    return lacking(error, "TBF") if "bit/s" in error.operation else error


def settle(name: str) -> None:
    """Let the kernel act on the link's carrier now instead of soon.

    Its peer is up, but the bridge hears of that by a work queue, which may have to wait for others'
    changes; until then the port takes no packets, and a container's first SYN would be lost, for a
    second. Asking for the state, as ethtool(8) does, works off what is in that queue for the link.
    """
    state = ctypes.create_string_buffer(struct.pack("=II", _ETHTOOL_GLINK, 0))
    request = struct.pack("16sP16x", name.encode(), ctypes.addressof(state))  # struct ifreq
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as asking:
        try:
            fcntl.ioctl(asking, _SIOCETHTOOL, request)
        except OSError as error:
            raise Refused(f"look at {name}", error.errno or 0) from None


def _exists(name: str) -> bool:
    return _index_or_none(name) is not None


def _index_or_none(name: str) -> int | None:
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return None


def _index(name: str, what: str) -> int:
    index = _index_or_none(name)
    if index is None:
        raise Refused(f"{what}: {name}", errno.ENODEV)
    return index
