"""Mounts as values: mount(8)'s words to the kernel's numbers, checks, order, plain words.

Numbers are those of linux/mount.h, repeated here because this folder is pure.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

from supervisor.errors import InvalidArgument
from supervisor.spec.types import Mount

MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
MOUNT_ATTR__ATIME = 0x70
MOUNT_ATTR_RELATIME = 0x0
MOUNT_ATTR_NOATIME = 0x10
MOUNT_ATTR_STRICTATIME = 0x20
MOUNT_ATTR_NODIRATIME = 0x80
MOUNT_ATTR_NOSYMFOLLOW = 0x200000

_PATH_MAX = 4095  # limits.h, without the NUL at the end
_NAME_MAX = 255

MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20

PROPAGATION = {
    "private": MS_PRIVATE,
    "shared": MS_SHARED,
    "slave": MS_SLAVE,
    "unbindable": MS_UNBINDABLE,
}
_SET = {
    "ro": MOUNT_ATTR_RDONLY,
    "nosuid": MOUNT_ATTR_NOSUID,
    "nodev": MOUNT_ATTR_NODEV,
    "noexec": MOUNT_ATTR_NOEXEC,
    "nodiratime": MOUNT_ATTR_NODIRATIME,
    "nosymfollow": MOUNT_ATTR_NOSYMFOLLOW,
}
_CLEAR = {
    "rw": MOUNT_ATTR_RDONLY,
    "suid": MOUNT_ATTR_NOSUID,
    "dev": MOUNT_ATTR_NODEV,
    "exec": MOUNT_ATTR_NOEXEC,
    "diratime": MOUNT_ATTR_NODIRATIME,
    "symfollow": MOUNT_ATTR_NOSYMFOLLOW,
}
_ATIME = {
    "relatime": MOUNT_ATTR_RELATIME,
    "norelatime": MOUNT_ATTR_STRICTATIME,
    "strictatime": MOUNT_ATTR_STRICTATIME,
    "nostrictatime": MOUNT_ATTR_RELATIME,
    "noatime": MOUNT_ATTR_NOATIME,
    "atime": MOUNT_ATTR_RELATIME,
}
_FLAGS = {**_SET, **_CLEAR, **_ATIME}
TMPFS_DEFAULTS = ("noexec", "nosuid", "nodev")
_TMPFS_DATA = ("size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol")
# What lxcfs and the like replace by files of their own; runc allows the same.
_PROC_FILES = frozenset(
    f"/proc/{name}"
    for name in (
        "cpuinfo",
        "diskstats",
        "loadavg",
        "meminfo",
        "net/dev",
        "slabinfo",
        "stat",
        "swaps",
        "sys/crypto/fips_enabled",
        "sys/kernel/ns_last_pid",
        "uptime",
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MountOptions:
    """Mount words as numbers.

    `attr_set` and `attr_clear` are for mount_setattr(2) (and `attr_set` for fsmount(2));
    an access-time word puts the whole MOUNT_ATTR__ATIME field into `attr_clear`, as the
    call demands. `propagation` is one of MS_PRIVATE, MS_SHARED, MS_SLAVE, MS_UNBINDABLE or
    0 = not said. `bind` and `recursive` come from "bind" and "rbind". `flat` (our own word)
    leaves the flags of the mounts below alone. `data` are the filesystem's own parameters in
    order, value None for a flag ("sync").
    """

    attr_set: int = 0
    attr_clear: int = 0
    propagation: int = 0
    recursive: bool = False
    data: tuple[tuple[str, str | None], ...] = ()
    bind: bool = False
    flat: bool = False


def parse_options(options: Iterable[str]) -> MountOptions:
    """The numbers of these words; the last of contradicting words counts.

    Words that are no mount flag are data for the filesystem, which judges them.
    """
    return _parse(tuple(options))


@lru_cache(maxsize=256)  # asked three times for each mount of each start
def _parse(options: tuple[str, ...]) -> MountOptions:
    attr_set = attr_clear = propagation = 0
    bind = recursive = flat = False
    data: list[tuple[str, str | None]] = []
    for option in options:
        word = _plain(option)
        if option in ("bind", "rbind"):
            bind, recursive = True, option == "rbind"
        elif option == "flat":
            flat = True
        elif word in PROPAGATION:
            propagation = PROPAGATION[word]
        elif word in _ATIME:
            attr_clear |= MOUNT_ATTR__ATIME
            attr_set = attr_set & ~MOUNT_ATTR__ATIME | _ATIME[word]
        elif word in _SET:
            attr_set |= _SET[word]
            attr_clear &= ~_SET[word]
        elif word in _CLEAR:
            attr_clear |= _CLEAR[word]
            attr_set &= ~_CLEAR[word]
        elif option not in ("", "defaults"):
            key, equals, value = option.partition("=")
            data.append((key, value if equals else None))
    return MountOptions(
        attr_set=attr_set,
        attr_clear=attr_clear,
        propagation=propagation,
        recursive=recursive,
        data=tuple(data),
        bind=bind,
        flat=flat,
    )


def _plain(option: str) -> str:
    # "rro", "rnosuid", "rslave": OCI's recursive forms; init always applies them so.
    if option in _FLAGS or option in PROPAGATION:
        return option
    short = option.removeprefix("r")
    return short if short in _FLAGS or short in PROPAGATION else option


def is_readonly(mount: Mount) -> bool:
    """Whether its words make the mount read-only."""
    return bool(parse_options(mount.options).attr_set & MOUNT_ATTR_RDONLY)


def clean_destination(destination: str) -> str:
    """The path as docker cleans it (no "//", "." or ".."); InvalidArgument where not allowed.

    Refused are relative paths, "/", /proc and /sys themselves, and what is below /proc
    except the files that lxcfs replaces: init and the masks rely on a real proc there.
    """
    if not destination.startswith("/"):
        raise InvalidArgument(f"invalid mount path: '{destination}' mount path must be absolute")
    if "\0" in destination:
        raise InvalidArgument(f"invalid mount path: {destination!r} has a NUL character")
    name = destination.encode(errors="surrogatepass")
    if len(name) > _PATH_MAX or any(len(part) > _NAME_MAX for part in name.split(b"/")):
        raise InvalidArgument(
            f"invalid mount path: '{destination[:80]}…' is longer than a path ({_PATH_MAX} bytes), "
            f"or a part of it than a name ({_NAME_MAX})"
        )
    # normpath keeps two leading slashes, which POSIX lets mean something else.
    path = "/" + posixpath.normpath(destination).lstrip("/")
    if path == "/":
        raise InvalidArgument("invalid specification: destination can't be '/'")
    if path in ("/proc", "/sys") or (path.startswith("/proc/") and path not in _PROC_FILES):
        raise InvalidArgument(
            f"invalid mount path: '{path}' would hide the container's own "
            f"{'/sys' if path == '/sys' else '/proc'}; mount it elsewhere (example: /host{path})"
        )
    return path


def arrange(mounts: Iterable[Mount]) -> tuple[Mount, ...]:
    """User mounts with clean destinations, parents before what is mounted on them.

    Sorted by depth and then in the order given, as docker does. InvalidArgument for a
    destination that is not allowed or comes twice, and for a bind without a source.
    """
    found: dict[str, Mount] = {}
    for mount in mounts:
        path = clean_destination(mount.destination)
        if path in found:
            raise InvalidArgument(f"Duplicate mount point: {path}")
        if mount.type == "bind":
            _check_source(mount)
        found[path] = replace(mount, destination=path)
    return tuple(sorted(found.values(), key=lambda mount: mount.destination.count("/")))


def _check_source(mount: Mount) -> None:
    if not mount.source.startswith("/") or "\0" in mount.source:
        raise InvalidArgument(
            f"invalid mount source {mount.source!r:.200} for {mount.destination}: "
            "a bind needs an absolute path of the host"
        )


def tmpfs(destination: str, words: str, defaults: Iterable[str] = TMPFS_DEFAULTS) -> Mount:
    """A tmpfs as --tmpfs asks: docker's defaults noexec, nosuid, nodev unless undone."""
    options: dict[str, str] = {word: word for word in defaults}
    for word in words.split(","):
        if word in ("", "defaults"):
            continue
        key, equals, value = word.partition("=")
        if equals and key in _TMPFS_DATA:
            _check_tmpfs_value(destination, key, value)
            options[key] = word
        elif word in _CLEAR:
            options.pop("ro" if word == "rw" else f"no{word}", None)
        elif word in _SET or word in _ATIME:
            options[word] = word
        elif word.removeprefix("r") not in PROPAGATION:  # a new mount is private anyway
            raise InvalidArgument(
                f"invalid tmpfs option '{word}' for {destination}: give mount flags "
                f"({', '.join(_SET)}, exec, suid, dev, …) or {', '.join(_TMPFS_DATA)}=value"
            )
    return Mount(
        destination=destination, type="tmpfs", source="tmpfs", options=tuple(options.values())
    )


def _check_tmpfs_value(destination: str, key: str, value: str) -> None:
    # As tmpfs(5) reads them; the kernel's own answer would be a bare EINVAL at start.
    number, allowed, form = value, "0123456789", "a number"
    if key in ("size", "nr_inodes", "nr_blocks"):
        suffixes = "kKmMgGtTpPeE%" if key == "size" else "kKmMgGtTpPeE"
        number = value[:-1] if value[-1:] in suffixes else value
        form = "a number with an optional k, m or g" + (" or %" if key == "size" else "")
    elif key == "mode":
        allowed, form = "01234567", "octal permission bits such as 1777"
    elif key == "mpol":
        return
    if not number or not set(number) <= set(allowed):
        raise InvalidArgument(
            f"invalid tmpfs option '{key}={value}' for {destination}: give {form}"
        )


def describe(mount: Mount) -> str:
    """One mount in plain words, for people: "bind of /srv at /data, read-only, with submounts"."""
    options = parse_options(mount.options)
    head = f"bind of {mount.source}" if mount.type == "bind" else mount.type
    parts = [f"{head} at {mount.destination}"]
    if options.attr_set & MOUNT_ATTR_RDONLY:
        parts.append("read-only")
    if options.recursive:
        parts.append("with submounts")
    for flag, words in (
        (MOUNT_ATTR_NOSUID, "no setuid"),
        (MOUNT_ATTR_NODEV, "no devices"),
        (MOUNT_ATTR_NOEXEC, "no execution"),
    ):
        if options.attr_set & flag:
            parts.append(words)
    parts += [name for name, number in PROPAGATION.items() if number == options.propagation]
    parts += [key if value is None else f"{key} {value}" for key, value in options.data]
    return ", ".join(parts)
