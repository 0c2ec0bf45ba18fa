"""`cp`, `export` and `diff`, by the stock docker command and by orlop, in every state."""

from __future__ import annotations

import io
import os
import shutil
import stat
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import docker
import pytest

from tests.api.box import IMAGE, Box, eventually
from tests.support.daemon import orlop_command
from tests.support.flipper import flipping
from tests.support.tree_rig import make_tar, member

Run = Callable[..., CompletedProcess[str]]
Listing = dict[str, str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What there is to copy on the host."""
    source = tmp_path / "src"
    (source / "d/sub").mkdir(parents=True)
    (source / "f").write_text("file")
    (source / "d/x").write_text("x")
    (source / "d/sub/g").write_text("g")
    (source / "lf").symlink_to("f")
    (source / "ld").symlink_to("d")
    return tmp_path


@pytest.fixture(params=["docker", "orlop"])
def client(request: pytest.FixtureRequest, box: Box) -> Run:
    """Either command line, in the folder given as `cwd`."""
    command = ["docker"] if request.param == "docker" else orlop_command()
    environment = {**box.daemon.environment, "PYTHONPATH": str(Path(__file__).parents[2])}

    def run(*words: str, **options: object) -> CompletedProcess[str]:
        return subprocess.run(  # type: ignore[call-overload,no-any-return]
            [*command, *words], env=environment, capture_output=True, timeout=60,
            **{"text": True, "stdin": subprocess.DEVNULL, **options},
        )  # fmt: skip

    return run


def listing(top: Path) -> Listing:
    """Every name below `top`: "/" for a folder, "-> target", or the content."""
    found = {}
    for path in sorted(top.rglob("*")):
        name = str(path.relative_to(top))
        if path.is_symlink():
            found[name] = f"-> {os.readlink(path)}"
        else:
            found[name] = "/" if path.is_dir() else path.read_text()
    return found


FOLDER = {"": "/", "sub": "/", "sub/g": "g", "x": "x"}


def at(place: str, tree: Listing | None = None) -> Listing:
    """`tree`, by default the folder `d`, as it looks at `place`."""
    return {f"{place}/{name}".rstrip("/"): what for name, what in (tree or FOLDER).items()}


def content(place: str) -> Listing:
    """What is in the folder `d`, in the folder at `place`."""
    return {name: what for name, what in at(place).items() if name != place}


# Source, destination, and what is new then, or the error: docker's own table (docs of `cp`).
# The destination's side has a file `file`, a folder `dir`, `link` to it, `dangling` to `fresh`.
TABLE: list[tuple[str, str, Listing | str]] = [
    ("f", "dir", {"dir/f": "file"}),
    ("f", "dir/", {"dir/f": "file"}),
    ("f", "dir/new", {"dir/new": "file"}),
    ("f", "file", {"file": "file"}),
    ("f", "new/", "no such directory"),
    ("f", "no/where", "Could not find the file|does not exist|no such file"),
    ("f", "link", {"dir/f": "file"}),
    ("f", "link/", {"dir/f": "file"}),
    ("f", "dangling", {"fresh": "file"}),
    ("f/", "dir", "not a directory|Not a directory"),
    ("d", "dir", at("dir/d")),
    ("d/", "dir", at("dir/d")),
    ("d/.", "dir", content("dir")),
    ("d/.", "dir/", content("dir")),
    ("d", "new", at("new")),
    ("d", "new/", at("new")),
    ("d/.", "new", at("new")),
    ("d", "file", "cannot copy directory"),
    ("d/.", "file", "cannot copy directory"),
    ("d", "no/where", "Could not find the file|does not exist|no such file"),
    ("d/sub/g", "dir", {"dir/g": "g"}),
    ("lf", "dir", {"dir/lf": "-> f"}),
    ("-L lf", "dir", {"dir/lf": "file"}),
    ("-L lf", "new", {"new": "file"}),
    ("ld", "dir", {"dir/ld": "-> d"}),
    ("ld/", "dir", at("dir/ld")),
    ("ld/.", "dir", content("dir")),
    ("-L ld", "dir", at("dir/ld")),
    ("-L ld", "new", at("new")),
    ("nope", "dir", "no such file|No such file|Could not find the file"),
]


def destination(top: Path) -> Listing:
    """A side to copy to; what is there."""
    (top / "dir").mkdir(parents=True)
    (top / "file").write_text("old")
    (top / "link").symlink_to("dir")
    (top / "dangling").symlink_to("fresh")
    return listing(top)


def check(done: CompletedProcess[str], before: Listing, after: Listing, due: Listing | str) -> None:
    """The copy did what is due and nothing else."""
    if isinstance(due, str):
        assert done.returncode == 1, done
        assert any(word in done.stderr for word in due.split("|")), done.stderr
        assert after == before
        assert "Traceback" not in done.stderr
    else:
        assert done.returncode == 0, done
        assert after == before | due


def test_the_table_into_a_container(box: Box, client: Run, folder: Path) -> None:
    box.ok("create", "--name", "into", "-v", f"{folder}/inside:/c", IMAGE)
    box.ok("run", "-d", "--name", "live", "-v", f"{folder}/inside:/c", IMAGE, "sleep", "1000")
    for number, (source, target, due) in enumerate(TABLE):
        shutil.rmtree(folder / "inside" / "t", ignore_errors=True)
        before = destination(folder / "inside/t")
        *flags, path = source.split()
        where = f"{('into', 'live')[number % 2]}:/c/t/{target}"
        done = client("cp", *flags, path, where, cwd=folder / "src")
        check(done, before, listing(folder / "inside/t"), due)


def test_the_table_out_of_a_container(box: Box, client: Run, folder: Path) -> None:
    box.ok("create", "--name", "outof", IMAGE)
    box.ok("cp", f"{folder}/src", "outof:/c")
    box.ok("run", "-d", "--name", "live", "-v", f"{folder}/src:/c", IMAGE, "sleep", "1000")
    for number, (source, target, due) in enumerate(TABLE):
        shutil.rmtree(folder / "t", ignore_errors=True)
        before = destination(folder / "t")
        *flags, path = source.split()
        where = f"{('live', 'outof')[number % 2]}:/c/{path}"
        done = client("cp", *flags, where, target, cwd=folder / "t")
        check(done, before, listing(folder / "t"), due)


@pytest.fixture
def states(box: Box) -> Iterator[dict[str, str]]:
    """A container in each state that one can be copied from and to."""
    box.ok("create", "--name", "is-created", IMAGE, "sleep", "1000")
    for name in ("is-running", "is-paused", "is-exited"):
        box.ok("run", "-d", "--name", name, IMAGE, "sleep", "1000")
    box.ok("pause", "is-paused")
    box.ok("stop", "-t", "0", "is-exited")
    states = {
        name: box.status(name) for name in ("is-created", "is-running", "is-paused", "is-exited")
    }
    assert states == {name: name.removeprefix("is-") for name in states}
    yield states
    assert {name: box.status(name) for name in states} == states, "a copy changed the state"


def test_in_every_state(box: Box, client: Run, folder: Path, states: dict[str, str]) -> None:
    for name in states:
        assert client("cp", str(folder / "src/d"), f"{name}:/tmp/new").returncode == 0
        assert client("cp", f"{name}:/tmp/new", str(folder / name)).returncode == 0
        assert listing(folder / name) == {key: what for key, what in FOLDER.items() if key}
        done = client("export", "-o", str(folder / f"{name}.tar"), name)
        assert done.returncode == 0, done
        with tarfile.open(folder / f"{name}.tar") as tar:
            assert {"tmp/new/sub/g", "bin/busybox", "proc", "dev"} <= set(tar.getnames())
        done = client("diff", name)
        assert done.returncode == 0, done
        assert sorted(done.stdout.splitlines()) == [
            "A /tmp/new", "A /tmp/new/sub", "A /tmp/new/sub/g", "A /tmp/new/x", "C /tmp",
        ]  # fmt: skip
        box.ok("exec", "is-running", "rm", "-r", "/tmp/new") if name == "is-running" else None
    box.ok("unpause", "is-paused")
    assert box.ok("exec", "is-paused", "cat", "/tmp/new/x") == "x"
    box.ok("pause", "is-paused")


def test_a_stopped_container_starts_with_what_was_copied(box: Box, folder: Path) -> None:
    box.ok("create", "--name", "later", IMAGE, "cat", "/etc/message", "/bin/hello")
    (folder / "message").write_text("copied\n")
    box.ok("cp", str(folder / "message"), "later:/etc/message")
    box.ok("cp", str(folder / "message"), "later:/bin/hello")
    assert box.ok("start", "-a", "later") == "copied\ncopied"
    box.ok("cp", "later:/etc/message", str(folder / "back"))
    assert (folder / "back").read_text() == "copied\n"


def test_streams_of_tars(box: Box, client: Run, folder: Path) -> None:
    name = box.start()
    tar = make_tar([member("one", b"1"), member("two/three", b"3")], "w:gz")
    done = client("cp", "-", f"{name}:/tmp", input=tar, text=False, stdin=None)
    assert done.returncode == 0, done
    done = client("cp", f"{name}:/tmp/two", "-", text=False)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as found:  # type: ignore[arg-type]
        assert found.getnames() == ["two", "two/three"]
    done = client("cp", "-", f"{name}:/tmp/new", input=tar, text=False, stdin=None)
    assert done.returncode == 1
    assert b"must be a directory" in done.stderr  # type: ignore[operator]
    done = client("cp", "-", f"{name}:/tmp", input=b"no tar at all" * 100, text=False, stdin=None)
    assert done.returncode == 1, done
    done = client("export", name, text=False)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as found:  # type: ignore[arg-type]
        assert "tmp/two/three" in found.getnames()


def test_what_cannot_be_asked_for(box: Box, client: Run, folder: Path) -> None:
    name = box.start("--name", "target")
    (folder / "f").write_text("f")
    for words, message in (
        ((f"{name}:/etc", f"{name}:/tmp"), "copying between containers is not supported"),
        (("/a", "/b"), "must specify at least one container source"),
        (("nobody:/etc", str(folder)), "No such container: nobody"),
        ((str(folder / "f"), "nobody:/tmp"), "No such container: nobody"),
        (("target:/nope", str(folder)), "Could not find the file /nope in container target"),
        (("target:/proc/cpuinfo", str(folder)), "Could not find the file /proc/cpuinfo"),
    ):
        done = client("cp", *words)
        assert (done.returncode, message in done.stderr) == (1, True), done


def test_owners_and_modes(box: Box, client: Run, folder: Path) -> None:
    (folder / "prog").write_text("#!")
    os.chown(folder / "prog", 123, 456)
    (folder / "prog").chmod(0o4755)
    name = box.start("--user", "33:34")
    box.ok("cp", str(folder / "prog"), f"{name}:/tmp/as-it-is")
    assert client("cp", "-a", str(folder / "prog"), f"{name}:/tmp/as-user").returncode == 0
    shown = box.ok("exec", name, "stat", "-c", "%n %u %g %a", "/tmp/as-it-is", "/tmp/as-user")
    assert shown.splitlines() == ["/tmp/as-it-is 123 456 4755", "/tmp/as-user 33 34 4755"]


def test_what_comes_out_of_a_container_is_harmless(box: Box, folder: Path) -> None:
    """Owners, programs that change the user, devices: the caller's host is not the container's."""
    name = box.start("--userns", "host")  # elsewhere it makes no device
    box.ok(
        "exec", name, "sh", "-c",
        "mkdir /x && cd /x && cp /bin/busybox s && chown 7:7 s && chmod 4755 s"
        " && mknod disk b 8 0 && mkfifo pipe && ln -s /etc/passwd link",
    )  # fmt: skip
    done = box.orlop("cp", f"{name}:/x", str(folder / "out"))
    assert done.returncode == 0, done
    assert done.stderr.strip() == "orlop: 1 device nodes were not copied"
    status = (folder / "out/s").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid) == (0o755, os.getuid())
    assert sorted(os.listdir(folder / "out")) == ["link", "pipe", "s"]
    box.ok("cp", "-a", f"{name}:/x", str(folder / "kept"))
    status = (folder / "kept/s").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid) == (0o4755, 7)


def test_a_link_on_the_host_is_not_followed_for_a_container(box: Box, folder: Path) -> None:
    """A folder of the container takes the place of nothing outside of the destination."""
    name = box.start()
    box.ok("exec", name, "sh", "-c", "mkdir -p /x/sub && echo evil > /x/sub/file")
    (folder / "out").mkdir()
    (folder / "elsewhere").mkdir()
    (folder / "out/x").mkdir()
    (folder / "out/x/sub").symlink_to(folder / "elsewhere")
    done = box.orlop("cp", f"{name}:/x", str(folder / "out"))
    assert done.returncode == 1, done
    assert not list((folder / "elsewhere").iterdir())


def test_volumes_and_tmpfs_and_a_read_only_root(box: Box, client: Run, folder: Path) -> None:
    for name in ("ro", "rw"):
        (folder / name).mkdir()
        (folder / name / "here").write_text(name)
    flags = (
        "--read-only",
        "--tmpfs",
        "/t",
        "-v",
        f"{folder}/ro:/m/ro:ro",
        "-v",
        f"{folder}/rw:/m/rw",
    )
    box.ok("run", "-d", "--name", "ro", *flags, IMAGE, "sleep", "1000")
    source = str(folder / "src/f")

    def refused(path: str, message: str) -> None:
        done = client("cp", source, f"ro:{path}")
        assert done.returncode == 1, done
        assert message in done.stderr

    refused("/tmp", "container rootfs is marked read-only")
    refused("/m/ro", "mounted volume is marked read-only")
    assert client("cp", source, "ro:/m/rw").returncode == 0
    assert (folder / "rw/f").read_text() == "file"
    assert client("cp", source, "ro:/t").returncode == 0
    assert box.ok("exec", "ro", "cat", "/t/f") == "file"
    assert client("cp", "ro:/t/f", str(folder / "from-tmpfs")).returncode == 0
    assert client("cp", "ro:/m/ro/here", str(folder / "from-ro")).returncode == 0
    box.ok("stop", "-t", "0", "ro")
    refused("/tmp", "container rootfs is marked read-only")
    refused("/m/ro", "mounted volume is marked read-only")
    assert client("cp", source, "ro:/m/rw/again").returncode == 0
    assert (folder / "rw/again").read_text() == "file"
    assert client("cp", "ro:/m", str(folder / "m")).returncode == 0
    assert listing(folder / "m")["ro/here"] == "ro"


def test_named_volumes_and_the_files_that_a_container_is_given(
    box: Box, client: Run, folder: Path
) -> None:
    mounted = ("-v", "shared:/data/vol", "--hostname", "by-name")
    box.ok("create", "--name", "holder", *mounted, IMAGE, "sleep", "1000")
    source = str(folder / "src/d")
    assert client("cp", source, "holder:/data/vol/at-rest").returncode == 0
    assert client("cp", "holder:/data", str(folder / "created")).returncode == 0
    assert listing(folder / "created")["vol/at-rest/sub/g"] == "g"
    box.ok("start", "holder")
    assert box.ok("exec", "holder", "cat", "/data/vol/at-rest/x") == "x"
    assert client("cp", source, "holder:/data/vol/live").returncode == 0
    for state in ("running", "exited"):
        assert client("cp", "holder:/data", str(folder / state)).returncode == 0
        assert listing(folder / state)["vol/live/sub/g"] == "g"
        assert client("cp", "holder:/etc/hostname", str(folder / f"{state}-name")).returncode == 0
        assert (folder / f"{state}-name").read_text() == "by-name\n"
        done = client("export", "-o", str(folder / f"{state}.tar"), "holder")
        assert done.returncode == 0, done
        with tarfile.open(folder / f"{state}.tar") as tar:
            names = tar.getnames()
            assert "data/vol" in names
            assert not [name for name in names if name.startswith("data/vol/")]
            assert tar.getmember("etc/hostname").size == 0
        if state == "running":
            box.ok("stop", "-t", "0", "holder")


def test_a_user_namespace(box: Box, folder: Path) -> None:
    """Owners are the container's in every tar, whether it runs or not."""
    box.ok(
        "run", "-d", "--name", "mapped", "--userns", "private:200000:65536", IMAGE, "sleep", "1000"
    )
    os.chown(folder / "src/f", 1000, 1000)
    for state in ("running", "exited"):
        box.ok("cp", str(folder / "src/f"), f"mapped:/tmp/{state}")
        tar = subprocess.run(
            ["docker", "cp", "mapped:/tmp", "-"], env=box.daemon.environment, capture_output=True
        ).stdout
        with tarfile.open(fileobj=io.BytesIO(tar)) as found:
            owners = {info.name: (info.uid, info.gid) for info in found}
        assert owners[f"tmp/{state}"] == (1000, 1000)
        assert owners["tmp"] == (0, 0)
        if state == "running":
            assert box.ok("exec", "mapped", "stat", "-c", "%u", "/tmp/running") == "1000"
            box.ok("stop", "-t", "0", "mapped")
    box.ok("start", "mapped")
    assert box.ok("exec", "mapped", "stat", "-c", "%u", "/tmp/exited") == "1000"
    (folder / "src/f").chmod(0o600)
    os.chown(folder / "src/f", 70000, 0)
    done = box.orlop("cp", str(folder / "src/f"), "mapped:/tmp/unmapped")
    assert (done.returncode, "uid 70000 does not exist" in done.stderr) == (1, True), done


def test_through_links_inside_the_container(box: Box, client: Run, folder: Path) -> None:
    name = box.start()
    box.ok("exec", name, "sh", "-c", "mkdir -p /run /var; ln -sfn /run /var/run; echo 7 > /run/pid")
    assert client("cp", f"{name}:/var/run/pid", str(folder / "pid")).returncode == 0
    assert (folder / "pid").read_text() == "7\n"
    assert client("cp", str(folder / "src/f"), f"{name}:/var/run/").returncode == 0
    assert box.ok("exec", name, "cat", "/run/f") == "file"
    box.ok("exec", name, "ln", "-s", f"{folder}/src", "/escape")
    done = client("cp", f"{name}:/escape/f", str(folder / "stolen"))
    assert (done.returncode, (folder / "stolen").exists()) == (1, False), done


def test_a_flipper_in_the_container(box: Box, folder: Path) -> None:
    """A folder that is a link to the host's own path every other moment."""
    secret = folder / "secret"
    secret.mkdir()
    (secret / "x").write_text("secret")
    name = box.start()
    box.ok("exec", name, "sh", "-c", f"mkdir -p /w/d; echo in > /w/d/x; ln -s {secret} /w/evil")
    root = Path(f"/proc/{box.state(name)['Pid']}/root/w")
    tar = make_tar([member(f"d/f{number}", b"1") for number in range(500)])
    with flipping(root / "d", root / "evil"):
        for _ in range(5):
            copied = subprocess.run(
                ["docker", "cp", f"{name}:/w/", "-"],
                env=box.daemon.environment,
                capture_output=True,
            )
            assert b"secret\n" not in copied.stdout
            subprocess.run(
                ["docker", "cp", "-", f"{name}:/w"], env=box.daemon.environment, input=tar
            )
            exported = subprocess.run(
                ["docker", "export", name], env=box.daemon.environment, capture_output=True
            )
            assert exported.returncode == 0
            assert b"w/d" in exported.stdout
    assert listing(secret) == {"x": "secret"}


def test_docker_py(box: Box) -> None:
    client = docker.DockerClient(base_url=box.daemon.host, version="auto")
    try:
        it = client.containers.create(IMAGE, ["sleep", "1000"], name="py")
        assert it.put_archive("/tmp", make_tar([member("new", b"content")]))
        pieces, found = it.get_archive("/tmp/new")
        assert (found["name"], found["size"], found["linkTarget"]) == ("new", 7, "")
        with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as tar:
            assert tar.getnames() == ["new"]
        assert {"Path": "/tmp/new", "Kind": 1} in it.diff()
        assert len(b"".join(it.export())) > 1_000_000
        with pytest.raises(docker.errors.NotFound, match="Could not find the file /nope"):
            it.get_archive("/nope")
        with pytest.raises(docker.errors.NotFound):
            it.put_archive("/nope", make_tar([member("x")]))
        with pytest.raises(docker.errors.APIError, match="extraction point is not a directory"):
            it.put_archive("/tmp/new", make_tar([member("x")]))
        with pytest.raises(docker.errors.APIError, match="not a directory"):
            it.put_archive("/tmp", make_tar([member("new/now/a/folder", b"")]))
    finally:
        client.close()


def test_events_tell_of_copies(box: Box, folder: Path) -> None:
    name = box.start()
    box.ok("cp", str(folder / "src/f"), f"{name}:/tmp")
    box.ok("cp", f"{name}:/tmp/f", str(folder / "g"))
    box.ok("export", "-o", str(folder / "t"), name)
    actions = [event["Action"] for event in box.events(name)]
    assert actions[-3:] == ["extract-to-dir", "archive-path", "export"]


def test_diff_shows_what_the_container_did(box: Box, client: Run, folder: Path) -> None:
    (folder / "vol").mkdir()
    box.ok("run", "--name", "did", "-v", f"{folder}/vol:/data", IMAGE, "sh", "-c",
           "echo 1 > /new; rm /bin/ash; chmod 711 /home; echo 2 > /data/unseen")  # fmt: skip
    done = client("diff", "did")
    assert done.returncode == 0, done
    lines = done.stdout.splitlines()
    assert {"A /new", "C /bin", "D /bin/ash", "C /home", "A /data"} <= set(lines)
    assert not [line for line in lines if line[2:].startswith(("/proc", "/sys", "/dev", "/data/"))]
    box.ok("run", "--name", "idle", IMAGE, "true")
    assert client("diff", "idle").stdout == ""
    assert client("diff", "nobody").returncode == 1


def test_export_refuses_a_terminal_and_bad_files(box: Box, folder: Path) -> None:
    name = box.start()
    done = box.orlop("export", "-o", str(folder / "no/where"), name)
    assert (done.returncode, "does not exist" in done.stderr) == (1, True)
    (folder / "kept").write_text("kept")
    done = box.orlop("export", "-o", str(folder / "kept"), "nobody")
    assert (done.returncode, (folder / "kept").read_text()) == (1, "kept")
    main, other = os.openpty()
    try:
        done = box.orlop("export", name, capture_output=False, stdout=other, stderr=subprocess.PIPE)
        assert (done.returncode, "to a terminal" in done.stderr) == (1, True)
    finally:
        os.close(main)
        os.close(other)


def test_a_removal_ends_copies_at_once(box: Box) -> None:
    name = box.ok("create", IMAGE)
    with box.running("export", name) as export:  # its pipe is never read
        eventually(lambda: workers(box))
        box.ok("rm", name)
        eventually(lambda: not workers(box))
        export.communicate(timeout=20)
        assert export.returncode != 0
    assert name not in box.ids()


def test_a_client_that_goes_takes_its_worker_along(box: Box) -> None:
    name = box.start()
    with box.running("export", name):
        eventually(lambda: workers(box))
    eventually(lambda: not workers(box))
    with box.running("cp", "-", f"{name}:/tmp", stdin=subprocess.PIPE) as copy:
        assert copy.stdin is not None
        copy.stdin.write(make_tar([member("half", b"x" * 1_000_000)])[:500_000])
        copy.stdin.flush()
        eventually(lambda: workers(box))
    eventually(lambda: not workers(box))
    assert box.ok("exec", name, "ls", "/tmp") == ""


def workers(box: Box) -> list[int]:
    """The daemon's worker processes now."""
    return [p.pid for p in box.daemon.processes() if p.name == "orlop-worker"]
