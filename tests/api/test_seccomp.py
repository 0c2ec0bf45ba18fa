"""Filters of system calls, as containers and their users see them."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from supervisor.spec.seccomp.abis import numbers
from tests.api.box import IMAGE, Box
from tests.support import places
from tests.support.daemon import Daemon

pytestmark = pytest.mark.feature("seccomp")

STATUS = "grep -E '^Seccomp:' /proc/self/status"
UNCONFINED = ("--security-opt", "seccomp=unconfined")
OWN = numbers("aarch64" if platform.machine() == "aarch64" else "x86_64")

# Everything that a program of today does first: threads, sockets, memory, and what it may not.
PROGRAM = r"""
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
static void *count(void *sum) { __sync_fetch_and_add((long *)sum, 1); return 0; }
int main(int argc, char **argv) {
    if (argc > 1) {
        for (int i = 1; i < argc; i++) {
            errno = 0;
            syscall(strtol(argv[i], 0, 0), -1L, -1L, -1L, -1L, -1L, -1L);
            printf("%d ", errno);
        }
        return 0;
    }
    pthread_t threads[20];
    long sum = 0;
    for (int i = 0; i < 20; i++)
        if (pthread_create(&threads[i], 0, count, &sum)) return 1;
    for (int i = 0; i < 20; i++) pthread_join(threads[i], 0);
    int alg = socket(38, SOCK_SEQPACKET, 0) < 0 ? errno : 0;
    int vsock = socket(40, SOCK_STREAM, 0) < 0 ? errno : 0;
    printf("threads %ld alg %d vsock %d\n", sum, alg, vsock);
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the compiled PROGRAM, to be bound into containers."""
    folder = tmp_path_factory.mktemp("program")
    (folder / "main.c").write_text(PROGRAM)
    command = ["gcc", "-O1", "-static", "-pthread", "-o", "main", "main.c"]
    subprocess.run(command, cwd=folder, check=True)
    folder.chmod(0o755)
    return folder


def profile(folder: Path, **rules: Any) -> str:
    """The path of a profile file that allows all but `rules`."""
    path = folder / "profile.json"
    path.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", **rules}, indent=2))
    return str(path)


def no_mkdir(folder: Path) -> str:
    forbidden = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}
    return profile(folder, syscalls=[forbidden])


def filtered(box: Box, *flags: str) -> str:
    return box.output(*flags, script=STATUS).split()[1]


# --- who has a filter ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "flags, mode",
    [
        ((), "2"),
        (("--init",), "2"),
        (("-u", "1234"), "2"),
        (("--cap-drop", "ALL"), "2"),
        (("--cap-add", "ALL"), "2"),
        (("--userns", "private:200000:65536"), "2"),
        (("--pid", "host", "--net", "host"), "2"),
        (("--security-opt", "no-new-privileges"), "2"),
        (("--security-opt", "seccomp=builtin"), "2"),
        (("--security-opt", "apparmor=unconfined"), "2"),
        (("--privileged", "--security-opt", "seccomp=builtin"), "2"),
        (UNCONFINED, "0"),
        (("--privileged",), "0"),
    ],
    ids=repr,
)
def test_by_default_and_as_asked(box: Box, flags: tuple[str, ...], mode: str) -> None:
    assert filtered(box, *flags) == mode


def test_exec_sessions_have_their_containers(box: Box) -> None:
    box.start("--name", "plain")
    box.start("--name", "open", *UNCONFINED)
    box.start("--name", "all", "--privileged")
    command = ("grep", "Seccomp:", "/proc/self/status")
    for name, mode in (("plain", "2"), ("open", "0"), ("all", "0")):
        for flags in ((), ("-u", "1234"), ("--privileged",), ("-t",)):
            assert box.ok("exec", *flags, name, *command).split()[1] == mode, (name, flags)


def test_a_filter_outlives_the_daemon(new_box: Box) -> None:
    new_box.start("--name", "long")
    new_box.daemon.kill()
    new_box.daemon.start()
    assert new_box.ok("exec", "long", "sh", "-c", STATUS).split()[1] == "2"
    new_box.ok("restart", "-t", "0", "long")
    assert new_box.ok("exec", "long", "sh", "-c", STATUS).split()[1] == "2"
    new_box.remove_all()


# --- what it does -------------------------------------------------------------------------------


def test_threads_work_and_odd_sockets_do_not(box: Box, program: Path) -> None:
    bind = ("-v", f"{program}:/program:ro")
    for flags in ((), ("--cap-drop", "ALL", "-u", "1234"), ("--init", "-t")):
        text = box.output(*flags, *bind, script="/program/main")
        assert text == "threads 20 alg 1 vsock 1", flags


def test_refused_calls(box: Box, program: Path) -> None:
    refused = ["io_uring_setup", "userfaultfd", "keyctl", "bpf", "perf_event_open", "kexec_load"]
    refused += ["mount", "unshare", "setns", "init_module", "open_by_handle_at", "swapon"]
    words = [str(OWN[name]) for name in refused]
    words += [str(OWN["clone3"]), "9999", str(1 << 30 | 39)]
    bind = ("-v", f"{program}:/program:ro")
    text = box.output(*bind, script=f"/program/main {' '.join(words)}")
    assert text.split() == ["1"] * len(refused) + ["38", "38", "38"]
    text = box.output(*bind, *UNCONFINED, script=f"/program/main {OWN['keyctl']}")
    assert text != "1"


def test_capabilities_open_what_needs_them(box: Box) -> None:
    script = "unshare -m true && echo made || echo refused"
    assert box.output(script=script) == "refused"
    assert box.output("--cap-add", "SYS_ADMIN", script=script) == "made"
    script = "unshare -U true 2>&1 && echo made || echo refused"
    assert box.output("-u", "1234", script=script).splitlines()[-1] == "refused"
    assert box.output("-u", "1234", *UNCONFINED, script=script) == "made"


def test_ordinary_work(box: Box) -> None:
    script = (
        "set -e; cd /tmp; mkdir a; echo x > a/b; ln a/b c; ln -s a d; cp -a a e; mv c f;"
        "chmod 600 f; touch -d 2020-01-01 f; rm -r a e; (echo one; echo two) | sort -r | head -n 1;"
        "ping -c 1 -W 2 127.0.0.1 >/dev/null; echo hi > g & wait; sleep 0.01; chown 5:5 g;"
        "mknod n c 1 3; su -s /bin/sh -c 'id -u' root 2>/dev/null || id -u; tty >/dev/null;"
        # The listener's input never ends: at its end it would hang up on a slow caller.
        "mkfifo open; (nc -l -p 4242 <> open > h & for i in 1 2 3 4 5 6 7 8 9; do echo net | "
        "nc -w 20 127.0.0.1 4242 2>/dev/null && break; sleep 0.1; done; wait);"
        "cat h; hostname; date -d 2020-01-01 +%Y; time -p true"
    )
    flags = ("-t", "--hostname", "ship", "--userns", "host")  # elsewhere mknod is refused
    text = box.output(*flags, script=script)
    assert text.replace("\r", "").splitlines()[:5] == ["two", "0", "net", "ship", "2020"]


# --- profiles -----------------------------------------------------------------------------------


@pytest.mark.parametrize("client", [Daemon.docker, Daemon.orlop], ids=["docker", "orlop"])
def test_a_profile_from_a_file(
    box: Box, tmp_path: Path, client: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    option = f"seccomp={no_mkdir(tmp_path)}"
    script = "mkdir /x; echo $?; touch /y && echo made"
    done = client(
        box.daemon, "run", "--name", "own", "--security-opt", option, IMAGE, "sh", "-c", script
    )
    assert done.stdout.split() == ["1", "made"]
    assert "No space left on device" in done.stderr
    found = box.inspect("own")["HostConfig"]["SecurityOpt"]
    assert [json.loads(one.removeprefix("seccomp=")) for one in found] == [
        json.loads(Path(tmp_path / "profile.json").read_text())
    ]
    assert "\n" not in found[0]
    assert box.orlop("start", "-a", "own").stdout.split() == ["1", "made"]  # from the record


# It writes "32" and exits.
PROGRAM_32 = """
.globl _start
_start: mov $4, %eax; mov $1, %ebx; mov $text, %ecx; mov $3, %edx; int $0x80
        mov $1, %eax; mov $0, %ebx; int $0x80
text:   .ascii "32\\n"
"""


def program_of_i386(folder: Path) -> Path | None:
    """A program of 32 bits; None where this machine runs none (User-Mode Linux, aarch64)."""
    if platform.machine() != "x86_64":
        return None
    (folder / "main.s").write_text(PROGRAM_32)
    for command in ("as --32 -o main.o main.s", "ld -m elf_i386 -o main main.o"):
        subprocess.run(command.split(), cwd=folder, check=True)
    try:
        runs = subprocess.run([folder / "main"], capture_output=True).stdout == b"32\n"
    except OSError:
        return None
    return folder if runs else None


def test_programs_of_32_bits_need_a_profile_that_names_them(box: Box, tmp_path: Path) -> None:
    folder = program_of_i386(tmp_path)
    if folder is None:
        return
    bind = ("-v", f"{folder}:/program:ro")
    named = [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}]
    for flags, architectures, output in (
        ((), [], ""),
        (UNCONFINED, [], "32\n"),
        (("--security-opt", f"seccomp={profile(tmp_path)}"), [], ""),
        (("--security-opt", f"seccomp={profile(tmp_path)}"), named, "32\n"),
    ):
        profile(tmp_path, archMap=architectures)
        assert box.run(*bind, *flags, script="/program/main").stdout == output, flags


def test_a_profile_that_kills(box: Box, tmp_path: Path) -> None:
    deadly = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS"}
    option = f"seccomp={profile(tmp_path, syscalls=[deadly])}"
    done = box.orlop("run", "--rm", "--security-opt", option, IMAGE, "mkdir", "/x")
    assert done.returncode == 128 + 31


def test_a_misspelt_name_is_warned_of(box: Box, tmp_path: Path) -> None:
    wrong = {"names": ["mkdri", "chmod"], "action": "SCMP_ACT_ERRNO"}
    option = f"seccomp={profile(tmp_path, syscalls=[wrong])}"
    done = box.run("--security-opt", option, script="true")
    assert done.returncode == 0
    assert done.stderr.strip() == (
        "WARNING: the seccomp profile names system calls that no kernel has: mkdri"
    )


@pytest.mark.parametrize(
    "option, words",
    [
        ("seccomp={}", "defaultAction is missing"),
        ("seccomp={", "not JSON"),
        ('seccomp={"defaultAction":"SCMP_ACT_NOTIFY"}', "needs a seccomp agent"),
        ('seccomp={"defaultAction":"SCMP_ACT_ALLOW","syscals":[]}', "unknown key 'syscals'"),
        ("seccomp=profile.json", "seccomp=unconfined, seccomp=builtin, seccomp={…}"),
    ],
)
def test_wrong_profiles_make_no_container(box: Box, option: str, words: str) -> None:
    body = {"Image": IMAGE, "Cmd": ["true"], "HostConfig": {"SecurityOpt": [option]}}
    status, answer = box.daemon.request("POST", "/containers/create?name=wrong", body)
    assert status == 400
    assert words in answer["message"]
    assert box.ids() == []


def test_files_that_are_no_profile(box: Box, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("{,}")
    for path, words in (("/nowhere.json", "No such file"), (str(tmp_path / "text"), "not JSON")):
        done = box.run("--security-opt", f"seccomp={path}", script="true")
        assert done.returncode == 125
        assert words in done.stderr


# --- what is told -------------------------------------------------------------------------------


def test_info_inspect_and_explain(box: Box) -> None:
    _, info = box.daemon.request("GET", "/info")
    assert "name=seccomp,profile=builtin" in info["SecurityOptions"]
    assert not info["Warnings"]
    for flags, asked, mode in (
        ((), None, "filter"),
        (UNCONFINED, ["seccomp=unconfined"], "disabled"),
        (("--security-opt", "seccomp=builtin"), ["seccomp=builtin"], "filter"),
    ):
        ref = box.ok("create", *flags, IMAGE, "sleep", "1000")
        assert (box.inspect(ref)["HostConfig"]["SecurityOpt"] or None) == asked
        for state in ("created", "running"):
            _, found = box.daemon.request("GET", f"/orlop/explain?ref={ref}")
            assert found["seccomp"]["mode"] == mode, state
            box.orlop("start", ref)


# --- a host that cannot -------------------------------------------------------------------------

# The daemon under a filter of its own, by which seccomp(2) is not there.
DAEMON_WITHOUT = """
import struct, sys
from supervisor.daemon.main import main
from supervisor.kernel import seccomp
from supervisor.kernel._call import SYS
code = [(0x20, 0, 0, 0), (0x15, 0, 1, SYS["seccomp"]), (6, 0, 0, 0x50026), (6, 0, 0, 0x7FFF0000)]
seccomp.install(b"".join(struct.pack("=HBBI", *one) for one in code))
sys.exit(main())
"""


def test_a_host_without_seccomp_warns_and_refuses_profiles() -> None:
    with places.short_folder() as folder:
        daemon = Daemon(folder, ("--userns", "host"), program=("-c", DAEMON_WITHOUT))
        try:
            daemon.start()
            box = Box(daemon)
            box.build()
            assert "no seccomp on this host" in daemon.log
            _, info = daemon.request("GET", "/info")
            assert info["SecurityOptions"] == ["name=cgroupns"]
            assert ["no seccomp on this host" in one for one in info["Warnings"]] == [True]
            plain = box.run(script="echo ran")
            assert (plain.returncode, plain.stdout) == (0, "ran\n")
            assert "WARNING: no seccomp on this host" in plain.stderr
            for flags in (UNCONFINED, ("--privileged",)):
                assert box.run(*flags, script="true").stderr == ""
            refused = box.run("--security-opt", "seccomp=builtin", script="true")
            assert refused.returncode == 125
            assert "seccomp is not available on this host" in refused.stderr
            box.remove_all()
        finally:
            daemon.close()
