"""Failed steps as the one error that crosses processes, and as a client's screen shows it."""

import errno

import pytest

from supervisor.errors import InitError, KernelError
from supervisor.shim.failure import describe, on_one_line


@pytest.mark.parametrize(
    "error, path, number, message",
    [
        (OSError(errno.ENOENT, "No such file", b"/x"), "/x", errno.ENOENT, "cwd: /x: No such file"),
        (OSError(errno.EIO, "I/O error"), "", errno.EIO, "cwd: I/O error"),
        (KernelError("openat2", "/y", errno.EACCES), "/y", errno.EACCES, "openat2"),
        (ValueError("odd"), "", 0, "cwd: odd"),
    ],
)
def test_what_went_wrong(error: Exception, path: str, number: int, message: str) -> None:
    found = describe("cwd", error)
    assert (found.step, found.path, found.errno) == ("cwd", path, number)
    assert message in found.message
    assert describe("later", found) is found


@pytest.mark.parametrize(
    "name, shown",
    [
        ("sh", "sh"),
        ("größe …", "größe …"),
        ("\x1b[2J\r\n\x9b\x7f", r"\x1b[2J\r\n\x9b\x7f"),
        ("\u202e\udcff", r"\u202e\udcff"),
    ],
)
def test_on_a_screen(name: str, shown: str) -> None:
    error = InitError(step="execve", path=name, errno=2, message=f'exec: "{name}": not found')
    assert on_one_line(error).decode() == f'exec: "{shown}": not found'
