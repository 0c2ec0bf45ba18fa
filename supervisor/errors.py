"""Orlop's errors, chosen by what the caller should do about them.

Codes are persisted and cross process boundaries; texts never decide anything.
"""

from __future__ import annotations

import os
from typing import ClassVar


class OrlopError(Exception):
    """An error with a stable code and the HTTP status it answers with."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class NotModified(OrlopError):
    """The request asks for the state that already is (304: start of a running container)."""

    code = "not_modified"
    status = 304


class InvalidArgument(OrlopError):
    """The request is malformed or asks for what cannot be; change it."""

    code = "invalid_argument"
    status = 400


class Unauthorized(OrlopError):
    """Credentials are missing or wrong."""

    code = "unauthorized"
    status = 401


class Forbidden(OrlopError):
    """The request is understood and refused."""

    code = "forbidden"
    status = 403


class NotFound(OrlopError):
    """No such container, image, exec session, …"""

    code = "not_found"
    status = 404


class Conflict(OrlopError):
    """The state does not allow it now (name taken, container running)."""

    code = "conflict"
    status = 409


class Internal(OrlopError):
    """Orlop or the kernel failed; not the caller's fault."""

    code = "internal"
    status = 500


class NotImplementedYet(OrlopError):
    """Orlop has no such feature; the message says what to use instead."""

    code = "not_implemented"
    status = 501


class Unavailable(OrlopError):
    """It may work later (the agent is stopping, a feature of the host is missing)."""

    code = "unavailable"
    status = 503


BY_CODE: dict[str, type[OrlopError]] = {
    cls.code: cls
    for cls in (
        NotModified,
        InvalidArgument,
        Unauthorized,
        Forbidden,
        NotFound,
        Conflict,
        Internal,
        NotImplementedYet,
        Unavailable,
    )
}


class KernelError(OSError):
    """A system call failed: errno, the call's name and the path or object it was about.

    The call's arguments are in no message but `path`: they may hold secrets.
    """

    def __init__(self, syscall: str, path: str, errno: int) -> None:
        super().__init__(errno, os.strerror(errno), path or None)
        self.syscall = syscall
        self.path = path

    def __str__(self) -> str:
        where = f" {self.path}" if self.path else ""
        return f"{self.syscall}{where}: {self.strerror}"


class ProtocolError(Exception):
    """Bytes from another process do not follow the protocol."""


class InitError(Exception):
    """A set-up step of a container's init (or an exec session's) failed.

    `step` is a name from `supervisor.shim`'s step lists, `path` what it was about
    ("" where nothing), `errno` the kernel's (0 where it did not come from the kernel),
    `message` the sentence for people.
    """

    def __init__(self, *, step: str, path: str, errno: int, message: str) -> None:
        super().__init__(message)
        self.step = step
        self.path = path
        self.errno = errno
        self.message = message

    def to_json(self) -> dict[str, str | int]:
        """The error as it crosses the init pipe and the shim protocol."""
        return {
            "step": self.step,
            "path": self.path,
            "errno": self.errno,
            "message": self.message,
        }

    @classmethod
    def from_json(cls, data: object) -> InitError:
        """The inverse of `to_json`; raises ProtocolError on another shape."""
        if not isinstance(data, dict):
            raise ProtocolError(f"not an init error: {data!r:.200}")
        step, path, errno, message = (data.get(k) for k in ("step", "path", "errno", "message"))
        if not (
            isinstance(step, str)
            and isinstance(path, str)
            and isinstance(errno, int)
            and isinstance(message, str)
        ):
            raise ProtocolError(f"not an init error: {data!r:.200}")
        return cls(step=step, path=path, errno=errno, message=message)


def sole_error(error: Exception) -> Exception:
    """The error in a nursery's group, which has one task that can fail."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
