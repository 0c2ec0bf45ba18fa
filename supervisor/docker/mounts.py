"""Docker's ways to ask for a mount, as `spec.mount_points.MountPoint` values.

Later ones win over earlier ones, as in moby's daemon/volumes.go:

    VolumesFrom                what other containers have, --volumes-from
    Binds                      -v SOURCE:TARGET[:WORDS]
    Mounts                     --mount
    Volumes of the Config      -v TARGET, and VOLUME of an image: only where nothing else is

Binds, Mounts and Tmpfs must not have a destination in common. Whether a path or a volume
exists is for others to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from supervisor.docker.create import CreateBody
from supervisor.docker.host_config import (
    BindOptions,
    HostConfig,
    MountBody,
    TmpfsOptions,
    VolumeOptions,
)
from supervisor.docker.volumes import check_volume_name
from supervisor.errors import InvalidArgument
from supervisor.spec.mount_points import (
    BIND,
    DEFAULT_PROPAGATION,
    DRIVER,
    TMPFS,
    VOLUME,
    MountPoint,
)
from supervisor.spec.mounts import clean_destination

PROPAGATIONS = frozenset({"private", "rprivate", "shared", "rshared", "slave", "rslave"})

# Of each group at most one word (moby's volume/mounts/linux_parser.go). Labels are for
# SELinux and consistency for Docker Desktop: without meaning here, as in dockerd on Linux.
_ACCESS = frozenset({"ro", "rw"})
_LABELS = frozenset({"z", "Z"})
_CONSISTENCY = frozenset({"consistent", "cached", "delegated"})
_COPY = frozenset({"nocopy"})
_GROUPS = (_ACCESS, _LABELS, PROPAGATIONS, _COPY, _CONSISTENCY)


def mount_points(body: CreateBody, inherited: Iterable[MountPoint] = ()) -> tuple[MountPoint, ...]:
    """All that is asked for but `HostConfig.Tmpfs`; `inherited` comes by --volumes-from.

    Raises InvalidArgument in docker's words.
    """
    host = body.host_config
    tmpfs = {clean_destination(path) for path in host.tmpfs}
    asked: dict[str, MountPoint] = {}
    for point in (*map(parse_bind, host.binds), *map(_mount, host.mounts)):
        if point.destination in asked or point.destination in tmpfs:
            raise InvalidArgument(f"Duplicate mount point: {point.destination}")
        asked[point.destination] = point
    found = {p.destination: p for p in inherited if p.destination not in tmpfs} | asked
    for path in body.volumes:
        destination = clean_destination(path)
        if destination not in tmpfs:
            found.setdefault(
                destination,
                MountPoint(type=VOLUME, destination=destination, anonymous=True, copy_up=True),
            )
    return tuple(found.values())


def tmpfs_mounts(host: HostConfig, points: Iterable[MountPoint]) -> dict[str, str]:
    """Destination → comma-separated words, of --tmpfs and of --mount type=tmpfs."""
    wanted = {clean_destination(path): words for path, words in host.tmpfs.items()}
    return wanted | {point.destination: point.words for point in points if point.type == TMPFS}


def volumes_from(host: HostConfig) -> tuple[tuple[str, str], ...]:
    """Containers whose mount points are wanted too, each with "", "ro" or "rw"."""
    asked = []
    for text in host.volumes_from:
        name, _, mode = text.partition(":")
        if not name:
            raise InvalidArgument(f"invalid volumes-from specification {text!r:.200}: no container")
        words = _words(mode)
        if words & (PROPAGATIONS | _COPY):
            raise InvalidArgument(f"invalid mode: {mode:.200}")
        asked.append((name, "ro" if "ro" in words else ""))
    return tuple(asked)


def inherit(points: Sequence[MountPoint], access: str) -> tuple[MountPoint, ...]:
    """Another container's mount points as --volumes-from takes them over."""
    # They were filled when they were made, and are the other's to make.
    return tuple(
        replace(point, copy_up=False, read_only=point.read_only or access == "ro")
        for point in points
    )


def parse_bind(text: str) -> MountPoint:
    """One `--volume` as the client sends it: [SOURCE:]DESTINATION[:WORD,…].

    A source with a leading slash is a path of the host, any other the name of a volume,
    none a volume that gets a name of its own.
    """
    parts = text.split(":")
    if not 1 <= len(parts) <= 3 or not parts[0] or (len(parts) == 2 and _is_mode(parts[1])):
        raise InvalidArgument(
            f"invalid volume specification: '{text:.200}': give [SOURCE:]/destination[:WORDS]"
        )
    mode = parts[2] if len(parts) == 3 else ""
    words = _words(mode)
    source, destination = ("", parts[0]) if len(parts) == 1 else (parts[0], parts[1])
    kind = BIND if source.startswith("/") else VOLUME
    try:
        common = MountPoint(
            type=kind,
            destination=clean_destination(destination),
            mode=mode,
            read_only="ro" in words,
        )
        return (
            _raw_bind(common, source, words) if kind == BIND else _raw_volume(common, source, words)
        )
    except InvalidArgument as error:
        raise InvalidArgument(
            f"invalid volume specification: '{text:.200}': {_config(kind, error.message)}"
        ) from None


def _raw_bind(common: MountPoint, source: str, words: frozenset[str]) -> MountPoint:
    if words & _COPY:
        raise InvalidArgument("field VolumeOptions must not be specified")
    _check_path(source)
    propagation = next(iter(words & PROPAGATIONS), DEFAULT_PROPAGATION)
    return replace(common, source=source, propagation=propagation, make_source=True)


def _raw_volume(common: MountPoint, name: str, words: frozenset[str]) -> MountPoint:
    if words & PROPAGATIONS:
        raise InvalidArgument("field BindOptions must not be specified")
    return _volume(common, name, copy_up=not words & _COPY)


def _volume(common: MountPoint, name: str, *, copy_up: bool) -> MountPoint:
    if name:
        check_volume_name(name)
        # What docker shows for a volume that nothing was said about.
        return replace(common, name=name, mode=common.mode or "z", copy_up=copy_up)
    if common.read_only:
        raise InvalidArgument("must not set ReadOnly mode when using anonymous volumes")
    return replace(common, anonymous=True, mode=common.mode or "z", copy_up=copy_up)


def _mount(mount: MountBody) -> MountPoint:
    kind = mount.type
    try:
        if kind not in _OPTIONS:
            known = "give type=bind, type=volume or type=tmpfs"
            raise InvalidArgument(f"mount type unknown (target {mount.target!r:.200}): {known}")
        if not mount.target:
            raise InvalidArgument("field Target must not be empty")
        for field, name in _FIELDS.items():
            if field != _OPTIONS[kind] and getattr(mount, field) is not None:
                raise InvalidArgument(f"field {name} must not be specified")
        common = MountPoint(
            type=kind, destination=clean_destination(mount.target), read_only=mount.read_only
        )
        return {BIND: _bind_mount, VOLUME: _volume_mount, TMPFS: _tmpfs_mount}[kind](common, mount)
    except InvalidArgument as error:
        raise InvalidArgument(_config(kind, error.message)) from None


def _bind_mount(common: MountPoint, mount: MountBody) -> MountPoint:
    if not mount.source:
        raise InvalidArgument("field Source must not be empty")
    if not mount.source.startswith("/"):
        raise InvalidArgument(
            f"invalid mount path: '{mount.source:.200}' mount path must be absolute"
        )
    _check_path(mount.source)
    options = mount.bind_options or BindOptions()
    if options.propagation and options.propagation not in PROPAGATIONS:
        raise InvalidArgument(f"invalid propagation mode: {options.propagation!r:.40}")
    if options.read_only_non_recursive and options.read_only_force_recursive:
        raise InvalidArgument("ReadOnlyNonRecursive and ReadOnlyForceRecursive exclude each other")
    if not mount.read_only and (
        options.read_only_non_recursive or options.read_only_force_recursive
    ):
        raise InvalidArgument("ReadOnlyNonRecursive and ReadOnlyForceRecursive need ReadOnly")
    return replace(
        common,
        source=mount.source,
        propagation=options.propagation or DEFAULT_PROPAGATION,
        recursive=not options.non_recursive,
        submounts_writable=options.read_only_non_recursive,
        make_source=options.create_mountpoint,
    )


def _volume_mount(common: MountPoint, mount: MountBody) -> MountPoint:
    options = mount.volume_options or VolumeOptions()
    driver = options.driver_config
    if driver.name not in ("", DRIVER):
        raise InvalidArgument(f"volume driver {driver.name!r:.80} not found: give {DRIVER}")
    if options.subpath:
        if not mount.source:
            raise InvalidArgument("must not set Subpath when using anonymous volumes")
        if not is_local(options.subpath):
            raise InvalidArgument("subpath must be a relative path within the volume")
    return replace(
        _volume(common, mount.source, copy_up=not options.no_copy),
        subpath=options.subpath,
        labels=options.labels,
        driver_options=driver.options,
    )


def _tmpfs_mount(common: MountPoint, mount: MountBody) -> MountPoint:
    if mount.source:
        raise InvalidArgument("field Source must not be specified")
    options = mount.tmpfs_options or TmpfsOptions()
    if options.size_bytes < 0 or not 0 <= options.mode <= 0o7777:
        raise InvalidArgument(
            f"size {options.size_bytes}, mode {options.mode:o}: give a size of 0 or more and "
            "octal permission bits"
        )
    words = ["=".join(pair) for pair in options.options]
    if options.size_bytes:
        words.append(f"size={options.size_bytes}")
    if options.mode:
        words.append(f"mode={options.mode:o}")
    if mount.read_only:
        words.append("ro")
    return replace(common, words=",".join(words))


def is_local(path: str) -> bool:
    """A relative path that lexically stays where it begins (Go's filepath.IsLocal)."""
    depth = 0
    for part in path.split("/"):
        depth += {"": 0, ".": 0, "..": -1}.get(part, 1)
        if depth < 0:
            return False
    return bool(path) and not path.startswith("/") and "\0" not in path


def _words(mode: str) -> frozenset[str]:
    if not _is_mode(mode):
        raise InvalidArgument(f"invalid mode: {mode:.200}")
    return frozenset(mode.split(",")) if mode else frozenset()


def _is_mode(text: str) -> bool:
    words = text.split(",") if text else []
    return all(sum(word in group for word in words) <= 1 for group in _GROUPS) and all(
        any(word in group for group in _GROUPS) for word in words
    )


def _check_path(source: str) -> None:
    if "\0" in source:
        raise InvalidArgument(f"invalid mount source {source!r:.200}: it has a NUL character")


def _config(kind: str, problem: str) -> str:
    return f'invalid mount config for type "{kind:.40}": {problem}'


_OPTIONS = {BIND: "bind_options", VOLUME: "volume_options", TMPFS: "tmpfs_options"}
_FIELDS = {
    "bind_options": "BindOptions",
    "volume_options": "VolumeOptions",
    "tmpfs_options": "TmpfsOptions",
    "image_options": "ImageOptions",
    "cluster_options": "ClusterOptions",
}
