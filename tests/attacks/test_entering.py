"""S1 to S6: what an image or a container can do to the process that becomes part of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import supervisor
from supervisor.engine.zygote import read_only
from supervisor.kernel import capabilities, namespaces, process
from supervisor.kernel.inotify import IN_ISDIR, IN_OPEN, Inotify
from supervisor.spec.capabilities import DEFAULT, mask
from supervisor.store import elf
from tests.api.box import Box, eventually
from tests.attacks.hostile import (
    UP,
    begin,
    execute,
    image,
    outcome,
    same_but_read,
    waiting_program,
)
from tests.attacks.rounds import rounds
from tests.support import image_tars as made
from tests.support.tar_corpus import SECRET, Canary

# --- S1: the interpreter's file

# What leaves a file as it is, and yet changes it: the kernel tells by its time of change.
CHANGE = """
for exe in "$@"; do
    [ -e $exe ] || continue
    stat -L -c "seen %i" $exe
    chmod $(stat -L -c %a $exe) $exe 2>/dev/null && echo changed mode
    chown $(stat -L -c %u:%g $exe) $exe 2>/dev/null && echo changed owner
    touch -r $exe $exe 2>/dev/null && echo changed times
    (: >> $exe) 2>/dev/null && echo changed content
done
exit 0
"""


@pytest.fixture(scope="module")
def overwriter(built: Box) -> str:
    """An image of whose programs two are the host's interpreter, kept from running."""
    loader = elf.read(os.path.realpath(sys.executable)).interpreter.lstrip("/")
    return image(
        built,
        "overwriter:1",
        made.file(loader, waiting_program(), 0o755),
        made.file("script", b"#!/proc/self/exe\n", 0o755),
        made.symlink("program", "/proc/self/exe"),
    )


def test_the_hosts_interpreter_stays_as_it_is(box: Box, overwriter: str) -> None:
    python = os.path.realpath(sys.executable)
    before = os.stat(python)
    for entrypoint in ("/script", "/program") * rounds(1):
        it = begin(box, Image=overwriter, Entrypoint=[entrypoint])
        for command in ("/program", "/script"):
            execute(box, it, command, detach=True)
        found = execute(box, it, "sh", "-c", f"set -- /proc/[0-9]*/exe; {CHANGE}")
        # The three and no stage on its way: it runs as this very file.
        assert found.count(f"seen {before.st_ino}") == 3
        shell = os.stat(f"/proc/{box.state(it)['Pid']}/root/bin/busybox").st_ino
        ours = found.partition(f"seen {shell}")[0]
        assert "changed" not in ours
        assert same_but_read(before, python)
        box.remove_all()


def test_that_attack_changes_what_is_executed_as_usual(tmp_path: Path) -> None:
    program = str(shutil.copy(os.path.realpath(sys.executable), tmp_path / "python"))
    before = os.stat(program)
    busybox = shutil.which("busybox")
    assert busybox is not None

    def attack(executable: str) -> str:
        sleeping = ["python", "-ISc", "import time; time.sleep(100)"]
        home = {**os.environ, "PYTHONHOME": sys.base_prefix}
        with subprocess.Popen(sleeping, executable=executable, env=home) as running:
            try:
                command = [busybox, "sh", "-c", CHANGE, "sh", f"/proc/{running.pid}/exe"]
                eventually(lambda: os.stat(f"/proc/{running.pid}/exe").st_ino == before.st_ino)
                return subprocess.run(command, capture_output=True, text=True, check=True).stdout
            finally:
                running.kill()

    fd = read_only(program)
    try:
        assert attack(f"/proc/{os.getpid()}/fd/{fd}") == f"seen {before.st_ino}\n"
    finally:
        os.close(fd)
    assert same_but_read(before, program)
    assert "changed mode" in attack(program)
    assert not same_but_read(before, program)


# --- S2: the process that joins

# Looks at all processes that are on their way into the container, over and over. What counts is
# what was seen of one that is still on its way afterwards: one that has become its program, or has
# ended meanwhile, is the container's own.
LOOK = """
seen=0 still=0 got=
while [ ! -e /stop ]; do
    for p in /proc/[0-9]*; do
        read -r name < $p/comm || continue
        [ "$name" = orlop-shim ] || continue
        seen=$((seen + 1)) now=
        for what in environ mem maps auxv; do
            true < $p/$what && now="$now $what"
        done
        for what in exe root/. cwd/. fd/0 fd/3 ns/mnt; do
            [ -e $p/$what ] && now="$now $what"
        done
        line=
        read -r line < $p/cmdline
        case $line in */*) now="$now cmdline" ;; esac
        name=
        read -r name < $p/comm
        [ "$name" = orlop-shim ] && still=$((still + 1)) got="$got$now"
    done
    [ -e /looking ] || : > /looking
done 2> /dev/null
echo "seen $seen still $still got:$got"
"""


@contextmanager
def looking(box: Box, **host: Any) -> Iterator[tuple[str, list[str]]]:
    """A container that looks, and what it says at the end."""
    it = begin(box, LOOK, HostConfig=host)
    said: list[str] = []
    eventually(lambda: "looking" in os.listdir(f"/proc/{box.state(it)['Pid']}/root"))
    yield it, said
    execute(box, it, "touch", "/stop")
    box.wait_for(it, "exited")
    said.append(box.logs(it))


MAY_TRACE = {"CapAdd": ["SYS_PTRACE"], "UsernsMode": "auto", "NetworkMode": "none"}


@pytest.mark.parametrize("host", [{}, MAY_TRACE], ids=["", "may-trace"])
def test_a_joining_process_shows_nothing(box: Box, host: dict[str, Any]) -> None:
    with looking(box, **host) as (it, said):
        for _ in range(rounds(12)):
            assert execute(box, it, "true") == ""
    _, seen, _, still, *got = said[0].split()
    assert 0 < int(still) <= int(seen), said
    assert got == ["got:"], said


def test_the_lookers_catch_a_naive_one(box: Box) -> None:
    """The same process with the container's capabilities, but a memory image that is dumpable."""
    with looking(box) as (it, said):
        pid = int(box.state(it)["Pid"])
        joined = os.fork()
        if joined == 0:
            try:
                _join_naively(pid)
            finally:
                os._exit(1)
        os.waitpid(joined, 0)
    assert {"environ", "maps", "mem", "exe", "fd/0"} <= set(said[0].split())


def _join_naively(pid: int) -> None:
    process.set_process_name("orlop-shim")
    namespaces.setns(process.pidfd_open(pid), namespaces.CLONE_NEWPID | namespaces.CLONE_NEWNS)
    child = os.fork()
    if child == 0:
        allowed = mask(DEFAULT)
        capabilities.set_capabilities(allowed, allowed, 0)
        time.sleep(0.3)
        os._exit(0)
    os.waitpid(child, 0)
    os._exit(0)


# --- S3: descriptors


def numbers(few: int) -> range:
    """The first of those that a process may have."""
    return range(3, 3 + min(rounds(few), 60))


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A program of the host's that no container has; it says Linux."""
    busybox = shutil.which("busybox")
    assert busybox is not None
    return Path(shutil.copy(busybox, tmp_path / "uname"))


def test_no_descriptor_leads_an_exec_session_out(box: Box, canary: Canary, program: Path) -> None:
    it = begin(box)
    steal = f"cat /proc/self/fd/0/{UP}{canary.path}/secret; ls /proc/self/cwd/{UP}{canary.path}"
    for number in numbers(25):
        fd = f"/proc/self/fd/{number}"
        links = f"rm -f /dev/null /way; ln -s {fd} /dev/null; ln -s {fd} /way"
        assert execute(box, it, "sh", "-c", links, AttachStdin=True) == ""
        found = execute(box, it, "sh", "-c", steal)
        if number % 4 == 0:  # the folder of the container's bundle was the fourth
            found += execute(box, it, "sh", "-c", steal, WorkingDir=fd)
            found += execute(box, it, "sh", "-c", steal, WorkingDir="/way", Tty=True)
        found += execute(box, it, f"{fd}/{UP}{program}")
        found += execute(box, it, f"/way/{UP}{program}")
        assert SECRET.decode() not in found
        assert "inner" not in found
        assert "Linux" not in found
    execute(box, it, "sh", "-c", "rm /dev/null; mknod /dev/null c 1 3", AttachStdin=True)


def test_no_descriptor_leads_a_start_out(box: Box, canary: Canary, program: Path) -> None:
    link = image(
        box,
        "links:1",
        *(made.symlink(f"way{number}", f"/proc/self/fd/{number}") for number in numbers(6)),
        *(
            made.file(f"script{n}", f"#!/proc/self/fd/{n}/{UP}{program}\n".encode(), 0o755)
            for n in numbers(6)
        ),
    )
    for number in numbers(6):
        for body in (
            {"WorkingDir": f"/proc/self/fd/{number}", "Cmd": ["ls", f"{UP}{canary.path}"]},
            {"WorkingDir": f"/way{number}", "Cmd": ["ls", f"{UP}{canary.path}"]},
            {"Cmd": [f"/way{number}/{UP}{program}"]},
            {"Cmd": [f"/script{number}"]},
        ):
            status, said = outcome(box, {"Image": link, **body})
            assert status != 0
            assert "inner" not in said
            assert "Linux" not in said


def test_a_program_has_the_three_descriptors(box: Box) -> None:
    it = begin(box)
    assert sorted(os.listdir(f"/proc/{box.state(it)['Pid']}/fd")) == ["0", "1", "2"]
    # The shell's own is the folder that it lists.
    own = "for f in /proc/$$/fd/*; do echo ${f##*/} $(readlink $f | grep -c /proc/); done"
    assert execute(box, it, "sh", "-c", own).split("\n")[:3] == ["0 0", "1 0", "2 0"]


# --- S4: files that a library or the interpreter would open by name


def test_nothing_of_the_image_is_opened_but_its_accounts(box: Box, tmp_path: Path) -> None:
    """Where a library looks there is a folder of the host's, and the kernel tells who opens."""
    python = sysconfig.get_path("stdlib")
    package = str(Path(supervisor.__file__).parent)
    files = {
        "/etc": (
            *("passwd", "group", "ld.so.preload", "ld.so.cache", "nsswitch.conf", "localtime"),
            *("locale.alias", "hosts", "hostname", "resolv.conf", "host.conf", "gai.conf"),
        ),
        "/lib64": ("ld-linux-x86-64.so.2", "libc.so.6", "libnss_files.so.2", "libgcc_s.so.1"),
        "/usr/lib": (
            "libnss_files.so.2",
            "libc.so.6",
            "locale/C.utf8/LC_CTYPE",
            "gconv/gconv-modules",
        ),
        python: ("encodings/idna.py", "encodings/cp437.py", "traceback.py", "pwd.py"),
        package: ("errors/__init__.py", "shim/become.py"),
    }
    binds: list[str] = []
    names: dict[int, str] = {}
    with Inotify() as watch:
        for number, (place, inside) in enumerate(files.items()):
            root = tmp_path / str(number)
            for name in inside:
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text("")
            for folder, _, _ in os.walk(root):
                names[watch.add(folder, IN_OPEN)] = folder
            binds.append(f"{root}:{place}")
        (tmp_path / "0/passwd").write_text("web:x:7:7::/:/bin/sh\n")
        (tmp_path / "0/group").write_text("more:x:8:\n")
        watch.read()
        host = {"Binds": binds, "Init": True, "GroupAdd": ["more"]}
        it = begin(box, User="web", HostConfig=host)
        assert execute(box, it, "sleep", "0", User="web") == ""
        for more in ({"User": "nobody-there"}, {"WorkingDir": "/none"}, {"Tty": True}):
            execute(box, it, "/nothing/here", **more)
        opened = {event.name for event in watch.read() if not event.mask & IN_ISDIR}
        assert opened == {"passwd", "group"}
        Path(f"/proc/{box.state(it)['Pid']}/root/{python}/pwd.py").read_text()  # it would be told
        assert [event.name for event in watch.read()] == ["pwd.py"]


# --- S5, S6: programs and variables of the image

PROGRAMS = (
    *("tar", "gzip", "gunzip", "xz", "zstd", "unpigz", "ps", "nsenter", "mount", "umount", "ip"),
    *("nft", "iptables", "modprobe", "mkfs", "cp", "python3", "python", "sh", "git", "newuidmap"),
)
HOSTILE = {
    "PATH": "/trojan",
    "LD_PRELOAD": "/trojan/evil.so",
    "LD_LIBRARY_PATH": "/trojan",
    "PYTHONPATH": "/trojan",
    "PYTHONHOME": "/trojan",
    "PYTHONSTARTUP": "/trojan/evil.py",
    "BASH_ENV": "/trojan/sh",
    "ORLOP_FAILPOINTS": "init.execve=die",
    "ORLOP_HOST": "unix:///trojan.sock",
    "HTTP_PROXY": "http://trojan:1",
    "GCONV_PATH": "/trojan",
    "TMPDIR": "/trojan",
}


def test_no_program_or_variable_of_the_image_counts_on_the_host(box: Box) -> None:
    trojan = b"#!/bin/busybox sh\necho $0 >> /owned\n"
    name = image(
        box,
        "trojans:1",
        *(made.file(f"trojan/{program}", trojan, 0o755) for program in PROGRAMS),
        *(made.file(f"trojan/{name}", b"evil") for name in ("evil.so", "evil.py", "os.py")),
        config={
            "Env": [f"{key}={value}" for key, value in HOSTILE.items()],
            "Healthcheck": {"Test": ["CMD", "/bin/true"], "Interval": 10**9},
        },
    )
    it = begin(box, Image=name, Cmd=["/bin/sleep", "100000"])
    assert set(execute(box, it, "/bin/busybox", "env").split("\n")) >= {
        f"{key}={value}" for key, value in HOSTILE.items()
    }
    for path in ("top", "export", "archive?path=/etc", "changes", "json?size=1"):
        assert box.daemon.request("GET", f"/containers/{it}/{path}")[0] == 200, path
    status, _ = box.daemon.request("POST", f"/commit?container={it}&repo=again", {})
    assert status == 201
    eventually(lambda: box.state(it)["Health"]["Status"] == "healthy")
    root = Path(f"/proc/{box.state(it)['Pid']}/root")
    assert not (root / "owned").exists()
    assert not Path("/owned").exists()
    execute(box, it, "sh")  # and it can be seen
    assert (root / "owned").read_text() == "/trojan/sh\n"
