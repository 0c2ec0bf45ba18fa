"""A container's mount points: what was asked for, decided, and kept with the container.

A `MountPoint` is what people asked for and see again (`docker inspect`); a `types.Mount` is
what the kernel is told. Volumes turn into mounts where their folders are known.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from supervisor.spec.types import Mount

BIND, VOLUME, TMPFS = "bind", "volume", "tmpfs"
DRIVER = "local"
DEFAULT_PROPAGATION = "rprivate"


@dataclass(frozen=True, slots=True, kw_only=True)
class MountPoint:
    """One mount of a container, of type bind, volume or tmpfs.

    destination       clean absolute path in the container
    source            bind: a path of the host; volume: its folder, once that is known
    name              the volume's; "" for one that is to get a name of its own
    anonymous         a volume that goes when its container is removed with its volumes
    mode              the request's own words ("ro,z")
    propagation       of a bind ("rprivate", "shared", …)
    recursive         a bind takes the mounts below its source along
    submounts_writable  with `read_only`: the mounts below the source stay as they are
    make_source       a bind's source that does not exist is made, as a folder
    copy_up           an empty volume is filled with what the image has at `destination`
    subpath           the part of the volume to mount, "" for all of it
    words             of a tmpfs: comma-separated options
    labels, driver_options   for a volume that does not exist yet
    """

    type: str
    destination: str
    source: str = ""
    name: str = ""
    anonymous: bool = False
    mode: str = ""
    read_only: bool = False
    propagation: str = ""
    recursive: bool = True
    submounts_writable: bool = False
    make_source: bool = False
    copy_up: bool = False
    subpath: str = ""
    words: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    driver_options: dict[str, str] = field(default_factory=dict)


def bind_mount(point: MountPoint) -> Mount:
    """The mount of a point of type bind."""
    # No "rw": a submount that is read-only on the host stays so.
    words = ["rbind" if point.recursive else "bind", point.propagation]
    if point.read_only:
        words += ["ro", "flat"] if point.submounts_writable else ["ro"]
    return Mount(
        destination=point.destination, type="bind", source=point.source, options=tuple(words)
    )


def volume_names(points: Iterable[MountPoint]) -> frozenset[str]:
    """The volumes among them that have a name."""
    return frozenset(point.name for point in points if point.type == VOLUME and point.name)
