"""supervisor.kernel._call: how a failure is told, and what is refused before the kernel."""

from __future__ import annotations

import ctypes
import errno
import os

import pytest

from supervisor.errors import KernelError
from supervisor.kernel import _call


def test_the_error_names_call_path_and_errno() -> None:
    ctypes.set_errno(errno.EACCES)
    with pytest.raises(KernelError) as caught:
        _call.check(-1, "mount", "/some/where")
    assert caught.value.errno == errno.EACCES
    assert str(caught.value) == "mount /some/where: Permission denied"


def test_a_result_passes() -> None:
    assert _call.check(0, "x") == 0
    assert _call.check(7, "x") == 7


def test_errno_is_that_of_the_failed_call() -> None:
    assert _call.syscall("pidfd_open", -1, 0) == -1
    with pytest.raises(KernelError) as caught:
        _call.check(-1, "pidfd_open")
    assert caught.value.errno == errno.EINVAL


def test_a_call_without_a_number_is_not_made() -> None:
    with pytest.raises(KernelError) as caught:
        _call.syscall("no_such_call")
    assert (caught.value.errno, caught.value.syscall) == (errno.ENOSYS, "no_such_call")


def test_both_machines_have_the_same_calls() -> None:
    assert _call._X86_64.keys() == _call._AARCH64.keys()


def test_text_that_c_would_cut_is_refused() -> None:
    with pytest.raises(KernelError) as caught:
        _call.encode("/etc\0/passwd", "openat2")
    assert caught.value.errno == errno.EINVAL


def test_any_file_name_passes() -> None:
    assert _call.encode(os.fsdecode(b"a\xff\n"), "openat2") == b"a\xff\n"
