"""supervisor.kernel.bpf: a program on a cgroup of the test's own decides on real devices."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.errors import KernelError
from supervisor.kernel import bpf
from supervisor.kernel.namespaces import clone3
from tests.kernel.forked import error_of, exit_code, is_cloexec
from tests.support import procfs

pytestmark = pytest.mark.cgroup


def instruction(code: int, dst: int = 0, src: int = 0, offset: int = 0, value: int = 0) -> bytes:
    """struct bpf_insn."""
    return struct.pack("=BBhi", code, dst | src << 4, offset, value)


EXIT = instruction(0x95)
ALLOW = instruction(0xB7, value=1) + EXIT  # r0 = 1
DENY = instruction(0xB7, value=0) + EXIT
NO_RESULT = EXIT  # the verifier wants r0 set
# Allow minor 3 only: r2 = ctx->minor (offset 8); r0 = 0; if r2 != 3 skip one; r0 = 1
ONLY_MINOR_3 = (
    instruction(0x61, dst=2, src=1, offset=8)
    + instruction(0xB7, value=0)
    + instruction(0x55, dst=2, offset=1, value=3)
    + instruction(0xB7, value=1)
    + EXIT
)


@pytest.fixture
def cgroup(cgroup_name: str) -> Iterator[int]:
    root = next(Path(m.target) for m in procfs.mounts() if m.fstype == "cgroup2")
    folder = root / cgroup_name
    folder.mkdir()
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)
    folder.rmdir()


def readable_in(cgroup: int, *devices: str) -> list[bool]:
    """Which of the devices a process in the cgroup can open."""
    read_end, write_end = os.pipe()
    pid, pidfd = clone3(0, cgroup_fd=cgroup)
    if pid == 0:
        for device in devices:
            try:
                os.open(device, os.O_RDONLY)
                os.write(write_end, b"y")
            except PermissionError:
                os.write(write_end, b"n")
        os._exit(0)
    exit_code(pid)
    found = os.read(read_end, 100)
    for fd in (read_end, write_end, pidfd):
        os.close(fd)
    return [answer == ord("y") for answer in found]


@pytest.mark.parametrize(
    "program, expected",
    [(ALLOW, [True, True]), (DENY, [False, False]), (ONLY_MINOR_3, [True, False])],
)
def test_the_program_decides(program: bytes, expected: list[bool], cgroup: int) -> None:
    """/dev/null is 1:3, /dev/zero 1:5."""
    assert readable_in(cgroup, "/dev/null", "/dev/zero") == [True, True]
    fd = bpf.load_device_program(program)
    assert is_cloexec(fd)
    bpf.attach_device_program(cgroup, fd)
    os.close(fd)
    assert readable_in(cgroup, "/dev/null", "/dev/zero") == expected
    os.close(os.open("/dev/zero", os.O_RDONLY))  # nobody else is affected


def test_all_attached_programs_must_allow(cgroup: int) -> None:
    for program in (ALLOW, ONLY_MINOR_3):
        fd = bpf.load_device_program(program)
        bpf.attach_device_program(cgroup, fd)
        os.close(fd)
    assert readable_in(cgroup, "/dev/null", "/dev/zero") == [True, False]


def test_the_verifiers_words_are_in_the_error() -> None:
    with pytest.raises(KernelError) as caught:
        bpf.load_device_program(NO_RESULT)
    assert caught.value.syscall == "bpf"
    # "R0 !read_ok", on newer kernels "R0 has never been initialized".
    assert "R0 " in caught.value.path


@pytest.mark.parametrize("program", [b"", b"\x95" * 7])
def test_what_is_no_program(program: bytes) -> None:
    assert error_of(bpf.load_device_program, program) == "EINVAL"


def test_only_a_cgroup_takes_a_program(tmp_path: Path) -> None:
    fd = bpf.load_device_program(ALLOW)
    folder = os.open(tmp_path, os.O_RDONLY)
    assert error_of(bpf.attach_device_program, folder, fd) == "EBADF"
    os.close(folder)
    os.close(fd)
