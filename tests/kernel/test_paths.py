"""supervisor.kernel.paths: nothing leads out of a root; what is made is where chroot sees it."""

from __future__ import annotations

import os
import signal
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from supervisor.errors import KernelError
from supervisor.kernel import mounts, paths
from tests.kernel.forked import error_of, in_child, is_cloexec

OF_THE_HOST = "the host's"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A container's root; beside it, a secret of the host."""
    (tmp_path / "secret").write_text(OF_THE_HOST)
    (tmp_path / "outside").mkdir()
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/secret").write_text("the container's")
    (root / "secret").write_text("the container's")
    return root


@pytest.fixture
def root_fd(root: Path) -> Iterator[int]:
    fd = os.open(root, os.O_PATH | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def read(root_fd: int, path: str) -> str:
    with open(paths.open_in_root(root_fd, path, os.O_RDONLY)) as file:
        return file.read()


# --- openat2 --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "../secret",
        "../../../../secret",
        "/secret",
        "/../secret",
        "etc/../../secret",
        "up/secret",
        "up/up/../secret",
        "absolute/secret",
        "chain",
    ],
)
def test_every_way_up_ends_at_the_root(path: str, root: Path, root_fd: int) -> None:
    (root / "up").symlink_to("../../..")
    (root / "absolute").symlink_to("/")
    (root / "etc/link").symlink_to("/up/../secret")
    (root / "chain").symlink_to("etc/link")
    assert read(root_fd, path) == "the container's"


def test_a_link_by_the_hosts_own_path_is_not_found(
    tmp_path: Path, root: Path, root_fd: int
) -> None:
    (root / "host").symlink_to(tmp_path / "secret")
    assert (root / "host").read_text() == OF_THE_HOST
    assert error_of(paths.open_in_root, root_fd, "host", os.O_RDONLY) == "ENOENT"


@pytest.mark.parametrize("target", ["/proc/self/root/", "/proc/self/cwd/", "/proc/self/fd/{fd}/"])
def test_magic_links_are_refused(target: str, root: Path, tmp_path: Path) -> None:
    (root / "proc").mkdir()

    def body() -> list[str]:
        mounts.mount("proc", str(root / "proc"), "proc")
        root_fd = os.open(root, os.O_PATH)  # one from before would see the old namespace's mounts
        os.chdir("/")
        host = os.open("/", os.O_PATH)
        (root / "magic").symlink_to(target.format(fd=host))
        found = [
            error_of(paths.open_in_root, root_fd, path, os.O_RDONLY)
            for path in (f"{target.format(fd=host)}etc/passwd", "magic/etc/passwd")
        ]
        found += [
            error_of(make, root_fd, f"magic{tmp_path}/outside/new")
            for make in (paths.make_dirs_in_root, paths.make_file_in_root)
        ]
        os.close(host)
        os.close(root_fd)
        return found

    assert in_child(body) == ["ELOOP"] * 4
    assert os.listdir(tmp_path / "outside") == []


@pytest.mark.parametrize(
    "path, resolve, expected",
    [
        ("../secret", paths.RESOLVE_BENEATH, "EXDEV"),
        ("/secret", paths.RESOLVE_BENEATH, "EXDEV"),
        ("up/secret", paths.RESOLVE_BENEATH, "EXDEV"),
        ("inner", paths.RESOLVE_NO_SYMLINKS, "ELOOP"),
        ("etc", 1 << 40, "EINVAL"),
    ],
)
def test_resolve_flags(path: str, resolve: int, expected: str, root: Path, root_fd: int) -> None:
    (root / "up").symlink_to("..")
    (root / "inner").symlink_to("secret")
    assert error_of(paths.openat2, root_fd, path, os.O_RDONLY, resolve=resolve) == expected


def test_mode_and_close_on_exec(root: Path, root_fd: int) -> None:
    fd = paths.openat2(root_fd, "new", os.O_WRONLY | os.O_CREAT, mode=0o600)
    assert is_cloexec(fd)
    os.close(fd)
    assert stat.S_IMODE(os.stat(root / "new").st_mode) == 0o600


def test_the_error_names_the_path(root_fd: int) -> None:
    with pytest.raises(KernelError) as caught:
        paths.openat2(root_fd, "no/such", os.O_RDONLY)
    assert str(caught.value) == "openat2 no/such: No such file or directory"


def test_a_nul_does_not_cut_the_path(root_fd: int) -> None:
    for call in (paths.make_dirs_in_root, paths.make_file_in_root):
        assert error_of(call, root_fd, "etc/x\0y") == "EINVAL"
    assert error_of(paths.openat2, root_fd, "etc\0y", os.O_RDONLY) == "EINVAL"


# --- making what is missing -----------------------------------------------------------------

LINKS = {
    "to_etc": "etc",
    "absolute": "/etc",
    "climbing": "../../../etc",
    "dangling": "made/by/link",
    "dangling_up": "../../above",
    "etc/back": "../dangling",
    "chain": "etc/back",
}
MADE = [
    "a",
    "/a/b/c",
    "a//b/./c/",
    "../../a",
    "a/../b",
    "etc",
    "/",
    "to_etc/x/y",
    "absolute/x/y",
    "climbing/x",
    "dangling",
    "dangling/x",
    "dangling_up/x",
    "chain/x/y",
    "chain/../z",
    "é/\udcff",
]


@pytest.fixture
def linked(root: Path) -> Path:
    for name, target in LINKS.items():
        (root / name).symlink_to(target)
    return root


def identity_in_chroot(root: Path, path: str) -> list[int]:
    """Device and inode of what a process in the root finds at `path`."""

    def body() -> list[int]:
        os.chroot(root)
        os.chdir("/")
        found = os.stat(path)
        return [found.st_dev, found.st_ino]

    return list(in_child(body))


@pytest.mark.parametrize("path", MADE)
def test_made_folders_are_where_the_container_sees_them(
    path: str, linked: Path, root_fd: int, tmp_path: Path
) -> None:
    fd = paths.make_dirs_in_root(root_fd, path)
    assert is_cloexec(fd)
    found = os.fstat(fd)
    os.close(fd)
    assert stat.S_ISDIR(found.st_mode)
    assert [found.st_dev, found.st_ino] == identity_in_chroot(linked, path)
    assert sorted(os.listdir(tmp_path)) == ["outside", "root", "secret"]


@pytest.mark.parametrize("path", [path for path in MADE if path not in ("etc", "/")])
def test_made_files_are_where_the_container_sees_them(
    path: str, linked: Path, root_fd: int, tmp_path: Path
) -> None:
    fd = paths.make_file_in_root(root_fd, path, 0o640)
    found = os.fstat(fd)
    os.close(fd)
    assert stat.S_ISREG(found.st_mode)
    assert (found.st_size, stat.S_IMODE(found.st_mode)) == (0, 0o640)
    assert [found.st_dev, found.st_ino] == identity_in_chroot(linked, path.rstrip("/"))
    assert sorted(os.listdir(tmp_path)) == ["outside", "root", "secret"]


def test_what_exists_stays_as_it_is(root: Path, root_fd: int) -> None:
    (root / "dir").mkdir(mode=0o700)
    os.mkfifo(root / "pipe")
    for fd in (
        paths.make_dirs_in_root(root_fd, "dir"),
        paths.make_file_in_root(root_fd, "secret"),
        paths.make_file_in_root(root_fd, "pipe"),
    ):
        os.close(fd)
    assert stat.S_IMODE(os.stat(root / "dir").st_mode) == 0o700
    assert (root / "secret").read_text() == "the container's"
    assert stat.S_ISFIFO(os.stat(root / "pipe").st_mode)


def test_modes(root: Path, root_fd: int) -> None:
    os.close(paths.make_dirs_in_root(root_fd, "a/b", 0o711))
    assert [stat.S_IMODE(os.stat(root / p).st_mode) for p in ("a", "a/b")] == [0o711, 0o711]


@pytest.mark.parametrize(
    "make, path, expected",
    [
        (paths.make_dirs_in_root, "secret", "ENOTDIR"),
        (paths.make_dirs_in_root, "secret/x", "ENOTDIR"),
        (paths.make_dirs_in_root, "to_file/x", "ENOTDIR"),
        (paths.make_dirs_in_root, "new/../to_file", "ENOTDIR"),
        (paths.make_file_in_root, "secret/../x", "ENOTDIR"),
        (paths.make_file_in_root, "etc", "EISDIR"),
        (paths.make_file_in_root, "/", "EISDIR"),
        (paths.make_dirs_in_root, "loop/x", "ELOOP"),
        (paths.make_file_in_root, "loop", "ELOOP"),
        (paths.make_dirs_in_root, "n" * 300, "ENAMETOOLONG"),
        (paths.make_file_in_root, "n" * 300, "ENAMETOOLONG"),
    ],
)
def test_refusals(
    make: Callable[[int, str], int], path: str, expected: str, root: Path, root_fd: int
) -> None:
    (root / "to_file").symlink_to("secret")
    (root / "loop").symlink_to("pool")
    (root / "pool").symlink_to("loop")
    with pytest.raises(KernelError) as caught:
        make(root_fd, path)
    assert error_of(make, root_fd, path) == expected
    assert caught.value.path == path


def test_mounts_inside_the_root_are_crossed(root: Path) -> None:
    (root / "dev").mkdir()

    def body() -> list[str]:
        mounts.mount("none", str(root / "dev"), "tmpfs")
        root_fd = os.open(root, os.O_PATH)
        os.close(paths.make_dirs_in_root(root_fd, "/dev/shm"))
        os.close(paths.make_file_in_root(root_fd, "/dev/console"))
        os.close(root_fd)
        return sorted(os.listdir(root / "dev"))

    assert in_child(body) == ["console", "shm"]
    assert os.listdir(root / "dev") == []


def flip(root: Path, target: Path) -> None:
    """Replace a folder by a link out of the root and back, for ever."""
    while True:
        os.rename(root / "d", root / "aside")
        os.symlink(target, root / "d")
        os.unlink(root / "d")
        os.symlink("../../outside", root / "d")
        os.unlink(root / "d")
        os.rename(root / "aside", root / "d")


def test_a_flipping_link_leads_nowhere(root: Path, root_fd: int, tmp_path: Path) -> None:
    (root / "d").mkdir()
    flipper = os.fork()
    if flipper == 0:
        try:
            flip(root, tmp_path / "outside")
        finally:
            os._exit(1)
    made = 0
    try:
        deadline = time.monotonic() + 0.5
        while time.monotonic() < deadline:
            for make in (paths.make_dirs_in_root, paths.make_file_in_root):
                with suppress(KernelError):  # losing the race is fine
                    os.close(make(root_fd, f"d/{made}/{make.__name__}"))
                    made += 1
    finally:
        os.kill(flipper, signal.SIGKILL)
        os.waitpid(flipper, 0)
    assert made > 0
    assert os.listdir(tmp_path / "outside") == []
    assert sorted(os.listdir(tmp_path)) == ["outside", "root", "secret"]
