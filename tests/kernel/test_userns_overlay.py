"""An overlay made by the host's root for a container in a user namespace of its own.

The recipe, all of it before the container's init exists:

1. Have a user namespace with the container's id maps (any with the same maps does).
2. Lower layers: a clone of each folder's mount, idmapped by that namespace.
3. Upper and work: one clone of the mount of their common folder, idmapped too; both folders
   are opened through it. Files are then stored with the ids that the container sees: a
   layer, an upper or a commit need no chown and no shift, whatever range it runs with.
4. Make the superblock with the file-system ids of the container's root. Overlay works in
   `workdir` with its maker's credentials, and host root has no id in an idmapped upper
   (EOVERFLOW; overlay then mounts read-only without failing). setfsuid drops CAP_CHOWN and
   its like, which overlay needs, so they are raised again.
5. clone3 with user and mount namespace; the child moves the detached mount onto "/".

Without idmapping the upper (`SHIFTED`) files are stored with host ids: simpler, but bound
to the range, and the upper folder must be given to the container's root first.
"""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from supervisor.kernel import capabilities, mounts, namespaces, process
from supervisor.kernel.mounts import AT_FDCWD
from tests.kernel.forked import (
    OUTER,
    SIZE,
    become_root_of,
    error_of,
    exit_code,
    in_child,
    map_ids,
    overlay,
    user_namespace,
)

OVERFLOW = 65534  # what an id without a mapping looks like (/proc/sys/kernel/overflowuid)
CONTAINER = namespaces.CLONE_NEWUSER | namespaces.CLONE_NEWNS | namespaces.CLONE_NEWPID


@dataclass(frozen=True)
class Recipe:
    """Which parts of the recipe are followed, and for which range of ids."""

    lower_idmapped: bool
    upper_idmapped: bool
    as_container_root: bool = False
    upper_given_away: bool = False
    outer: int = OUTER


STORED_AS_SEEN = Recipe(lower_idmapped=True, upper_idmapped=True, as_container_root=True)
SHIFTED = Recipe(lower_idmapped=True, upper_idmapped=False, upper_given_away=True)
NOTHING_MAPPED = Recipe(lower_idmapped=False, upper_idmapped=False)
NOT_AS_CONTAINER_ROOT = Recipe(lower_idmapped=True, upper_idmapped=True)


@pytest.fixture
def layers(short_folder: Path) -> Path:
    """lower/ with files of root and of user 1000; disk/upper and disk/work."""
    for name in ("lower", "lower/proc", "lower/sys", "lower/home", "disk"):
        (short_folder / name).mkdir()
    for name in ("lower/file", "lower/gone", "lower/home/file"):
        (short_folder / name).write_text("lower")
    for name in ("lower/home", "lower/home/file"):
        os.chown(short_folder / name, 1000, 1000)
    make_upper(short_folder)
    return short_folder


def make_upper(folder: Path, name: str = "disk") -> None:
    for part in ("upper", "work"):
        (folder / name / part).mkdir(parents=True)


# --- the recipe -----------------------------------------------------------------------------


def mapped_clone(path: Path, users: int) -> int:
    """A detached clone of the folder's mount; idmapped unless `users` is -1."""
    fd = mounts.open_tree(AT_FDCWD, str(path), mounts.OPEN_TREE_CLONE)
    if users >= 0:
        mounts.mount_setattr(fd, "", userns_fd=users)
    return fd


@contextmanager
def file_ids(outer: int) -> Iterator[None]:
    """Files are made as `outer`, with all capabilities that the process has now."""
    effective, permitted, inheritable = capabilities.get_capabilities()
    process.set_filesystem_ids(outer, outer)
    try:
        capabilities.set_capabilities(effective, permitted, inheritable)
        yield
    finally:
        process.set_filesystem_ids(0, 0)


def make_root(folder: Path, recipe: Recipe, disk: str = "disk") -> int:
    """A detached overlay of the layers; nothing but its fd is left."""
    users = user_namespace([(0, recipe.outer, SIZE)])
    if recipe.upper_given_away:
        os.chown(folder / disk / "upper", recipe.outer, recipe.outer)
    lower = mapped_clone(folder / "lower", users if recipe.lower_idmapped else -1)
    writable = mapped_clone(folder / disk, users if recipe.upper_idmapped else -1)
    upper, work = (os.open(name, os.O_PATH, dir_fd=writable) for name in ("upper", "work"))
    try:
        with file_ids(recipe.outer if recipe.as_container_root else 0):
            return overlay([lower], upper, work)
    finally:
        for fd in (users, lower, writable, upper, work):
            os.close(fd)


def in_container(root: int, body: Callable[[], Any], *, outer: int = OUTER, flags: int = 0) -> Any:
    """What `body` returns as root of new user, mount and pid namespaces; takes `root`."""
    go_read, go_write = os.pipe()
    read_end, write_end = os.pipe()
    pid, pidfd = namespaces.clone3(CONTAINER | flags)
    if pid == 0:
        try:
            os.read(go_read, 1)
            become_container_root()
            report = json.dumps({"value": body()})
        except BaseException:
            report = json.dumps({"error": traceback.format_exc()})
        os.write(write_end, report.encode())
        os._exit(0)
    map_ids(pid, [(0, outer, SIZE)])
    os.write(go_write, b"x")
    for fd in (write_end, go_read, go_write):
        os.close(fd)
    with open(read_end, "rb") as pipe:
        found = json.loads(pipe.read())
    exit_code(pid)
    os.close(pidfd)
    os.close(root)
    if "error" in found:
        pytest.fail(found["error"], pytrace=False)
    return found["value"]


def become_container_root() -> None:
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def owner(path: str | Path) -> list[int]:
    found = os.lstat(path)
    return [found.st_uid, found.st_gid]


# --- what comes of it -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "recipe, stored_root",
    [(STORED_AS_SEEN, 0), (SHIFTED, OUTER)],
    ids=["stored as seen", "shifted"],
)
def test_the_container_owns_its_files(recipe: Recipe, stored_root: int, layers: Path) -> None:
    root = make_root(layers, recipe)

    def body() -> dict[str, list[int]]:
        become_root_of(root)
        Path("/new").touch()
        os.mkdir("/folder")
        Path("/file").write_text("changed")
        os.unlink("/gone")
        os.chown("/home/file", 7, 8)
        os.setresgid(1000, 1000, 1000)
        os.setresuid(1000, 1000, 1000)
        Path("/home/of_user").touch()
        found = {name: owner(f"/{name}") for name in ("", "file", "new", "folder")}
        return found | {name: owner(f"/home/{name}") for name in ("", "file", "of_user")}

    before = mounts.mountinfo()
    assert in_container(root, body) == {
        "": [1000, 1000],
        "new": [0, 0],
        "folder": [0, 0],
        "file": [7, 8],
        "of_user": [1000, 1000],
    }
    assert mounts.mountinfo() == before
    upper = layers / "disk/upper"
    assert owner(upper / "new") == [stored_root] * 2
    assert owner(upper / "folder") == [stored_root] * 2
    assert owner(upper / "file") == [stored_root] * 2
    assert owner(upper / "home/file") == [stored_root + 7, stored_root + 8]
    assert owner(upper / "home/of_user") == [stored_root + 1000] * 2
    assert os.stat(upper / "gone").st_rdev == 0  # a whiteout
    assert (layers / "lower/file").read_text() == "lower"
    assert owner(layers / "lower/home/file") == [1000, 1000]


def test_without_idmapping_everything_is_nobodys(layers: Path) -> None:
    root = make_root(layers, NOTHING_MAPPED)

    def body() -> list[object]:
        become_root_of(root)
        return [owner("/file"), refusal("/new")]

    assert in_container(root, body) == [[OVERFLOW, OVERFLOW], "EACCES"]


def test_an_idmapped_upper_made_as_host_root_is_read_only(layers: Path) -> None:
    """Step 4 left out; nothing but the first write tells."""
    root = make_root(layers, NOT_AS_CONTAINER_ROOT)

    def body() -> list[object]:
        become_root_of(root)
        return [owner("/file"), refusal("/new")]

    assert in_container(root, body) == [[0, 0], "EROFS"]


def refusal(path: str) -> str:
    """Why the file cannot be made."""
    try:
        Path(path).touch()
    except PermissionError:
        return "EACCES"
    except OSError as error:
        return "EROFS" if "Read-only" in str(error) else str(error)
    return ""


def test_one_layer_serves_two_ranges_at_once(layers: Path) -> None:
    make_upper(layers, "disk2")
    second = Recipe(
        lower_idmapped=True, upper_idmapped=True, as_container_root=True, outer=OUTER + SIZE
    )
    roots = {
        OUTER: make_root(layers, STORED_AS_SEEN),
        second.outer: make_root(layers, second, "disk2"),
    }
    for outer, root in roots.items():

        def body(root: int = root) -> list[list[int]]:
            become_root_of(root)
            Path("/new").touch()
            return [owner("/file"), owner("/home"), owner("/new")]

        assert in_container(root, body, outer=outer) == [[0, 0], [1000, 1000], [0, 0]]
    for name in ("disk", "disk2"):
        assert owner(layers / name / "upper/new") == [0, 0]


def test_an_upper_moves_between_containers_with_and_without_a_range(layers: Path) -> None:
    """Stored as seen: the same upper, later, in a container without a user namespace."""
    root = make_root(layers, STORED_AS_SEEN)

    def write() -> None:
        become_root_of(root)
        Path("/new").write_text("kept")

    in_container(root, write)

    def read() -> list[object]:
        fd = make_root(layers, NOTHING_MAPPED)
        become_root_of(fd)
        os.close(fd)
        return [Path("/new").read_text(), owner("/new"), owner("/home")]

    assert in_child(read) == ["kept", [0, 0], [1000, 1000]]


# --- what else init must know ---------------------------------------------------------------


def test_proc_must_be_mounted_while_the_old_root_is_there(layers: Path) -> None:
    """A user namespace may mount proc only where one is fully visible (mount_too_revealing)."""
    late, early = make_root(layers, STORED_AS_SEEN), -1

    def after() -> str:
        become_root_of(late)
        return error_of(mounts.mount, "proc", "/proc", "proc")

    assert in_container(late, after) == "EPERM"
    early = make_root(layers, STORED_AS_SEEN)

    def before() -> list[str]:
        mounts.move_mount(early, AT_FDCWD, "/")
        os.fchdir(early)
        mounts.mount("proc", "proc", "proc")
        mounts.pivot_root(".", ".")
        mounts.umount(".", mounts.MNT_DETACH)
        os.chdir("/")
        return [entry.mount_point for entry in mounts.mountinfo()]

    assert in_container(early, before) == ["/", "/proc"]


@pytest.mark.parametrize(
    "flags, expected", [(0, "EPERM"), (namespaces.CLONE_NEWNET, "")], ids=["host's", "own"]
)
def test_sysfs_needs_a_network_namespace_of_its_own(
    flags: int, expected: str, layers: Path
) -> None:
    root = make_root(layers, STORED_AS_SEEN)

    def body() -> str:
        mounts.move_mount(root, AT_FDCWD, "/")
        os.fchdir(root)
        if expected:
            return error_of(mounts.mount, "sysfs", "sys", "sysfs")
        mounts.mount("sysfs", "sys", "sysfs")
        return ""

    assert in_container(root, body, flags=flags) == expected


def test_a_root_made_read_only_outside_is_not_locked_inside(layers: Path) -> None:
    """CAP_SYS_ADMIN in the container's own user namespace may undo it: read-only holds by
    the container's capabilities, or in a user namespace below."""
    root = make_root(layers, STORED_AS_SEEN)
    mounts.mount_setattr(root, "", set=mounts.MOUNT_ATTR_RDONLY)

    def body() -> list[str]:
        become_root_of(root)
        found = [refusal("/new")]
        pid = os.fork()
        if pid == 0:
            namespaces.unshare(namespaces.CLONE_NEWUSER | namespaces.CLONE_NEWNS)
            clear = mounts.MOUNT_ATTR_RDONLY
            os._exit(error_of(mounts.mount_setattr, AT_FDCWD, "/", clear=clear) != "EPERM")
        found.append("locked below" if exit_code(pid) == 0 else "open below")
        mounts.mount_setattr(AT_FDCWD, "/", clear=mounts.MOUNT_ATTR_RDONLY)
        return [*found, refusal("/new")]

    assert in_container(root, body) == ["EROFS", "locked below", ""]


def test_a_mount_passed_to_a_container_is_used_up(layers: Path) -> None:
    root = make_root(layers, STORED_AS_SEEN)
    again = os.dup(root)
    in_container(root, lambda: become_root_of(root))
    assert (
        in_container(again, lambda: error_of(mounts.move_mount, again, AT_FDCWD, "/")) == "EINVAL"
    )
