"""Containers in namespaces of other containers: --network, --pid and --ipc container:NAME."""

from __future__ import annotations

import os

import pytest

from tests.api.box import IMAGE, Box, eventually

SERVE = "echo from $(hostname) >/word; echo up; exec httpd -f -p 127.0.0.1:7007 -h /"
ASK = "wget -q -O - http://127.0.0.1:7007/word"


def namespace(box: Box, ref: str, kind: str) -> int:
    return os.stat(f"/proc/{box.state(ref)['Pid']}/ns/{kind}").st_ino


def refused(box: Box, *arguments: str) -> str:
    """What a command says that must fail."""
    done = box.orlop(*arguments)
    assert done.returncode not in {0, None}, done.stdout
    return done.stderr


def start_status(box: Box, ref: str) -> tuple[int, str]:
    """The API's answer to a start."""
    status, answer = box.daemon.request("POST", f"/containers/{ref}/start")
    return status, answer["message"] if answer else ""


# --- network --------------------------------------------------------------------------------


def test_loopback_is_the_others(box: Box) -> None:
    box.start("--name", "web", "--network", "none", "--hostname", "server", script=SERVE)
    box.wait_for_log("web", "up")
    eventually(lambda: box.run("--network", "container:web", script=ASK).stdout)
    said = box.output("--network", "container:web", script=f"hostname; {ASK}; cat /etc/hostname")
    assert said.splitlines() == ["server", "from server", "server"]
    assert box.run("--network", "none", script=ASK).returncode != 0


def test_only_what_was_asked_for_is_shared(box: Box) -> None:
    identity = box.start("--name", "web", "--network", "none")
    box.start("--name", "side", "--network", f"container:{identity[:12]}")
    kinds = ("net", "pid", "ipc", "uts", "mnt", "cgroup")
    same = {kind for kind in kinds if namespace(box, "web", kind) == namespace(box, "side", kind)}
    assert same == {"net"}
    assert box.inspect("side")["HostConfig"]["NetworkMode"] == f"container:{identity}"


def test_a_joiner_outlives_the_network_s_owner(box: Box) -> None:
    box.start("--name", "web", "--network", "none")
    box.start("--name", "side", "--network", "container:web", script=SERVE)
    box.wait_for_log("side", "up")
    box.ok("kill", "web")
    box.wait_for("web", "exited")
    assert box.status("side") == "running"
    assert "from" in box.ok("exec", "side", "sh", "-c", ASK)


def test_after_the_owner_was_restarted_a_restart_joins_the_new_one(box: Box) -> None:
    box.start("--name", "web", "--network", "none")
    box.start("--name", "side", "--network", "container:web")
    box.ok("restart", "-t", "0", "web")
    assert namespace(box, "side", "net") != namespace(box, "web", "net")
    box.ok("restart", "-t", "0", "side")
    assert namespace(box, "side", "net") == namespace(box, "web", "net")


def test_another_containers_sysctls_are_its_own(box: Box) -> None:
    box.start("--name", "web", "--network", "none")
    said = refused(
        box, "create", "--network", "container:web", "--sysctl", "net.core.somaxconn=7", IMAGE
    )
    assert "not allowed in another container's network namespace" in said


# --- pid ------------------------------------------------------------------------------------


def test_the_others_processes_are_seen_and_signalled(box: Box) -> None:
    trap = "trap 'echo poked' USR1; echo up; while :; do sleep 0.05; done"
    box.start("--name", "main", script=trap)
    box.wait_for_log("main", "up")
    said = box.output("--pid", "container:main", script="tr '\\0' ' ' </proc/1/cmdline; echo $$")
    command, _, own = said.rpartition(" ")
    assert "poked" in command
    assert int(own) > 1
    box.output("--pid", "container:main", script="kill -USR1 1")
    box.wait_for_log("main", "poked")


def test_an_exec_in_a_joiner_ends_and_tells_its_code(box: Box) -> None:
    box.start("--name", "main")
    box.start("--name", "side", "--pid", "container:main")
    done = box.orlop("exec", "side", "sh", "-c", "ls /proc | grep -c '^[0-9]'; exit 9")
    assert (done.returncode, int(done.stdout) >= 3) == (9, True)
    assert box.ok("exec", "-t", "side", "echo", "hi") == "hi"


def test_the_end_of_the_pids_owner_is_the_joiners(box: Box) -> None:
    box.start("--name", "main")
    box.start("--name", "side", "--pid", "container:main")
    box.ok("kill", "main")
    assert box.ok("wait", "side") == "137"


def test_the_end_of_a_joiner_takes_its_own_processes_only(box: Box) -> None:
    box.start("--name", "main")
    box.start("--name", "side", "--pid", "container:main", script="sleep 4242 & sleep 4243")
    seen = "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"
    eventually(lambda: "4242" in box.ok("exec", "main", "sh", "-c", seen))
    box.ok("kill", "side")
    box.wait_for("side", "exited")
    assert "424" not in box.ok("exec", "main", "sh", "-c", seen)
    assert box.status("main") == "running"


# --- ipc ------------------------------------------------------------------------------------


def test_shared_memory_is_the_others(box: Box) -> None:
    box.start("--name", "main", "--ipc", "shareable", "--shm-size", "3m")
    said = box.output(
        "--ipc",
        "container:main",
        script="echo word >/dev/shm/from-side; df -k /dev/shm | tail -n 1",
    )
    assert "3072" in said
    assert box.ok("exec", "main", "cat", "/dev/shm/from-side") == "word"
    box.start("--name", "side", "--ipc", "container:main")
    assert namespace(box, "side", "ipc") == namespace(box, "main", "ipc")
    # One that joined can be joined.
    assert box.output("--ipc", "container:side", script="cat /dev/shm/from-side") == "word"


def test_message_queues_are_the_others(box: Box) -> None:
    box.start("--name", "main", "--ipc", "shareable")
    script = "mkdir /tmp/q && mount -t mqueue none /tmp/q 2>/dev/null; touch /dev/mqueue/line"
    box.output("--ipc", "container:main", script=script)
    assert box.ok("exec", "main", "ls", "/dev/mqueue") == "line"


@pytest.mark.parametrize("mode", ["", "private", "none"])
def test_an_ipc_namespace_is_private_by_default(box: Box, mode: str) -> None:
    identity = box.start("--name", "main", *(("--ipc", mode) if mode else ()))
    box.ok("create", "--name", "side", "--ipc", "container:main", IMAGE, "true")
    status, message = start_status(box, "side")
    assert status == 400
    assert message == (
        f"failed to join IPC namespace: container {identity}: non-shareable IPC (hint: use "
        "IpcMode:shareable for the donor container)"
    )


# --- what cannot be -------------------------------------------------------------------------

WORDS = {"network": "network", "pid": "PID", "ipc": "IPC"}


@pytest.mark.parametrize("kind", WORDS)
def test_a_container_that_does_not_run_cannot_be_joined(box: Box, kind: str) -> None:
    identity = box.ok("create", "--name", "main", "--ipc", "shareable", IMAGE, "sleep", "1000")
    box.ok("create", "--name", "side", f"--{kind}", "container:main", IMAGE, "true")
    text = f"cannot join {WORDS[kind]} of a non running container: {identity}"
    assert start_status(box, "side") == (409, text)
    assert text in box.state("side")["Error"]
    box.ok("start", "main")
    box.ok("start", "side")
    assert box.ok("wait", "side") == "0"
    box.ok("kill", "main")
    box.wait_for("main", "exited")
    assert text in refused(box, "start", "side")
    assert text in refused(box, "restart", "side")


@pytest.mark.parametrize("kind", WORDS)
def test_a_container_that_was_removed_cannot_be_joined(box: Box, kind: str) -> None:
    identity = box.start("--name", "main", "--ipc", "shareable")
    box.ok("create", "--name", "side", f"--{kind}", "container:main", IMAGE, "true")
    box.ok("rm", "-f", "main")
    box.start("--name", "main")  # of the same name, but another one
    status, message = start_status(box, "side")
    assert (status, identity in message) == (409, True)


@pytest.mark.parametrize("kind", WORDS)
def test_one_that_there_is_not_is_refused_at_once(box: Box, kind: str) -> None:
    # 404 would have docker's client look for the image, and pull it.
    said = box.daemon.docker("create", f"--{kind}", "container:nobody", IMAGE)
    assert said.stderr.strip() == "Error response from daemon: No such container: nobody"
    assert box.ids() == []


@pytest.mark.parametrize("kind", WORDS)
def test_user_namespaces_are_not_crossed(box: Box, kind: str) -> None:
    mapped = ("--userns", "private:100000:65536")
    box.start("--name", "plain", "--ipc", "shareable")
    box.start("--name", "mapped", "--ipc", "shareable", *mapped)
    said = refused(box, "create", *mapped, f"--{kind}", "container:plain", IMAGE)
    assert f"cannot share another container's {kind} namespace" in said
    box.ok("create", "--name", "side", f"--{kind}", "container:mapped", IMAGE, "true")
    status, message = start_status(box, "side")
    assert status == 400
    assert "container mapped: it has a user namespace of its own" in message


# --- a supervisor that is killed ------------------------------------------------------------


def test_joined_namespaces_survive_the_supervisor(new_box: Box) -> None:
    box = new_box
    box.start("--name", "main", "--network", "none", "--ipc", "shareable")
    everything = [word for kind in WORDS for word in (f"--{kind}", "container:main")]
    box.start("--name", "side", *everything)
    before = {kind: namespace(box, "side", kind) for kind in ("net", "pid", "ipc")}
    box.daemon.kill()
    box.daemon.start()
    assert box.status("side") == "running"
    assert {kind: namespace(box, "side", kind) for kind in ("net", "pid", "ipc")} == before
    # A donor that a supervisor before this one started can be joined.
    assert box.output(*everything, script="echo $$ >/dev/shm/x; cat /dev/shm/x").isdecimal()
    box.ok("restart", "-t", "0", "side")
    assert namespace(box, "side", "net") == namespace(box, "main", "net")
    box.remove_all()


def test_no_descriptor_of_a_namespace_is_left(box: Box) -> None:
    box.start("--name", "main", "--network", "none", "--ipc", "shareable")
    its_own = {f"{kind}:[{namespace(box, 'main', kind)}]" for kind in ("net", "pid", "ipc", "mnt")}
    everything = [word for kind in WORDS for word in (f"--{kind}", "container:main")]
    box.run(*everything, script="true")
    box.run("--ipc", "container:main", "--network", "none", script="exit 1")
    box.run("--pid", "container:main", script="/no/such/program")
    box.ok("create", "--name", "side", *everything, IMAGE, "true")
    box.ok("kill", "main")
    box.wait_for("main", "exited")
    assert start_status(box, "side")[0] == 409
    folder = f"/proc/{box.daemon.pid}/fd"
    assert not its_own & {os.readlink(f"{folder}/{fd}") for fd in os.listdir(folder)}
