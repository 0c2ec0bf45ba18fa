"""Images end to end: stock docker, docker-py, skopeo and umoci against a running daemon."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import quote

import docker
import pytest

from tests.api.box import Box, eventually
from tests.support import image_tars as made
from tests.support import procfs
from tests.support.daemon import Daemon, UnixConnection
from tests.support.image_tars import Made
from tests.support.pace import limit

MIB = 1 << 20


@pytest.fixture
def clean(daemon: Daemon, tmp_path: Path) -> Iterator[Box]:
    """The module's daemon without images; those of the test go after it."""
    box = Box(daemon)
    yield box
    box.remove_all()
    assert daemon.docker("image", "prune", "-a", "-f").returncode == 0
    assert [n for f in ("blobs/sha256", "layers", "tmp", "trash") for n in files(daemon, f)] == []


def files(daemon: Daemon, folder: str) -> list[str]:
    return os.listdir(daemon.data_root / folder)


def ok(done: subprocess.CompletedProcess[Any]) -> str:
    assert done.returncode == 0, (done.args, done.stdout, done.stderr)
    return str(done.stdout).strip()


def tool(daemon: Daemon, *command: str) -> str:
    """Run another program's command."""
    return ok(
        subprocess.run(
            command, env=daemon.environment, capture_output=True, text=True, timeout=limit(60)
        )
    )


def load(box: Box, tmp_path: Path, archive: bytes) -> str:
    path = tmp_path / "in.tar"
    path.write_bytes(archive)
    return ok(box.daemon.docker("load", "-q", "-i", str(path), timeout=limit(120)))


def upload(daemon: Daemon, path: str, body: Any, **headers: str) -> tuple[int, bytes]:
    """POST bytes, or an iterable of them in chunks."""
    with closing(UnixConnection(daemon.socket, limit(120))) as connection:
        connection.request(
            "POST", path, body=body, headers={"Content-Type": "application/x-tar", **headers}
        )
        response = connection.getresponse()
        return response.status, response.read()


# --- layers as containers see them ----------------------------------------------------------

LAYERS = Made(
    [
        made.busybox_layer(
            made.folder("d"),
            made.file("d/gone", b"1"),
            made.file("d/stays", b"2"),
            made.folder("opaque"),
            made.file("opaque/hidden", b"3"),
            made.file("becomes-folder", b"4"),
            made.folder("becomes-file"),
            made.file("becomes-file/inner", b"5"),
        ),
        made.layer(
            made.whiteout("d/gone"),
            made.folder("opaque"),
            made.opaque("opaque"),
            made.file("opaque/new", b"6"),
            made.folder("becomes-folder"),
            made.file("becomes-folder/inner", b"7"),
            made.whiteout("becomes-file"),
            made.file("becomes-file", b"8"),
            made.file("one", b"9", 0o4711, uid=1000, gid=2000),
            made.hardlink("two", "one"),
            made.file("xattr", b"x", xattrs={"user.colour": "blue"}),
        ),
    ]
)


def test_layers_are_one_tree(clean: Box, tmp_path: Path) -> None:
    load(clean, tmp_path, made.docker_archive([(LAYERS, ["layers:1"])]))
    script = """
        test ! -e /d/gone && cat /d/stays
        ls /opaque
        cat /becomes-folder/inner /becomes-file
        stat -c '%a %u:%g %h' /one /two
    """
    out = clean.ok("run", "--rm", "layers:1", "sh", "-ec", script)
    assert out.split() == ["2new", "784711", "1000:2000", "2", "4711", "1000:2000", "2"]


def test_a_layer_that_hides_all_below_it(clean: Box, tmp_path: Path) -> None:
    everything = made.file(".wh..wh..opq")
    layers = [made.busybox_layer(made.file("etc/old", b"1")), made.busybox_layer(everything)]
    load(clean, tmp_path, made.docker_archive([(made.Made(layers), ["fresh:1"])]))
    assert clean.ok("run", "--rm", "fresh:1", "/bin/ls", "/etc").split() == [
        *("hostname", "hosts", "resolv.conf"),
    ]
    assert clean.ok("diff", clean.ok("create", "fresh:1", "true").strip()) == ""


def test_as_many_layers_as_docker_takes(clean: Box, tmp_path: Path) -> None:
    count = 120
    load(clean, tmp_path, made.docker_archive([(made.many_layers(count), ["many:1"])]))
    script = "cat /latest; ls /count | wc -l; touch /count/new; rm /count/1; ls /count | wc -l"
    out = clean.ok("run", "--rm", "many:1", "/bin/busybox", "sh", "-c", script)
    assert out.split() == ["119", "119", "119"]
    rows = json.loads(ok(clean.daemon.docker("inspect", "many:1")))[0]["RootFS"]["Layers"]
    assert len(rows) == count


# --- load and save --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["docker", "docker with links", "gzip", "zstd", "plain"])
def test_docker_load_and_run(clean: Box, tmp_path: Path, kind: str) -> None:
    image = made.many_layers(3)
    archives: dict[str, Callable[[], bytes]] = {
        "docker": lambda: made.docker_archive([(image, ["a:1"])]),
        "docker with links": lambda: made.docker_archive(
            [(image, ["a:1"]), (Made(image.layers, {"Cmd": ["x"]}), ["b:1"])], links=True
        ),
        "gzip": lambda: made.oci_archive([(image, ["docker.io/library/a:1"])], "+gzip"),
        "zstd": lambda: made.oci_archive([(image, ["docker.io/library/a:1"])], "+zstd"),
        "plain": lambda: made.oci_archive([(image, ["docker.io/library/a:1"])], ""),
    }
    out = load(clean, tmp_path, archives[kind]())
    assert out.splitlines()[0] == "Loaded image: a:1"
    assert ok(clean.daemon.docker("run", "--rm", "a:1", "cat", "/latest")) == "2"
    [image_id] = ok(clean.daemon.docker("images", "-q", "--no-trunc", "a:1")).split()
    assert image_id == image.id


def test_a_saved_archive_is_everybodys(clean: Box, tmp_path: Path) -> None:
    image = made.many_layers(3)
    load(clean, tmp_path, made.oci_archive([(image, ["docker.io/library/a:1"])], "+gzip"))
    saved = tmp_path / "saved.tar"
    ok(clean.daemon.docker("save", "-o", str(saved), "a:1"))
    manifest = made.sha256(made.oci_manifest(image, "+gzip")[0])
    # skopeo as an OCI archive, by its tag, and as docker's, by its name
    seen = json.loads(tool(clean.daemon, "skopeo", "inspect", f"oci-archive:{saved}:1"))
    assert seen["Digest"] == manifest
    config = tool(
        clean.daemon, "skopeo", "inspect", "--raw", "--config", f"docker-archive:{saved}:a:1"
    )
    assert made.sha256(config.encode()) == image.id or json.loads(config) == json.loads(
        image.config_json
    )
    # umoci as an OCI layout
    layout = tmp_path / "layout"
    with tarfile.open(saved) as tar:
        tar.extractall(layout, filter="data")
    bundle = tmp_path / "bundle"
    tool(clean.daemon, "umoci", "unpack", "--image", f"{layout}:1", str(bundle))
    assert (bundle / "rootfs/latest").read_bytes() == b"2\n"
    # and ours again, byte for byte
    ok(clean.daemon.docker("rmi", "a:1"))
    assert ok(clean.daemon.docker("load", "-q", "-i", str(saved))) == "Loaded image: a:1"
    again = tmp_path / "again.tar"
    ok(clean.daemon.docker("save", "-o", str(again), "a:1"))
    assert again.read_bytes() == saved.read_bytes()


def test_what_skopeo_and_umoci_write_is_loaded(clean: Box, tmp_path: Path) -> None:
    first = tmp_path / "first.tar"
    first.write_bytes(made.docker_archive([(made.many_layers(2), ["a:1"])]))
    source = f"docker-archive:{first}"
    written = {
        "docker-archive": f"docker-archive:{tmp_path}/d.tar:skopeo:d",
        "oci-archive": f"oci-archive:{tmp_path}/o.tar:skopeo:o",
    }
    for number, target in enumerate(written.values()):
        tool(clean.daemon, "skopeo", "copy", "--insecure-policy", source, target)
        path = target.split(":")[1]
        out = ok(clean.daemon.docker("load", "-q", "-i", path))
        assert out == f"Loaded image: skopeo:{'do'[number]}"
    layout = tmp_path / "layout"
    tool(clean.daemon, "umoci", "init", "--layout", str(layout))
    tool(clean.daemon, "umoci", "new", "--image", f"{layout}:u")
    bundle = tmp_path / "bundle"
    tool(clean.daemon, "umoci", "unpack", "--image", f"{layout}:u", str(bundle))
    shutil.copy("/bin/busybox", bundle / "rootfs/busybox")
    tool(clean.daemon, "umoci", "repack", "--image", f"{layout}:u", str(bundle))
    packed = tmp_path / "u.tar"
    with tarfile.open(packed, "w") as tar:
        for name in ("oci-layout", "index.json", "blobs"):
            tar.add(layout / name, name)
    out = ok(clean.daemon.docker("load", "-q", "-i", str(packed)))
    assert out.startswith("Loaded image ID: sha256:")
    done = clean.daemon.docker("run", "--rm", out.split()[-1], "/busybox", "echo", "umoci's")
    assert ok(done) == "umoci's"


def test_docker_py(clean: Box, tmp_path: Path) -> None:
    client = docker.DockerClient(base_url=clean.daemon.host)
    with closing(client):
        [image] = client.images.load(made.docker_archive([(made.many_layers(2), ["py:1"])]))
        assert image.tags == ["py:1"]
        assert image.tag("127.0.0.1:5000/py", "2")
        assert client.containers.run("py:1", ["cat", "/latest"], remove=True) == b"1\n"
        whole = b"".join(image.save(named=True))
        with tarfile.open(fileobj=io.BytesIO(whole)) as tar:
            assert "manifest.json" in tar.getnames()
        assert len(image.history()) == 2
        container = client.containers.create("py:1", ["sh", "-c", "echo new > /new"])
        container.start()
        assert container.wait()["StatusCode"] == 0
        committed = container.commit("py", "committed", changes='CMD ["cat", "/new"]')
        assert client.containers.run(committed.id, remove=True) == b"new\n"
        container.remove()
        assert client.df()["LayersSize"] > 0
        deleted = client.images.prune({"dangling": False})["ImagesDeleted"]
        assert {"Untagged": "py:committed"} in deleted


def test_progress_is_told(clean: Box) -> None:
    archive = made.docker_archive([(made.many_layers(2), ["a:1"])])
    status, body = upload(clean.daemon, "/images/load", archive)
    assert status == 200
    assert body.endswith(b"\r\n")
    lines = [json.loads(line) for line in body.split(b"\r\n") if line]
    layers = {line["id"] for line in lines if line.get("status") == "Loading layer"}
    assert len(layers) == 2
    assert lines[-1] == {"stream": "Loaded image: a:1\n"}


@pytest.mark.parametrize(
    "archive",
    [
        b"",
        b"garbage" * 100_000,
        made.docker_archive([(Made([b"x" * 2000]), ["a:1"])]),
        made.tar([made.file("../../etc/passwd", b"x")]),
        made.tar([made.symlink("manifest.json", "/etc/passwd")]),
        made.docker_archive([(made.many_layers(2), ["a:1"])])[:-30_000],
    ],
)
def test_hostile_archives(clean: Box, archive: bytes) -> None:
    status, body = upload(clean.daemon, "/images/load?quiet=1", archive)
    assert status == 400, body
    assert json.loads(body)["message"]
    assert files(clean.daemon, "blobs/sha256") == files(clean.daemon, "tmp") == []
    good = made.docker_archive([(made.many_layers(1), ["good:1"])])
    assert upload(clean.daemon, "/images/load?quiet=1", good)[0] == 200


def test_an_answer_comes_before_a_broken_upload_ends(clean: Box) -> None:
    """What cannot be an archive is refused while the client still sends."""
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 512 * MIB:
            sent += MIB
            yield b"x" * MIB

    try:
        status, _ = upload(clean.daemon, "/images/load", endless())
        assert status == 400
    except (BrokenPipeError, ConnectionResetError):  # http.client does not look while it sends
        pass
    assert sent < 64 * MIB
    assert files(clean.daemon, "tmp") == []


def test_orlops_own_commands(clean: Box, tmp_path: Path) -> None:
    archive = tmp_path / "in.tar"
    archive.write_bytes(made.docker_archive([(made.many_layers(3), ["a:1"])]))
    assert clean.ok("load", "-i", str(archive)) == "Loaded image: a:1"
    saved = tmp_path / "out.tar"
    clean.ok("save", "-o", str(saved), "a:1")
    clean.ok("tag", "a:1", "b:2")
    assert clean.ok("history", "--format", "{{.CreatedBy}}={{.Size}}", "b:2").split("\n")[:2] == [
        "layer 2=4B",
        "layer 1=4B",
    ]
    rows = clean.ok("system", "df", "--format", "{{.Type}} {{.TotalCount}}").splitlines()
    assert rows[:2] == ["Images 1", "Containers 0"]
    clean.ok("rmi", "a:1", "b:2")
    with saved.open("rb") as source:
        assert clean.ok("image", "load", stdin=source) == "Loaded image: a:1"
    container = clean.ok("create", "a:1", "true")
    exported = tmp_path / "exported.tar"
    clean.ok("export", "-o", str(exported), container)
    with exported.open("rb") as source:
        imported = clean.ok("import", "-c", 'CMD ["cat", "/latest"]', "-", "imp:1", stdin=source)
    assert clean.ok("run", "--rm", imported) == "2"
    assert clean.ok("commit", "-c", 'CMD ["ls"]', container).startswith("sha256:")
    assert len(clean.ok("images", "-q", "-f", "dangling=true").split()) == 1
    out = clean.ok("image", "prune", "-f")
    assert out.startswith("Deleted Images:\ndeleted: sha256:")
    assert clean.orlop("load", "-i", "/etc/hostname").returncode == 1


# --- memory ---------------------------------------------------------------------------------


def test_memory_does_not_grow_with_images(clean: Box, tmp_path: Path) -> None:
    size = 48 * MIB
    block = os.urandom(MIB)
    layer, path = tmp_path / "layer.tar", tmp_path / "big.tar"
    with tarfile.open(layer, "w") as tar:
        info = tarfile.TarInfo("big")
        info.size = size
        tar.addfile(info, Repeated(block, size))
    diff_id = hashlib.sha256(layer.read_bytes()).hexdigest()
    config = json.dumps(
        {
            "os": "linux",
            "architecture": made.ARCHITECTURE,
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff_id}"]},
        }
    ).encode()
    manifest = [{"Config": "c.json", "RepoTags": ["big:1"], "Layers": ["layer.tar"]}]
    with tarfile.open(path, "w") as tar:
        tar.add(layer, "layer.tar")
        for member, content in (
            made.file("c.json", config),
            made.file("manifest.json", json.dumps(manifest).encode()),
        ):
            tar.addfile(member, io.BytesIO(content))
    layer.unlink()
    pid = clean.daemon.pid
    load_again = ("load", "-q", "-i", str(path))
    ok(clean.daemon.docker("load", "-q", "-i", str(small_archive(tmp_path))))
    before, peak = resident(pid), Peak(pid)
    with peak:
        ok(clean.daemon.docker(*load_again))
        ok(clean.daemon.docker("save", "-o", str(tmp_path / "out.tar"), "big:1"))
        with path.open("rb") as source:
            assert upload(clean.daemon, "/images/create?fromSrc=-&repo=imp", source)[0] == 200
    assert peak.value - before < 16 * MIB, (before // MIB, peak.value // MIB)


class Repeated:
    """A file of some size whose content repeats."""

    def __init__(self, block: bytes, size: int) -> None:
        self._block, self._left = block, size

    def read(self, size: int = -1) -> bytes:
        data = self._block[: min(size, self._left)]
        self._left -= len(data)
        return data


def small_archive(tmp_path: Path) -> Path:
    path = tmp_path / "small.tar"
    path.write_bytes(made.docker_archive([(Made([made.layer(made.file("a"))]), ["small:1"])]))
    return path


def resident(pid: int) -> int:
    """Resident bytes of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE")


class Peak:
    """The most that a process has resident while the block runs."""

    def __init__(self, pid: int) -> None:
        self.value = 0
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        while not self._over.wait(0.005):
            self.value = max(self.value, resident(self._pid))

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


# --- import, from, commit -------------------------------------------------------------------


def test_export_and_import(clean: Box, tmp_path: Path) -> None:
    load(clean, tmp_path, made.docker_archive([(made.many_layers(3), ["a:1"])]))
    container = ok(clean.daemon.docker("create", "a:1", "true"))
    exported = tmp_path / "exported.tar"
    ok(clean.daemon.docker("export", "-o", str(exported), container))
    words = ("import", "-m", "why", "-c", 'CMD ["cat", "/latest"]', "-c", "ENV A=b")
    image_id = ok(clean.daemon.docker(*words, str(exported), "imp:1"))
    assert ok(clean.daemon.docker("run", "--rm", "imp:1")) == "2"
    assert ok(clean.daemon.docker("run", "--rm", "imp:1", "sh", "-c", "echo $A")) == "b"
    [view] = json.loads(ok(clean.daemon.docker("image", "inspect", image_id)))
    assert (view["Comment"], len(view["RootFS"]["Layers"])) == ("why", 1)
    with exported.open("rb") as source:
        done = clean.daemon.docker("import", "-", stdin=source)
    assert ok(done).startswith("sha256:")


def test_an_image_of_a_prepared_root(clean: Box, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "bin").mkdir(parents=True)
    shutil.copy("/bin/busybox", tree / "bin/busybox")
    clean.ok("image", "from", str(tree), "tree:1")
    assert (
        clean.ok("run", "--rm", "tree:1", "/bin/busybox", "echo", "from a folder")
        == "from a folder"
    )
    (tree / "bin/busybox").unlink()  # the image has its own
    assert clean.ok("run", "--rm", "tree:1", "/bin/busybox", "true") == ""
    packed = tmp_path / "tree.tar.xz"
    with tarfile.open(packed, "w:xz") as tar:
        tar.add("/bin/busybox", "bin/busybox")
    clean.ok("image", "from", str(packed), "tar:1")
    assert clean.ok("run", "--rm", "tar:1", "/bin/busybox", "echo", "from a tar") == "from a tar"
    done = clean.orlop("image", "from", "/proc/self/status", "no:1")
    assert done.returncode == 1


def test_commit(clean: Box, tmp_path: Path) -> None:
    load(clean, tmp_path, made.docker_archive([(made.many_layers(3), ["a:1"])]))
    script = "echo new > /new; rm /latest; mkdir -p /d/e; chmod 700 /d; ln /new /d/link"
    ok(clean.daemon.docker("run", "--name", "web", "-e", "X=y", "a:1", "sh", "-c", script))
    words = ("commit", "-a", "me", "-m", "msg", "-c", 'CMD ["cat", "/new"]', "-c", "ENV Q=1")
    image_id = ok(clean.daemon.docker(*words, "web", "img:committed"))
    assert ok(clean.daemon.docker("run", "--rm", "img:committed")) == "new"
    probe = (
        "test ! -e /latest; stat -c %a /d; stat -c %h /new; echo $X$Q; find /etc /proc -maxdepth 0"
    )
    out = ok(clean.daemon.docker("run", "--rm", "img:committed", "sh", "-ec", probe))
    assert out.split()[:3] == ["700", "2", "y1"]
    [view] = json.loads(ok(clean.daemon.docker("image", "inspect", image_id)))
    assert (view["Author"], view["Comment"], len(view["RootFS"]["Layers"])) == ("me", "msg", 4)
    rows = clean.daemon.request("GET", "/images/img:committed/history")[1]
    assert [row["Id"] for row in rows[:3]] == [image_id, view["Parent"], "<missing>"]
    assert rows[0]["CreatedBy"] == f"sh -c {script}"
    # Its layer has what the container wrote and nothing that was only mounted there.
    saved = tmp_path / "saved.tar"
    ok(clean.daemon.docker("save", "-o", str(saved), "img:committed"))
    with tarfile.open(saved) as tar:
        file = tar.extractfile("manifest.json")
        assert file is not None
        top = tar.extractfile(json.load(file)[0]["Layers"][-1])
        assert top is not None
        with tarfile.open(fileobj=top) as layer:
            names = set(layer.getnames()) - {"etc", "dev", "proc", "sys"}
    assert names == {"new", ".wh.latest", "d", "d/e", "d/link"}
    # One that wrote nothing adds no layer.
    ok(clean.daemon.docker("run", "--name", "idle", "a:1", "true"))
    check = "HEALTHCHECK --interval=200ms --retries=2 CMD test -e /latest"
    same = ok(clean.daemon.docker("commit", "-c", check, "idle"))
    [view] = json.loads(ok(clean.daemon.docker("inspect", same)))
    assert len(view["RootFS"]["Layers"]) == 3
    assert view["Config"]["Healthcheck"] == {
        "Test": ["CMD-SHELL", "test -e /latest"],
        "Interval": 200_000_000,
        "Retries": 2,
    }
    ok(clean.daemon.docker("rm", "idle"))
    ok(clean.daemon.docker("run", "-d", "--name", "checked", same, "sleep", "1000"))
    health = ("inspect", "-f", "{{.State.Health.Status}}", "checked")
    eventually(lambda: ok(clean.daemon.docker(*health)) == "healthy")
    ok(clean.daemon.docker("rm", "-f", "checked"))
    # The parent's name may go; its layers stay.
    ok(clean.daemon.docker("rm", "web"))
    ok(clean.daemon.docker("rmi", "a:1"))
    assert ok(clean.daemon.docker("run", "--rm", "img:committed")) == "new"


@pytest.mark.parametrize("pause", [True, False])
def test_a_running_container_is_frozen_for_a_commit(
    clean: Box, tmp_path: Path, pause: bool
) -> None:
    load(clean, tmp_path, made.docker_archive([(made.many_layers(2), ["a:1"])]))
    script = "i=0; while :; do i=$((i+1)); echo $i >/t; mv /t /a; echo $i >/t; mv /t /b; done"
    container = clean.ok("run", "-d", "a:1", "sh", "-c", script)
    eventually(lambda: clean.orlop("exec", container, "cat", "/b").returncode == 0)
    with events(clean) as seen:
        clean.ok("commit", f"--pause={str(pause).lower()}", container, "img:1")
        eventually(lambda: "commit" in [event["Action"] for event in seen])
    assert ("pause" in [event["Action"] for event in seen]) is pause
    assert clean.status(container) == "running"
    first = clean.ok("exec", container, "cat", "/a")
    eventually(lambda: clean.ok("exec", container, "cat", "/a") != first)
    if pause:
        a, b = clean.ok("run", "--rm", "img:1", "sh", "-c", "cat /a /b").split()
        assert 0 <= int(a) - int(b) <= 1
    # One that was paused before stays so.
    clean.ok("pause", container)
    clean.ok("commit", container, "img:2")
    assert clean.status(container) == "paused"
    clean.ok("unpause", container)


def test_what_cannot_be_committed(clean: Box, tmp_path: Path) -> None:
    assert clean.orlop("commit", "nope").returncode == 1
    tree = tmp_path / "tree"
    (tree / "bin").mkdir(parents=True)
    shutil.copy("/bin/busybox", tree / "bin/busybox")
    container = clean.ok("create", "--rootfs", str(tree), "/bin/busybox", "true")
    done = clean.orlop("commit", container, "img:1")
    assert done.returncode == 1
    assert "folder of this host" in done.stderr
    clean.ok("image", "from", str(tree), "tree:1")
    container = clean.ok("create", "tree:1", "/bin/busybox", "true")
    done = clean.orlop("commit", "-c", "RUN make", container)
    assert "RUN is not a valid change command" in done.stderr


# --- names, lists, pruning ------------------------------------------------------------------


@contextmanager
def events(box: Box) -> Iterator[list[dict[str, Any]]]:
    """All events from now to the end of the block, as they come."""
    seen: list[dict[str, Any]] = []
    with closing(UnixConnection(box.daemon.socket, limit(60))) as connection:
        connection.request("GET", "/events")
        sock = connection.sock
        response = connection.getresponse()

        def read() -> None:
            while line := response.readline():
                seen.append(json.loads(line))

        thread = threading.Thread(target=read)
        thread.start()
        try:
            yield seen
            last = "/images/prune?filters=" + quote('{"label":["of no image"]}')
            assert box.daemon.request("POST", last)[0] == 200
            eventually(lambda: any(event["Action"] == "prune" for event in seen))
        finally:
            sock.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_names_lists_and_events(clean: Box, tmp_path: Path) -> None:
    with events(clean) as seen:
        load(clean, tmp_path, made.docker_archive([(made.many_layers(2), ["a:1"])]))
        clean.ok("tag", "a:1", "127.0.0.1:5000/mine/a:v1")
        assert clean.ok("images", "--format", "{{.Repository}}:{{.Tag}}").split() == [
            "127.0.0.1:5000/mine/a:v1",
            "a:1",
        ]
        assert clean.ok("images", "-q", "mine*") == ""
        assert clean.ok("images", "--format", "{{.Tag}}", "*/*/a") == "v1"
        ok(clean.daemon.docker("save", "-o", str(tmp_path / "s.tar"), "a:1"))
        out = ok(clean.daemon.docker("rmi", "a:1", "127.0.0.1:5000/mine/a:v1"))
        assert [line.split(":")[0] for line in out.splitlines()] == [
            *("Untagged", "Untagged", "Deleted", "Deleted", "Deleted")
        ]
    kinds = [event["Action"] for event in seen if event["Type"] == "image"]
    assert kinds == ["load", "tag", "save", "untag", "untag", "delete", "prune"]


def test_images_in_use_stay(clean: Box, tmp_path: Path) -> None:
    used, idle = made.many_layers(2), Made(made.many_layers(2).layers, {"Cmd": ["idle"]})
    load(clean, tmp_path, made.docker_archive([(used, ["used:1"]), (idle, ["idle:1"]), (idle, [])]))
    container = clean.ok("run", "-d", "used:1", "sleep", "1000")
    out = ok(clean.daemon.docker("image", "prune", "-a", "-f"))
    assert "untagged: idle:1" in out
    assert "used" not in out
    rows = clean.daemon.request("GET", "/images/json")[1]
    assert [(row["RepoTags"], row["Containers"]) for row in rows] == [(["used:1"], 1)]
    done = clean.daemon.docker("rmi", "used:1")
    assert "conflict: unable to remove repository reference" in done.stderr
    assert clean.ok("exec", container, "cat", "/latest") == "1"
    usage = clean.daemon.request("GET", "/system/df")[1]
    [row] = usage["Containers"]
    assert row["SizeRw"] == 0, "folders, and what is left to the container, are not written by it"
    assert row["SizeRootFs"] == usage["Images"][0]["Size"]
    clean.ok("exec", container, "sh", "-c", "echo hello > /written")
    [row] = clean.daemon.request("GET", "/containers/json?size=1")[1]
    assert (row["SizeRw"], row["SizeRootFs"]) == (6, 6 + usage["Images"][0]["Size"])
    assert "used" in clean.ok("system", "df", "-v")


# --- crashes --------------------------------------------------------------------------------


def test_a_daemon_killed_while_it_loads(new_daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    daemon = new_daemon()
    kept = made.docker_archive([(made.many_layers(2), ["kept:1"])])
    assert upload(daemon, "/images/load?quiet=1", kept)[0] == 200
    before = {f: set(files(daemon, f)) for f in ("blobs/sha256", "layers", "images")}
    archive = made.docker_archive([(made.many_layers(12), ["big:1"])])
    for delay in (0.02, 0.1, 0.2, 0.35):
        sender = threading.Thread(target=_send_and_forget, args=(daemon, archive))
        sender.start()
        time.sleep(limit(delay))
        daemon.kill()
        sender.join()
        daemon.start()
        eventually(lambda: not [p for p in daemon.processes() if "snapshot" in str(p)])
        tags = {t for row in daemon.request("GET", "/images/json")[1] for t in row["RepoTags"]}
        assert "kept:1" in tags
        if "big:1" in tags:  # it was done before
            assert ok(daemon.docker("run", "--rm", "big:1", "cat", "/latest")) == "11"
            ok(daemon.docker("rmi", "big:1"))
        assert ok(daemon.docker("run", "--rm", "kept:1", "cat", "/latest")) == "1"
        left = {f: set(files(daemon, f)) for f in before}
        assert left == before
        assert files(daemon, "tmp") == []
        eventually(lambda: not files(daemon, "trash"))  # the containers' folders went there last


def _send_and_forget(daemon: Daemon, archive: bytes) -> None:
    with suppress(OSError, HTTPException):
        upload(daemon, "/images/load?quiet=1", archive)


def test_a_killed_worker_is_one_failed_load(clean: Box) -> None:
    """The daemon goes on, and nothing of the load stays."""
    killed = threading.Event()
    archive = made.docker_archive([(made.many_layers(8), ["a:1"])])

    def slowly() -> Iterator[bytes]:
        for start in range(0, len(archive), 50_000):
            yield archive[start : start + 50_000]
            if not killed.is_set() and start > 300_000:
                for process in procfs.descendants(clean.daemon.pid):
                    if process.name == "orlop-worker":
                        os.kill(process.pid, signal.SIGKILL)
                        killed.set()

    status, body = upload(clean.daemon, "/images/load?quiet=1", slowly())
    assert killed.is_set()
    assert status == 503, body
    assert "worker" in json.loads(body)["message"]
    assert files(clean.daemon, "blobs/sha256") == files(clean.daemon, "tmp") == []
    assert upload(clean.daemon, "/images/load?quiet=1", archive)[0] == 200
