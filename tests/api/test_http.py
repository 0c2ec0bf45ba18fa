"""The stock docker command at a daemon's limits: versions, absent areas, big and slow bodies."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any

import pytest

from tests.api.box import IMAGE, Box
from tests.support.daemon import UnixConnection
from tests.support.pace import limit


def docker(box: Box, *words: str, version: str = "") -> Any:
    environment = {**box.daemon.environment, "DOCKER_API_VERSION": version, "DOCKER_BUILDKIT": "0"}
    if not version:
        del environment["DOCKER_API_VERSION"]
    return box.daemon.docker(*words, env=environment)


def test_docker_agrees_on_a_version_by_itself(box: Box) -> None:
    done = docker(box, "version", "--format", "{{.Client.APIVersion}} {{.Server.MinAPIVersion}}")
    assert done.returncode == 0, done.stderr
    client, least = done.stdout.split()
    assert least == "1.24"
    assert 41 <= int(client.partition(".")[2]) <= 51


@pytest.mark.parametrize(
    "version, said",
    [
        ("1.23", "client version 1.23 is too old. Minimum supported API version is 1.24, please"),
        ("1.52", "client version 1.52 is too new. Maximum supported API version is 1.51"),
    ],
)
def test_versions_that_are_not_spoken(box: Box, version: str, said: str) -> None:
    done = docker(box, "ps", version=version)
    assert done.returncode == 1
    assert said in done.stderr


@pytest.mark.parametrize("version", ["1.24", "1.30", "1.41", "1.44", "1.51"])
def test_versions_that_are(box: Box, version: str) -> None:
    done = docker(box, "run", "--rm", IMAGE, "echo", version, version=version)
    assert (done.returncode, done.stdout) == (0, f"{version}\n"), done.stderr


@pytest.mark.parametrize(
    "words, said",
    [
        (("swarm", "init"), "swarm mode is not supported"),
        (("service", "ls"), "This node is not a swarm manager."),
        (("secret", "ls"), "This node is not a swarm manager."),
        (("config", "ls"), "This node is not a swarm manager."),
        (("node", "ls"), "This node is not a swarm manager."),
        (("swarm", "leave"), "This node is not part of a swarm"),
        (("plugin", "ls"), "plugins are not supported"),
        (("build", "-q", "-"), "buildah"),
    ],
)
def test_what_there_is_not_says_so(box: Box, words: tuple[str, ...], said: str) -> None:
    options = {"input": "FROM scratch\n"} if words[0] == "build" else {}
    environment = {**box.daemon.environment, "DOCKER_BUILDKIT": "0"}
    done = box.daemon.docker(*words, env=environment, **options)
    assert done.returncode == 1, done.stdout
    assert said in done.stderr


def test_one_connection_for_everything(box: Box) -> None:
    connection = UnixConnection(box.daemon.socket, limit(20))
    sockets = set()
    for method, path, status in (
        ("GET", "/_ping", 200),
        ("HEAD", "/_ping", 200),
        ("GET", "/v1.24/containers/json", 200),
        ("GET", "/nowhere", 404),
        ("POST", "/containers/none/start", 404),
        ("GET", "/containers/json?filters={", 400),
        ("GET", "/version", 200),
    ):
        connection.request(method, path)
        sockets.add(connection.sock)
        response = connection.getresponse()
        body = response.read()
        assert response.status == status, (path, body)
        assert status == 200 or "message" in json.loads(body)
    assert len(sockets) == 1
    connection.close()


def test_a_body_in_chunks_that_waits_for_100(box: Box) -> None:
    body = json.dumps({"Image": IMAGE, "Cmd": ["true"]}).encode()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(limit(20))
        sock.connect(str(box.daemon.socket))
        sock.sendall(
            b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        assert sock.recv(4096).startswith(b"HTTP/1.1 100 ")
        for at in range(0, len(body), 7):
            piece = body[at : at + 7]
            sock.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
        sock.sendall(b"0\r\n\r\n")
        assert sock.recv(4096).startswith(b"HTTP/1.1 201 ")


def test_a_request_that_is_too_large_harms_nobody(box: Box) -> None:
    connection = UnixConnection(box.daemon.socket, limit(20))
    connection.putrequest("POST", "/containers/create")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", str(1 << 30))
    connection.endheaders()
    response: http.client.HTTPResponse | None = None
    try:
        for _ in range(64):
            connection.send(b" " * (1 << 20))
    except (BrokenPipeError, ConnectionResetError):
        pass
    response = connection.getresponse()
    assert response.status == 413
    connection.close()
    assert box.daemon.request("GET", "/_ping")[0] == 200
