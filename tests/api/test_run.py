"""`orlop run` and what a container sees: streams, status, names, its own view of the system."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.api.box import FOREVER, IMAGE, ONLY_V2, Box, eventually

NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "uts")


def test_output_and_error_output_come_apart(box: Box) -> None:
    done = box.run(script="echo out; echo err >&2; exit 3")
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err\n")


@pytest.mark.parametrize(
    "script, status",
    [
        ("exit 0", 0),
        ("exit 255", 255),
        ("kill -KILL $$", 0),
        ("sh -c 'kill -TERM $$'; exit $?", 143),
    ],
)
def test_status_of_the_command_is_ours(box: Box, script: str, status: int) -> None:
    # PID 1 is immune to signals from its own namespace, as anywhere.
    assert box.run(script=script).returncode == status


def test_every_byte_passes(box: Box) -> None:
    every = bytes(range(256)) * 1024  # the keys that detach from a terminal are among them
    for done in (
        box.run("-i", script="cat", text=False, input=every),
        box.daemon.docker("run", "--rm", "-i", IMAGE, "cat", text=False, input=every),
    ):
        received: object = done.stdout
        assert received == every


def test_the_end_of_input_reaches_the_container_and_its_output_still_comes(box: Box) -> None:
    done = box.run("-i", script="wc -l; sleep 0.2; echo after", input="a\nb\nc\n")
    assert (done.returncode, done.stdout) == (0, "3\nafter\n")


def test_without_i_there_is_no_input(box: Box) -> None:
    assert box.output(script="cat; echo end", input="ignored\n") == "end"


def test_rm_removes_the_container_and_its_folder(box: Box) -> None:
    assert box.run(script="echo > /file").returncode == 0
    assert box.ids() == []
    assert list(box.daemon.data_root.glob("containers/*")) == []


def test_without_rm_it_stays_until_removed(box: Box) -> None:
    done = box.orlop("run", "--name", "kept", IMAGE, "sh", "-c", "exit 4")
    assert done.returncode == 4
    assert box.state("kept")["ExitCode"] == 4
    box.ok("rm", "kept")
    assert box.ids() == []


def test_environment_directory_entrypoint_and_hostname(box: Box) -> None:
    script = "pwd; echo $A-$B; hostname; echo $HOSTNAME; echo $HOME"
    flags = ("-w", "/made/here", "-e", "A=1", "--env", "B=two words", "--hostname", "ship")
    assert box.output(*flags, script=script).splitlines() == [
        *("/made/here", "1-two words", "ship", "ship", "/root"),
    ]
    text = box.ok("run", "--rm", "--entrypoint", "echo", IMAGE, "a", "b")
    assert text == "a b"


def test_variable_without_value_comes_from_the_client(box: Box) -> None:
    environment = {**box.daemon.environment, "FROM_HERE": "seen"}
    text = box.output("-e", "FROM_HERE", "-e", "NOT_HERE", script="env", env=environment)
    assert "FROM_HERE=seen" in text.splitlines()
    assert "NOT_HERE" not in text


def test_cidfile_and_labels(box: Box, tmp_path: Path) -> None:
    cidfile = tmp_path / "cid"
    identity = box.start("--cidfile", str(cidfile), "-l", "a=b", "--label", "c")
    assert cidfile.read_text() == identity
    assert box.inspect(identity)["Config"]["Labels"] == {"a": "b", "c": ""}


def test_large_output_arrives_whole(box: Box) -> None:
    done = box.run(script="dd if=/dev/zero bs=64k count=160 2>/dev/null", text=False)
    assert len(done.stdout) == 160 * 65536
    assert done.returncode == 0


def test_reader_that_leaves_does_not_hang_us(box: Box) -> None:
    with box.running("run", "--rm", IMAGE, "sh", "-c", "yes | head -c 3000000") as process:
        assert process.stdout is not None
        process.stdout.close()
        process.wait(60)
    box.remove_all()


def test_our_signals_go_to_the_container(box: Box) -> None:
    script = "trap 'echo got it; exit 9' TERM; echo ready; while :; do sleep 0.05; done"
    with box.running("run", "--rm", IMAGE, "sh", "-c", script) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.terminate()
        assert process.stdout.read() == b"got it\n"
        assert process.wait(60) == 9


# --- what the project's documents show


def test_mount_lists_only_the_containers_mounts(box: Box) -> None:
    lines = box.output(script="mount").splitlines()
    targets = [line.split()[2] for line in lines]
    assert targets[0] == "/"
    assert lines[0].startswith("overlay on / ")
    etc = {"/etc/hosts", "/etc/hostname", "/etc/resolv.conf"}
    assert etc <= set(targets)
    own = set(targets) - etc
    assert all(t == "/" or t.split("/")[1] in {"proc", "dev", "sys"} for t in own), targets


def test_every_namespace_differs_from_the_hosts(box: Box) -> None:
    links = box.output(script="ls -l /proc/self/ns/")
    inside = {words[-3]: words[-1] for words in (line.split() for line in links.splitlines()[1:])}
    for name in NAMESPACES:
        assert inside[name] != os.readlink(f"/proc/self/ns/{name}"), name


def test_ps_shows_pid_1_alone(box: Box) -> None:
    lines = box.ok("run", "--rm", IMAGE, "ps").splitlines()
    assert [line.split()[0] for line in lines] == ["PID", "1"]


def test_memory_limit_reads_back_inside(box: Box) -> None:
    file = "memory.max" if ONLY_V2 else "memory/memory.limit_in_bytes"
    text = box.output("--memory=50m", script=f"cat /sys/fs/cgroup/{file}")
    assert text == "52428800"


def test_current_folder_at_app(box: Box, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here")
    text = box.output("-v", f"{tmp_path}:/app", script="cat /app/file; echo new > /app/new")
    assert text == "here"
    assert (tmp_path / "new").read_text() == "new\n"


def test_read_only_with_tmpfs(box: Box) -> None:
    script = "echo a > /tmp/a && cat /tmp/a && ! echo b > /b"
    done = box.run("--read-only", "--tmpfs", "/tmp", script=script)
    assert (done.returncode, done.stdout) == (0, "a\n")
    assert "Read-only file system" in done.stderr


def test_writing_to_a_file_of_the_image_leaves_the_lower_unchanged(box: Box) -> None:
    layers = sorted(box.daemon.data_root.glob("layers/*/etc/passwd"))
    before = [layer.read_bytes() for layer in layers]
    assert before
    text = box.output(script="echo extra >> /etc/passwd; tail -n 1 /etc/passwd")
    assert text == "extra"
    assert [layer.read_bytes() for layer in layers] == before


# --- many


def test_many_at_once_leave_nothing(box: Box) -> None:
    commands = [
        box.running("run", "--rm", IMAGE, "sh", "-c", f"echo {n}; exit {n}") for n in range(50)
    ]
    for start in range(0, 50, 10):  # 10 clients at a time; two processors start them all
        processes = [command.__enter__() for command in commands[start : start + 10]]
        for n, process in enumerate(processes, start):
            out, err = process.communicate(timeout=120)
            assert (process.returncode, out, err) == (n, f"{n}\n".encode(), b"")
        for command in commands[start : start + 10]:
            command.__exit__(None, None, None)
    eventually(lambda: not box.ids())
    assert list(box.daemon.data_root.glob("containers/*")) == []
    assert not any("sleep" in str(process) for process in box.daemon.processes())


def test_two_containers_share_the_lower_but_not_their_writes(box: Box) -> None:
    one, two = box.start(), box.start()
    box.ok("exec", one, "sh", "-c", "echo one > /mine; echo one >> /etc/group")
    assert box.orlop("exec", two, "cat", "/mine").returncode == 1
    assert "one" not in box.ok("exec", two, "cat", "/etc/group")
    roots = [Path(f"/proc/{box.state(ref)['Pid']}/mountinfo").read_text() for ref in (one, two)]
    lowers = {
        word
        for root in roots
        for word in root.splitlines()[0].split()[-1].split(",")
        if word.startswith("lowerdir")
    }
    assert len(lowers) == 1


def test_second_run_of_a_container_keeps_its_writes(box: Box) -> None:
    box.ok("create", "--name", "twice", IMAGE, "sh", "-c", "echo x >> /count; wc -l < /count")
    assert box.ok("start", "-a", "twice") == "1"
    assert box.ok("start", "-a", "twice") == "2"


def test_stock_docker_runs_too(box: Box) -> None:
    done = box.daemon.docker("run", "--rm", IMAGE, "sh", "-c", "echo hi; exit 5")
    assert (done.returncode, done.stdout, done.stderr) == (5, "hi\n", "")


def test_client_killed_leaves_the_container_running(box: Box) -> None:
    with box.running("run", "--name", "alone", IMAGE, *FOREVER) as process:
        eventually(lambda: box.ids() and box.status("alone") == "running")
        process.kill()
    assert box.status("alone") == "running"


def test_daemon_answers_while_a_container_writes_without_end(box: Box) -> None:
    box.start("--name", "loud", script="yes")
    assert box.ok("ps", "-q")
    subprocess.run(["true"], check=True)
    assert box.ok("kill", "loud") == "loud"
