"""supervisor.kernel.seccomp and the built-in profile: real filters in real processes.

Where every number is tried, a first filter answers each call with an error of its own that no
call knows (MARK); the one under test is installed over it. Of two errors the kernel takes that
of the younger filter, so MARK means "let pass", and nothing is ever called for real.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import signal
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from supervisor.engine.system_calls import machine_to_filter
from supervisor.kernel import capabilities, process, seccomp
from supervisor.spec.capabilities import DEFAULT, NAMES, mask
from supervisor.spec.seccomp import compile_filter
from supervisor.spec.seccomp.abis import Machine, numbers
from supervisor.spec.seccomp.default import ALLOWED
from tests.kernel.forked import error_of, in_child
from tests.support.seccomp_oracle import ALLOW, AUDIT, X32_BIT, Call, run
from tests.support.shim_rig import ShimRig, running_rig

pytestmark = pytest.mark.feature("seccomp")

MACHINE = machine_to_filter() or Machine(name="x86_64", kernel=(6, 1))
OWN = MACHINE.name
MARK = 4000
ERRNO = 0x00050000
# What a child needs to install the second filter, to work at all, and to tell what it found.
NEEDED = ("brk", "exit_group", "futex", "madvise", "mmap", "munmap", "seccomp", "write")
libc = ctypes.CDLL(None, use_errno=True)


def builtin(*, having: tuple[str, ...] = DEFAULT) -> bytes:
    return bytes.fromhex(compile_filter("", MACHINE, having).program)


def returning(action: int) -> bytes:
    """A filter with one answer to everything."""
    return struct.pack("=HBBI", 0x06, 0, 0, action)


def marking() -> bytes:
    """MARK for every call but the needed ones."""
    code = struct.pack("=HBBI", 0x20, 0, 0, 0)
    for name in NEEDED:
        code += struct.pack("=HBBI", 0x15, 0, 1, numbers(OWN)[name]) + returning(ALLOW)
    return code + returning(ERRNO | MARK)


def call(number: int, *arguments: int) -> int:
    """The errno of a system call, 0 if it succeeded."""
    words = [ctypes.c_ulong(word) for word in (number, *arguments)]
    ctypes.set_errno(0)
    return ctypes.get_errno() if libc.syscall(*words) == -1 else 0


def name_of(number: int) -> str:
    return errno.errorcode.get(number, str(number))


def confined(body: Callable[[], Any], program: bytes | None = None) -> Any:
    """What `body` returns in a child under the built-in filter (or `program`)."""
    chosen = builtin() if program is None else program

    def run_confined() -> Any:
        process.set_no_new_privileges()
        seccomp.install(chosen)
        return body()

    return in_child(run_confined)


# --- every number -------------------------------------------------------------------------------


def try_all(program: bytes, calls: Sequence[tuple[int, int]]) -> list[int]:
    """The errno of each (number, first argument) under `marking` and `program`."""

    def answers() -> list[int]:
        found = [0] * len(calls)
        process.set_no_new_privileges()
        seccomp.install(marking())
        seccomp.install(program)
        for at, (number, argument) in enumerate(calls):
            found[at] = call(number, argument)
        return found

    # Not `in_child`, which looks at descriptors and children when the body is through.
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(write_end, b" ".join(b"%d" % found for found in answers()))
        finally:
            os._exit(0)
    os.close(write_end)
    with open(read_end, "rb") as pipe:
        text = pipe.read()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    return [int(word) for word in text.split()]


def passes_unasked() -> set[int]:
    """Numbers that newer kernels let pass without asking: their own trampolines call them.

    __seccomp_filter and seccomp_uprobe_exception (kernel/seccomp.c), Linux 6.14 and 6.18.
    """
    return {numbers(OWN)[name] for name in ("uretprobe", "uprobe") if name in numbers(OWN)}


@pytest.mark.parametrize("having", [(), DEFAULT, tuple(NAMES)], ids=["none", "default", "all"])
def test_every_number(having: tuple[str, ...]) -> None:
    program = builtin(having=having)
    tried = {*range(1100), *(X32_BIT | n for n in range(600)), X32_BIT - 1, (1 << 31) - 1}
    left_out = passes_unasked() | {numbers(OWN)[name] for name in NEEDED}
    calls = [(number, 0) for number in sorted(tried - left_out)]
    found = try_all(program, calls)
    assert len(found) == len(calls)
    wrong = {}
    for (number, _), answer in zip(calls, found, strict=True):
        action = run(program, Call(number, AUDIT[OWN]))[0]
        wanted = MARK if action == ALLOW else action & 0xFFFF
        if answer != wanted:
            wrong[number] = (answer, wanted)
    assert not wrong
    assert found.count(MARK) >= 200
    assert found.count(errno.ENOSYS) >= 1000


@pytest.mark.parametrize(
    "name, values",
    [
        ("personality", [0, 1, 8, 0x20000, 0x20008, 0x40000, 0xFFFFFFFF, 1 << 32 | 8]),
        ("socket", [*range(50), 1 << 32 | 38, 1 << 63 | 1]),
        ("clone", [17, 17 | 1 << 28, 0x3D0F00, 0x3D0F00 | 1 << 17, 1 << 40]),
    ],
)
def test_first_arguments_of_64_bits(name: str, values: Sequence[int]) -> None:
    number = numbers(OWN)[name]
    found = try_all(builtin(), [(number, value) for value in values])
    for value, answer in zip(values, found, strict=True):
        action = run(builtin(), Call(number, AUDIT[OWN], (value, 0, 0, 0, 0, 0)))[0]
        assert answer == (MARK if action == ALLOW else action & 0xFFFF), hex(value)


# --- the calls for real -------------------------------------------------------------------------


MINUS_ONE = (1 << 64) - 1
REAL_CALLS: tuple[tuple[str, tuple[int, ...], str], ...] = (
    ("io_uring_setup", (8, 0), "EPERM"),
    ("io_uring_enter", (MINUS_ONE, 0, 0, 0), "EPERM"),
    ("io_uring_register", (MINUS_ONE, 0, 0, 0), "EPERM"),
    ("userfaultfd", (0,), "EPERM"),
    ("keyctl", (0, 0), "EPERM"),
    ("add_key", (0, 0, 0, 0, 0), "EPERM"),
    ("request_key", (0, 0, 0, 0), "EPERM"),
    ("bpf", (0, 0, 0), "EPERM"),
    ("perf_event_open", (0, 0, MINUS_ONE, MINUS_ONE, 0), "EPERM"),
    ("kexec_load", (0, 0, 0, 0), "EPERM"),
    ("kexec_file_load", (0, 0, 0, 0, 0), "EPERM"),
    ("mount", (0, 0, 0, 0, 0), "EPERM"),
    ("open_by_handle_at", (0, 0, 0), "EPERM"),
    ("unshare", (0x10000000,), "EPERM"),
    ("unshare", (0,), "EPERM"),
    ("setns", (0, 0), "EPERM"),
    ("clone", (0x10000000 | 17, 0, 0, 0, 0), "EPERM"),
    ("clone3", (0, 0), "ENOSYS"),
    ("listns", (0, 0, 0, 0), "ENOSYS"),
    ("getpid", (), "0"),
)


def test_calls_for_real() -> None:
    """As root with all capabilities: the kernel itself would let most of them pass."""

    def answers() -> list[str]:
        return [name_of(call(numbers(OWN)[name], *words)) for name, words, _ in REAL_CALLS]

    assert confined(answers) == [expected for *_, expected in REAL_CALLS]


def test_sockets() -> None:
    def kinds() -> dict[str, str]:
        found = {}
        for family in ("AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK", "AF_ALG", "AF_VSOCK"):
            kind = socket.SOCK_RAW if family == "AF_NETLINK" else socket.SOCK_STREAM
            kind = socket.SOCK_SEQPACKET if family == "AF_ALG" else kind
            try:
                socket.socket(getattr(socket, family), kind).close()
                found[family] = "0"
            except OSError as error:
                found[family] = name_of(error.errno or 0)
        return found

    found = confined(kinds)
    assert {found.pop(family) for family in ("AF_ALG", "AF_VSOCK")} == {"EPERM"}
    assert set(found.values()) <= {"0", "EAFNOSUPPORT"}  # a kernel may have no IPv6
    assert found["AF_UNIX"] == found["AF_INET"] == "0"


def test_personality() -> None:
    def personalities() -> list[str]:
        return [name_of(call(numbers(OWN)["personality"], n)) for n in (0xFFFFFFFF, 0, 0x40000)]

    assert confined(personalities) == ["0", "0", "EPERM"]


def test_threads_children_and_what_they_execute() -> None:
    def work() -> list[object]:
        found: list[object] = []
        thread = threading.Thread(
            target=lambda: found.append(name_of(call(numbers(OWN)["userfaultfd"], 0)))
        )
        thread.start()
        thread.join()
        done = subprocess.run(
            ["sh", "-c", "grep Seccomp: /proc/self/status; unshare -U true || echo refused"],
            capture_output=True,
            text=True,
        )
        return [*found, *done.stdout.split()]

    assert confined(work) == ["EPERM", "Seccomp:", "2", "refused"]


def test_a_terminals_input_is_not_written() -> None:
    def type_into() -> list[str]:
        master, slave = os.openpty()
        letter = ctypes.c_char(b"x")
        found = [
            name_of(call(numbers(OWN)["ioctl"], slave, request, ctypes.addressof(letter)))
            for request in (0x5412, 1 << 32 | 0x5412, 0x541C)
        ]
        os.close(master)
        os.close(slave)
        return found

    assert confined(type_into) == ["EPERM"] * 3


# --- other ABIs of the machine ------------------------------------------------------------------

# mov eax, edi; push rbx; mov ebx, esi; mov ecx, edx; xor edx, edx; int 0x80; pop rbx; ret
INT_80 = bytes.fromhex("89f8 53 89f3 89d1 31d2 cd80 5b c3")
I386_GETPID, I386_SOCKET, I386_SOCKETCALL = 20, 359, 102


def by_int_80(number: int, first: int = 0, second: int = 0) -> int:
    """The result of a system call of i386, made by 64-bit code."""
    page = mmap.mmap(-1, len(INT_80), prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(INT_80)
    view = ctypes.c_char.from_buffer(page)
    prototype = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_int] * 3)
    result = int(prototype(ctypes.addressof(view))(number, first, second))
    del view
    page.close()
    return result


def i386_works() -> bool:
    """This kernel runs system calls of i386 (CONFIG_IA32_EMULATION, not User-Mode Linux)."""
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGSEGV, signal.SIG_DFL)
        os._exit(0 if by_int_80(I386_GETPID) == os.getpid() else 1)
    return os.waitpid(pid, 0)[1] == 0


def test_the_i386_door_is_shut() -> None:
    if OWN != "x86_64" or not i386_works():
        return  # there is no such door on this machine
    for number, argument in ((I386_GETPID, 0), (I386_SOCKET, 40), (I386_SOCKETCALL, 1), (9999, 0)):
        assert confined(partial(by_int_80, number, argument, 5)) == -errno.ENOSYS
    named = compile_filter(
        '{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86"], "syscalls": '
        '[{"names": ["getpid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 4001}]}',
        MACHINE,
        (),
    )
    program = bytes.fromhex(named.program)
    # The number that is getpid to x86_64 (39) is mkdir to i386: each ABI has its own table.
    assert confined(lambda: by_int_80(I386_GETPID), program) == -4001
    assert confined(lambda: name_of(call(numbers(OWN)["getpid"])), program) == "4001"
    assert confined(lambda: by_int_80(39), program) == -errno.EFAULT


def test_x32_is_absent_even_where_all_is_allowed() -> None:
    program = bytes.fromhex(
        compile_filter('{"defaultAction": "SCMP_ACT_ALLOW"}', MACHINE, ()).program
    )
    if OWN == "x86_64":
        assert confined(lambda: name_of(call(X32_BIT | 39)), program) == "ENOSYS"


# --- installing ---------------------------------------------------------------------------------


def test_it_needs_a_privilege_or_the_promise_to_gain_none() -> None:
    def without() -> str:
        capabilities.set_capabilities(0, 0, 0)
        return error_of(seccomp.install, returning(ALLOW))

    def with_promise() -> str:
        capabilities.set_capabilities(0, 0, 0)
        process.set_no_new_privileges()
        seccomp.install(returning(ALLOW))
        return Path("/proc/self/status").read_text().split("Seccomp:")[1].split()[0]

    def with_capability() -> str:
        admin = mask(["CAP_SYS_ADMIN"])
        capabilities.set_capabilities(admin, admin, 0)
        seccomp.install(returning(ALLOW))
        return Path("/proc/self/status").read_text().split("Seccomp:")[1].split()[0]

    assert in_child(without) == "EACCES"
    assert in_child(with_promise) == "2"
    assert in_child(with_capability) == "2"


@pytest.mark.parametrize(
    "program",
    [b"", b"\6", returning(ALLOW) * 4097, struct.pack("=HBBI", 0x20, 0, 0, 0), b"\xff" * 8],
    ids=["empty", "a byte", "too long", "no return", "no code"],
)
def test_what_the_kernel_does_not_take(program: bytes) -> None:
    def attempt() -> str:
        process.set_no_new_privileges()
        return error_of(seccomp.install, program)

    assert in_child(attempt) == "EINVAL"


def test_the_longest_program_is_taken() -> None:
    assert confined(lambda: 5, returning(ALLOW) * 4096) == 5


def test_flags_reach_the_kernel() -> None:
    def attempt() -> list[str]:
        process.set_no_new_privileges()
        seccomp.install(returning(ALLOW), 2)  # SECCOMP_FILTER_FLAG_LOG
        return [error_of(seccomp.install, returning(ALLOW), 1 << 30)]

    assert in_child(attempt) == ["EINVAL"]


def test_the_kernel_says_that_it_can() -> None:
    assert seccomp.is_available()

    def hidden() -> bool:
        return seccomp.is_available()

    deny = struct.pack("=HBBI", 0x20, 0, 0, 0)
    deny += struct.pack("=HBBI", 0x15, 0, 1, numbers(OWN)["seccomp"])
    deny += returning(ERRNO | errno.ENOSYS) + returning(ALLOW)
    assert confined(hidden, deny) is False


# --- in containers ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rig() -> Iterator[ShimRig]:
    with running_rig() as rig:
        yield rig


STATUS = "grep -E '^(Seccomp|CapPrm|CapEff|CapBnd|CapAmb):' /proc/self/status"


def status(text: str) -> dict[str, int]:
    lines = (line.split() for line in text.splitlines())
    return {name.rstrip(":"): int(value, 16) for name, value in lines}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"user": "1234"},
        {"init": True},
        {"init": True, "user": "1234"},
        {"no_new_privileges": True},
        {"cap_drop": ("ALL",)},
        {"userns": "private:100000:65536"},
        {"userns": "private:100000:65536", "user": "1234"},
    ],
    ids=repr,
)
def test_the_privilege_to_confine_is_gone_with_execve(
    rig: ShimRig, options: dict[str, Any]
) -> None:
    found = status(rig.run(STATUS, **options))
    bounding = 0 if "cap_drop" in options else mask(DEFAULT)
    held = 0 if "user" in options else bounding
    wanted = {"Seccomp": 2, "CapPrm": held, "CapEff": held, "CapBnd": bounding, "CapAmb": 0}
    assert found == wanted
    if "init" in options:  # our own PID 1 makes no execve: it lets go by itself
        text = rig.run(STATUS.replace("self", "1"), **options)
        assert status(text) == wanted


def test_unconfined(rig: ShimRig) -> None:
    assert status(rig.run(STATUS, security_opts=("seccomp=unconfined",)))["Seccomp"] == 0


def only(*names: str) -> dict[str, Any]:
    quoted = ", ".join(f'"{name}"' for name in names)
    rules = f'[{{"names": [{quoted}], "action": "SCMP_ACT_ALLOW"}}]'
    return {
        "security_opts": (f'seccomp={{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": {rules}}}',)
    }


@pytest.mark.parametrize("user", ["", "1234"])
def test_a_profile_needs_to_allow_the_programs_calls_only(rig: ShimRig, user: str) -> None:
    """Nothing of what init does after the filter: no setuid, no capset, no message to the shim."""
    ours = {"capset", "setresuid", "setresgid", "setgroups", "prctl", "umask", "sendmsg", "recvmsg"}
    output = rig.run("echo through", user=user, **only(*(set(ALLOWED) - ours), "clone"))
    assert output == "through\n"


def test_a_program_that_may_not_even_be_executed(rig: ShimRig) -> None:
    from supervisor.errors import InitError

    with rig.container("true", **only(*(set(ALLOWED) - {"execve"}))) as container:
        with pytest.raises(InitError) as caught:
            container.start()
        assert (caught.value.step, caught.value.errno) == ("execve", errno.EPERM)


def test_a_filter_that_kills(rig: ShimRig) -> None:
    profile = (
        'seccomp={"defaultAction": "SCMP_ACT_ALLOW", "syscalls": '
        '[{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS"}]}'
    )
    with rig.container("mkdir", "/x", security_opts=(profile,)) as container:
        container.start()
        assert container.exited().code == 128 + signal.SIGSYS
