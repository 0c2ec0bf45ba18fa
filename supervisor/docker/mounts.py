"""Docker's ways to ask for a mount (Binds, Mounts, Tmpfs) as `spec.types.Mount` values.

Destinations are judged by `supervisor.spec.mounts`; whether a source exists, by who mounts.
"""

from __future__ import annotations

from dataclasses import dataclass

from supervisor.docker.host_config import BindOptions, HostConfig, MountBody, TmpfsOptions
from supervisor.errors import InvalidArgument
from supervisor.spec.mounts import clean_destination
from supervisor.spec.types import Mount

PROPAGATIONS = frozenset({"private", "rprivate", "shared", "rshared", "slave", "rslave"})
DEFAULT_PROPAGATION = "rprivate"

# For SELinux relabelling and for Docker Desktop: without meaning here, as in dockerd on Linux.
_IGNORED_WORDS = frozenset({"z", "Z", "consistent", "cached", "delegated"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Bind:
    """A folder or file of the host in the container; `mode` is the request's own words."""

    source: str
    destination: str
    mode: str = ""
    read_only: bool = False
    propagation: str = DEFAULT_PROPAGATION
    recursive: bool = True

    def mount(self) -> Mount:
        """The mount to make."""
        words = (
            "rbind" if self.recursive else "bind",
            self.propagation,
            "ro" if self.read_only else "rw",
        )
        return Mount(destination=self.destination, type="bind", source=self.source, options=words)


def binds(host: HostConfig) -> tuple[Bind, ...]:
    """All bind mounts asked for; InvalidArgument for what is not one."""
    listed = [parse_bind(text) for text in host.binds]
    listed += [_bind(mount) for mount in host.mounts if mount.type != "tmpfs"]
    return tuple(listed)


def tmpfs_mounts(host: HostConfig) -> dict[str, str]:
    """Destination → comma-separated words, of --tmpfs and of --mount type=tmpfs."""
    wanted = {clean_destination(path): words for path, words in host.tmpfs.items()}
    for mount in host.mounts:
        if mount.type == "tmpfs":
            destination = clean_destination(mount.target)
            if destination in wanted:
                raise InvalidArgument(f"Duplicate mount point: {destination}")
            wanted[destination] = _tmpfs_words(mount)
    return wanted


def parse_bind(text: str) -> Bind:
    """One `--volume` as the client sends it: SOURCE:DESTINATION[:WORD,…]."""
    parts = text.split(":")
    if not 2 <= len(parts) <= 3 or not all(parts):
        raise InvalidArgument(
            f"invalid volume specification: {text!r:.200}: give /source:/destination[:ro]"
        )
    source, destination, *modes = parts
    _check_source(source)
    read_only, propagation = False, DEFAULT_PROPAGATION
    for word in modes[0].split(",") if modes else ():
        if word in ("ro", "rw"):
            read_only = word == "ro"
        elif word in PROPAGATIONS:
            propagation = word
        elif word not in _IGNORED_WORDS:
            raise InvalidArgument(f"invalid mode: {modes[0]!r:.200} in volume {text!r:.200}")
    return Bind(
        source=source,
        destination=clean_destination(destination),
        mode=modes[0] if modes else "",
        read_only=read_only,
        propagation=propagation,
    )


def _bind(mount: MountBody) -> Bind:
    if mount.type != "bind":
        what = f"of type {mount.type!r:.40}" if mount.type else "without a type"
        raise InvalidArgument(
            f"Mounts: a mount {what} is not supported (target {mount.target!r:.200}): "
            "give type=bind or type=tmpfs"
        )
    for name, other in (
        ("VolumeOptions", mount.volume_options),
        ("TmpfsOptions", mount.tmpfs_options),
        ("ImageOptions", mount.image_options),
    ):
        if other is not None:
            raise InvalidArgument(
                f'invalid mount config for type "bind": field {name} must not be specified'
            )
    _check_source(mount.source)
    options = mount.bind_options or BindOptions()
    if options.propagation and options.propagation not in PROPAGATIONS:
        raise InvalidArgument(
            f'invalid mount config for type "bind": invalid propagation mode: '
            f"{options.propagation!r:.40}"
        )
    return Bind(
        source=mount.source,
        destination=clean_destination(mount.target),
        read_only=mount.read_only,
        propagation=options.propagation or DEFAULT_PROPAGATION,
        recursive=not options.non_recursive,
    )


def _check_source(source: str) -> None:
    if not source.startswith("/"):
        raise InvalidArgument(
            f"the volume {source!r:.200} has no absolute path: named volumes are not supported, "
            "bind a folder of the host (--volume /host:/there)"
        )
    if "\0" in source:
        raise InvalidArgument(f"invalid mount source {source!r:.200}: it has a NUL character")


def _tmpfs_words(mount: MountBody) -> str:
    if mount.source:
        raise InvalidArgument(
            'invalid mount config for type "tmpfs": field Source must not be specified'
        )
    options = mount.tmpfs_options or TmpfsOptions()
    if options.size_bytes < 0 or not 0 <= options.mode <= 0o7777:
        raise InvalidArgument(
            f'invalid mount config for type "tmpfs": size {options.size_bytes}, '
            f"mode {options.mode:o}: give a size of 0 or more and octal permission bits"
        )
    words = ["=".join(pair) for pair in options.options]
    if options.size_bytes:
        words.append(f"size={options.size_bytes}")
    if options.mode:
        words.append(f"mode={options.mode:o}")
    if mount.read_only:
        words.append("ro")
    return ",".join(words)
