"""`orlop run` and `create`: order of requests, streams, exit statuses, errors."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Orlop, Spawn
from tests.unit.cli.fake_container import Attached, FakeContainer
from tests.unit.cli.fake_daemon import Exchange, FakeDaemon

ID = "c" * 64


def test_attached_run_prints_both_streams_and_ends_with_the_containers_status(
    daemon: FakeDaemon, orlop: Orlop, capfd: pytest.CaptureFixture[str]
) -> None:
    def body(client: Attached) -> int:
        client.out(b"out\n")
        client.err(b"err\n")
        return 7

    container = FakeContainer(daemon, body)
    assert orlop("run", "--rm", "busybox", "sh", "-c", "exit 7") == 7
    assert capfd.readouterr() == ("out\n", "err\n")
    assert container.order == ["attach", "wait", "start"]
    assert daemon.only("POST", f"/containers/{ID}/wait").query == {"condition": "removed"}
    attach = daemon.only("POST", f"/containers/{ID}/attach").query
    assert attach == {"stream": "1", "stdout": "1", "stderr": "1"}


def test_run_without_rm_waits_for_the_next_exit(daemon: FakeDaemon, orlop: Orlop) -> None:
    FakeContainer(daemon, lambda _: 0)
    assert orlop("run", "busybox", "true") == 0
    assert daemon.only("POST", f"/containers/{ID}/wait").query == {"condition": "next-exit"}


def test_without_interactive_the_client_half_closes_at_once_and_output_goes_on(
    daemon: FakeDaemon, orlop: Orlop, capfd: pytest.CaptureFixture[str]
) -> None:
    def body(client: Attached) -> int:
        assert client.read_all() == b""
        client.out(b"after the half-close")
        return 0

    FakeContainer(daemon, body)
    assert orlop("run", "busybox", "true") == 0
    assert capfd.readouterr().out == "after the half-close"


def test_stdin_goes_through_in_full_while_output_comes_back(
    daemon: FakeDaemon, spawn: Spawn
) -> None:
    def cat(client: Attached) -> int:
        while data := client.read():
            client.out(data)
        return 0

    FakeContainer(daemon, cat)
    sent = bytes(range(256)) * 8192  # 2 MiB: more than any buffer on the way
    process = spawn("run", "--rm", "-i", "busybox", "cat")
    out, err = process.communicate(sent, timeout=30)
    assert (out == sent, err, process.returncode) == (True, b"", 0)
    assert daemon.only("POST", "/containers/create").body["StdinOnce"] is True


def test_a_container_that_reads_nothing_does_not_stop_output_or_the_end(
    daemon: FakeDaemon, spawn: Spawn
) -> None:
    def body(client: Attached) -> int:
        client.out(b"x" * 1_000_000)
        return 3

    FakeContainer(daemon, body)
    process = spawn("run", "-i", "busybox", "false", stdin=subprocess.PIPE)
    out, _ = process.communicate(b"y" * 4_000_000, timeout=30)
    assert (len(out), process.returncode) == (1_000_000, 3)


def test_closed_stdin_is_an_end_of_input(daemon: FakeDaemon, spawn: Spawn) -> None:
    def body(client: Attached) -> int:
        return 0 if client.read_all() == b"" else 1

    FakeContainer(daemon, body)
    shell = f'exec "{sys.executable}" -m supervisor.cli --host {daemon.address} run -i b <&-'
    done = subprocess.run(
        ["sh", "-c", shell],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        timeout=30,
    )
    assert (done.stderr, done.returncode) == (b"", 0)


def test_detached_run_prints_the_id(
    daemon: FakeDaemon, orlop: Orlop, capfd: pytest.CaptureFixture[str]
) -> None:
    container = FakeContainer(daemon, lambda _: 0)
    assert orlop("run", "-d", "--name", "web", "busybox") == 0
    assert capfd.readouterr() == (f"{ID}\n", "")
    assert container.order == ["start"]
    create = daemon.only("POST", "/containers/create")
    assert create.query == {"name": "web"}
    assert create.body["AttachStdout"] is False


def test_create_prints_the_id_and_warnings_go_to_stderr(
    daemon: FakeDaemon, orlop: Orlop, capfd: pytest.CaptureFixture[str]
) -> None:
    answer = {"Id": ID, "Warnings": ["no swap limit here"]}
    daemon.on_json("POST", "/containers/create", answer, 201)
    assert orlop("create", "busybox") == 0
    assert capfd.readouterr() == (f"{ID}\n", "WARNING: no swap limit here\n")


@pytest.mark.parametrize(
    "message, status",
    [
        ('exec: "/nope": stat /nope: no such file or directory', 127),
        ('exec: "nope": executable file not found in $PATH', 127),
        ("execve /etc/passwd: Permission denied", 126),
        ("execve /tmp: is a directory", 126),
        ("cgroup memory is not there", 125),
    ],
)
def test_start_errors_have_dockers_statuses(
    daemon: FakeDaemon,
    orlop: Orlop,
    capfd: pytest.CaptureFixture[str],
    message: str,
    status: int,
) -> None:
    FakeContainer(daemon, lambda _: 0)
    daemon.on_error("POST", f"/containers/{ID}/start", 400, message)
    assert orlop("run", "-d", "busybox") == status
    assert capfd.readouterr() == ("", f"orlop: Error response from daemon: {message}\n")


def test_a_failing_start_ends_an_attached_run_after_the_removal(
    daemon: FakeDaemon, orlop: Orlop
) -> None:
    removed: list[bool] = []

    def wait(exchange: Exchange) -> None:
        exchange.begin(200, content_type="application/json")
        exchange.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):  # the client neither leaves nor asks for more
            exchange.socket.recv(1)
        removed.append(True)
        exchange.piece(b'{"StatusCode": 127}')
        exchange.end()

    def attach(exchange: Exchange) -> None:
        sock = exchange.hijack()
        while sock.recv(100):
            pass

    daemon.on_json("POST", "/containers/create", {"Id": ID, "Warnings": None}, 201)
    daemon.on("POST", f"/containers/{ID}/attach", attach)
    daemon.on("POST", f"/containers/{ID}/wait", wait)
    daemon.on_error("POST", f"/containers/{ID}/start", 400, "x: no such file or directory")
    assert orlop("run", "--rm", "busybox", "x") == 127
    assert removed == [True]


def test_create_errors_are_125_for_run_and_1_for_create(
    daemon: FakeDaemon, orlop: Orlop, capfd: pytest.CaptureFixture[str]
) -> None:
    daemon.on_error("POST", "/containers/create", 404, "No such image: nope:latest")
    line = "orlop: Error response from daemon: No such image: nope:latest\n"
    assert orlop("run", "--pull=never", "nope") == 125
    assert capfd.readouterr() == ("", line)
    assert orlop("create", "--pull=never", "nope") == 1
    assert capfd.readouterr() == ("", line)


def test_an_error_beside_the_status_of_wait_is_125(daemon: FakeDaemon, orlop: Orlop) -> None:
    FakeContainer(daemon, lambda _: 0)
    answer = {"StatusCode": -1, "Error": {"Message": "context canceled"}}
    daemon.on_json("POST", f"/containers/{ID}/wait", answer)
    assert orlop("run", "busybox") == 125


def test_interactive_terminal_needs_a_terminal(daemon: FakeDaemon, spawn: Spawn) -> None:
    process = spawn("run", "-it", "busybox")
    _, err = process.communicate(b"", timeout=30)
    assert (err, process.returncode) == (b"orlop: the input device is not a TTY\n", 1)
    assert daemon.requests == []


def test_signals_go_to_the_container(daemon: FakeDaemon, spawn: Spawn) -> None:
    def body(client: Attached) -> int:
        client.out(b"ready")
        assert client.container.signalled.wait(20)
        return 130

    container = FakeContainer(daemon, body)
    process = spawn("run", "busybox", "sleep", "60")
    assert process.stdout is not None
    assert process.stdout.read(5) == b"ready"
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    assert container.signals == ["INT"]


def test_a_signal_before_the_start_is_sent_after_it(daemon: FakeDaemon, spawn: Spawn) -> None:
    def body(client: Attached) -> int:
        assert client.container.signalled.wait(20)
        return 143

    container = FakeContainer(daemon, body)
    started = daemon._answers["POST", f"/containers/{ID}/start"]
    processes: list[subprocess.Popen[bytes]] = []

    def start(exchange: Exchange) -> None:
        processes[0].send_signal(signal.SIGTERM)
        started(exchange)

    daemon.on("POST", f"/containers/{ID}/start", start)
    processes.append(spawn("run", "busybox"))
    assert processes[0].wait(20) == 143
    assert container.signals == ["TERM"]


def test_three_interrupts_end_a_client_whose_container_ignores_them(
    daemon: FakeDaemon, spawn: Spawn
) -> None:
    def body(client: Attached) -> int:
        client.out(b"ready")
        client.read_all()
        return 0

    container = FakeContainer(daemon, body)
    process = spawn("run", "-i", "busybox")
    assert process.stdout is not None
    assert process.stdout.read(5) == b"ready"
    for count in (1, 2, 3):
        container.signalled.clear()
        process.send_signal(signal.SIGINT)
        if count < 3:
            assert container.signalled.wait(20)
    assert process.wait(20) == 1
    assert container.signals == ["INT", "INT"]


def test_without_sig_proxy_an_interrupt_ends_the_client_only(
    daemon: FakeDaemon, spawn: Spawn
) -> None:
    def body(client: Attached) -> int:
        client.out(b"ready")
        client.read_all()
        return 0

    container = FakeContainer(daemon, body)
    process = spawn("run", "-i", "--sig-proxy=false", "busybox")
    assert process.stdout is not None
    assert process.stdout.read(5) == b"ready"
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    assert container.signals == []


def test_output_that_nobody_reads_any_more_ends_the_client_silently(
    daemon: FakeDaemon, spawn: Spawn
) -> None:
    def body(client: Attached) -> int:
        for _ in range(200):
            client.out(b"y\n" * 4096)
        return 0

    FakeContainer(daemon, body)
    process = spawn("run", "busybox", "yes")
    assert process.stdout is not None
    assert process.stdout.read(2) == b"y\n"
    process.stdout.close()
    assert process.wait(20) == 141
    assert process.stderr is not None
    assert process.stderr.read() == b""


def test_status_after_a_restart_of_the_daemon_comes_from_inspect(
    daemon: FakeDaemon, orlop: Orlop
) -> None:
    FakeContainer(daemon, lambda _: 9)

    def lost(exchange: Exchange) -> None:
        exchange.begin(200, content_type="application/json")
        exchange.hijacked = True  # no more requests here: the connection is closed

    daemon.on("POST", f"/containers/{ID}/wait", lost)
    daemon.on_json("GET", f"/containers/{ID}/json", {"State": {"Running": False, "ExitCode": 9}})
    assert orlop("run", "busybox") == 9


def test_cidfile_holds_the_id_and_is_never_overwritten(
    daemon: FakeDaemon, orlop: Orlop, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    FakeContainer(daemon, lambda _: 0)
    cidfile = tmp_path / "id"
    assert orlop("run", "--cidfile", str(cidfile), "busybox") == 0
    assert cidfile.read_text() == ID
    assert orlop("run", "--cidfile", str(cidfile), "busybox") == 125
    assert "container ID file found" in capfd.readouterr().err
    assert daemon.paths().count("POST /containers/create") == 1


def test_cidfile_of_a_container_that_was_not_created_goes_away(
    daemon: FakeDaemon, orlop: Orlop, tmp_path: Path
) -> None:
    daemon.on_error("POST", "/containers/create", 409, "name taken")
    cidfile = tmp_path / "id"
    assert orlop("run", "--cidfile", str(cidfile), "busybox") == 125
    assert not cidfile.exists()
