"""What docker-py 7 can ask of an engine, beside what test_clients and test_network_clients do."""

from __future__ import annotations

import gc
import io
import socket
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import docker
import pytest
from docker.models.containers import Container
from docker.types import LogConfig, Mount, Ulimit

from tests.api.box import FOREVER, IMAGE, Box, eventually
from tests.support.daemon import Daemon
from tests.support.pace import limit

# docker-py leaves sockets of connections that were taken over to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

LOUD = "echo out; echo err >&2"


@pytest.fixture
def client(box: Box) -> Iterator[docker.DockerClient]:
    with closing(docker.DockerClient(base_url=box.daemon.host, version="auto")) as it:
        yield it
    gc.collect()  # in this test, whose sockets they are


@pytest.fixture
def new_metered_box(new_daemon: Callable[..., Daemon]) -> Box:
    """A daemon with metrics, without which there are no stats."""
    box = Box(new_daemon("--metrics-addr", "127.0.0.1:0"))
    box.build()
    return box


def start(client: docker.DockerClient, *command: str, **options: Any) -> Container:
    return client.containers.run(IMAGE, list(command or FOREVER), detach=True, **options)


@contextmanager
def hijacked(stream: Any) -> Iterator[Any]:
    """A connection that was taken over: docker-py leaves the closing of its socket to others."""
    with closing(stream._sock), closing(stream._response):
        yield stream


def a_tar(**files: bytes) -> bytes:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return whole.getvalue()


def content(pieces: Iterator[bytes]) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as tar:
        opened = {member.name: tar.extractfile(member) for member in tar if member.isfile()}
        return {name: file.read() for name, file in opened.items() if file is not None}


# --- containers


def test_list_by_filters(client: docker.DockerClient) -> None:
    up = start(client, name="up-1", labels={"tier": "front", "x": ""})
    gone = start(client, "sh", "-c", "exit 5", name="gone-1", labels=["x"])
    assert gone.wait()["StatusCode"] == 5
    made = client.containers.create(IMAGE, name="made-1")

    def names(**options: Any) -> list[str]:
        return sorted(one.name for one in client.containers.list(**options))

    assert names() == ["up-1"]
    assert names(all=True) == ["gone-1", "made-1", "up-1"]
    assert names(filters={"label": "tier=front"}) == ["up-1"]
    assert names(all=True, filters={"label": ["x"]}) == ["gone-1", "up-1"]
    assert names(filters={"status": "exited"}) == ["gone-1"]
    assert names(all=True, filters={"exited": 5}) == ["gone-1"]
    assert names(all=True, filters={"name": "^/?made"}) == ["made-1"]
    assert names(all=True, filters={"ancestor": IMAGE}) == ["gone-1", "made-1", "up-1"]
    assert names(all=True, filters={"since": gone.id}) == ["made-1"]
    assert names(all=True, filters={"before": "gone-1"}) == ["up-1"]
    assert names(limit=1) == ["made-1"]
    assert client.containers.list(all=True, filters={"id": up.id})[0].labels["tier"] == "front"
    assert client.containers.list(sparse=True)[0].attrs["State"] == "running"
    assert client.containers.get(made.short_id).status == "created"
    assert client.containers.get("up-1").image.tags == [f"{IMAGE}:latest"]


def test_options_of_run(client: docker.DockerClient) -> None:
    client.volumes.create("opts")
    it = start(
        client,
        "sh",
        "-c",
        "id -u; hostname; pwd; echo $A; ulimit -n; cat /v/file; exec sleep 1000",
        name="opts",
        user="1000",
        hostname="there",
        working_dir="/tmp",
        environment={"A": "b"},
        ulimits=[Ulimit(name="nofile", soft=77, hard=88)],
        volumes={"opts": {"bind": "/w", "mode": "rw"}},
        mounts=[Mount("/ram", None, type="tmpfs", tmpfs_size=65536)],
        tmpfs={"/v": "size=1m"},
        mem_limit="48m",
        nano_cpus=500_000_000,
        cpu_shares=512,
        pids_limit=50,
        cap_drop=["ALL"],
        read_only=True,
        init=True,
        stop_signal="SIGKILL",
        restart_policy={"Name": "on-failure", "MaximumRetryCount": 2},
        log_config=LogConfig(type="json-file", config={"max-size": "1m"}),
        security_opt=["no-new-privileges"],
        sysctls={"net.ipv4.ip_unprivileged_port_start": "0"},
        shm_size="16m",
        extra_hosts={"db": "10.0.0.9"},
        labels={"a": "b"},
    )
    eventually(lambda: it.logs(stderr=False).split() == [b"1000", b"there", b"/tmp", b"b", b"77"])
    host = it.attrs["HostConfig"]
    assert (host["Memory"], host["NanoCpus"], host["PidsLimit"]) == (48 << 20, 500_000_000, 50)
    assert host["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 2}
    assert {mount["Destination"] for mount in it.attrs["Mounts"]} >= {"/w", "/ram"}
    assert b"10.0.0.9\tdb" in it.exec_run("cat /etc/hosts").output
    it.update(mem_limit="64m", memswap_limit="64m")
    it.rename("other")
    it.reload()
    assert (it.name, it.attrs["HostConfig"]["Memory"]) == ("other", 64 << 20)
    it.restart(timeout=0)
    it.kill("SIGKILL")
    it.remove(v=True, force=True)
    client.volumes.get("opts").remove()


def test_logs(client: docker.DockerClient) -> None:
    it = start(client, "sh", "-c", f"{LOUD}; sleep 0.3; echo late")
    assert list(it.logs(stream=True, follow=True, stderr=False)) == [b"out\n", b"late\n"]
    assert it.logs(stdout=False) == b"err\n"
    assert it.logs(stderr=False, tail=1) == b"late\n"
    stamp, _, text = it.logs(stderr=False, timestamps=True, tail=1).partition(b" ")
    assert (stamp[-1:], text) == (b"Z", b"late\n")
    assert it.logs(since=int(time.time()) + 100) == b""
    assert it.logs(until=1) == b""


def test_attach(client: docker.DockerClient) -> None:
    it = client.containers.create(
        IMAGE, ["sh", "-c", "read x; echo got $x; exit 4"], stdin_open=True
    )
    streams = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
    with hijacked(it.attach_socket(params=streams)) as attached:
        it.start()
        attached._sock.sendall(b"this\n")
        attached._sock.shutdown(socket.SHUT_WR)
        assert attached.read(8) == bytes([1, 0, 0, 0, 0, 0, 0, 9])
        assert attached.read(9) == b"got this\n"
    assert it.wait()["StatusCode"] == 4
    other = client.containers.create(IMAGE, ["sh", "-c", LOUD])
    both = other.attach(stream=True, demux=True)
    other.start()
    assert sorted(both, key=str) == [(None, b"err\n"), (b"out\n", None)]
    assert sorted(other.attach(logs=True).split()) == [b"err", b"out"]


def test_exec(client: docker.DockerClient) -> None:
    it = start(client)
    assert it.exec_run(["sh", "-c", LOUD], demux=True).output == (b"out\n", b"err\n")
    assert it.exec_run("sh -c 'exit 9'").exit_code == 9
    options = {"environment": {"A": "b"}, "workdir": "/tmp", "user": "7"}
    shown = it.exec_run(["sh", "-c", "echo $A; pwd; id -u"], **options).output
    assert shown.split() == [b"b", b"/tmp", b"7"]
    pieces = it.exec_run(["sh", "-c", LOUD], stream=True, stderr=False).output
    with closing(pieces):
        assert b"".join(pieces) == b"out\n"
    assert it.exec_run("tty", tty=True, stdin=True).output == b"/dev/pts/0\r\n"
    assert not it.exec_run(["touch", "/done"], detach=True).output
    eventually(lambda: it.exec_run(["test", "-e", "/done"]).exit_code == 0)
    code, stream = it.exec_run("cat", stdin=True, socket=True)
    assert code is None
    with hijacked(stream):
        stream._sock.sendall(b"typed")
        stream._sock.shutdown(socket.SHUT_WR)
        assert stream.read() == bytes([1, 0, 0, 0, 0, 0, 0, 5]) + b"typed"
    low = client.api.exec_create(it.id, ["sh", "-c", "exit 6"])
    client.api.exec_start(low["Id"])
    found = client.api.exec_inspect(low["Id"])
    assert (found["ExitCode"], found["Running"], found["ContainerID"]) == (6, False, it.id)
    assert found["ProcessConfig"]["entrypoint"] == "sh"


def test_archives(client: docker.DockerClient) -> None:
    it = start(client)
    assert it.put_archive("/tmp", a_tar(one=b"1", two=b"22")) is True
    pieces, stat = it.get_archive("/tmp/two")
    assert (stat["name"], stat["size"]) == ("two", 2)
    assert content(pieces) == {"two": b"22"}
    assert content(it.get_archive("/tmp/one", encode_stream=True)[0]) == {"one": b"1"}
    with pytest.raises(docker.errors.NotFound):
        it.get_archive("/no/such")
    with pytest.raises(docker.errors.NotFound):
        it.put_archive("/no/such", a_tar(one=b"1"))
    assert {"Path": "/tmp/one", "Kind": 1} in it.diff()
    assert content(it.export())["tmp/two"] == b"22"


def test_top_and_resize(client: docker.DockerClient) -> None:
    it = start(client, tty=True)
    top = it.top(ps_args="-o pid,args")
    assert top["Titles"] == ["PID", "COMMAND"]
    assert top["Processes"][0][1] == " ".join(FOREVER)
    it.resize(33, 99)
    assert it.exec_run("stty size < /dev/console", tty=True).exit_code != 127
    it.pause()
    with pytest.raises(docker.errors.APIError) as caught:
        it.exec_run("true")
    assert caught.value.status_code == 409
    it.unpause()


def test_wait_and_prune(client: docker.DockerClient) -> None:
    it = start(client, "sh", "-c", "sleep 0.2; exit 3", auto_remove=True)
    assert it.wait(condition="removed")["StatusCode"] == 3
    old = client.containers.create(IMAGE, name="old", labels=["x"])
    client.containers.create(IMAGE, name="kept")
    assert client.containers.prune({"label": "x"})["ContainersDeleted"] == [old.id]
    with pytest.raises(docker.errors.NotFound, match="No such container"):
        old.reload()
    with pytest.raises(docker.errors.APIError) as caught:
        start(client, name="kept")
    assert caught.value.status_code == 409
    long = start(client)
    with pytest.raises(Exception, match=r"(?i)timed out"):
        long.wait(timeout=0.3)
    with pytest.raises(docker.errors.APIError) as caught:
        long.remove()
    assert caught.value.status_code == 409


def test_stats(new_metered_box: Box) -> None:
    with closing(docker.DockerClient(base_url=new_metered_box.daemon.host)) as client:
        it = start(client, name="metered")
        figures = it.stats(stream=False)
        assert (figures["id"], figures["name"]) == (it.id, "/metered")
        assert figures["memory_stats"]["usage"] > 0
        assert figures["pids_stats"]["current"] == 1
        stream = it.stats(decode=True)
        first, second = next(stream), next(stream)
        assert second["cpu_stats"]["system_cpu_usage"] > first["cpu_stats"]["system_cpu_usage"]
        assert second["precpu_stats"]["system_cpu_usage"] == first["cpu_stats"]["system_cpu_usage"]
        stream.close()
        it.remove(force=True)


# --- the rest


def test_images(client: docker.DockerClient) -> None:
    image = client.images.get(IMAGE)
    assert [one.id for one in client.images.list(name=IMAGE)] == [image.id]
    assert client.images.list(filters={"dangling": True}) == []
    assert image.tag("copy", "v1") is True
    image.reload()
    assert sorted(image.tags) == [f"{IMAGE}:latest", "copy:v1"]
    assert image.history()[0]["Id"] == image.id
    saved = b"".join(image.save(named="copy:v1"))
    client.images.remove("copy:v1")
    (loaded,) = client.images.load(saved)
    assert loaded.tags == ["copy:v1"] or sorted(loaded.tags) == [f"{IMAGE}:latest", "copy:v1"]
    it = client.containers.create(IMAGE, ["true"])
    made = it.commit("made", "v2", message="why", author="who", changes=["ENV A=b"])
    assert made.tags == ["made:v2"]
    assert "A=b" in made.attrs["Config"]["Env"]
    assert (made.attrs["Comment"], made.attrs["Author"]) == ("why", "who")
    client.api.import_image_from_data(a_tar(file=b"x"), repository="imported", tag="v3")
    assert client.images.get("imported:v3").attrs["RootFS"]["Type"] == "layers"
    for name in ("copy:v1", "made:v2", "imported:v3"):
        client.images.remove(name)
    with pytest.raises(docker.errors.ImageNotFound):
        client.images.get("made:v2")
    assert client.images.prune()["ImagesDeleted"] is None
    with pytest.raises(docker.errors.ImageNotFound):
        client.containers.create("127.0.0.1:1/nothing", ["true"])
    with pytest.raises(docker.errors.APIError):
        client.images.build(fileobj=io.BytesIO(b"FROM scratch"))


def test_volumes(client: docker.DockerClient) -> None:
    volume = client.volumes.create("vol", labels={"a": "b"})
    assert volume.attrs["Driver"] == "local"
    assert [one.name for one in client.volumes.list(filters={"label": "a"})] == ["vol"]
    it = start(client, volumes=["vol:/data:ro"])
    assert it.exec_run(["touch", "/data/x"]).exit_code != 0
    with pytest.raises(docker.errors.APIError) as caught:
        volume.remove()
    assert caught.value.status_code == 409
    it.remove(force=True)
    anonymous = client.volumes.create()
    assert client.volumes.prune()["VolumesDeleted"] == [anonymous.name]
    client.volumes.get("vol").remove()
    with pytest.raises(docker.errors.NotFound):
        client.volumes.get("vol")


def test_events(client: docker.DockerClient) -> None:
    seen: list[tuple[str, str]] = []
    stream = client.events(decode=True, filters={"type": "container", "label": "watched"})

    def watch() -> None:
        seen.extend((event["Action"], event["Actor"]["ID"]) for event in stream)

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    it = start(client, "true", labels=["watched"])
    it.wait()
    it.remove()
    expected = [(action, it.id) for action in ("create", "start", "die", "destroy")]
    eventually(lambda: [one for one in seen if one[0] != "attach"] == expected)
    stream.close()
    watching.join(limit(5))
    assert not watching.is_alive()
    past = client.events(since=1, until=int(time.time()) + 1, decode=True, filters={"event": "die"})
    assert it.id in {event["id"] for event in past}


def test_the_daemon(client: docker.DockerClient) -> None:
    assert client.ping() is True
    assert client.version()["ApiVersion"] == client.api.api_version
    start(client)
    info = client.info()
    assert (info["ContainersRunning"], info["Swarm"]["LocalNodeState"]) == (1, "inactive")
    usage = client.df()
    assert [row["RepoTags"] for row in usage["Images"]] == [[f"{IMAGE}:latest"]]
    assert usage["Containers"][0]["SizeRw"] >= 0
    assert usage["LayersSize"] > 0
    assert usage["Volumes"] == []
    with pytest.raises(docker.errors.APIError) as caught:
        client.swarm.reload()
    assert caught.value.status_code == 503
    with pytest.raises(docker.errors.APIError) as caught:
        client.plugins.list()
    assert caught.value.status_code == 501
