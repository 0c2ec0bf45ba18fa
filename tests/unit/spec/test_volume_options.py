"""What a volume is made of, by the options of docker's driver "local"."""

from __future__ import annotations

import pytest

from supervisor.errors import InvalidArgument
from supervisor.spec.mount_points import MountPoint
from supervisor.spec.types import Mount
from supervisor.spec.volume_options import Backing, read_options, volume_mount

POINT = MountPoint(type="volume", destination="/v", name="vt", source="/r/volumes/vt/_data")
READ_ONLY = MountPoint(
    type="volume", destination="/v", name="vt", source="/r/volumes/vt/_data", read_only=True
)


def bind(source: str, *options: str, subpath: str = "") -> Mount:
    return Mount(destination="/v", type="bind", source=source, options=options, subpath=subpath)


def test_its_own_folder() -> None:
    backing = read_options("vt", {})
    assert backing == Backing(kind="folder")
    assert volume_mount(POINT, backing) == bind("/r/volumes/vt/_data", "rbind", "rprivate")
    assert volume_mount(READ_ONLY, backing).options == ("rbind", "rprivate", "ro")
    part = MountPoint(type="volume", destination="/v", name="vt", source="/s", subpath="a/b")
    assert volume_mount(part, backing) == bind("/s", "rbind", "rprivate", subpath="a/b")


def test_a_folder_of_the_host() -> None:
    backing = read_options("vt", {"type": "none", "o": "bind,ro", "device": "/srv/data"})
    assert backing == Backing(kind="bind", device="/srv/data", words=("bind", "ro"))
    # It is not made writable by a container that asks for no more than the default.
    assert volume_mount(POINT, backing) == bind("/srv/data", "bind", "ro", "rprivate")


def test_memory() -> None:
    backing = read_options("vt", {"type": "tmpfs", "o": "size=1m,uid=5", "device": "tmpfs"})
    assert backing.kind == "memory"
    mount = volume_mount(READ_ONLY, backing)
    # No noexec, nosuid, nodev: those are --tmpfs' own.
    assert (mount.type, mount.options) == ("tmpfs", ("size=1m", "uid=5", "ro"))
    part = MountPoint(type="volume", destination="/v", name="vt", source="/s", subpath="a")
    with pytest.raises(InvalidArgument, match="no subpath in a new tmpfs"):
        volume_mount(part, backing)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"size": "1m"}, 'create vt: invalid option: "size"'),
        ({"type": "tmpfs"}, 'missing required option: "device"'),
        ({"device": "/x", "o": "bind"}, 'missing required option: "type"'),
        ({"type": "nfs", "device": ":/x", "o": "addr=1.2.3.4"}, "type=nfs: a filesystem that"),
        ({"type": "ext4", "device": "/dev/sda1"}, "is not supported"),
        ({"type": "none", "device": "x", "o": "bind"}, "needs an absolute path"),
        ({"type": "none", "device": "/x\0", "o": "bind"}, "needs an absolute path"),
        ({"type": "none", "device": "/x", "o": "bind,size=1"}, "o=size: no option of a bind"),
        ({"type": "tmpfs", "device": "tmpfs", "o": "size=x"}, "invalid tmpfs option"),
        ({"type": "tmpfs", "device": "tmpfs", "o": "huge=always"}, "invalid tmpfs option"),
    ],
)
def test_refused(options: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        read_options("vt", options)
    assert message in caught.value.message
