"""What a volume is made of: its own folder, a folder of the host, or memory.

The options are those of docker's driver "local", which are mount(8)'s: `type`, `o`, `device`.

    (none)                         the volume's own folder
    type=none o=bind device=/path  a folder of the host
    type=tmpfs o=size=64m          memory: of one running container at a time, gone with its run

Filesystems that the host would have to mount (nfs, cifs, ext4, …) are refused: no mount of a
container is ever in the host's mount table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from supervisor.errors import InvalidArgument
from supervisor.spec.mount_points import MountPoint
from supervisor.spec.mounts import parse_options, tmpfs
from supervisor.spec.types import Mount

FOLDER, BIND, MEMORY = "folder", "bind", "memory"
_KNOWN = ("type", "o", "device")


@dataclass(frozen=True, slots=True, kw_only=True)
class Backing:
    """`kind` is FOLDER, BIND (of `device`) or MEMORY; `words` are mount words."""

    kind: str
    device: str = ""
    words: tuple[str, ...] = ()


def read_options(name: str, options: Mapping[str, str]) -> Backing:
    """The backing of volume `name`; InvalidArgument, as docker words it where it would refuse."""
    try:
        return _read(options)
    except InvalidArgument as error:
        raise InvalidArgument(f"create {name:.80}: {error.message}") from None


def _read(options: Mapping[str, str]) -> Backing:
    if not options:
        return Backing(kind=FOLDER)
    for option in options:
        if option not in _KNOWN:
            raise InvalidArgument(f'invalid option: "{option:.80}": give type, o and device')
    for option in ("type", "device"):
        if not options.get(option):
            raise InvalidArgument(f'missing required option: "{option}"')
    kind, device = options["type"], options["device"]
    words = tuple(word for word in options.get("o", "").split(",") if word)
    if kind == "tmpfs":
        tmpfs("/", ",".join(words))  # its words are wrong now, not at the start
        return Backing(kind=MEMORY, words=words)
    if not {"bind", "rbind"} & set(words):
        raise InvalidArgument(
            f"type={kind:.80}: a filesystem that the host would have to mount is not supported: "
            "mount it yourself and give type=none, o=bind and its path as device"
        )
    if not device.startswith("/") or "\0" in device:
        raise InvalidArgument(f"device {device!r:.200}: a bind needs an absolute path of the host")
    for word, _ in parse_options(words).data:
        raise InvalidArgument(f"o={word:.80}: no option of a bind")
    return Backing(kind=BIND, device=device, words=words)


def volume_mount(point: MountPoint, backing: Backing) -> Mount:
    """The mount of a volume's point, whose `source` is the volume's own folder."""
    read_only = ("ro",) if point.read_only else ()
    if backing.kind == MEMORY:
        if point.subpath:
            raise InvalidArgument(f"volume {point.name}: there is no subpath in a new tmpfs")
        mount = tmpfs(point.destination, ",".join(backing.words), defaults=())
        return Mount(
            destination=mount.destination,
            type=mount.type,
            source=mount.source,
            options=(*mount.options, *read_only),
        )
    # A volume whose own words say "ro" is not made writable by a container.
    words = backing.words or ("rbind",)
    return Mount(
        destination=point.destination,
        type="bind",
        source=backing.device or point.source,
        options=(*words, "rprivate", *read_only),
        subpath=point.subpath,
    )
