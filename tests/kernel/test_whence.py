"""Where a path comes from, held to what the kernel's own overlay shows."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count, product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from supervisor.errors import Conflict, InvalidArgument, KernelError
from supervisor.kernel import mounts
from supervisor.kernel.mounts import AT_FDCWD
from supervisor.kernel.paths import open_in_root, openat2
from supervisor.kernel.process import start_time
from supervisor.snapshot import whence
from supervisor.snapshot.stack import kind
from tests.kernel.forked import in_child, open_fds, sleeping_child

OPAQUE = "trusted.overlay.opaque"
NAMES = ("a", "b", "c")
PATHS = ["/".join(parts) for depth in (1, 2, 3) for parts in product(NAMES, repeat=depth)]
TARGETS = ("a", "../b", "/c", "/a/b", "b/c", "c/..", "../../a", "nowhere")

Entry = tuple[str, str, str]
"""(path, what, link target); what: file, folder, opaque, whiteout, link."""


def ask(layers: list[Path], path: str, **options: Any) -> dict[str, Any]:
    arguments = {
        "path": path,
        "follow": True,
        "layers": list(map(str, layers)),
        "overlay": True,
        "mounts": [],
    }
    return whence.run({**arguments, **options}, {}, lambda _: None)


def states(answer: dict[str, Any]) -> list[str]:
    return [row["state"] for row in answer["layers"]]


def make(layer: Path, number: int, entry: Entry) -> None:
    """Put one entry into a layer; what does not go with earlier ones is left out."""
    path, what, target = entry
    here = layer / path
    for folder in reversed(here.relative_to(layer).parents):
        parent = layer / folder
        if not os.path.lexists(parent):
            parent.mkdir()
            parent.chmod(0o700 + number)
        if parent.is_symlink() or not parent.is_dir():
            return
    if os.path.lexists(here):
        return
    if what == "file":
        here.write_text(f"{number}:{path}")
    elif what == "whiteout":
        os.mknod(here, stat.S_IFCHR, 0)
    elif what == "link":
        here.symlink_to(target)
    else:
        here.mkdir()
        here.chmod(0o700 + number)
        if what == "opaque":
            os.setxattr(here, OPAQUE, b"y")


def build(folder: Path, stack: list[list[Entry]]) -> list[Path]:
    """The layers' folders, top-most first."""
    layers = []
    for number, entries in enumerate(stack):
        layer = folder / str(number)
        layer.mkdir(parents=True)
        for entry in entries:
            make(layer, number, entry)
        layers.append(layer)
    (folder / "work").mkdir()
    return layers


@contextmanager
def shown_by_kernel(layers: list[Path], work: Path) -> Iterator[int]:
    """A descriptor of the overlay of these layers, the first of them writable."""
    context = mounts.fsopen("overlay")
    try:
        for lower in layers[1:]:
            mounts.fsconfig_string(context, "lowerdir+", str(lower))
        mounts.fsconfig_string(context, "upperdir", str(layers[0]))
        mounts.fsconfig_string(context, "workdir", str(work))
        for option in ("redirect_dir", "metacopy", "index"):
            mounts.fsconfig_string(context, option, "off")
        mounts.fsconfig_create(context)
        root = mounts.fsmount(context)
    finally:
        os.close(context)
    try:
        yield root
    finally:
        os.close(root)


def kernel_sees(root: int, path: str, *, follow: bool) -> dict[str, Any]:
    flags = os.O_PATH | (0 if follow else os.O_NOFOLLOW)
    try:
        fd = open_in_root(root, path, flags)
    except KernelError as error:
        return {"errno": errno.errorcode[error.errno or 0]}
    try:
        status = os.fstat(fd)
        seen: dict[str, Any] = {"kind": kind(status), "mode": stat.S_IMODE(status.st_mode)}
        if stat.S_ISREG(status.st_mode):
            seen["text"] = Path(f"/proc/self/fd/{fd}").read_text()
        if stat.S_ISLNK(status.st_mode):
            seen["text"] = os.readlink("", dir_fd=fd)
        return seen
    finally:
        os.close(fd)


def exists(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


ERRNOS = {"missing": "ENOENT", "not a directory": "ENOTDIR", "too many links": "ELOOP"}


def compare(root: int, layers: list[Path], path: str, *, follow: bool) -> None:
    """The kernel and `whence` agree on the path, and on the layer by its content."""
    answer = ask(layers, path, follow=follow)
    seen = kernel_sees(root, path, follow=follow)
    note = (path, follow, seen, answer)
    if not answer["exists"]:
        assert answer["exists"] is False, note
        assert seen == {"errno": ERRNOS[answer["problem"]]}, note
        assert answer["layer"] is None, note
        if answer["problem"] == "missing":
            assert "shown" not in states(answer), note
        return
    assert answer["problem"] == "", note
    assert seen.get("kind") == answer["file"]["kind"], note
    assert seen["mode"] == answer["file"]["mode"], note
    rows = [row["layer"] for row in answer["layers"] if row["state"] == "shown"]
    assert rows[0] == answer["layer"], note
    if seen["kind"] == "file":
        text = (layers[answer["layer"]] / answer["path"][1:]).read_text()
        assert seen["text"] == text, note
        assert len(rows) == 1, note
    if seen["kind"] == "symlink":
        assert seen["text"] == answer["link"], note
    if seen["kind"] == "directory":
        names = {n for row in rows for n in os.listdir(layers[row] / answer["path"][1:])}
        fd = openat2(root, answer["path"][1:] or ".", os.O_RDONLY | os.O_DIRECTORY)
        try:
            # A folder of one layer alone is listed as it is, with whiteouts that are no files.
            listed = {name for name in os.listdir(fd) if exists(fd, name)}
        finally:
            os.close(fd)
        base = answer["path"].rstrip("/")
        there = {n for n in names if ask(layers, f"{base}/{n}", follow=False)["exists"]}
        assert listed == there, note
    hidden = [row for row in answer["layers"] if row["state"] == "hidden"]
    assert all(row["by"] < row["layer"] and answer["path"].startswith(row["at"]) for row in hidden)


def compare_all(layers: list[Path], work: Path) -> None:
    with shown_by_kernel(layers, work) as root:
        for path in ("/", *PATHS):
            for follow in (True, False):
                compare(root, layers, path, follow=follow)


entries = st.tuples(
    st.sampled_from(PATHS),
    st.sampled_from(["file", "file", "folder", "folder", "opaque", "whiteout", "link"]),
    st.sampled_from(TARGETS),
)
stacks = st.lists(st.lists(entries, max_size=7), min_size=2, max_size=5)
_numbers = count()
REAL = settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@REAL
@given(stacks)
def test_every_path_of_any_stack_is_from_where_the_kernel_has_it(
    short_folder: Path, stack: list[list[Entry]]
) -> None:
    folder = short_folder / str(next(_numbers))
    layers = build(folder, stack)
    in_child(lambda: compare_all(layers, folder / "work"))
    shutil.rmtree(folder)


deeds = st.lists(
    st.tuples(
        st.sampled_from(["write", "append", "remove", "mkdir", "link", "rename"]),
        st.sampled_from(PATHS),
        st.sampled_from(PATHS),
    ),
    min_size=1,
    max_size=8,
)


def do(root: str, deed: str, path: str, other: str) -> None:
    """One change in the overlay, by paths that lead over no link; some cannot be."""
    here, there = f"{root}/{path}", f"{root}/{other}"
    for parent in (os.path.dirname(here), os.path.dirname(there)):
        if os.path.realpath(parent) != parent:
            return
    try:
        match deed:
            case "write" | "append":
                if not os.path.islink(here):
                    with Path(here).open("w" if deed == "write" else "a") as file:
                        file.write(f"new {path}")
            case "remove":
                if os.path.isdir(here) and not os.path.islink(here):
                    shutil.rmtree(here)
                else:
                    os.unlink(here)
            case "mkdir":
                os.mkdir(here)
            case "link":
                os.symlink(f"/{other}", here)
            case "rename":
                os.rename(here, there)
    except OSError:
        pass


@REAL
@given(stacks, deeds)
def test_what_a_container_did_is_in_its_writable_layer(
    short_folder: Path, stack: list[list[Entry]], done: list[tuple[str, str, str]]
) -> None:
    folder = short_folder / str(next(_numbers))
    layers = build(folder, [[], *stack])
    at = folder / "root"
    at.mkdir()

    def body() -> None:
        with shown_by_kernel(layers, folder / "work") as root:
            mounts.move_mount(root, AT_FDCWD, str(at))
            for deed in done:
                do(str(at), *deed)
        compare_all_at(layers, at)

    in_child(body)
    shutil.rmtree(folder)


def compare_all_at(layers: list[Path], at: Path) -> None:
    root = os.open(at, os.O_PATH | os.O_DIRECTORY)
    try:
        for path in ("/", *PATHS):
            for follow in (True, False):
                compare(root, layers, path, follow=follow)
    finally:
        os.close(root)


# --- what is said of one path -----------------------------------------------------------------


@pytest.fixture
def layers(short_folder: Path) -> list[Path]:
    """A small image of three layers below an empty writable one."""
    return build(
        short_folder / "stack",
        [
            [],
            [("etc/motd", "file", ""), ("opt", "opaque", ""), ("opt/new", "file", "")],
            [("etc/gone", "whiteout", ""), ("etc/motd", "file", ""), ("lib", "link", "usr/lib")],
            [
                ("etc/motd", "file", ""),
                ("etc/gone", "file", ""),
                ("usr/lib/x", "file", ""),
                ("opt/old", "file", ""),
                ("lib64", "link", "/lib/"),
                ("loop", "link", "loop"),
            ],
        ],
    )


def test_a_file_that_lower_layers_have_too(layers: list[Path]) -> None:
    answer = ask(layers, "etc/motd")
    assert (answer["path"], answer["layer"], answer["exists"]) == ("/etc/motd", 1, True)
    assert states(answer) == ["absent", "shown", "hidden", "hidden"]
    assert answer["layers"][3] | {"by": 1, "at": "/etc/motd"} == answer["layers"][3]
    assert answer["file"]["size"] == len("1:etc/motd")
    assert answer["mount"] is None


def test_a_deleted_file(layers: list[Path]) -> None:
    answer = ask(layers, "/etc/gone")
    assert (answer["exists"], answer["problem"], answer["stopped"]) == (
        False,
        "missing",
        "/etc/gone",
    )
    assert states(answer) == ["absent", "absent", "deletes", "hidden"]
    assert answer["layers"][2]["at"] == "/etc/gone"
    assert answer["layers"][3]["by"] == 2


def test_below_an_opaque_folder(layers: list[Path]) -> None:
    answer = ask(layers, "/opt/old")
    assert states(answer) == ["absent", "opaque", "absent", "hidden"]
    assert (answer["layers"][1]["at"], answer["layers"][3]["by"]) == ("/opt", 1)
    assert states(ask(layers, "/opt")) == ["absent", "shown", "absent", "hidden"]


def test_links_step_by_step(layers: list[Path]) -> None:
    answer = ask(layers, "/lib64/../lib/x")
    assert answer["path"] == "/usr/lib/x"
    assert [(s["path"], s["target"], s["layer"]) for s in answer["steps"]] == [
        ("/lib64", "/lib/", 3),
        ("/lib", "usr/lib", 2),
    ]
    kept = ask(layers, "/lib64", follow=False)
    assert (kept["path"], kept["link"], kept["steps"]) == ("/lib64", "/lib/", [])
    assert ask(layers, "/lib64")["path"] == "/usr/lib"
    assert ask(layers, "/loop")["problem"] == "too many links"


@pytest.mark.parametrize(
    "path, problem, stopped, whole",
    [
        ("/nope/x/y", "missing", "/nope", "/nope/x/y"),
        ("/etc/motd/x", "not a directory", "/etc/motd", "/etc/motd/x"),
        ("/etc/motd/", "not a directory", "/etc/motd", "/etc/motd"),
        ("/nope/../etc", "missing", "/nope", "/nope"),
        ("/lib/nope", "missing", "/usr/lib/nope", "/usr/lib/nope"),
    ],
)
def test_paths_that_are_not_there(
    layers: list[Path], path: str, problem: str, stopped: str, whole: str
) -> None:
    answer = ask(layers, path)
    found = (answer["exists"], answer["problem"], answer["stopped"], answer["path"])
    assert found == (False, problem, stopped, whole)


def test_the_root_and_what_is_above_it(layers: list[Path]) -> None:
    for path in ("/", "", "..", "/../..", "."):
        answer = ask(layers, path)
        assert (answer["path"], answer["layer"]) == ("/", 0)
        assert states(answer) == ["shown"] * 4


def test_copied_up_or_written_anew(layers: list[Path], short_folder: Path) -> None:
    at = short_folder / "root"
    at.mkdir()

    def body() -> None:
        with shown_by_kernel(layers, short_folder / "stack" / "work") as root:
            mounts.move_mount(root, AT_FDCWD, str(at))
            with (at / "etc/motd").open("a") as file:
                file.write("more")
            (at / "usr/lib/x").unlink()
            (at / "usr/lib/x").write_text("anew")

    in_child(body)
    copied, anew = ask(layers, "/etc/motd"), ask(layers, "/usr/lib/x")
    assert states(copied) == ["shown", "hidden", "hidden", "hidden"]
    assert states(anew) == ["shown", "absent", "absent", "hidden"]
    assert (copied["layers"][0]["origin"], anew["layers"][0]["origin"]) == (True, False)


def test_a_plain_folder_has_devices_and_no_whiteouts(short_folder: Path) -> None:
    os.mknod(short_folder / "null", stat.S_IFCHR | 0o600, 0)
    answer = ask([short_folder], "/null", overlay=False)
    assert (answer["exists"], answer["file"]["kind"]) == (True, "character device")
    assert ask([short_folder], "/null")["exists"] is False


def test_hostile_layers_are_never_left(layers: list[Path], short_folder: Path) -> None:
    secret = short_folder / "secret"
    secret.write_text("of the host")
    top = layers[0]
    (top / "out").symlink_to("../" * 20 + str(secret)[1:])
    (top / "away").symlink_to(short_folder)
    (top / "self").symlink_to("/proc/self/root")
    assert ask(layers, "/out")["exists"] is False
    assert ask(layers, "/out")["path"] == str(secret)
    assert ask(layers, "/away/secret")["exists"] is False
    assert ask(layers, "/self/etc")["exists"] is False


def test_bounds(layers: list[Path]) -> None:
    with pytest.raises(InvalidArgument, match="file name too long"):
        ask(layers, "/x" * 3000)
    with pytest.raises(InvalidArgument, match="file name too long"):
        ask(layers, "/" + "x" * 300)
    with pytest.raises(InvalidArgument, match="NUL"):
        ask(layers, "/a\0b")
    assert ask(layers, "/x" * 2000)["problem"] == "missing"
    odd = os.fsdecode(b"\xff\xfe")
    (layers[1] / odd).write_text("x")
    assert ask(layers, f"/{odd}")["layer"] == 1


# --- mounts -----------------------------------------------------------------------------------


def planned(destination: str, source: Path | str = "", type: str = "bind") -> dict[str, Any]:
    return {"type": type, "source": str(source), "destination": destination}


def test_planned_mounts(layers: list[Path], short_folder: Path) -> None:
    data = short_folder / "data"
    data.mkdir()
    (data / "file").write_text("data")
    (data / "up").symlink_to("../etc/motd")
    table = [
        planned("/proc", type="proc"),
        planned("/lib/data", data),
        planned("/etc/motd", data / "file"),
        planned("/gone/deep", data / "nope"),
    ]
    there = ask(layers, "/lib/data/file", mounts=table)
    assert there["path"] == "/usr/lib/data/file"
    assert (there["exists"], there["layer"], there["file"]["size"]) == (True, None, 4)
    assert there["mount"]["destination"] == "/lib/data"
    assert states(there) == ["absent"] * 4
    over = ask(layers, "/lib/data/up", mounts=table)
    assert [step["path"] for step in over["steps"]] == ["/lib", "/usr/lib/data/up"]
    assert over["steps"][1]["mount"]["source"] == str(data)
    assert over["path"] == "/usr/lib/etc/motd"
    file = ask(layers, "/etc/motd", mounts=table)
    assert (file["file"]["size"], file["mount"]["destination"]) == (4, "/etc/motd")
    assert states(file) == ["absent", "hidden", "hidden", "hidden"]
    assert file["layers"][1]["by"] is None
    assert ask(layers, "/proc/self", mounts=table)["exists"] is None
    assert ask(layers, "/proc", mounts=table)["exists"] is True
    missing = ask(layers, "/gone/deep/x", mounts=table)
    assert missing["exists"] is None
    assert "No such file" in missing["mount"]["missing"]
    assert ask(layers, "/gone", mounts=table)["exists"] is True


def test_the_mounts_of_a_running_process(layers: list[Path], short_folder: Path) -> None:
    at, data = short_folder / "root", short_folder / "data"
    at.mkdir()
    data.mkdir()
    (data / "f").write_text("data")
    (data / "motd").symlink_to("/etc/motd")

    def body() -> None:
        with shown_by_kernel(layers, short_folder / "stack" / "work") as root:
            (short_folder / "stack/0/mnt").mkdir()
            mounts.move_mount(root, AT_FDCWD, str(at))
            mounts.mount(str(data), f"{at}/mnt", None, mounts.MS_BIND)
            (at / "proc").mkdir()
            mounts.mount("proc", f"{at}/proc", "proc")
            mounts.mount(str(data / "f"), f"{at}/etc/motd", None, mounts.MS_BIND)
        os.chdir(at)
        mounts.pivot_root(".", ".")
        with sleeping_child() as (pid, _):
            # The old root lies below the new one: only a process that left it sees it so.
            mounts.umount(".", mounts.MNT_DETACH)
            before = open_fds()
            check(pid)
            for fd in set(open_fds()).difference(before):  # the worker's end would close them
                os.close(fd)

    def check(pid: int) -> None:
        # Opened by their own paths they are gone from here: the worker opens them outside.
        live = {"pid": pid, "view": {"pid": pid, "start": start_time(pid)}}
        stack = {"layers": [], "overlay": True}
        there = whence.run({"path": "/mnt/f", "follow": True, **stack, **live}, {}, print)
        assert there["mount"]["destination"] == "/mnt"
        assert there["mount"]["root"].endswith("/data")
        over = whence.run({"path": "/mnt/motd", "follow": True, **stack, **live}, {}, print)
        assert (over["path"], over["mount"]["destination"]) == ("/etc/motd", "/etc/motd")
        magic = whence.run({"path": "/proc/1/root/x", "follow": True, **stack, **live}, {}, print)
        assert (magic["exists"], magic["problem"], magic["magic"]) == (None, "magic link", True)
        plain = whence.run({"path": "/etc", "follow": True, **stack, **live}, {}, print)
        assert (plain["exists"], plain["mount"]) == (True, None)
        gone = {"pid": pid, "view": {"pid": pid, "start": 1}}
        with pytest.raises(Conflict):
            whence.run({"path": "/", "follow": True, **stack, **gone}, {}, print)

    in_child(body)
