"""`orlop exec`: a further process in a container, with a place and an identity of its own."""

from __future__ import annotations

import pytest

from tests.api.box import IMAGE, Box, eventually, one_line


@pytest.fixture
def on(box: Box) -> str:
    """A container that runs."""
    return box.start("--name", "on", "-e", "A=container", "--hostname", "ship")


def test_streams_and_status(box: Box, on: str) -> None:
    done = box.orlop("exec", on, "sh", "-c", "echo out; echo err >&2; exit 42")
    assert (done.returncode, done.stdout, done.stderr) == (42, "out\n", "err\n")


def test_it_is_inside(box: Box, on: str) -> None:
    assert box.ok("exec", on, "hostname") == "ship"
    script = "cd /proc; for n in pid mnt net ipc uts cgroup; do readlink $0/ns/$n; done"
    one = box.ok("exec", on, "sh", "-c", script, "1")
    assert box.ok("exec", on, "sh", "-c", script, "self") == one


def test_directory_environment_and_user(box: Box, on: str) -> None:
    flags = ("-w", "/tmp", "-e", "B=exec", "-u", "1234:99")
    script = 'pwd; echo "$A-$B"; id -u; id -g'
    text = box.ok("exec", *flags, on, "sh", "-c", script)
    assert text.splitlines() == ["/tmp", "container-exec", "1234", "99"]


def test_capabilities_are_those_of_the_container(box: Box) -> None:
    box.start("--name", "less", "--cap-drop", "ALL")
    text = box.ok("exec", "less", "grep", "CapEff", "/proc/self/status")
    assert int(text.split()[1], 16) == 0
    text = box.ok("exec", "--privileged", "less", "grep", "CapEff", "/proc/self/status")
    assert int(text.split()[1], 16) != 0


@pytest.mark.parametrize(
    "arguments, status, said",
    [
        (("on", "no-such-binary"), 127, "no-such-binary"),
        (("on", "/etc/passwd"), 126, "/etc/passwd"),
        (("-w", "/no/such", "on", "true"), 127, "/no/such"),
        (("-u", "nobody-here", "on", "true"), 126, "nobody-here"),
    ],
)
def test_what_cannot_run(
    box: Box, on: str, arguments: tuple[str, ...], status: int, said: str
) -> None:
    done = box.orlop("exec", *arguments)
    assert (done.returncode, done.stdout) == (status, ""), done
    assert said in one_line(done.stderr)
    assert box.ok("exec", on, "echo", "still") == "still"


def test_input_passes_and_ends(box: Box, on: str) -> None:
    every = bytes(range(256)) * 512
    done = box.orlop("exec", "-i", on, "cat", text=False, input=every)
    received: object = done.stdout
    assert received == every
    assert box.ok("exec", "-i", on, "wc", "-l", input="a\nb\n") == "2"


def test_detached_runs_on(box: Box, on: str) -> None:
    assert box.ok("exec", "-d", on, "sh", "-c", "echo done > /file") == ""
    eventually(lambda: box.orlop("exec", on, "cat", "/file").stdout == "done\n")


def test_terminal(box: Box, on: str) -> None:
    assert box.ok("exec", "-t", on, "tty").startswith("/dev/pts/")
    assert box.orlop("exec", on, "tty").stdout == "not a tty\n"


def test_its_output_is_not_in_the_log(box: Box, on: str) -> None:
    box.ok("exec", on, "echo", "from exec")
    assert box.logs(on) == ""


def test_container_that_ends_takes_it_along(box: Box, on: str) -> None:
    with box.running("exec", on, "sleep", "100000") as process:
        eventually(lambda: "100000" in box.ok("top", on) and box.ok("top", on).count("sleep") == 2)
        box.ok("kill", on)
        assert process.wait(60) == 137


def test_one_that_does_not_run(box: Box) -> None:
    box.ok("create", "--name", "off", IMAGE, "true")
    done = box.orlop("exec", "off", "true")
    assert done.returncode == 1
    assert "not running" in one_line(done.stderr)


def test_limit_holds_for_it_too(box: Box) -> None:
    box.start("--name", "small", "--pids-limit", "5")
    done = box.orlop("exec", "small", "sh", "-c", "for n in 1 2 3 4 5 6 7; do sleep 5 & done")
    assert done.returncode != 0
    assert "fork" in done.stderr
