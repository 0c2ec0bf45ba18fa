"""S7 to S16: what an image, a volume or a neighbour can do to a root filesystem being set up."""

from __future__ import annotations

import os
import random
import stat
import tarfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from supervisor.kernel import paths
from tests.api.box import Box
from tests.attacks.hostile import UP, begin, execute, load, outcome
from tests.attacks.rounds import rounds
from tests.support import image_tars as made
from tests.support.flipper import flipping
from tests.support.image_tars import Member
from tests.support.pace import limit
from tests.support.tar_corpus import SECRET, Canary

NULL = os.makedev(1, 3)

# --- S7, S9, S10: a neighbour that exchanges what is about to be mounted on


def caught(folder: Path, canary: Path, act: Callable[[Path], int], *, tries: int) -> int:
    """How often `act` was led out to the canary, while a neighbour exchanges `folder`/target."""
    out = 0
    with flipping(folder / "target", folder / "evil"):
        for _ in range(tries):
            with suppress(OSError):
                fd = act(folder)
                out += os.path.samestat(os.fstat(fd), canary.stat())
                os.close(fd)
            if out:
                break
    return out


def joined(folder: Path) -> int:
    """The naive way: a path below the root is the host's path with the root before it."""
    return os.open(f"{folder}/target", os.O_PATH)


def looked_at_first(folder: Path) -> int:
    """As good as it gets with names."""
    if (folder / "target").is_symlink():
        raise OSError("a link")
    return joined(folder)


def ours(folder: Path) -> int:
    root = os.open(folder, os.O_PATH)
    try:
        return paths.make_dirs_in_root(root, "/target")
    finally:
        os.close(root)


@pytest.fixture
def shared(short_folder: Path, canary: Canary) -> Path:
    """A folder of the host that two containers share, with a link out of it."""
    folder = short_folder / "shared"
    (folder / "target").mkdir(parents=True)
    (folder / "evil").symlink_to(canary.path)
    return folder


def test_a_mount_goes_where_the_container_has_its_folder(
    box: Box, canary: Canary, shared: Path, short_folder: Path
) -> None:
    (short_folder / "payload").mkdir()
    (short_folder / "payload/mine").touch()
    binds = [f"{shared}:/vol", f"{short_folder}/payload:/vol/target"]
    script = "cut -d' ' -f5 /proc/self/mountinfo"
    seen = set()
    with flipping(shared / "target", shared / "evil"):
        for _ in range(rounds(8)):
            status, said = outcome(
                box, {"Cmd": ["sh", "-c", script], "HostConfig": {"Binds": binds}}
            )
            assert status in (0, 400), said
            if status == 0:  # in the volume, or in the container's own folder of that name
                seen |= {"/vol/target", str(canary.path)} & set(said.split())
    assert seen


@pytest.mark.parametrize("naive", [joined, looked_at_first])
def test_the_neighbour_catches_naive_mounts(
    shared: Path, canary: Canary, naive: Callable[[Path], int]
) -> None:
    assert caught(shared, canary.path, naive, tries=1_000_000)
    assert not caught(shared, canary.path, ours, tries=5000)


@pytest.fixture
def dev(short_folder: Path, canary: Canary) -> Path:
    """A folder for /dev, of whose names each has a twin that is a link to a secret."""
    folder = short_folder / "dev"
    folder.mkdir()
    os.mknod(folder / "null", stat.S_IFCHR | 0o666, NULL)
    (folder / "console").touch()
    for name in ("null", "console"):
        (folder / f"evil-{name}").symlink_to(f"{canary.path}/secret")
    return folder


def test_no_mask_is_made_of_something_else_than_null(box: Box, dev: Path) -> None:
    """The files that are hidden in /proc would be files that can be written."""
    said = set()
    script = "for f in /proc/keys /proc/interrupts; do [ -e $f ] && stat -c %t:%T $f; cat $f; done"
    with flipping(dev / "null", dev / "evil-null"):
        for _ in range(rounds(8)):
            host = {"Binds": [f"{dev}:/dev"]}
            status, text = outcome(box, {"Cmd": ["sh", "-c", script], "HostConfig": host})
            said |= {line for line in text.splitlines() if status == 0}
            assert status == 0 or "/dev/null" in text, text
    assert said <= {"1:3"}


def test_the_neighbour_catches_a_naive_mask(dev: Path) -> None:
    def naive() -> bool:
        """Looks at the device, and takes it by its name."""
        status = os.stat(dev / "null")
        if not stat.S_ISCHR(status.st_mode) or status.st_rdev != NULL:
            return False
        fd = os.open(dev / "null", os.O_PATH)
        taken = os.fstat(fd)
        os.close(fd)
        return stat.S_ISREG(taken.st_mode)

    deadline = time.monotonic() + limit(20)
    with flipping(dev / "null", dev / "evil-null"):
        while not naive():
            assert time.monotonic() < deadline


def test_a_dev_of_somebody_elses_has_no_console(box: Box, dev: Path) -> None:
    """/dev/console is only mounted in a /dev that is the container's own."""
    (dev / "pts").mkdir()
    (dev / "pts/ptmx").symlink_to("/proc/self/fd/3")
    with flipping(dev / "console", dev / "evil-console"):
        for _ in range(rounds(4)):
            host = {"Binds": [f"{dev}:/dev"]}
            status, text = outcome(box, {"Cmd": ["true"], "Tty": True, "HostConfig": host})
            assert status == 400
            assert text.startswith("failed to start container: console: ")


# --- S8, S11: places that init mounts on, writes to and links

PLACES = (
    *("proc", "sys", "dev", "etc", "run", "etc/hosts", "etc/resolv.conf", "etc/hostname"),
    *("dev/pts", "dev/null", "dev/shm", "sys/fs/cgroup", "etc/passwd"),
)
KINDS: dict[str, Callable[[str, str], Member]] = {
    "absolute": made.symlink,
    "relative": lambda place, canary: made.symlink(place, UP + canary[1:]),
    "to a secret": lambda place, canary: made.symlink(place, f"{canary}/secret"),
    "dangling": lambda place, canary: made.symlink(place, f"{canary}/new/folder"),
    "loop": lambda place, _: made.symlink(place, f"/{place}"),
    "to the root": lambda place, _: made.symlink(place, "/"),
    "to proc": lambda place, _: made.symlink(place, "/proc"),
    "to proc's settings": lambda place, _: made.symlink(place, "/proc/sys"),
    "to the host": lambda place, _: made.symlink(place, "/proc/1/root"),
    "to a descriptor": lambda place, _: made.symlink(place, "/proc/self/fd/4"),
    "to sys": lambda place, _: made.symlink(place, "/sys"),
    "FIFO": lambda place, _: made.member(place, tarfile.FIFOTYPE, 0o666),
    "device": lambda place, _: made.member(place, tarfile.BLKTYPE, 0o666, devmajor=8),
    "file": lambda place, _: made.file(place, b"file"),
}
BASE = made.busybox_layer()
LOOK = """
for path in /proc/kcore /proc/keys /proc/timer_list; do head -c 1 $path; done 2> /dev/null
for path in /proc/sys/kernel/hostname /proc/sysrq-trigger /sys/kernel/uevent_helper; do
    [ -e $path ] && (echo x > $path) && echo written $path
done 2> /dev/null
cat "$0/secret"; ls "$0" "$0/folder"
true
"""


def test_special_places_may_be_anything(box: Box, canary: Canary) -> None:
    every = [(place, kind) for place in PLACES for kind in KINDS]
    chosen = random.Random(7).sample(every, min(rounds(7), len(every)))
    for number, (place, kind) in enumerate(chosen):
        load(box, [BASE, made.layer(KINDS[kind](place, str(canary.path)))], "odd:1", {})
        began = time.monotonic()
        command = ["sh", "-c", LOOK, str(canary.path)]
        status, said = outcome(box, {"Image": "odd:1", "Cmd": command, "Tty": number % 2 == 0})
        assert status in (0, 400), (place, kind, said)
        if status == 400:
            assert said.startswith("failed to start container: mount")
        assert "written" not in said, (place, kind)
        assert SECRET.decode().strip() not in said, (place, kind)
        assert "inner" not in said, (place, kind)
        assert time.monotonic() - began < limit(20)  # a FIFO waits for ever


def test_settings_are_written_to_the_kernel_whatever_is_at_proc(box: Box) -> None:
    setting = "sys/net/ipv4/ip_forward"
    fake = [made.folder(f"fake/{name}") for name in ("", "sys", "sys/net", "sys/net/ipv4")]
    link = made.layer(*fake, made.file(f"fake/{setting}", b"image"), made.symlink("proc", "fake"))
    load(box, [BASE, link], "fake:1", {})
    host = {"Sysctls": {"net.ipv4.ip_forward": "1"}, "OomScoreAdj": 300, "NetworkMode": "none"}
    it = begin(box, Image="fake:1", HostConfig=host)
    assert execute(box, it, "cat", f"/proc/{setting}", "/proc/self/oom_score_adj") == "1\n300\n"
    changes = box.daemon.request("GET", f"/containers/{it}/changes")[1]
    assert not [change for change in changes if "ip_forward" in change["Path"]]


# --- S12, S13: volumes that an image asks for


@pytest.mark.parametrize("path", ["/proc", "/sys", "/", "/proc/sys/kernel", "/x/../proc", "../.."])
def test_no_image_has_a_volume_over_the_kernels_files(box: Box, path: str) -> None:
    load(box, [BASE], "over:1", {"Volumes": {path: {}}})
    status, said = outcome(box, {"Image": "over:1", "Cmd": ["true"]})
    assert status == 400
    assert path.lstrip("./x") in said


def test_volumes_of_an_image_get_nothing_of_the_host(box: Box, canary: Canary) -> None:
    places: dict[str, object] = {
        f"/a/{UP}{canary.path}": {},
        "/link": {},
        "/up/folder": {},
        "/magic": {},
    }
    links = made.layer(
        made.symlink("link", str(canary.path)),
        made.symlink("up", UP + str(canary.path)[1:]),
        made.symlink("magic", f"/proc/self/cwd/{UP}{canary.path}"),
    )
    load(box, [BASE, links], "leading:1", {"Volumes": places})
    script = f"find {canary.path} /link/ /up/ /magic/ -type f; touch /link/made /up/folder/made"
    status, said = outcome(box, {"Image": "leading:1", "Cmd": ["sh", "-c", script]})
    assert status in (0, 400)
    assert "secret" not in said
    assert "inner" not in said


# --- S14: the end of a container


def test_nothing_is_deleted_through_what_stood_in_for_a_mount(
    box: Box, canary: Canary, short_folder: Path
) -> None:
    """Mount points of the container are replaced by links, in its layer and in its volumes."""
    script = f"""
        mv /a /aside; ln -s {canary.path} /a; mv /etc /other; ln -s {canary.path} /etc
        for n in 1 2 3; do ln -s {canary.path} /v/$n; ln -s {canary.path}/secret /v/file$n; done
        mkdir -p /v/deep/er; mv /v/deep /v/moved; ln -s {canary.path} /v/deep
        ln -s / /v/root; ln -s {UP} /v/up; ln -s /proc/1/root /v/magic
    """
    (short_folder / "bound").mkdir()
    (short_folder / "bound/kept").touch()
    for _ in range(rounds(2)):
        it = begin(
            box,
            Volumes={"/a/b/c": {}, "/v": {}},
            WorkingDir="/new/w",
            HostConfig={"Binds": [f"{short_folder}/bound:/a/bound"], "Tmpfs": {"/a/t": ""}},
        )
        execute(box, it, "sh", "-c", script)
        assert box.daemon.request("POST", f"/containers/{it}/restart?t=0")[0] == 204
        box.remove_all()
        assert not box.daemon.request("GET", "/volumes")[1]["Volumes"]
        assert canary.unchanged()
    assert os.listdir(short_folder / "bound") == ["kept"]


# --- S21: files that the engine writes for a container


def test_etc_files_are_not_written_through_links(
    box: Box, canary: Canary, short_folder: Path
) -> None:
    etc = short_folder / "etc"
    etc.mkdir()
    for name, target in (
        ("hosts", f"{canary.path}/secret"),
        ("hostname", f"{UP}{canary.path}/folder/inner"),
        ("resolv.conf", f"{canary.path}/new"),
    ):
        (etc / name).symlink_to(target)
    host = {"Binds": [f"{etc}:/etc"], "ExtraHosts": ["a:1.2.3.4"]}
    it = begin(box, Hostname="evil", HostConfig=host)
    execute(box, it, "sh", "-c", "echo more >> /etc/hosts; echo more > /etc/resolv.conf")
    assert box.daemon.request("POST", f"/containers/{it}/restart?t=0")[0] == 204
    assert "1.2.3.4" in execute(box, it, "cat", "/etc/hosts")
