"""The API's sockets: modes, groups, stale files, inherited ones, and what stays when one fails."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from supervisor.daemon import listen as module
from supervisor.daemon.addresses import TcpAddress, Tls, UnixAddress
from supervisor.daemon.listen import (
    Listening,
    group_id,
    inherited,
    listen,
    listen_read_only,
    server_context,
)
from supervisor.errors import Conflict, InvalidArgument
from tests.unit.metrics import certificates

Open = Callable[..., Listening]


@pytest.fixture
def open_at(tmp_path: Path) -> Iterator[Open]:
    """`open_at(address, …)`, closed at the end."""
    opened = []

    def call(*addresses: UnixAddress | TcpAddress, gid: int = os.getgid()) -> Listening:
        made = listen(addresses, None, gid=gid, run_root=tmp_path / "run", without_tls=True)
        opened.append(made)
        return made

    yield call
    for one in opened:
        one.close()


def test_only_owner_and_group_may_connect(tmp_path: Path, open_at: Open) -> None:
    path = tmp_path / "new/folder/x.sock"
    made = open_at(UnixAddress(str(path)))
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o710
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    made.close()
    assert not path.exists()


@pytest.fixture
def chowned(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, int, int]]:
    """What was given to whom; only root could do it."""
    calls: list[tuple[Path, int, int]] = []
    monkeypatch.setattr(os, "chown", lambda path, uid, gid: calls.append((path, uid, gid)))
    return calls


def test_the_group_gets_into_the_daemons_own_folder(
    tmp_path: Path, open_at: Open, chowned: list[tuple[Path, int, int]]
) -> None:
    folder = tmp_path / "run"
    folder.mkdir(mode=0o700)
    open_at(UnixAddress(str(folder / "x.sock")), gid=4242)
    assert chowned == [(folder / "x.sock", -1, 4242), (folder, -1, 4242)]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o710


def test_a_second_group_in_the_same_folder_shuts_nobody_out(
    tmp_path: Path, open_at: Open, chowned: list[tuple[Path, int, int]]
) -> None:
    folder = tmp_path / "run"
    folder.mkdir(mode=0o700)
    made = open_at(UnixAddress(str(folder / "x.sock")), gid=4242)
    looking = UnixAddress(str(folder / "ro.sock"))
    listen_read_only(made, [looking], gid=4343, run_root=folder)
    assert chowned[2:] == [(folder / "ro.sock", -1, 4343)]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o711
    assert stat.S_IMODE((folder / "ro.sock").stat().st_mode) == 0o660
    assert len(made.listeners) == len(made.read_only) == 1
    made.close()
    assert not [*folder.iterdir()]


def test_nothing_stays_when_a_read_only_one_fails(tmp_path: Path, open_at: Open) -> None:
    good, bad = tmp_path / "good.sock", tmp_path / "bad"
    bad.write_text("a file")
    made = open_at(UnixAddress(str(good)))
    with pytest.raises(InvalidArgument, match="is not a socket"):
        listen_read_only(made, [UnixAddress(str(bad))], gid=os.getgid(), run_root=tmp_path / "run")
    assert not good.exists()


def test_other_folders_are_left_and_told_of(
    tmp_path: Path,
    open_at: Open,
    chowned: list[tuple[Path, int, int]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = tmp_path / "other"
    folder.mkdir(mode=0o700)
    open_at(UnixAddress(str(folder / "x.sock")), gid=4242)
    assert chowned == [(folder / "x.sock", -1, 4242)]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert "the group 4242 cannot reach the socket" in caplog.text


def test_a_dead_daemons_socket_is_replaced_a_living_ones_not(tmp_path: Path, open_at: Open) -> None:
    path = tmp_path / "x.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    open_at(UnixAddress(str(path)))
    with pytest.raises(Conflict, match="another daemon answers"):
        open_at(UnixAddress(str(path)))
    assert path.exists()


def test_nothing_stays_when_one_of_them_fails(tmp_path: Path, open_at: Open) -> None:
    good, bad = tmp_path / "good.sock", tmp_path / "bad"
    bad.write_text("a file")
    with pytest.raises(InvalidArgument, match="is not a socket"):
        open_at(UnixAddress(str(good)), UnixAddress(str(bad)))
    assert not good.exists()
    assert bad.read_text() == "a file"


def test_tcp(open_at: Open) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    open_at(TcpAddress("127.0.0.1", port))
    with socket.create_connection(("127.0.0.1", port)):
        pass
    with pytest.raises(Conflict, match="address already in use"):
        open_at(TcpAddress("127.0.0.1", port))
    with pytest.raises(InvalidArgument, match="cannot listen on tcp://192"):
        open_at(TcpAddress("192.0.2.1", 1))


def test_groups() -> None:
    assert (group_id("root"), group_id("0"), group_id("4242")) == (0, 0, 4242)
    for name in ("no-such-group", "-1", "99999999999", ""):
        with pytest.raises(InvalidArgument, match="no such group"):
            group_id(name)


@pytest.mark.parametrize(
    "changed, said",
    [
        ({"ca": "none.pem"}, "--tlscacert .*no such file"),
        ({"ca": "key.pem"}, "--tlscacert .*no certificate"),
        ({"cert": "none.pem"}, "--tlscert .*no such file"),
        ({"key": "ca.pem"}, "--tlskey "),
        ({"key": "locked.pem"}, "passphrase"),
    ],
)
def test_certificates_that_do_not_serve(tmp_path: Path, changed: dict[str, str], said: str) -> None:
    files = {
        "ca.pem": certificates.AUTHORITY,
        "cert.pem": certificates.SERVER,
        "key.pem": certificates.SERVER_KEY,
        "locked.pem": certificates.LOCKED_KEY,
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    names = {"ca": "ca.pem", "cert": "cert.pem", "key": "key.pem"}

    def tls(names: dict[str, str]) -> Tls:
        return Tls(**{field: str(tmp_path / name) for field, name in names.items()})

    server_context(tls(names))
    with pytest.raises(InvalidArgument, match=said):
        server_context(tls({**names, **changed}))


INHERITING = """
import os, socket, sys
from supervisor.daemon.listen import listen
from supervisor.daemon.addresses import InheritedSockets
os.environ["LISTEN_PID"] = str(os.getpid())
from pathlib import Path
made = listen([InheritedSockets()], None, gid=0, run_root=Path("/"), without_tls=False)
print(len(made.listeners), os.get_inheritable(3), "LISTEN_FDS" in os.environ, flush=True)
made.listeners[0].socket._sock.setblocking(True)
made.listeners[0].socket._sock.accept()[0].sendall(b"hello")
"""


def test_sockets_of_systemd(tmp_path: Path) -> None:
    path = tmp_path / "passed.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        fd = server.fileno()
        child = subprocess.Popen(
            ["bash", "-c", f'exec "$0" -c "$1" 3<&{fd}', sys.executable, INHERITING],
            env={**os.environ, "LISTEN_FDS": "1", "PYTHONPATH": str(Path(__file__).parents[3])},
            pass_fds=[fd],
            stdout=subprocess.PIPE,
            text=True,
        )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "1 False False\n"
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            assert client.recv(5) == b"hello"
    assert child.returncode == 0
    assert path.exists()  # it is systemd's


@pytest.mark.parametrize("number, pid", [("", ""), ("1", "1"), ("0", "me"), ("x", "me")])
def test_no_sockets_of_systemd(monkeypatch: pytest.MonkeyPatch, number: str, pid: str) -> None:
    monkeypatch.setenv("LISTEN_FDS", number)
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()) if pid == "me" else pid)
    with pytest.raises(InvalidArgument, match="no sockets were passed"):
        inherited()
    assert "LISTEN_FDS" not in os.environ


def test_descriptors_that_are_no_listening_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as plain:
        monkeypatch.setattr(module, "FIRST_FD", os.dup(plain.fileno()))
        monkeypatch.setenv("LISTEN_FDS", "1")
        monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
        with pytest.raises(InvalidArgument, match="no listening stream socket"):
            inherited()
