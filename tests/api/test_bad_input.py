"""What is wrong is said in one line, with docker's status, and nothing half-made stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.api.box import IMAGE, Box, one_line
from tests.support.daemon import Daemon

RUN = [
    # flags and command, status, what the line must say
    (("--no-such-flag", IMAGE), 125, "no-such-flag"),
    (("--pull", "never", "no-such-image"), 125, "no-such-image"),
    (("UPPER",), 125, "UPPER"),
    (("-u", "nobody-here", IMAGE, "true"), 125, "nobody-here"),
    (("-w", "/etc/passwd", IMAGE, "true"), 125, "/etc/passwd"),
    (("-w", "relative", IMAGE, "true"), 125, "relative"),
    ((IMAGE, "/no/such/binary"), 127, "/no/such/binary"),
    ((IMAGE, "no-such-binary"), 127, "no-such-binary"),
    ((IMAGE, "/etc/passwd"), 126, "/etc/passwd"),
    ((IMAGE, "/etc"), 126, "/etc"),
    (("--memory", "5x", IMAGE, "true"), 125, "5x"),
    (("--memory", "1m", IMAGE, "true"), 125, "6MB"),
    (("--memory", "-1", IMAGE, "true"), 125, "-1"),
    (("--memory", "50m", "--memory-swap", "10m", IMAGE, "true"), 125, "swap"),
    (("--cpus", "many", IMAGE, "true"), 125, "many"),
    (("--pids-limit", "x", IMAGE, "true"), 125, "x"),
    (("--cpuset-cpus", "0-", IMAGE, "true"), 125, "0-"),
    (("-v", "a:/a", IMAGE, "true"), 125, "volume name is too short"),
    (("-v", "v1:/a", "--tmpfs", "/a", IMAGE, "true"), 125, "Duplicate mount point: /a"),
    (("--mount", "src=v1,dst=/a,volume-subpath=../x", IMAGE), 125, "relative path within"),
    (("--volumes-from", "no-such-container", IMAGE, "true"), 125, "no-such-container"),
    (("--add-host", "x", IMAGE, "true"), 125, "name:ip is expected"),
    (("--dns", "x", IMAGE, "true"), 125, "no such address"),
    (("-v", "/etc:relative", IMAGE, "true"), 125, "relative"),
    (("--mount", "type=bind,src=/no/such/source,dst=/a", IMAGE), 125, "/no/such/source"),
    (("--mount", "type=odd,dst=/a", IMAGE), 125, "odd"),
    (("-v", "/etc:/proc", IMAGE, "true"), 125, "/proc"),
    (("--name", "-ill formed", IMAGE, "true"), 125, "ill formed"),
    (("--cap-add", "FLY", IMAGE, "true"), 125, "FLY"),
    (("--ulimit", "nosuch=1", IMAGE, "true"), 125, "nosuch"),
    (("--ulimit", "nofile=5:1", IMAGE, "true"), 125, "nofile"),
    (("--sysctl", "kernel.panic=1", IMAGE, "true"), 125, "kernel.panic"),
    (("--net", "no-such-net", IMAGE, "true"), 125, "no-such-net"),
    (("--userns", "private:x", IMAGE, "true"), 125, "private:x"),
    (("--restart", "sometimes", IMAGE, "true"), 125, "sometimes"),
    (("--rm", "--restart", "always", IMAGE, "true"), 125, "restart"),
    (("--device", "/dev/no-such", IMAGE, "true"), 125, "/dev/no-such"),
    (("--stop-signal", "NOSIG", IMAGE, "true"), 125, "NOSIG"),
    (("--log-opt", "max-size=x", IMAGE, "true"), 125, "max-size"),
    (("--detach-keys", "ctrl-%", IMAGE, "true"), 125, "ctrl-%"),
    (("--rootfs", "/no/such/folder", "true"), 125, "/no/such/folder"),
    (("-t", "-i", IMAGE, "true"), 1, "TTY"),
]


@pytest.mark.parametrize("arguments, status, said", RUN, ids=[" ".join(row[0]) for row in RUN])
def test_run(box: Box, arguments: tuple[str, ...], status: int, said: str) -> None:
    done = box.orlop("run", "--rm", *arguments)
    assert (done.returncode, done.stdout) == (status, ""), done
    assert said.lower() in one_line(done.stderr).lower()
    assert box.ids() == []
    assert list(box.daemon.data_root.glob("containers/*")) == []


def test_memory_says_what_is_accepted(box: Box) -> None:
    done = box.orlop("run", "--memory", "5x", IMAGE)
    assert "512m" in one_line(done.stderr)


def test_memory_above_the_hosts_is_allowed(box: Box) -> None:
    assert box.output("--memory", "900g", "--memory-swap", "900g", script="echo in") == "in"


COMMANDS = [
    (("nonsense",), 1, "nonsense"),
    (("start", "nobody"), 1, "No such container: nobody"),
    (("stop", "nobody"), 1, "No such container: nobody"),
    (("kill", "nobody"), 1, "No such container: nobody"),
    (("rm", "nobody"), 1, "No such container: nobody"),
    (("logs", "nobody"), 1, "No such container: nobody"),
    (("attach", "nobody"), 1, "No such container: nobody"),
    (("exec", "nobody", "true"), 1, "No such container: nobody"),
    (("top", "nobody"), 1, "No such container: nobody"),
    (("rename", "nobody", "b"), 1, "No such container: nobody"),
    (("update", "--memory", "50m", "nobody"), 1, "No such container: nobody"),
    (("rmi", "nothing"), 1, "nothing"),
    (("ps", "--filter", "odd=1"), 1, "odd"),
    (("image", "scratch", "a", "/no/such/binary"), 1, "/no/such/binary"),
]


@pytest.mark.parametrize(
    "arguments, status, said", COMMANDS, ids=[" ".join(r[0]) for r in COMMANDS]
)
def test_command(box: Box, arguments: tuple[str, ...], status: int, said: str) -> None:
    done = box.orlop(*arguments)
    assert (done.returncode, done.stdout) == (status, ""), done
    assert said in one_line(done.stderr)


def test_name_that_is_taken(box: Box) -> None:
    first = box.start("--name", "taken")
    done = box.orlop("run", "--name", "taken", IMAGE)
    assert done.returncode == 125
    assert "taken" in one_line(done.stderr)
    assert first[:12] in done.stderr
    assert box.ids() == [first]


def test_prefix_of_two(box: Box) -> None:
    while len({identity[0] for identity in box.ids()}) == len(box.ids()):
        box.ok("create", IMAGE)  # ends after at most 17
    first = [identity[0] for identity in box.ids()]
    shared = next(letter for letter in first if first.count(letter) > 1)
    done = box.orlop("stop", shared)
    assert done.returncode == 1
    assert shared in one_line(done.stderr)


def test_no_daemon(box: Box, tmp_path: Path) -> None:
    done = box.orlop("-H", f"unix://{tmp_path}/none", "ps")
    assert done.returncode == 1
    assert "none" in one_line(done.stderr)
    assert "daemon" in done.stderr


@pytest.mark.parametrize("same", ["socket", "data root"])
def test_second_daemon(box: Box, short_folder: Path, same: str) -> None:
    data, host = short_folder / "data", f"unix://{short_folder}/s"
    if same == "socket":
        host = box.daemon.host
    else:
        data = box.daemon.data_root
    done = box.orlop(
        *("daemon", "--data-root", str(data), "--run-root", str(short_folder / "run")),
        *("--host", host, "--cgroup-parent", box.daemon.cgroup_parent),
    )
    assert done.returncode == 1
    assert same.split(maxsplit=1)[0] in done.stderr
    assert "Traceback" not in done.stderr
    assert box.ok("ps", "-q") == ""


def test_an_unknown_flag_of_the_daemon(new_daemon: Callable[..., Daemon]) -> None:
    """It says which, and does not start."""
    with pytest.raises(AssertionError, match="no-such-flag"):
        new_daemon("--no-such-flag")
