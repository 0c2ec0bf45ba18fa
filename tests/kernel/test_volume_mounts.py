"""Mounts of volumes and binds: parts of a volume, what read-only means for submounts, /proc."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from supervisor.errors import KernelError
from supervisor.kernel import mounts, paths
from supervisor.kernel.process import set_parent_death_signal
from supervisor.shim import rootfs
from supervisor.spec.types import Mount
from tests.kernel.forked import in_child
from tests.support.shim_rig import ShimRig, running_rig

ROUNDS = 40
CLONES = 500  # in a child, which has seconds


@pytest.fixture(scope="module")
def rig() -> Iterator[ShimRig]:
    with running_rig() as rig:
        yield rig


def bind(source: Path, destination: str, *words: str, subpath: str = "") -> Mount:
    return Mount(
        destination=destination, type="bind", source=str(source), options=words, subpath=subpath
    )


# --- a part of a volume


@pytest.fixture
def volume(short_folder: Path) -> Path:
    """A volume with a part, and a folder of the host that it must not lead to."""
    volume = short_folder / "volume"
    (volume / "part/inner").mkdir(parents=True)
    (volume / "part/mine").touch()
    (short_folder / "host").mkdir()
    (short_folder / "host/secret").touch()
    (volume / "out").symlink_to(short_folder / "host")
    (volume / "up").symlink_to("../host")
    (volume / "way").symlink_to("part/inner/..")
    (volume / "file").write_text("a file")
    return volume


def test_a_part_of_a_volume(rig: ShimRig, volume: Path) -> None:
    script = "ls /p /w; cat /f; touch /p/new"
    mounts = (
        bind(volume, "/p", "rbind", subpath="part"),
        bind(volume, "/w", "rbind", "ro", subpath="way"),
        bind(volume, "/f", "bind", subpath="file"),
    )
    assert rig.run(script, binds=mounts) == "/p:\ninner\nmine\n\n/w:\ninner\nmine\na file"
    assert (volume / "part/new").exists()


@pytest.mark.parametrize("subpath", ["out", "up", "missing", "../host", "/etc", "out/secret"])
def test_a_part_that_leads_out_is_refused(rig: ShimRig, volume: Path, subpath: str) -> None:
    with rig.container("true", binds=(bind(volume, "/p", "rbind", subpath=subpath),)) as it:
        error = it.exited().error
    assert error is not None
    assert str(volume) in str(error["message"])


@contextmanager
def exchanging(folder: Path, one: str, other: str) -> Iterator[None]:
    """A hostile container that exchanges two names without end."""
    pid = os.fork()
    if pid == 0:
        set_parent_death_signal(signal.SIGKILL)
        fd = os.open(folder, os.O_PATH)
        while True:
            with suppress(OSError):
                paths.renameat2(fd, one, fd, other, paths.RENAME_EXCHANGE)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_a_part_that_is_exchanged_meanwhile_never_leads_out(volume: Path) -> None:
    def naive() -> int:
        return rootfs.clone(os.path.join(volume, "part"), recursive=True)

    def ours() -> int:
        return rootfs.clone(str(volume), recursive=True, subpath="part")

    def checked() -> int:
        # As good as it gets with names: looked at first, used afterwards.
        if os.path.islink(volume / "part"):
            raise OSError("a link")
        return naive()

    def escapes(clone: Callable[[], int]) -> tuple[int, int]:
        out = inside = 0
        for _ in range(CLONES):
            try:
                fd = clone()
            except OSError:
                continue
            names = os.listdir(f"/proc/self/fd/{fd}")
            out += "secret" in names
            inside += "mine" in names
            os.close(fd)
        return out, inside

    def is_seen(clone: Callable[[], int]) -> bool:
        """Whether the exchange is fast enough for it, sooner or later."""
        return any(in_child(partial(escapes, clone))[0] for _ in range(ROUNDS))

    with exchanging(volume, "part", "out"):
        assert is_seen(naive)
        assert is_seen(checked)
        found = [in_child(partial(escapes, ours)) for _ in range(8)]
    assert not any(out for out, _ in found)
    assert any(inside for _, inside in found)


# --- read-only and its submounts


@pytest.fixture
def tree(short_folder: Path) -> Iterator[Path]:
    """A folder of the host with two mounts below it, one of them read-only."""
    folder = short_folder / "tree"
    for name in ("sub", "locked"):
        (folder / name).mkdir(parents=True)
        mounts.mount("tmpfs", str(folder / name), "tmpfs", 0, None)
    (folder / "locked/file").touch()
    locked = str(folder / "locked")
    mounts.mount(locked, locked, None, mounts.MS_BIND)
    mounts.mount(None, locked, None, mounts.MS_BIND | mounts.MS_REMOUNT | mounts.MS_RDONLY)
    yield folder
    for path in (locked, locked, str(folder / "sub")):
        mounts.umount(path, mounts.MNT_DETACH)


WRITE = "for f in /t/top /t/sub/f /t/locked/f; do touch $f 2>/dev/null && echo $f; done; true"


@pytest.mark.parametrize(
    "words, written",
    [
        (("rbind", "rprivate"), ["/t/top", "/t/sub/f"]),
        (("rbind", "rprivate", "ro"), []),
        (("rbind", "rprivate", "ro", "flat"), ["/t/sub/f"]),
        (("rbind", "rslave", "ro"), []),
        (("bind", "rprivate"), ["/t/top", "/t/sub/f", "/t/locked/f"]),  # the folders below
    ],
)
def test_what_may_be_written(
    rig: ShimRig, tree: Path, words: tuple[str, ...], written: list[str]
) -> None:
    assert rig.run(WRITE, binds=(bind(tree, "/t", *words),)).split() == written


def test_flat_keeps_the_submounts_private(rig: ShimRig, tree: Path) -> None:
    mounts_inside = rig.run(
        "grep ' /t' /proc/self/mountinfo",
        binds=(bind(tree, "/t", "rbind", "rprivate", "ro", "flat"),),
    ).splitlines()
    assert len(mounts_inside) == 4
    assert not [line for line in mounts_inside if "shared:" in line or "master:" in line]
    top = next(line for line in mounts_inside if line.split()[4] == "/t")
    assert top.split()[5].startswith("ro")


# --- a link of the image's that leads a mount somewhere else


@pytest.fixture
def with_link(rig: ShimRig) -> Iterator[Callable[[str], None]]:
    links = []

    def make(target: str) -> None:
        links.append(rig.image / "way")
        links[-1].symlink_to(target)

    yield make
    for link in links:
        link.unlink()


@pytest.mark.parametrize(
    "target", ["/proc", "proc", "/bin/../proc", "/proc/sys", "/", "../../..", "/proc/.."]
)
@pytest.mark.parametrize("kind", ["bind", "tmpfs"])
def test_no_link_leads_a_mount_over_proc_or_the_root(
    rig: ShimRig, volume: Path, with_link: Callable[[str], None], target: str, kind: str
) -> None:
    with_link(target)
    asked = (
        {"binds": (bind(volume, "/way", "rbind"),)} if kind == "bind" else {"tmpfs": {"/way": ""}}
    )
    with rig.container("true", **asked) as it:
        error = it.exited().error
    assert error is not None
    assert "a link in the image leads" in str(error["message"])


def test_nor_one_whose_name_begins_alike(rig: ShimRig, volume: Path) -> None:
    link = rig.image / "procs"
    link.symlink_to("/proc/sys")
    try:
        with rig.container("true", binds=(bind(volume, "/procs", "rbind"),)) as it:
            error = it.exited().error
    finally:
        link.unlink()
    assert error is not None
    assert "a link in the image leads into /proc" in str(error["message"])


def test_a_link_to_a_folder_is_followed(
    rig: ShimRig, volume: Path, with_link: Callable[[str], None]
) -> None:
    with_link("/usr/data")
    assert "file" in rig.run("ls /usr/data", binds=(bind(volume, "/way", "rbind"),))


def test_kernel_errors_name_the_part(volume: Path) -> None:
    with pytest.raises(KernelError, match=f"{volume}/missing"):
        rootfs.clone(str(volume), recursive=True, subpath="missing")
