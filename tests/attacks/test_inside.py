"""What a program inside a container has inherited, and which system calls it can make.

The daemon was started with everything that it must not pass on: 500 inheritable descriptors,
ignored and blocked signals, inheritable and ambient capabilities, groups, a session keyring with
a key, variables, an open umask. What holds for a container must hold for its exec sessions.
"""

from __future__ import annotations

import errno
import platform
from pathlib import Path

import pytest

from supervisor.spec.seccomp.abis import numbers
from tests.attacks.boxes import PROBER, UNCONFINED, Cell, everywhere, links
from tests.support.pace import IN_GUEST

pytestmark = pytest.mark.api

DOCKERS_FOURTEEN = 0xA80425FB
X86 = platform.machine() == "x86_64"
OWN = numbers("x86_64" if X86 else "aarch64")
X32 = 1 << 30


def fields(status: str) -> dict[str, str]:
    """/proc/PID/status."""
    return {
        name: value.strip() for name, _, value in (x.partition(":") for x in status.split("\n"))
    }


# --- what is inherited --------------------------------------------------------------------------


@pytest.mark.parametrize("user, mine", [("", DOCKERS_FOURTEEN), ("1234", 0)])
def test_s36_s46_s47_nothing_of_the_daemons_own_is_passed_on(
    cell: Cell, user: str, mine: int
) -> None:
    daemons = fields(Path(f"/proc/{cell.daemon.pid}/status").read_text())
    assert int(daemons["CapAmb"], 16), "the daemon has what it must not pass on"
    assert int(daemons["SigIgn"], 16)
    assert "54321" in daemons["Groups"]
    for where, text in everywhere(cell, "cat", "/proc/self/status", User=user).items():
        found = fields(text)
        got = {name: int(found[name], 16) for name in found if name.startswith(("Cap", "Sig"))
               and name not in ("SigQ", "SigCgt")}  # fmt: skip
        assert got == {
            "CapInh": 0, "CapPrm": mine, "CapEff": mine, "CapBnd": DOCKERS_FOURTEEN, "CapAmb": 0,
            "SigPnd": 0, "SigBlk": 0, "SigIgn": 0,
        }, where  # fmt: skip
        assert found["Umask"] == "0022", where
        assert found["Groups"].split() == (["0"] if user else ["0", "10"]), where
        assert found["Seccomp"] == "2", where


def test_s43_no_core_file_however_large_the_daemons_limit(cell: Cell, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    host = {"Binds": [f"{tmp_path}:/work"]}
    limits = "ulimit -c; ulimit -Hc; ulimit -c unlimited 2>/dev/null && echo raised"
    ref = cell.start(host=host, WorkingDir="/work")
    crash = f"{limits}; sh -c 'kill -SEGV $$'"
    for result in (
        cell.sh(crash, host=host, WorkingDir="/work"),
        cell.execute(ref, "sh", "-c", crash),
    ):
        assert result.out.split() == ["0", "0"]
    assert list(tmp_path.iterdir()) == []
    wanted = {**host, "Ulimits": [{"Name": "core", "Soft": -1, "Hard": -1}]}
    assert cell.sh(limits, host=wanted).out.split() == ["unlimited", "unlimited", "raised"]


def test_s48_the_environment_is_exactly_what_was_configured(cell: Cell) -> None:
    path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    asked = ["A=1", "EMPTY=", "ODD=a=b\n\x1bc"]
    for where, text in everywhere(
        cell, "cat", "/proc/self/environ", Env=asked, Hostname="ship"
    ).items():
        terminal = ["TERM=xterm"] if "terminal" in where else []
        wanted = {path, "HOSTNAME=ship", *asked, *terminal, "HOME=/root"}
        found = text.split("\0")
        assert found.pop() == ""
        assert (len(found), set(found)) == (len(wanted), wanted), where


def test_s49_no_descriptor_of_500_in_the_supervisor_is_passed_on(cell: Cell) -> None:
    secret = str(cell.daemon.folder / "secret")
    for where, text in everywhere(cell, PROBER, "fds").items():
        assert text.split() == ["0", "1", "2"], where
    cell.start()
    holders = {}
    for process in cell.daemon.processes():
        holders[process.pid] = links(process.pid).count(secret)
    assert holders.pop(cell.daemon.pid) >= 250, "it has them itself"
    assert set(holders.values()) == {0}


def test_s40_the_session_keyring_is_fresh(cell: Cell) -> None:
    """By calls that are refused already: a container that is allowed them has its own."""
    assert cell.run(PROBER, "keyring").out == f"{-errno.EPERM}\n"
    serials = [*everywhere(cell, PROBER, "keyring").values()]
    assert set(serials) == {f"{-errno.EPERM}\n"}
    one, other = (cell.run(PROBER, "keyring", host=UNCONFINED).out for _ in range(2))
    assert int(one) > 0
    assert one != other
    keys = Path("/proc/keys")
    if keys.exists():  # CONFIG_PROC_KEYS
        assert "of-the-host" in keys.read_text(), "the control: the daemon has one"
        assert cell.sh("cat /proc/keys", host=UNCONFINED).out == ""


# --- system calls -------------------------------------------------------------------------------

# fmt: off
REFUSED = (
    "io_uring_setup", "io_uring_enter", "io_uring_register", "userfaultfd", "keyctl", "add_key",
    "request_key", "bpf", "perf_event_open", "kexec_load", "kexec_file_load", "mount",
    "umount2", "pivot_root", "setns", "unshare", "swapon", "swapoff", "reboot", "init_module",
    "finit_module", "delete_module", "open_by_handle_at", "open_tree", "move_mount", "fsopen",
    "fsmount", "fsconfig", "mount_setattr", "settimeofday", "clock_settime", "acct", "quotactl",
)
# fmt: on


def answers(cell: Cell, abi: str, first: int, last: int, **host: object) -> dict[int, int]:
    """The errno of each system call; negative for a signal."""
    done = cell.run(PROBER, "calls", abi, str(first), str(last), host=host)
    assert done.code == 0, done
    pairs = (line.split() for line in done.out.splitlines())
    return {int(number): int(answer) for number, answer in pairs}


@pytest.mark.feature("seccomp")
def test_s38_every_system_call_of_every_abi(cell: Cell) -> None:
    found = answers(cell, "native", 0, 1100)
    assert len(found) == 1100
    refused = {name: found[OWN[name]] for name in REFUSED if name in OWN}
    assert refused == dict.fromkeys(refused, errno.EPERM)
    assert found[OWN["clone3"]] == errno.ENOSYS
    newest = max(OWN.values())
    unknown = {n: a for n, a in found.items() if n > newest or n not in OWN.values()}
    assert set(unknown.values()) == {errno.ENOSYS}
    if X86:
        assert set(answers(cell, "native", X32, X32 + 600).values()) == {errno.ENOSYS}
    if X86 and not IN_GUEST:  # User-Mode Linux takes int 0x80 for a call of its own
        assert set(answers(cell, "i386", 0, 500).values()) == {errno.ENOSYS}


@pytest.mark.feature("seccomp")
def test_s38_the_control_without_a_filter_they_are_answered(cell: Cell) -> None:
    found = answers(cell, "native", 0, 500, **UNCONFINED)
    reached = [name for name in REFUSED if found.get(OWN.get(name, -1), 38) not in (1, 38)]
    assert {"userfaultfd", "keyctl", "perf_event_open"} & set(reached)


@pytest.mark.feature("seccomp")
def test_s39_nothing_is_typed_into_a_terminal(cell: Cell) -> None:
    refused = f"{errno.EPERM} {errno.EPERM} {errno.EPERM}\n"
    assert cell.run(PROBER, "terminal", Tty=True).out == refused
    privileged = {"CapAdd": ["SYS_ADMIN", "SYS_TTY_CONFIG"]}
    assert cell.run(PROBER, "terminal", Tty=True, host=privileged).out == refused
    ref = cell.start()
    assert cell.execute(ref, PROBER, "terminal", Tty=True).out == refused


def test_s37_no_new_privileges_by_a_setuid_program(cell: Cell) -> None:
    setuid = cell.probe / "setuid"
    setuid.write_bytes((cell.probe / "prober").read_bytes())
    setuid.chmod(0o4755)
    program = "/probe/setuid"
    assert cell.run(program, "euid", User="1234").out == "0\n", "the control: it is one"
    promised = {"SecurityOpt": ["no-new-privileges"]}
    assert cell.run(program, "euid", User="1234", host=promised).out == "1234\n"
    ref = cell.start(host=promised)
    assert cell.execute(ref, program, "euid", User="1234").out == "1234\n"
    assert cell.execute(ref, program, "euid", User="1234", Privileged=True).out == "1234\n"
