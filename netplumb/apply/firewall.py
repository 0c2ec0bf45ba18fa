"""The firewall of this network namespace: our two nftables tables, kept as they should be.

From Linux 6.9 on the tables belong to this process: nobody else can change or flush them, and
without an owner, after this process, they stay. Older kernels have no such thing: there changes
by others are noticed at once and undone.
"""

from __future__ import annotations

import errno
import math
import socket
from collections.abc import Callable, Iterable, Iterator

import msgspec
import trio

from netplumb.apply import socket_filter
from netplumb.apply.netlink import NETFILTER, Netlink
from netplumb.apply.nft import commit
from netplumb.apply.thread import KernelThread
from netplumb.errors import Malformed, Refused, Taken, Unsupported
from netplumb.plan import conntrack
from netplumb.plan.model import PortBinding
from netplumb.plan.names import Identity
from netplumb.plan.netlink import attributes, read_text, split
from netplumb.plan.nft import objects, ruleset
from netplumb.plan.nft.objects import BRIDGE, INET, Element
from netplumb.plan.operation import Operation

_GROUP = 7  # NFNLGRP_NFTABLES
_REST_SECONDS = 0.5  # between two restorations: others may be as stubborn as we are
_READ = 1 << 17
_UNKNOWN = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOENT, errno.EAFNOSUPPORT)

Report = Callable[[str], None]


class Protection(msgspec.Struct, frozen=True, kw_only=True):
    """What this kernel lets the firewall be. `owned`: nobody else can change it. `senders`:
    containers cannot send with others' addresses. `guards`: the IP versions of which nothing
    leaves a network while the firewall's tables are gone.
    """

    owned: bool = False
    senders: bool = False
    guards: frozenset[int] = frozenset()


class _Variant(msgspec.Struct, frozen=True, kw_only=True):
    """How the tables are made: their flags, with the bridge's one, by a command of Linux 6.3."""

    flags: int
    senders: bool
    destroy: bool


class Firewall:
    """Elements come and go one transaction at a time; the rules stay."""

    def __init__(
        self, thread: KernelThread, identity: Identity, mark: int, *, may_own: bool = True
    ) -> None:
        self.identity = identity
        self.mark = mark
        self.elements: set[Element] = set()
        self.protection = Protection()
        self._thread = thread
        self._may_own = may_own
        self._guarded: frozenset[int] = frozenset()
        self._socket: Netlink | None = None
        self.installed = False

    async def replace(self, elements: Iterable[Element], *, guarded: Iterable[int]) -> None:
        """Make the tables anew with these elements, in one transaction.

        Strangers' packets of the `guarded` IP versions are not forwarded.
        Taken if another process owns them, Unsupported if the kernel lacks what they need.
        """
        self.elements = set(elements)
        self._guarded = frozenset(guarded)
        self.protection = await self._thread.run(self._replace, frozenset(self.elements))
        self.installed = True

    async def remove(self) -> None:
        """Remove the tables: a host without networks of ours needs none."""
        self.elements.clear()
        self.installed = False
        await self._thread.run(self._remove)

    async def change(self, add: Iterable[Element] = (), remove: Iterable[Element] = ()) -> None:
        """Add and remove elements, in one transaction. Nothing is changed if it fails."""
        removed = self.elements.intersection(remove)
        self.elements -= removed
        added = set(add) - self.elements
        self.elements |= added
        try:
            await self._thread.begin(self._change, added, removed).wait()
        except BaseException:
            self.elements -= added
            self.elements |= removed
            raise

    async def forget_flows(self, bindings: Iterable[PortBinding]) -> None:
        """Drop what connection tracking knows of the UDP ports among them."""
        udp = [binding for binding in bindings if binding.protocol == "udp"]
        if udp:
            await self._thread.run(self._forget, udp)

    async def close(self) -> None:
        """Close the socket. The tables stay as they are, for the next process."""
        await self._thread.run(self._close)

    # --- watching -----------------------------------------------------------------------------

    async def watch(self, report: Report) -> None:
        """Restore the tables whenever somebody else changed them. Runs until cancelled."""
        try:
            watching = await self._thread.run(self._open_watch)
        except Unsupported:
            return  # there is no firewall to watch
        try:
            await self._watch(watching.socket, report)
        finally:
            watching.close()

    async def _watch(self, watching: socket.socket, report: Report) -> None:
        last = -math.inf
        while True:
            await trio.lowlevel.wait_readable(watching)
            if not self._touched(watching):
                continue
            await trio.sleep_until(last + _REST_SECONDS)
            while self._touched(watching):
                pass  # one restoration for all that came meanwhile
            if not self.installed:
                continue
            try:
                await self._thread.run(self._replace, frozenset(self.elements))
            except (Refused, Taken, Unsupported) as error:
                report(f"the firewall could not be restored: {error}")
            else:
                report("the firewall was changed by others and has been restored")
            last = trio.current_time()

    def _touched(self, watching: socket.socket) -> bool:
        """Read what there is; somebody else changed a table of ours, or we cannot know."""
        try:
            data = watching.recv(_READ, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            return True
        try:
            return any(self._is_ours(message.body) for message in split(data))
        except Malformed:
            return True

    def _is_ours(self, body: bytes) -> bool:
        name = attributes(body[4:]).get(1) if len(body) > 8 else None  # NFTA_*_TABLE
        return name is not None and read_text(name) == self.identity.name

    # --- in the thread ------------------------------------------------------------------------

    def _open(self) -> Netlink:
        if self._socket is None:
            try:
                self._socket = Netlink(NETFILTER)
            except OSError as error:
                raise Unsupported(f"this kernel has no nftables: {error.strerror}") from None
            self._socket.grow()
        return self._socket

    def try_tables(self) -> None:
        """Make the tables without elements where the thread is now; for a namespace to try it in.

        Unsupported or Refused if they cannot be made.
        """
        try:
            self._replace(frozenset())
        finally:
            self._close()

    def _open_watch(self) -> Netlink:
        own = self._open().port
        watching = Netlink(NETFILTER, (_GROUP,))
        socket_filter.not_from(watching.socket, own)
        return watching

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _replace(self, elements: frozenset[Element]) -> Protection:
        """With all that is wanted; where the kernel lacks something, without."""
        failure: Refused | None = None
        for variant in self._variants():
            try:
                commit(self._open(), self._everything(elements, variant))
                return Protection(owned=bool(variant.flags), senders=variant.senders)
            except Refused as error:
                if error.errno == errno.EPERM:
                    raise Taken(
                        f"another process owns the nftables table {self.identity.name}"
                    ) from error
                if error.errno not in _UNKNOWN:
                    raise
                failure = error
        raise Unsupported(
            f"this kernel's nftables lacks what the firewall needs ({failure}): "
            "CONFIG_NF_TABLES_INET, _NFT_CT, _NFT_NAT, _NFT_MASQ, _NFT_FIB_INET"
        ) from failure

    def _remove(self) -> None:
        for destroy in (True, False):
            try:
                for family in (INET, BRIDGE):
                    commit(
                        self._open(),
                        objects.remove_table(family, self.identity.name, destroy=destroy),
                    )
                return
            except Refused as error:
                if error.errno not in _UNKNOWN:
                    raise
            except Unsupported:
                return

    def _variants(self) -> Iterator[_Variant]:
        """The best first."""
        if self._may_own:
            yield _Variant(flags=objects.OWNER | objects.PERSIST, senders=True, destroy=True)
        for senders in (True, False):
            for destroy in (True, False):
                yield _Variant(flags=0, senders=senders, destroy=destroy)

    def _everything(self, elements: frozenset[Element], variant: _Variant) -> list[Operation]:
        flags, name = variant.flags, self.identity.name
        tables = [ruleset.main_table(self.identity, self.mark, flags=flags, guarded=self._guarded)]
        if variant.senders:
            tables.append(ruleset.bridge_table(self.identity, flags=flags))
        else:
            elements = frozenset(e for e in elements if e.family != BRIDGE)
        operations: list[Operation] = []
        for table in tables:
            operations += objects.replace_table(table, destroy=variant.destroy)
        operations += objects.add_elements(name, elements)
        return operations

    def _change(self, added: set[Element], removed: set[Element]) -> None:
        name = self.identity.name
        if not self.protection.senders:
            added = {e for e in added if e.family != BRIDGE}
            removed = {e for e in removed if e.family != BRIDGE}
        operations = [*objects.remove_elements(name, removed), *objects.add_elements(name, added)]
        try:
            commit(self._open(), operations)
        except Refused as error:
            if error.errno != errno.ENOENT:
                raise
            # Somebody took our tables or elements away: this is what restores them, too.
            self.protection = self._replace(frozenset(self.elements))

    def _forget(self, bindings: list[PortBinding]) -> None:
        with Netlink(NETFILTER) as asking:
            for binding in bindings:
                found = asking.dump(conntrack.dump_to_host_port(binding))
                found += asking.dump(conntrack.dump_to_container_port(binding))
                asking.request([conntrack.deletion(entry) for entry in found])
