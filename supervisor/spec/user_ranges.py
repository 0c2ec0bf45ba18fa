"""Ranges of user and group ids for containers that get one of their own: `--userns auto`.

Nothing here knows which containers there are: who asks says which ranges are taken.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from supervisor.errors import InvalidArgument
from supervisor.spec.namespaces import HOST, MAX_ID, read_modes
from supervisor.spec.options import ContainerOptions
from supervisor.spec.types import Mount

AUTO = "auto"
DEFAULT_SIZE = 1 << 16
_SIZE = "auto:size="
_AUTO_FORM = f"give auto or auto:size=N, N from 1 to {MAX_ID} (example: auto:size=65536)"
_POOL_FORM = (
    f"give BASE:SIZE, BASE at least 1, BASE + SIZE within {MAX_ID} (example: 100000:1000000)"
)
# File systems without FS_ALLOW_IDMAP (Linux 6.18): the kernel's own, overlay, of the network, and
# rare ones. Those of FUSE allow it if their programs do, which few of them know of.
_UNMAPPABLE = frozenset(
    {
        "9p", "afs", "autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "cifs", "configfs",
        "cramfs", "debugfs", "devpts", "devtmpfs", "ecryptfs", "efivarfs", "ext2", "ext3",
        "fusectl", "gfs2", "hfs", "hfsplus", "hostfs", "iso9660", "jffs2", "jfs", "minix", "mqueue",
        "nfs", "nfs4", "nfsd", "nilfs2", "nsfs", "ocfs2", "orangefs", "overlay", "proc", "pstore",
        "ramfs", "reiserfs", "romfs", "rpc_pipefs", "securityfs", "selinuxfs", "smb3", "sysfs",
        "tracefs", "ubifs", "udf", "vboxsf", "virtiofs",
    }
)  # fmt: skip
# Capabilities that the kernel looks for in the user namespace that owns what is used. All others it
# also, or only, looks for in the host's (capable() in the kernel's sources, Linux 6.18).
_NAMESPACED = frozenset(
    f"CAP_{name}"
    for name in (
        *("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP"),
        *("NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_OWNER", "SYS_CHROOT"),
        *("SYS_PTRACE", "AUDIT_WRITE", "SETFCAP"),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class IdRange:
    """`size` ids from `first` on, of users and of groups alike."""

    first: int
    size: int

    @property
    def end(self) -> int:
        """The first id behind it."""
        return self.first + self.size

    def overlaps(self, other: IdRange) -> bool:
        """They have an id in common."""
        return self.first < other.end and other.first < self.end

    def __str__(self) -> str:
        return f"{self.first}-{self.end - 1}"

    @property
    def mode(self) -> str:
        """The user namespace mode that maps it."""
        return f"private:{self.first}:{self.size}"


# 4,094 ranges of 65,536 that systemd leaves unused (systemd.io/UIDS-GIDS), above those of
# systemd-nspawn and far above what useradd gives out in /etc/subuid.
FIXED_POOL = IdRange(first=0x7000_0000, size=0x0FFE_0000)


def is_auto(text: str) -> bool:
    """Whether a user namespace mode asks for a range that the daemon chooses."""
    return text == AUTO or text.startswith(AUTO + ":")


def auto_size(text: str) -> int:
    """How many ids "auto" or "auto:size=N" asks for; InvalidArgument for anything else."""
    if text == AUTO:
        return DEFAULT_SIZE
    number = text.removeprefix(_SIZE)
    if number == text or not _is_number(number) or not 1 <= int(number) <= MAX_ID:
        raise InvalidArgument(f"invalid user namespace mode '{text:.200}': {_AUTO_FORM}")
    return int(number)


def parse_pool(text: str) -> IdRange:
    """The range of "BASE:SIZE"; InvalidArgument."""
    numbers = text.split(":")
    if len(numbers) == 2 and all(map(_is_number, numbers)):
        first, size = map(int, numbers)
        if first and size and first + size - 1 <= MAX_ID:
            return IdRange(first=first, size=size)
    raise InvalidArgument(f"userns_pool {text!r:.80}: {_POOL_FORM}")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 10


def subordinate(subuid: str, subgid: str, users: Iterable[str]) -> IdRange | None:
    """The largest range that /etc/subuid and /etc/subgid both give to one of `users`.

    The first of them with any has it; lines that are none are skipped (subuid(5)).
    """
    for user in users:
        groups = _entries(subgid, user)
        common = [_common(a, b) for a in _entries(subuid, user) for b in groups]
        found = max((one for one in common if one), key=lambda one: one.size, default=None)
        if found is not None:
            return found
    return None


def _entries(text: str, user: str) -> list[IdRange]:
    found = []
    for line in text.splitlines():
        name, _, rest = line.strip().partition(":")
        if name == user:
            try:
                found.append(parse_pool(rest))
            except InvalidArgument:
                continue
    return found


def _common(a: IdRange, b: IdRange) -> IdRange | None:
    first, end = max(a.first, b.first), min(a.end, b.end)
    return IdRange(first=first, size=end - first) if first < end else None


def next_free(pool: IdRange, taken: Iterable[IdRange], size: int, after: int) -> IdRange | None:
    """The first `size` ids of the pool, from id `after` on and then from its beginning, that
    none of `taken` has; None where there are none."""
    gaps = []
    at = pool.first
    for one in sorted(taken, key=lambda one: one.first):
        if one.first > at:
            gaps.append((at, min(one.first, pool.end)))
        at = max(at, one.end)
    gaps.append((at, pool.end))
    for lowest in (after, pool.first):
        for start, end in gaps:
            first = max(start, lowest)
            if first + size <= end:
                return IdRange(first=first, size=size)
    return None


def next_unused(
    pool: IdRange, taken: Sequence[IdRange], freed: Sequence[IdRange], size: int, after: int
) -> IdRange | None:
    """As `next_free`, and ids of `freed`, oldest first, only where there are no others.

    So files and processes that a container may have left do not soon belong to another one.
    """
    found = next_free(pool, [*taken, *freed], size, after)
    if found is not None or not freed:
        return found
    found = next_free(pool, taken, size, after)
    fewest, enough = 1, len(freed)  # how many of the oldest are given again
    while found is not None and fewest < enough:
        some = (fewest + enough) // 2
        one = next_free(pool, [*taken, *freed[some:]], size, after)
        if one is None:
            fewest = some + 1
        else:
            found, enough = one, some
    return found


class Allotment:
    """Gives out ranges of `pool` one after the other, and freed ones when there are no others.

    `after`: the id to go on from. What others have is asked for each time; what is remembered
    here spares a search through thousands of ranges that were freed.
    """

    def __init__(self, pool: IdRange, after: int) -> None:
        self.pool = pool
        self._after = after
        # Since the daemon's start, oldest first.
        self._freed: OrderedDict[IdRange, None] = OrderedDict()
        self._clear = IdRange(first=pool.first, size=0)  # nobody had these
        self._nowhere = pool.size + 1  # so many in a row that nobody had are nowhere

    def free(self, one: IdRange) -> None:
        """Nobody has it any more."""
        self._freed.pop(one, None)
        self._freed[one] = None

    def next(self, taken: Sequence[IdRange], size: int) -> IdRange | None:
        """`size` ids that none of `taken` has; None where there are none."""
        found = self._unused(taken, size) or self._oldest(taken, size) or self._any(taken, size)
        if found is not None:
            self._after = found.end
        return found

    def _unused(self, taken: Sequence[IdRange], size: int) -> IdRange | None:
        """Ids that nobody had before, if there are some."""
        found = None
        if size <= self._clear.size:
            found = IdRange(first=self._clear.first, size=size)
        if found is None or _any_overlaps(taken, found):
            found = self._search(taken, size) if size < self._nowhere else None
        if found is not None:
            self._clear = IdRange(first=found.end, size=self._clear.end - found.end)
        return found

    def _search(self, taken: Sequence[IdRange], size: int) -> IdRange | None:
        others = [*taken, *self._freed]
        found = next_free(self.pool, others, size, self._after)
        if found is None:
            self._nowhere = size
            return None
        end = min((one.first for one in others if one.first >= found.end), default=self.pool.end)
        self._clear = IdRange(first=found.first, size=min(end, self.pool.end) - found.first)
        return found

    def _oldest(self, taken: Sequence[IdRange], size: int) -> IdRange | None:
        """What was freed first, if that is as many."""
        while self._freed:
            one = next(iter(self._freed))
            shared = _any_overlaps(taken, one)  # another has it, too, whose end is told as well
            if not shared and one.size != size:
                return None
            del self._freed[one]
            if not shared:
                return one
        return None

    def _any(self, taken: Sequence[IdRange], size: int) -> IdRange | None:
        """Whatever there is, of the oldest as few as can be."""
        found = next_unused(self.pool, taken, tuple(self._freed), size, self._after)
        if found is not None:
            for one in [one for one in self._freed if one.overlaps(found)]:
                del self._freed[one]
            if found.overlaps(self._clear):
                self._clear = IdRange(first=found.end, size=0)
        return found


def _any_overlaps(ranges: Iterable[IdRange], one: IdRange) -> bool:
    # Not by `overlaps`: of thousands of ranges in each create, that takes three times as long.
    first, end = one.first, one.end
    return any(other.first < end and first < other.first + other.size for other in ranges)


def obstacle(
    options: ContainerOptions,
    mounted: Callable[[], Mapping[str, str]],
    *,
    size: int,
    rootfs_writable: bool,
) -> str:
    """The flag of `options` that a container with `size` user ids of its own cannot have, "" if
    there is none; `mounted` tells the host's mount points and their file systems.

    Root of a user namespace has no privilege over others' namespaces (user_namespaces(7)); which
    containers' it may share is not judged here.
    """
    if options.privileged:
        return "--privileged"
    if rootfs_writable:
        return "--rootfs-rw"
    modes = read_modes(replace(options, userns=HOST))
    kinds = {"network": modes.network, "pid": modes.pid, "ipc": modes.ipc}
    for kind, mode in kinds.items():
        if mode == HOST:
            return f"--{kind} {HOST}"
    if modes.cgroup == HOST:
        return "--cgroupns host"
    for flag, text in _ids(options):
        if text.isascii() and text.isdecimal() and int(text) >= size:
            return f"{flag} {text} (there are ids up to {size - 1})"
    if not options.binds:
        return ""
    points = mounted()
    return next((flag for one in options.binds if (flag := _unmappable(one, points))), "")


def meant_for_host(options: ContainerOptions) -> str:
    """The flag of `options` that says that root of the host is wanted, "" if there is none.

    Such a container may have user ids of its own, and then has less than it asks for.
    """
    for name in options.cap_add:
        if f"CAP_{name.upper().removeprefix('CAP_')}" not in _NAMESPACED:
            return f"--cap-add {name}"
    return "--device-cgroup-rule" if len(options.device_rules) > len(options.devices) else ""


def unmappable(path: str, mounted: Mapping[str, str]) -> str:
    """The type of the file system at `path` if its mounts cannot be idmapped, else ""."""
    place = path.rstrip("/") + "/"
    over = [point for point in mounted if place.startswith(point.rstrip("/") + "/")]
    fstype = mounted[max(over, key=len)] if over else ""
    return fstype if fstype in _UNMAPPABLE or fstype.startswith("fuse") else ""


def _ids(options: ContainerOptions) -> Iterator[tuple[str, str]]:
    for part in options.user.split(":"):
        yield "--user", part
    for group in options.groups:
        yield "--group-add", group


def _unmappable(bind: Mount, mounted: Mapping[str, str]) -> str:
    """The flag of a bind that has a file system in it whose mounts cannot be idmapped."""
    source = bind.source.rstrip("/") + "/"
    over = [point for point in mounted if source.startswith(point.rstrip("/") + "/")]
    places = [max(over, key=len)] if over else []
    if "rbind" in bind.options:
        places += [point for point in mounted if f"{point}/".startswith(source)]
    for point in places:
        if mounted[point] in _UNMAPPABLE or mounted[point].startswith("fuse"):
            return f"--volume {bind.source}:{bind.destination} ({mounted[point]} at {point})"
    return ""
