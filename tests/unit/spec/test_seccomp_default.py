"""The profile of containers that ask for none: what it lets pass, call by call."""

from __future__ import annotations

import pytest

from supervisor.spec import capabilities, seccomp
from supervisor.spec.seccomp.abis import Machine, numbers
from supervisor.spec.seccomp.default import ALLOWED, DEFAULT, WITH_CAPABILITY
from tests.support.seccomp_oracle import (
    ABSENT,
    ALLOW,
    AUDIT,
    X32_BIT,
    Call,
    ReadsArguments,
    check_as_the_kernel,
    run,
)

MACHINES = ("x86_64", "aarch64")
REFUSED = 0x00050000 | 1
BY_ARGUMENT = {"clone", "ioctl", "personality", "socket", "socketpair"}
NEW_NAMESPACE = (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000)
# Young calls that programs only try: unknown to them is better than refused.
YOUNG = {"open_tree_attr", "file_getattr", "file_setattr", "listns", "rseq_slice_yield"}
NEVER = (
    *("add_key", "io_uring_enter", "io_uring_register", "io_uring_setup", "kexec_file_load"),
    *("kexec_load", "keyctl", "migrate_pages", "modify_ldt", "move_pages", "nfsservctl"),
    *("pivot_root", "request_key", "swapoff", "swapon", "sysfs", "uselib", "userfaultfd"),
    *("ustat", "_sysctl", "create_module", "query_module", "get_kernel_syms", "uprobe"),
    *("afs_syscall", "epoll_ctl_old", "epoll_wait_old", "getpmsg", "putpmsg", "security"),
    *("tuxcall", "vserver"),
)
ALL = tuple(sorted(capabilities.NAMES))


def answer(
    name: str,
    *arguments: int,
    machine: str = "x86_64",
    having: tuple[str, ...] = capabilities.DEFAULT,
) -> int:
    """What the built-in filter of a container with these capabilities does with a call."""
    program = seccomp.compile_profile(DEFAULT, Machine(name=machine, kernel=(6, 1)), having)
    six = (*arguments, *[0] * (6 - len(arguments)))
    return run(program, Call(numbers(machine)[name], AUDIT[machine], six))[0]


@pytest.mark.parametrize("machine", MACHINES)
def test_every_call_is_decided_knowingly(machine: str) -> None:
    """A call that is new in the tables has to be put somewhere."""
    conditional = {name for names in WITH_CAPABILITY.values() for name in names}
    decided = {*ALLOWED, *conditional, *BY_ARGUMENT, "clone3", *YOUNG, *NEVER}
    assert set(numbers(machine)) <= decided
    assert not set(ALLOWED) & {*conditional, *NEVER, *YOUNG}


def test_no_name_is_misspelt() -> None:
    known = {*numbers("x86_64"), *numbers("aarch64")}
    assert {*ALLOWED, *NEVER, *YOUNG} <= known
    for capability, names in WITH_CAPABILITY.items():
        assert capability in capabilities.NAMES
        assert set(names) <= known


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("having", [(), capabilities.DEFAULT, ALL])
def test_allowed_refused_and_absent(machine: str, having: tuple[str, ...]) -> None:
    program = seccomp.compile_profile(DEFAULT, Machine(name=machine, kernel=(6, 1)), having)
    check_as_the_kernel(program)
    allowed = {*ALLOWED, *(n for c in having for n in WITH_CAPABILITY.get(c, ()))}
    for name, number in numbers(machine).items():
        if name in BY_ARGUMENT:
            continue
        wanted = ALLOW if name in allowed else ABSENT if name in {*YOUNG, "clone3"} else REFUSED
        assert run(program, Call(number, AUDIT[machine]))[0] == wanted, name
    unknown = set(range(1000)) - set(numbers(machine).values())
    for number in {*unknown, X32_BIT, X32_BIT | 41, (1 << 32) - 1}:
        assert run(program, Call(number, AUDIT[machine]))[0] == ABSENT
    for audit in {*AUDIT.values(), 0} - {AUDIT[machine]}:
        assert run(program, Call(1, audit))[0] == ABSENT


@pytest.mark.parametrize("machine", MACHINES)
def test_the_kernel_need_not_ask_about_most_calls(machine: str) -> None:
    program = seccomp.compile_profile(
        DEFAULT, Machine(name=machine, kernel=(6, 1)), capabilities.DEFAULT
    )
    assert len(program) // 8 < 300
    reads = set()
    for name, number in numbers(machine).items():
        try:
            _, steps = run(program, Call(number, AUDIT[machine]), constant=True)
            assert steps <= 13, name
        except ReadsArguments:
            reads.add(name)
    assert reads == BY_ARGUMENT


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", ["socket", "socketpair"])
def test_families_of_sockets(machine: str, name: str) -> None:
    plain = {n for n in range(64) if answer(name, n, 1, machine=machine) == ALLOW}
    assert plain == {1, 2, 10, 16, 17}
    admin = {n for n in range(64) if answer(name, n, machine=machine, having=ALL) == ALLOW}
    assert admin == plain | {15, 24, 29, 30, 31, 43, 44}
    assert {38, 40} & admin == set()  # AF_ALG, AF_VSOCK
    # The kernel takes the family's 32 bits: the others cannot dress up a refused one.
    for family in (38, 40, 1):
        assert answer(name, 1 << 32 | family, machine=machine, having=ALL) == REFUSED
    assert answer(name, 38, machine=machine) == REFUSED


@pytest.mark.parametrize("machine", MACHINES)
def test_clone_makes_threads_and_processes_but_no_namespaces(machine: str) -> None:
    threads = 0x3D0F00  # pthread_create's
    for flags in (17, threads, 0x1200011, threads | 1 << 33):
        assert answer("clone", flags, machine=machine) == ALLOW
        for new in NEW_NAMESPACE:
            assert answer("clone", flags | new, machine=machine) == REFUSED
    assert answer("clone3", machine=machine) == ABSENT
    admin = ("CAP_SYS_ADMIN",)
    assert answer("clone", 17 | NEW_NAMESPACE[0], machine=machine, having=admin) == ALLOW
    assert answer("clone3", machine=machine, having=admin) == ALLOW
    assert answer("unshare", NEW_NAMESPACE[4], machine=machine) == REFUSED


def test_personalities() -> None:
    allowed = {0, 8, 0x20000, 0x20008, 0xFFFFFFFF}
    for number in {*allowed, 1, 9, 0x40000, 0x400000, 1 << 32, 1 << 32 | 8}:
        assert answer("personality", number) == (ALLOW if number in allowed else REFUSED)


def test_nobody_types_into_a_terminal() -> None:
    for request in (0x5412, 0x541C):
        for high in (0, 1 << 32, 0xFFFFFFFF << 32):
            assert answer("ioctl", 0, high | request, having=ALL) == REFUSED
    for request in (0x5401, 0x5413, 0x5411, 0x80045430):
        assert answer("ioctl", 0, request) == ALLOW


@pytest.mark.parametrize(
    "name, capability",
    [
        ("mount", "CAP_SYS_ADMIN"),
        ("bpf", "CAP_BPF"),
        ("bpf", "CAP_SYS_ADMIN"),
        ("perf_event_open", "CAP_PERFMON"),
        ("open_by_handle_at", "CAP_DAC_READ_SEARCH"),
        ("init_module", "CAP_SYS_MODULE"),
        ("chroot", "CAP_SYS_CHROOT"),
        ("settimeofday", "CAP_SYS_TIME"),
        ("syslog", "CAP_SYSLOG"),
        ("reboot", "CAP_SYS_BOOT"),
    ],
)
def test_what_a_capability_opens(name: str, capability: str) -> None:
    assert answer(name, having=()) == REFUSED
    assert answer(name, having=(capability,)) == ALLOW
    assert answer(name, having=("CAP_CHOWN",)) == REFUSED


def test_filters_are_made_once() -> None:
    machine = Machine(name="x86_64", kernel=(6, 1))
    first = seccomp.compile_filter("", machine, capabilities.DEFAULT)
    assert seccomp.compile_filter("", machine, capabilities.DEFAULT) is first
    assert seccomp.compile_filter("builtin", machine, capabilities.DEFAULT) == first
    assert seccomp.compile_filter("", machine, ("CAP_SYS_ADMIN",)) != first
