"""The stock clients against the server: docker-py, and the docker command where there is one."""

from __future__ import annotations

import gc
import os
import shutil
import warnings
from collections.abc import Callable
from typing import Any

import docker
import docker.errors
import pytest
import trio

from tests.unit.api.conftest import Api

DOCKER = shutil.which("docker")


async def with_docker_py(api: Api, work: Callable[[Any], Any]) -> Any:
    """`work(client)` in a thread; docker-py blocks."""

    def call() -> Any:
        client = docker.DockerClient(base_url=f"unix://{api.path}", version="auto", timeout=10)
        try:
            return work(client)
        finally:
            client.close()

    try:
        return await trio.to_thread.run_sync(call)
    finally:
        with warnings.catch_warnings():
            # It leaves sockets of hijacked connections to the garbage collector.
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()


async def test_docker_py_runs_and_reads_output(api: Api) -> None:
    output = await with_docker_py(
        api, lambda client: client.containers.run("tools", ["echo", "hi"], remove=True)
    )
    assert output == b"hi\n"
    assert not api.engine.containers


async def test_docker_py_negotiates_and_lists(api: Api) -> None:
    def work(client: Any) -> None:
        assert client.api._version == "1.51"
        assert client.ping() is True
        created = client.containers.create("tools", "sleep", name="web", labels={"a": "b"})
        assert [c.name for c in client.containers.list(all=True)] == ["web"]
        assert client.containers.list(all=True, filters={"label": "a=b"})[0].id == created.id
        assert created.labels["a"] == "b"
        created.start()
        created.reload()
        assert created.status == "running"
        assert created.top()["Titles"] == ["PID", "CMD"]
        created.rename("web2")
        created.pause()
        created.unpause()
        created.update(mem_limit="64m")
        assert created.exec_run(["echo", "a", "b"]) == (3, b"a b\n")
        assert created.exec_run(["echo", "a"], demux=True) == (3, (b"a\n", None))
        created.stop(timeout=1)
        assert created.wait()["StatusCode"] == 137
        created.remove()

    await with_docker_py(api, work)


async def test_docker_py_attach_socket_and_logs(api: Api) -> None:
    def work(client: Any) -> tuple[bytes, bytes]:
        container = client.containers.create("tools", "cat", stdin_open=True)
        sock = container.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
        container.start()
        sock._sock.sendall(b"through\n")
        sock._sock.shutdown(1)
        output = b""
        while piece := sock._sock.recv(100):
            output += piece
        sock._sock.close()
        container.wait()
        return output, container.logs()

    output, logs = await with_docker_py(api, work)
    assert output == b"\x01\0\0\0\0\0\0\x08through\n"
    assert logs == b"through\n"


async def test_docker_py_errors(api: Api) -> None:
    def work(client: Any) -> None:
        with pytest.raises(docker.errors.NotFound, match="No such container: nosuch"):
            client.containers.get("nosuch")
        with pytest.raises(docker.errors.ImageNotFound):
            client.images.get("nosuch")
        with pytest.raises(docker.errors.NotFound, match="manifest unknown"):
            client.images.pull("nosuch")
        with pytest.raises(docker.errors.APIError, match="not part of a swarm"):
            client.swarm.leave()
        with pytest.raises(docker.errors.NotFound, match="network nosuch not found"):
            client.networks.get("nosuch")
        with pytest.raises(docker.errors.APIError, match="invalid port specification"):
            client.containers.create("tools", "sleep", ports={"0/tcp": 8080})

    await with_docker_py(api, work)


async def test_docker_py_events(api: Api) -> None:
    def work(client: Any) -> list[str]:
        stream = client.events(decode=True, filters={"type": "container"})
        client.containers.create("tools", "echo").start()
        actions = [next(stream)["Action"] for _ in range(3)]
        stream.close()
        return actions

    assert await with_docker_py(api, work) == ["create", "start", "die"]


async def docker_cli(api: Api, *words: str, stdin: bytes = b"") -> tuple[int, bytes, bytes]:
    assert DOCKER is not None
    done = await trio.run_process(
        [DOCKER, *words],
        stdin=stdin,
        capture_stdout=True,
        capture_stderr=True,
        check=False,
        env={**os.environ, "DOCKER_HOST": f"unix://{api.path}"},
    )
    return done.returncode, done.stdout, done.stderr


needs_docker = pytest.mark.skipif(DOCKER is None, reason="there is no docker command here")


@needs_docker
async def test_docker_run(api: Api) -> None:
    assert await docker_cli(api, "run", "--rm", "tools", "echo", "hi") == (0, b"hi\n", b"")
    assert await docker_cli(api, "run", "--rm", "tools", "exit", "7") == (7, b"", b"")
    code, output, _ = await docker_cli(api, "run", "-i", "--rm", "tools", "cat", stdin=b"a\0b\n")
    assert (code, output) == (0, b"a\0b\n")
    assert not api.engine.containers


@needs_docker
@pytest.mark.parametrize(
    "words,code,text",
    [
        (("nosuch", "true"), 125, b"manifest unknown"),
        (("tools", "/nonexistent"), 127, b"no such file or directory"),
        (("--network", "host", "--network-alias", "x", "tools", "echo"), 125, b"network-scoped"),
        (("--ip", "10.0.0.1", "tools", "echo"), 125, b"user specified IP address"),
        (("--mount", "src=.d,dst=/d", "tools", "echo"), 125, b"includes invalid characters"),
        (("--health-interval", "1us", "tools", "echo"), 125, b"Interval in Healthcheck cannot"),
        (("--gpus", "all", "tools", "echo"), 125, b"DeviceRequests (--gpus)"),
        (("--link", "a", "tools", "echo"), 125, b"Links (--link)"),
        (("--log-driver", "syslog", "tools", "echo"), 125, b"log driver 'syslog'"),
        (("--memory-swappiness", "10", "tools", "echo"), 125, b"MemorySwappiness"),
        (("--runtime", "runsc", "tools", "echo"), 125, b"Runtime (--runtime)"),
        (("--mac-address", "01:42:ac:11:00:02", "tools", "echo"), 125, b"invalid MAC address"),
    ],
)
async def test_docker_run_fails_clearly(
    api: Api, words: tuple[str, ...], code: int, text: bytes
) -> None:
    found, _, stderr = await docker_cli(api, "run", "--rm", *words)
    assert found == code, stderr
    assert text in stderr


@needs_docker
async def test_docker_commands(api: Api) -> None:
    assert (await docker_cli(api, "run", "-d", "--name", "web", "tools", "sleep"))[0] == 0
    code, output, _ = await docker_cli(api, "exec", "web", "echo", "in", "exec")
    assert (code, output) == (3, b"in exec\n")
    code, output, _ = await docker_cli(api, "ps", "--format", "{{.Names}} {{.Status}}")
    assert output.startswith(b"web Up ")
    for words in (
        ("pause", "web"),
        ("unpause", "web"),
        ("update", "--memory", "64m", "web"),
        ("top", "web"),
        ("rename", "web", "web2"),
        ("stop", "-t", "1", "web2"),
        ("rm", "web2"),
        ("images",),
        ("info",),
        ("version",),
    ):
        code, _, stderr = await docker_cli(api, *words)
        assert (code, stderr) == (0, b""), words
    code, _, stderr = await docker_cli(api, "inspect", "nosuch")
    assert (code, stderr) == (1, b"Error: No such object: nosuch\n")
