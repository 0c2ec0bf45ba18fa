"""Which container has which user and group ids of the host: `--userns auto`.

A range is chosen when a container is made, and stands in its record as `private:UID:SIZE`: all
that is done with the container afterwards sees the same. Which are taken is known from the
records alone; one that is being made is in `_promised` until it has its record. A container that
shares namespaces of others has their range, and joins their user namespace (`spec.namespaces`).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec
import trio

from supervisor.engine.record import Record
from supervisor.errors import Conflict, InvalidArgument, Unavailable
from supervisor.kernel.mounts import MountInfo, mountinfo
from supervisor.kernel.probe import Outcome, run_trials
from supervisor.spec.namespaces import HOST, donors, parse_userns
from supervisor.spec.options import ContainerOptions
from supervisor.spec.user_ranges import (
    AUTO,
    DEFAULT_SIZE,
    FIXED_POOL,
    Allotment,
    IdRange,
    auto_size,
    is_auto,
    meant_for_host,
    obstacle,
    unmappable,
)
from supervisor.spec.values import replace

if TYPE_CHECKING:
    from supervisor.engine.container import Container

log = logging.getLogger("orlop.userns")

NEEDED = ("user-namespaces", "idmapped-mounts")
# Ranges of the usual size that stay free of spare sandboxes, in a small pool.
KEPT_FREE = 32


class UserNamespaces:
    """`default` is the mode of containers that ask for none, "host" or "auto"; `pool` has the
    ids that are given out.

    `containers` are all that have a record; `trials` says what the kernel can,
    `mounts` what is mounted.
    """

    def __init__(
        self,
        containers: Callable[[], Iterable[Container]],
        trials: Callable[[Sequence[str]], dict[str, Outcome]] = run_trials,
        mounts: Callable[[], list[MountInfo]] = mountinfo,
    ) -> None:
        self.default = HOST
        self.pool = FIXED_POOL
        self._containers = containers
        self._trials, self._mounts = trials, mounts
        self._lack: str | None = None  # what the kernel lacks, "" = nothing, None = not tried
        self._trying = trio.Lock()
        self._told = False
        self._promised: dict[str, tuple[str, IdRange, bool]] = {}
        self._allotment: Allotment | None = None
        self._spare: list[IdRange] = []  # those of spare sandboxes
        self.reserve: Callable[[Record], IdRange | None] = _nothing_spare
        self.unreserve: Callable[[IdRange], None] = _nothing_reserved
        self.release: Callable[[], None] = _nothing_to_release

    # --- at start-up --------------------------------------------------------------------

    def open(self, default: str, pool: IdRange, layers: str = "/") -> None:
        """Take the daemon's settings, and the folder that layers are in."""
        self.default, self.pool = default, pool
        if fstype := unmappable(layers, self._points()):
            self._lack = (
                f"{layers} is on a file system whose mounts cannot be idmapped ({fstype}): give "
                "the daemon another --data-root"
            )

    @property
    def gives(self) -> bool:
        """As `is_default`, once that has been asked."""
        return self.default == AUTO and self._lack == ""

    async def is_default(self) -> bool:
        """Containers get ids of their own here without asking.

        The log is told of a host that cannot.
        """
        return self.default == AUTO and not await self._try_kernel()

    # --- at create ----------------------------------------------------------------------

    async def give(self, record: Record) -> ContainerOptions:
        """The options of a new container with the user namespace that it gets, which are put
        into its record, too; `settled` has to follow.

        Raises OrlopError for what cannot be, if the request asks for it; what the daemon's
        default asks for alone is left out then. A pool that is used up is always an error.
        """
        options, asked = record.options, record.options.userns
        mode = asked or self.default
        if is_auto(mode):
            shared = self._shared(options)
            size = shared.size if shared is not None else auto_size(mode)
            why = await self._why_not(mode, record, size, shared)
            if not why and (asked or not meant_for_host(options)):
                found = shared or self._reserved(mode, record) or self._choose(size)
                self._promised[record.id] = (record.name, found, True)
                options = replace(options, userns=found.mode, userns_chosen=True)
            elif asked and why:
                raise why
            else:
                mode = HOST
        elif mappings := parse_userns(mode):
            wanted = IdRange(first=mappings[0].host_id, size=mappings[0].size)
            self._check_free(mode, wanted)
            self._promised[record.id] = (record.name, wanted, False)
        record.options = options
        if not asked and self.default != HOST:
            host = msgspec.structs.replace(record.body.host_config, userns_mode=mode)
            record.body = msgspec.structs.replace(record.body, host_config=host)
        return options

    def settled(self, record: Record) -> None:
        """It has its record now, or never will."""
        self._promised.pop(record.id, None)

    def removed(self, record: Record) -> None:
        """The container is no more."""
        one = range_of(record.options)
        if one is not None and record.options.userns_chosen:
            self._allotted().free(one)
            self.unreserve(one)

    def _shared(self, options: ContainerOptions) -> IdRange | None:
        """The range of all whose namespaces it is to share; None where there is not one."""
        wanted = set(donors(options).values())
        found = {
            range_of(one.record.options) if one.record.options.userns_chosen else None
            for one in self._containers()
            if one.record.id in wanted
        }
        return found.pop() if len(found) == 1 else None

    async def _why_not(
        self, mode: str, record: Record, size: int, shared: IdRange | None
    ) -> InvalidArgument | Unavailable | None:
        binds = (replace(one, source=os.path.realpath(one.source)) for one in record.options.binds)
        options = replace(record.options, binds=tuple(binds))  # what a link leads to is mounted
        flag = obstacle(options, self._points, size=size, rootfs_writable=record.rootfs_writable)
        if not flag and not shared and (others := donors(record.options)):
            kind = next(iter(others))
            flag = f"--{kind} {getattr(record.options, kind)} (which has not the same user ids)"
        if not flag and not record.image_id and record.lowers:
            fstype = unmappable(record.lowers[0], self._points())
            flag = f"--rootfs {record.lowers[0]} ({fstype})" if fstype else ""
        if flag:
            return InvalidArgument(
                f"--userns {mode} and {flag} exclude each other: leave one of them out, or give "
                "--userns host"
            )
        if lack := await self._try_kernel():
            return Unavailable(f"--userns {mode} is not possible on this host: {lack}")
        return None

    def _points(self) -> dict[str, str]:
        return {mount.mount_point: mount.fstype for mount in self._mounts()}

    async def _try_kernel(self) -> str:
        async with self._trying:
            if self._lack is None:
                outcomes = await trio.to_thread.run_sync(self._trials, NEEDED)
                lacking = [
                    f"{name}: {outcomes[name][1] if name in outcomes else 'not tried'}"
                    for name in NEEDED
                    if not outcomes.get(name, (False, ""))[0]
                ]
                self._lack = f"its kernel lacks {'; '.join(lacking)}" if lacking else ""
            if self._lack and self.default == AUTO and not self._told:
                log.warning("%s: containers have the host's user namespace", self._lack)
                self._told = True
            return self._lack

    def _reserved(self, mode: str, record: Record) -> IdRange | None:
        return self.reserve(record) if mode == AUTO else None

    def set_aside(self) -> IdRange | None:
        """Ids for a spare sandbox, from now on no container's; None where there are few left."""
        taken = [one for _, one, _ in self._taken() if one.overlaps(self.pool)]
        used = sum(one.size for one in (*taken, *self._spare))
        if self.pool.size - used < KEPT_FREE * DEFAULT_SIZE:
            return None
        found = self._next(taken, DEFAULT_SIZE)
        if found is not None:
            self._spare.append(found)
        return found

    def put_back(self, ids: IdRange) -> None:
        """Those of a spare sandbox are some container's now, or nobody's."""
        self._spare.remove(ids)

    def _choose(self, size: int) -> IdRange:
        taken = [one for _, one, _ in self._taken()]
        found = self._next(taken, size)
        if found is None and self._spare:
            self.release()
            found = self._next(taken, size)
        if found is None:
            in_use = sum(one.overlaps(self.pool) for one in taken)
            raise Conflict(
                f"no {size} user ids in a row are free: {in_use} container"
                f"{'s have' if in_use != 1 else ' has'} ranges of {self.pool} "
                f"({self.pool.size} ids). Remove some, or start the daemon with a "
                "larger --userns-pool BASE:SIZE"
            )
        return found

    def _next(self, taken: Sequence[IdRange], size: int) -> IdRange | None:
        return self._allotted().next([*taken, *self._spare], size)

    def _allotted(self) -> Allotment:
        if self._allotment is None:
            self._allotment = Allotment(self.pool, self._latest_end())
        return self._allotment

    def _latest_end(self) -> int:
        """Where the range of the latest container ends that got one: go on from there."""
        chosen = (c.record for c in self._containers() if c.record.options.userns_chosen)
        latest = max(chosen, key=lambda record: record.created_ns, default=None)
        one = range_of(latest.options) if latest is not None else None
        return one.end if one is not None else self.pool.first

    def _check_free(self, mode: str, wanted: IdRange) -> None:
        """People may give one range to several containers, but not one that is another's own."""
        for name, one, chosen in self._taken():
            if chosen and one.overlaps(wanted):
                raise Conflict(
                    f"--userns {mode} overlaps the user ids {one}, which container {name} has for "
                    "itself (--userns auto): give another UID"
                )
        if any(one.overlaps(wanted) for one in self._spare):
            self.release()

    def _taken(self) -> Iterator[tuple[str, IdRange, bool]]:
        """Name of the container, its range, and whether that is its own."""
        for container in self._containers():
            record = container.record
            if (one := range_of(record.options)) is not None:
                yield record.name, one, record.options.userns_chosen
        yield from self._promised.values()


def _nothing_spare(_record: Record) -> None:
    """Where there are no spare sandboxes."""


def _nothing_reserved(_ids: IdRange) -> None:
    """Where there are no spare sandboxes."""


def _nothing_to_release() -> None:
    """Where there are no spare sandboxes."""


def range_of(options: ContainerOptions) -> IdRange | None:
    """The ids of the host that a container has; None for all."""
    return _range_of(options.userns) if options.userns else None


@lru_cache(maxsize=4096)  # all containers' are asked for whenever one is made
def _range_of(mode: str) -> IdRange | None:
    mappings = parse_userns(mode)
    return IdRange(first=mappings[0].host_id, size=mappings[0].size) if mappings else None
