"""Other clients than ours, and terminals: docker-py, the stock docker CLI, a pty."""

from __future__ import annotations

import os
import pty
import select
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import docker
import pytest

from tests.api.box import IMAGE, Box, eventually
from tests.support.daemon import orlop_command
from tests.support.pace import limit


class Terminal:
    """A pseudo-terminal with a command on it."""

    def __init__(self, arguments: list[str], environment: dict[str, str]) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvpe(arguments[0], arguments, environment)
        self.seen = b""

    def type(self, text: bytes) -> None:
        os.write(self.fd, text)

    def expect(self, text: bytes) -> None:
        deadline = time.monotonic() + limit(10)
        while text not in self.seen:
            left = deadline - time.monotonic()
            assert left > 0, self.seen
            if select.select([self.fd], [], [], left)[0]:
                try:
                    self.seen += os.read(self.fd, 4096)
                except OSError:
                    assert text in self.seen, self.seen
        self.seen = self.seen.partition(text)[2]

    def wait(self) -> int:
        pid, self.pid = self.pid, 0
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@contextmanager
def terminal(box: Box, *arguments: str) -> Iterator[Terminal]:
    it = Terminal([*orlop_command(), *arguments], dict(box.daemon.environment))
    try:
        yield it
    finally:
        os.close(it.fd)  # a hang-up: whatever still runs on it ends
        if it.pid:
            os.waitpid(it.pid, 0)


def actions(box: Box, container: str, action: str) -> list[str]:
    """The events so far that the container had of this kind."""
    filters = ("--filter", f"container={container}", "--filter", f"event={action}")
    told = box.ok("events", "--since", "1h", "--until", "0s", *filters, "--format", "{{.Action}}")
    return told.splitlines()


def test_a_terminal_detaches_and_comes_back(box: Box) -> None:
    with terminal(box, "run", "-it", "--name", "tty", IMAGE, "sh") as it:
        it.expect(b"# ")
        it.type(b"tty; echo A$((40+2))\n")
        it.expect(b"/dev/pts/0")
        it.expect(b"A42")
        it.type(b"\x10\x11")  # ctrl-p ctrl-q
        eventually(lambda: box.status("tty") == "running")
        assert it.wait() == 0
    assert actions(box, "tty", "detach") == ["detach"]
    with terminal(box, "attach", "tty") as it:
        it.type(b"echo B$((40+3))\n")
        it.expect(b"B43")
        it.type(b"exit 4\n")
        eventually(lambda: box.status("tty") == "exited")
    assert box.state("tty")["ExitCode"] == 4


def test_an_exec_session_goes_on_when_its_terminal_detaches(box: Box) -> None:
    container = box.start()
    with terminal(box, "exec", "-it", container, "sh") as it:
        it.type(b"echo A$((40+2))\n")
        it.expect(b"A42")
        it.type(b"\x10\x11")
        assert it.wait() == 1  # docker's status and words for it
    assert actions(box, container, "exec_detach") == ["exec_detach"]
    assert actions(box, container, "exec_die") == []
    assert actions(box, container, "detach") == []


def test_exec_in_a_terminal(box: Box) -> None:
    container = box.start()
    with terminal(box, "exec", "-it", container, "sh", "-c", "tty; read x; exit 6") as it:
        it.expect(b"/dev/pts/")
        it.type(b"go\n")
        assert it.wait() == 6


@pytest.mark.parametrize(
    "flags, command, status, code, text",
    [
        ((), "no-such", 127, 127, "no-such"),
        ((), "/etc/passwd", 126, 126, "permission denied"),
        (("-v", "/dev/null:/etc"), "true", 125, 126, "Is a directory"),
        (("--sysctl", "net.core.no-such=1"), "true", 127, 127, "no-such"),
    ],
)
def test_what_could_not_be_started_is_created(
    box: Box, flags: tuple[str, ...], command: str, status: int, code: int, text: str
) -> None:
    done = box.daemon.docker("run", "--name", "never", *flags, IMAGE, command)
    assert done.returncode == status, done
    assert text in done.stderr
    shown = box.daemon.docker("ps", "-a", "--format", "{{.State}} {{.Status}}").stdout
    assert shown == "created Created\n"
    state = box.state("never")
    assert (state["Status"], state["ExitCode"]) == ("created", code)
    assert text in state["Error"]
    assert state["StartedAt"] == state["FinishedAt"] == "0001-01-01T00:00:00Z"
    assert box.daemon.docker("wait", "never").stdout == f"{code}\n"
    again = box.daemon.docker("start", "never")
    assert again.returncode == 1
    assert text in again.stderr
    assert box.orlop("why", "never").stdout.count("could not start") == 2
    box.ok("rm", "never")


@pytest.fixture
def client(box: Box) -> Iterator[docker.DockerClient]:
    with closing(docker.DockerClient(base_url=box.daemon.host, version="auto")) as it:
        yield it


def test_docker_py(client: docker.DockerClient) -> None:
    output = client.containers.run(IMAGE, ["sh", "-c", "echo out; echo err >&2"], stderr=True)
    assert sorted(output.split()) == [b"err", b"out"]
    with pytest.raises(docker.errors.ContainerError) as error:
        client.containers.run(IMAGE, ["sh", "-c", "exit 3"], remove=True)
    assert error.value.exit_status == 3
    it = client.containers.run(IMAGE, ["sleep", "1000"], detach=True, mem_limit="32m")
    assert it.exec_run(["echo", "hi"]).output == b"hi\n"
    assert it.exec_run(["sh", "-c", "exit 8"]).exit_code == 8
    it.pause()
    it.reload()
    assert it.status == "paused"
    it.unpause()
    it.stop(timeout=0)
    assert it.wait()["StatusCode"] == 137
    it.remove()
    with pytest.raises(docker.errors.NotFound):
        client.containers.get(it.id)


def test_stock_docker_everyday(box: Box) -> None:
    def ok(*arguments: str) -> str:
        done = box.daemon.docker(*arguments)
        assert done.returncode == 0, done
        return str(done.stdout).strip()

    it = ok("run", "-d", "--name", "dd", IMAGE, "sh", "-c", "echo up; exec sleep 1000")
    eventually(lambda: ok("logs", "dd") == "up")
    assert ok("exec", "dd", "hostname") == it[:12]
    assert "sleep 1000" in ok("top", "dd")
    assert "Up" in ok("ps", "--format", "{{.Status}}")
    assert ok("inspect", "--format", "{{.State.Status}}", "dd") == "running"
    assert box.daemon.docker("exec", "dd", "no-such").returncode == 127
    assert box.daemon.docker("run", "--rm", IMAGE, "no-such").returncode == 127
    assert box.daemon.docker("run", "--rm", "absent").returncode == 125
    ok("rename", "dd", "ee")
    ok("update", "--memory", "64m", "--memory-swap", "-1", "ee")
    ok("stop", "-t", "0", "ee")
    assert ok("wait", "ee") == "137"
    ok("rm", "ee")
