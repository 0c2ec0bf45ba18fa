"""Where the command line connects to: forms of --host, TLS files, `orlop context`."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest

from supervisor.cli.context import Context
from supervisor.cli.dial import Dialer, Tls, tls_files
from supervisor.cli.failures import Failure
from supervisor.cli.main import main
from tests.unit.cli.fake_daemon import FakeDaemon

TLS = Tls("ca", "cert", "key", verify=True)
Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ORLOP_HOST", "DOCKER_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    "address, tls, expected",
    [
        ("unix:///x", None, ("/x", "", 0)),
        ("tcp://h", None, ("", "h", 2375)),
        ("tcp://h/", TLS, ("", "h", 2376)),
        ("tcp://h:5", TLS, ("", "h", 5)),
        ("tcp://[::1]:5", None, ("", "::1", 5)),
        ("tcp://[::1]", None, ("", "::1", 2375)),
        ("tcp://:5", None, ("", "127.0.0.1", 5)),
    ],
)
def test_addresses(address: str, tls: Tls | None, expected: tuple[str, str, int]) -> None:
    dialer = Dialer(address, tls)
    assert (dialer._path, dialer._host, dialer._port) == expected


@pytest.mark.parametrize(
    "address",
    ["", "x", "unix://x", "tcp://", "tcp://h:0", "tcp://h:70000", "tcp://h/p", "http://h"],
)
def test_no_addresses(address: str) -> None:
    with pytest.raises(Failure, match="invalid --host"):
        Dialer(address, None)


def test_which_variable_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Context(None).address == "unix:///run/orlop/orlop.sock"
    monkeypatch.setenv("DOCKER_HOST", "tcp://docker")
    assert Context(None).address == "tcp://docker"
    # The daemon must not listen where docker's clients go.
    assert not Context(None).address_given
    assert Context("tcp://flag").address == "tcp://flag"
    assert Context("tcp://flag").address_given


def test_dockers_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path))
    (tmp_path / "ca.pem").touch()
    assert tls_files(None, None, "mine", verify=False) == Tls(
        f"{tmp_path}/ca.pem", "", "mine", verify=False
    )


def test_context(capfd: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["-H", "unix:///a b", "context"]) == 0
    assert capfd.readouterr().out == "export DOCKER_HOST='unix:///a b'\n"
    assert main(["-H", "tcp://h", "--tlsverify", "--tlscert=/c/cert.pem", "context"]) == 0
    assert capfd.readouterr().out == (
        "export DOCKER_HOST=tcp://h\nexport DOCKER_TLS_VERIFY=1\nexport DOCKER_CERT_PATH=/c\n"
    )
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    assert main(["-H", "tcp://h", "--tlsverify=false", "context"]) == 0
    assert capfd.readouterr().out == "export DOCKER_HOST=tcp://h\n"


def test_docker_host_is_where_orlop_goes(
    daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch, capfd: Captured
) -> None:
    daemon.on_json("GET", "/containers/json", [])
    monkeypatch.setenv("DOCKER_HOST", daemon.address)
    assert main(["ps", "-q"]) == 0
    assert len(daemon.requests) == 1


def test_something_that_speaks_no_tls(capfd: Captured) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        assert main(["-H", f"tcp://127.0.0.1:{port}", "--tls", "ps"]) == 1
        thread.join()
    said = capfd.readouterr().err
    assert said.startswith("orlop: cannot connect to the daemon by TLS: ")
    assert said.count("\n") == 1


def test_certificates_that_cannot_be_read(tmp_path: Path, capfd: Captured) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        missing = os.fspath(tmp_path / "none.pem")
        assert main(["-H", address, "--tlsverify", f"--tlscacert={missing}", "ps"]) == 1
    said = capfd.readouterr().err
    assert f"the certificates of TLS ({missing}): no such file or directory" in said
