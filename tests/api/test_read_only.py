"""A read-only address of a daemon: what stock clients see there, and that nothing gets past it."""

from __future__ import annotations

import json
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import docker as docker_py
import pytest

from tests.api.box import IMAGE, Box
from tests.support.daemon import UnixConnection, running_daemon
from tests.support.pace import limit
from tests.support.places import short_folder

GROUP = 54321
SAID = "is refused: this address is read-only"


class Watched(Box):
    """A daemon with a further address, `path`."""

    path: Path

    def look(self, *words: str) -> subprocess.CompletedProcess[str]:
        """The stock command at that address."""
        environment = {**self.daemon.environment, "DOCKER_HOST": f"unix://{self.path}"}
        return subprocess.run(
            ["docker", *words],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=limit(60),
        )

    def ask(self, method: str, target: str, headers: dict[str, str]) -> tuple[int, bytes]:
        """One request at that address; the answer's status and body."""
        with closing(UnixConnection(self.path, limit(20))) as connection:
            connection.request(method, target, headers=headers)
            response = connection.getresponse()
            return response.status, response.read()


@pytest.fixture(scope="module")
def watched() -> Iterator[Watched]:
    with short_folder() as folder:
        path = folder / "ro" / "orlop.sock"
        flags = ("--read-only-host", f"unix://{path}", "--read-only-group", str(GROUP))
        with running_daemon(flags) as daemon:
            box = Watched(daemon)
            box.path = path
            box.build()
            yield box
            box.remove_all()
        assert not path.exists()


@pytest.fixture(scope="module")
def ref(watched: Watched) -> str:
    """A container that has written a line and runs."""
    ref = watched.start("--name", "web", "--label", "a=b", script="echo line; exec sleep 100000")
    watched.wait_for_log(ref, "line")
    return ref


def test_whose_the_socket_is(watched: Watched) -> None:
    about = watched.path.stat()
    assert stat.S_IMODE(about.st_mode) == 0o660
    assert (about.st_uid, about.st_gid) == (0, GROUP)


def test_what_is_served(watched: Watched, ref: str) -> None:
    assert watched.look("ps", "--format", "{{.Names}}").stdout == "web\n"
    assert watched.look("inspect", "-f", "{{.State.Status}}", "web").stdout == "running\n"
    assert watched.look("logs", "web").stdout == "line\n"
    assert "sleep" in watched.look("top", "web").stdout
    assert IMAGE in watched.look("images").stdout
    until = str(int(time.time()) + 1)  # whole seconds, and it may have started in this one
    assert "container start" in watched.look("events", "--since", "10m", "--until", until).stdout
    for words in (["version"], ["info"], ["volume", "ls"], ["system", "df"]):
        done = watched.look(*words)
        assert done.returncode == 0, done.stderr


def test_what_is_not(watched: Watched, ref: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    for words in (
        ["run", IMAGE, "true"],
        ["exec", "web", "true"],
        ["rm", "-f", "web"],
        ["cp", str(file), "web:/tmp"],
        ["cp", "web:/etc", str(tmp_path / "etc")],
        ["save", "-o", str(tmp_path / "saved"), IMAGE],
        ["pull", "busybox"],
    ):
        done = watched.look(*words)
        assert done.returncode != 0, words
        assert SAID in done.stderr, (words, done.stderr)
    attached = watched.look("attach", "--no-stdin", "web")
    assert (attached.returncode, "403" in attached.stderr) == (1, True)
    state = json.loads(watched.ok("inspect", ref))[0]
    assert (state["State"]["Status"], state["RestartCount"]) == ("running", 0)
    assert watched.ok("ps", "-aq").split() == [ref[:12]]


def test_a_websocket_types_nothing_in(watched: Watched, ref: str) -> None:
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    target = f"/containers/{ref}/attach/ws?stream=1&stdin=1"
    status, body = watched.ask("GET", target, headers)
    assert status == 403
    assert SAID in json.loads(body)["message"]


def test_docker_py(watched: Watched, ref: str) -> None:
    client = docker_py.DockerClient(base_url=f"unix://{watched.path}", version="auto")
    try:
        assert [one.id for one in client.containers.list(filters={"label": "a=b"})] == [ref]
        with pytest.raises(docker_py.errors.APIError, match="ContainerStop is refused") as raised:
            client.containers.get("web").stop()
        assert raised.value.status_code == 403
    finally:
        client.close()


def test_a_daemon_that_cannot_have_one_says_so_and_leaves_nothing(watched: Watched) -> None:
    other = watched.daemon.folder / "other"
    done = subprocess.run(
        [
            *watched.daemon.command[:3],
            *("--data-root", str(other / "data"), "--run-root", str(other / "run")),
            *("--host", f"unix://{other}/o.sock", "--bridge", "none", "--metrics-addr", "off"),
            *("--read-only-host", f"unix://{watched.path}"),
        ],
        capture_output=True,
        text=True,
        timeout=limit(60),
    )
    assert done.returncode == 1
    assert "another daemon answers on this socket" in done.stderr
    assert not (other / "o.sock").exists()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(watched.path))
