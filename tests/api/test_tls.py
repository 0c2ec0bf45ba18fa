"""The API over TCP: mutual TLS for docker and orlop, plain on loopback, and who may not."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.box import IMAGE, Box, eventually
from tests.support.certificates import Authority
from tests.support.daemon import Daemon, orlop_command, running_daemon
from tests.support.pace import limit

Run = Callable[..., "subprocess.CompletedProcess[str]"]


class Remote:
    """A daemon on TCP with mutual TLS, and clients' folders of certificates."""

    def __init__(self, box: Box, port: int, authority: Authority, folder: Path) -> None:
        self.box = box
        self.address = f"tcp://127.0.0.1:{port}"
        self.authority = authority
        self.client = authority.client()
        self.stranger = Authority(folder / "other", "other").client()

    def run(
        self, *command: str, certificates: Path | None = None, **options: object
    ) -> subprocess.CompletedProcess[str]:
        """A command with docker's variables for this address."""
        environment = {
            **self.box.daemon.environment,
            "ORLOP_HOST": "",
            "DOCKER_HOST": self.address,
            "DOCKER_TLS_VERIFY": "1",
            "DOCKER_CERT_PATH": str(certificates or self.client),
        }
        defaults: dict[str, Any] = {"timeout": limit(60), "capture_output": True, "text": True}
        if "input" not in options:
            defaults["stdin"] = subprocess.DEVNULL
        return subprocess.run(command, env=environment, **{**defaults, **options})

    def docker(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """The stock command."""
        return self.run("docker", *words, **options)

    def orlop(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Ours."""
        return self.run(*orlop_command(), *words, **options)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def tls_flags(authority: Authority, port: int) -> list[str]:
    """Of a daemon with a certificate of the authority."""
    server = authority.server()
    return [
        *("--host", f"tcp://127.0.0.1:{port}", "--tlsverify", "--tlscacert", str(authority.ca)),
        *("--tlscert", str(server / "cert.pem"), "--tlskey", str(server / "key.pem")),
    ]


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    """One daemon for the module, on its unix socket and on TCP."""
    folder = tmp_path_factory.mktemp("tls")
    authority, port = Authority(folder / "authority", "tests"), free_port()
    with running_daemon(tls_flags(authority, port)) as daemon:
        box = Box(daemon)
        box.build()
        yield Remote(box, port, authority, folder)


@pytest.fixture(autouse=True)
def no_containers_left(remote: Remote) -> Iterator[None]:
    yield
    remote.box.remove_all()


@pytest.fixture(params=["docker", "orlop"])
def client(request: pytest.FixtureRequest, remote: Remote) -> Run:
    """Both commands."""
    command: Run = getattr(remote, request.param)
    return command


def test_everyday(client: Run) -> None:
    assert client("version").returncode == 0
    done = client("run", "--rm", IMAGE, "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")


def test_the_end_of_input_is_passed_on(client: Run) -> None:
    """The half-close of TLS: output goes on after it."""
    done = client("run", "-i", "--rm", IMAGE, "sh", "-c", "cat; echo end", input="one\ntwo\n")
    assert (done.returncode, done.stdout) == (0, "one\ntwo\nend\n")


def test_much_both_ways(client: Run, remote: Remote) -> None:
    data = os.urandom(3 << 20)
    words = ["docker"] if client.__name__ == "docker" else orlop_command()
    done = remote.run(*words, "run", "-i", "--rm", IMAGE, "cat", input=data, text=False)
    assert done.returncode == 0, done.stderr
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest()  # type: ignore[arg-type]


def test_exec_logs_cp_and_a_terminal(client: Run, remote: Remote, tmp_path: Path) -> None:
    box = remote.box
    ref = box.start(script="echo logged; sleep 1000")
    box.wait_for_log(ref, "logged")
    assert client("logs", ref).stdout == "logged\n"
    assert client("exec", ref, "echo", "x").stdout == "x\n"
    assert client("exec", "-i", ref, "cat", input="typed").stdout == "typed"
    file = tmp_path / "file"
    file.write_bytes(os.urandom(1 << 20))
    assert client("cp", str(file), f"{ref}:/tmp").returncode == 0
    assert client("cp", f"{ref}:/tmp/file", str(tmp_path / "back")).returncode == 0
    assert (tmp_path / "back").read_bytes() == file.read_bytes()
    assert client("kill", ref).returncode == 0


def test_without_a_certificate_of_the_authority(
    client: Run, remote: Remote, tmp_path: Path
) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "ca.pem").write_bytes(remote.authority.ca.read_bytes())
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    for name in ("cert.pem", "key.pem"):
        (stranger / name).write_bytes((remote.stranger / name).read_bytes())
    (stranger / "ca.pem").write_bytes(remote.authority.ca.read_bytes())
    done = client("ps", certificates=stranger)
    assert done.returncode == 1
    assert "unknown ca" in done.stderr.lower() or "unknown certificate" in done.stderr
    flags = ["--tlscert", "", "--tlskey", "", "--tlscacert", str(bare / "ca.pem")]
    if client.__name__ == "orlop":
        done = client(*flags, "ps", certificates=bare)
        assert done.returncode == 1
        assert "certificate required" in done.stderr
    # One that serves with another authority's certificate is not trusted.
    done = client("ps", certificates=remote.stranger)
    assert done.returncode == 1
    assert "certificate" in done.stderr


def test_without_tls_nothing_is_answered(remote: Remote) -> None:
    host, port = remote.address.removeprefix("tcp://").split(":")
    with socket.create_connection((host, int(port)), timeout=limit(10)) as plain:
        plain.sendall(b"GET /_ping HTTP/1.1\r\nHost: localhost\r\n\r\n")
        said = b""
        with contextlib.suppress(ConnectionResetError):
            while data := plain.recv(4096):
                said += data
        assert b"HTTP" not in said


def test_the_log_says_who_changes_what(remote: Remote) -> None:
    made = remote.docker("create", "--name", "logged", IMAGE)
    assert made.returncode == 0, made.stderr
    daemon = remote.box.daemon
    created = "POST /v1.41/containers/create by O=tests,CN=alice at 127.0.0.1:"
    eventually(lambda: created in daemon.log)
    done = remote.box.daemon.docker("rm", "logged")
    assert done.returncode == 0, done.stderr
    eventually(lambda: "DELETE /v1.41/containers/logged by uid=0 gid=0 pid=" in daemon.log)
    assert "GET " not in daemon.log
    assert "_ping" not in daemon.log


def test_context_for_docker(remote: Remote) -> None:
    done = remote.orlop("context")
    assert done.stdout == (
        f"export DOCKER_HOST={remote.address}\nexport DOCKER_TLS_VERIFY=1\n"
        f"export DOCKER_CERT_PATH={remote.client}\n"
    )
    environment = {**remote.box.daemon.environment, "DOCKER_HOST": "unix:///nowhere"}
    script = f'{done.stdout}\nexec docker version --format "{{{{.Server.Version}}}}"'
    said = subprocess.run(["sh", "-c", script], env=environment, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr


def test_attached_clients_do_not_hold_a_daemon_that_stops(
    new_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    authority, port = Authority(tmp_path / "authority", "tests"), free_port()
    daemon = new_daemon(*tls_flags(authority, port))
    box = Box(daemon)
    box.build()
    remote = Remote(box, port, authority, tmp_path)
    ref = box.start(script="echo up; sleep 1000")
    context = ssl.create_default_context(cafile=str(remote.client / "ca.pem"))
    context.load_cert_chain(remote.client / "cert.pem", remote.client / "key.pem")
    with (
        socket.create_connection(("127.0.0.1", port), timeout=limit(20)) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as attached,
    ):
        attached.sendall(
            f"POST /containers/{ref}/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: x\r\n"
            "Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n".encode()
        )
        assert attached.recv(4096).startswith(b"HTTP/1.1 101 ")
        assert daemon.stop(9.5) == 0  # the drain would take 10
        with contextlib.suppress(OSError):  # cut off, or told of the end
            assert attached.recv(4096) == b""
    daemon.start()
    assert box.status(ref) == "running"


# --- without TLS ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plain_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    port = free_port()
    flags = ["--host", f"tcp://localhost:{port}", "--tcp-without-tls"]
    with running_daemon(flags) as daemon:
        Box(daemon).build()
        yield port


def test_plain_tcp_on_loopback(plain_port: int) -> None:
    environment = {**os.environ, "DOCKER_HOST": f"tcp://127.0.0.1:{plain_port}"}
    for command in (["docker"], orlop_command()):
        done = subprocess.run(
            [*command, "run", "-i", "--rm", IMAGE, "sh", "-c", "cat; echo end"],
            env=environment, input="in\n", capture_output=True, text=True, timeout=limit(60),
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (0, "in\nend\n"), done.stderr


@pytest.mark.parametrize(
    "headers, status",
    [
        ("Host: localhost:{port}", 200),
        ("Host: 127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:{port}", 200),
        ("Host: [::1]", 200),
        ("Host: evil.example", 403),
        ("Host: localhost:{port}\r\nOrigin: http://evil.example", 403),
        ("Host: localhost:{port}\r\nOrigin: null", 403),
    ],
)
def test_no_web_page_gets_at_a_plain_port(plain_port: int, headers: str, status: int) -> None:
    request = f"GET /_ping HTTP/1.1\r\n{headers.format(port=plain_port)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", plain_port), timeout=limit(10)) as sock:
        sock.sendall(request.encode())
        assert sock.recv(4096).startswith(f"HTTP/1.1 {status} ".encode())
