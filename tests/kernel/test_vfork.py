"""supervisor.kernel.vfork: Python in a child that has its parent's memory until execve."""

from __future__ import annotations

import os
import signal
import sys
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from supervisor.kernel import namespaces, process, vfork
from tests.kernel.forked import error_of, exit_code, in_child, is_cloexec
from tests.kernel.test_namespaces import unified_root

pytestmark = pytest.mark.kernel

TRUE = "/bin/true"


def executes(code: int = 0) -> None:
    """Become a program that exits with `code`."""
    os.execve("/bin/sh", ["sh", "-c", f"exit {code}"], {})


def test_possible_here() -> None:
    """These tests would show nothing otherwise."""
    assert vfork.possible()


@pytest.mark.parametrize(
    "name, value",
    [
        ("_THREAD_STATE", {}),
        ("_THREAD_STATE", {sys.version_info[:2]: (360, 8, 120)}),
        ("_PLAIN_RETURN", b"\x0f\x05 otherwise"),
        ("_MACHINE", "aarch64"),
    ],
)
def test_an_unknown_interpreter_or_libc_forks(
    monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    monkeypatch.setattr(vfork, name, value)
    vfork.possible.cache_clear()
    try:
        assert not vfork.possible()
        assert in_child(memory_is_shared) is False
    finally:
        monkeypatch.undo()
        vfork.possible.cache_clear()


def memory_is_shared(share: bool = True) -> bool:
    """Whether what a child of `spawn` appends is there afterwards."""
    said: list[str] = []

    def run() -> None:
        said.append("from the child")
        os._exit(0)

    pid, pidfd = vfork.spawn(run, share=share)
    os.close(pidfd)
    assert exit_code(pid) == 0
    return bool(said)


def test_memory_is_shared_where_that_is_wanted() -> None:
    assert in_child(memory_is_shared) is True
    assert in_child(lambda: memory_is_shared(share=False)) is False


def test_the_parent_stands_still_until_the_program_runs() -> None:
    def body() -> list[object]:
        read_end, write_end = os.pipe2(os.O_CLOEXEC)
        seen: list[object] = []

        def run() -> None:
            os.close(read_end)  # the parent's stays open
            time.sleep(0.05)
            seen.append("child")
            executes(3)

        pid, pidfd = vfork.vfork(run)
        seen += ["parent", is_cloexec(pidfd)]
        assert exit_code(pid) == 3
        os.close(pidfd)
        os.close(read_end)
        os.close(write_end)
        return seen

    assert in_child(body) == ["child", "parent", True]


def deep(levels: int) -> int:
    """How many calls within each other this has made: `levels`, or RecursionError."""
    return 1 + deep(levels - 1) if levels else 0


def depth() -> int:
    """How deep we can go from here."""
    for levels in range(sys.getrecursionlimit(), 0, -1):
        try:
            return deep(levels)
        except RecursionError:
            pass
    return 0


def clones(count: int) -> None:
    """Have children that are deep in calls, and handle an exception, when they execute."""

    def run() -> None:
        try:
            deep(20)
            raise KeyError("in the child")
        except KeyError:
            os.execve(TRUE, [TRUE], {})

    for _ in range(count):
        pid, pidfd = vfork.vfork(run)
        os.close(pidfd)
        assert exit_code(pid) == 0


def test_calls_end_where_they_began() -> None:
    def body() -> list[object]:
        before = depth(), frames()
        clones(before[0] // 3)  # the last would fail if each took some of it
        return [before == (depth(), frames()), len(vfork._stacks)]

    assert in_child(body) == [True, 1]


def test_exceptions_are_the_parents() -> None:
    """In a function, in a handler, and in a generator, which keeps its own."""

    def generated() -> Iterator[bool]:
        for _ in range(2):
            clones(1)
            yield sys.exc_info() == (None, None, None)

    def body() -> list[object]:
        clones(1)
        seen: list[object] = [sys.exc_info() == (None, None, None), *generated()]
        try:
            raise ValueError("in the parent")
        except ValueError as error:
            clones(1)
            seen += [sys.exc_info()[1] is error, *generated_in_handler()]
        return seen

    def generated_in_handler() -> Iterator[bool]:
        clones(1)
        yield str(sys.exc_info()[1]) == "in the parent"

    assert in_child(body) == [True] * 5


def frames() -> list[str]:
    """The functions that this thread is in, the innermost first."""
    found = []
    frame: types.FrameType | None = sys._getframe()
    while frame is not None:
        found.append(frame.f_code.co_name)
        frame = frame.f_back
    return found


@pytest.mark.parametrize("ending", [lambda: None, lambda: 1 // 0, lambda: sys.exit(5)])
def test_a_child_that_does_not_execute_ends_with_127(ending: Callable[[], None]) -> None:
    def body() -> int:
        with open(os.devnull, "w") as nowhere:  # a traceback of ctypes'
            os.dup2(nowhere.fileno(), 2)
        pid, pidfd = vfork.vfork(ending)
        os.close(pidfd)
        return exit_code(pid)

    assert in_child(body) == 127


def test_the_child_may_have_one_too() -> None:
    """As an exec session's stage has: the grandchild by CLONE_PARENT is ours to reap."""

    def body() -> list[int]:
        born: list[int] = []

        def stage() -> None:
            pid, _ = vfork.vfork(lambda: executes(4), namespaces.CLONE_PARENT, exit_signal=0)
            born.append(pid)
            os._exit(0)

        pid, pidfd = vfork.vfork(stage)
        os.close(pidfd)
        return [exit_code(pid), exit_code(born[0]), len(vfork._stacks)]

    assert in_child(body) == [0, 4, 2]


def test_signals_stay_the_parents() -> None:
    """Handlers do not reach the child, and what it resets stays set in the parent."""

    def body() -> list[object]:
        caught: list[int] = []
        signal.signal(signal.SIGUSR1, lambda number, _: caught.append(number))
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        of_child: list[str] = []

        def run() -> None:
            process.reset_signals()
            of_child.extend(lines_of("/proc/self/status", "SigIgn", "SigCgt", "SigBlk"))
            os.kill(os.getpid(), signal.SIGUSR1)

        pid, pidfd = vfork.vfork(run)
        os.close(pidfd)
        code = exit_code(pid)
        os.kill(os.getpid(), signal.SIGUSR2)
        os.kill(os.getpid(), signal.SIGUSR1)
        return [code, caught, of_child]

    assert in_child(body) == [-signal.SIGUSR1, [signal.SIGUSR1], ["0" * 16] * 3]


def lines_of(path: str, *keys: str) -> list[str]:
    """The values of some lines `key: value`."""
    found = dict(line.split(":\t", 1) for line in Path(path).read_text().splitlines())
    return [found[key] for key in keys]


def test_namespaces_and_ids_are_the_childs() -> None:
    def body() -> bool:
        seen: list[object] = []

        def run() -> None:
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            os.chdir("/proc")
            seen.extend([os.getpid(), os.getuid(), os.readlink("/proc/self/ns/uts")])
            os._exit(0)

        here = [os.getcwd(), os.getuid(), os.readlink("/proc/self/ns/uts")]
        flags = namespaces.CLONE_NEWPID | namespaces.CLONE_NEWUTS | namespaces.CLONE_NEWNS
        pid, pidfd = vfork.vfork(run, flags)
        os.close(pidfd)
        assert exit_code(pid) == 0
        assert seen[:2] == [1, 65534]
        assert seen[2] != here[2]
        return [os.getcwd(), os.getuid(), os.readlink("/proc/self/ns/uts")] == here

    assert in_child(body) is True


@pytest.mark.cgroup
def test_a_child_is_born_into_a_cgroup(cgroup_name: str) -> None:
    folder = unified_root() / cgroup_name
    folder.mkdir()
    fd = os.open(folder, os.O_PATH | os.O_DIRECTORY)

    def body() -> list[str]:
        seen: list[str] = []

        def run() -> None:
            seen.extend(Path("/proc/self/cgroup").read_text().split())
            os._exit(0)

        pid, pidfd = vfork.vfork(run, cgroup_fd=fd)
        os.close(pidfd)
        assert exit_code(pid) == 0
        return seen

    try:
        assert f"0::/{folder.name}" in in_child(body)
    finally:
        os.close(fd)
        folder.rmdir()


def test_a_refused_clone_leaves_the_interpreter_whole() -> None:
    def body() -> list[object]:
        flags = namespaces.CLONE_NEWNS | namespaces.CLONE_FS
        errors = [error_of(vfork.vfork, lambda: None, flags) for _ in range(3)]
        return [*errors, memory_is_shared(), len(vfork._stacks)]

    assert in_child(body) == ["EINVAL"] * 3 + [True, 1]
