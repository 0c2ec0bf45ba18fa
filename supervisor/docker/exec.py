"""The bodies of POST /containers/{id}/exec and /exec/{id}/start."""

from __future__ import annotations

import msgspec

from supervisor.docker.decode import convert, decode_object, with_exact_names
from supervisor.errors import InvalidArgument


class ExecBody(msgspec.Struct, rename="pascal", frozen=True, kw_only=True):
    """What an exec session runs; `env` adds to the container's, `cmd` is not empty.

    `console_size` is (rows, columns), (0, 0) where not said.
    """

    user: str = ""
    privileged: bool = False
    tty: bool = False
    console_size: tuple[int, int] = (0, 0)
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    detach: bool = False
    detach_keys: str = ""
    env: tuple[str, ...] = ()
    working_dir: str = ""
    cmd: tuple[str, ...] = ()


class ExecStartBody(msgspec.Struct, rename="pascal", frozen=True, kw_only=True):
    """How an exec session is started."""

    detach: bool = False
    tty: bool = False
    console_size: tuple[int, int] = (0, 0)


def decode_exec(raw: bytes) -> ExecBody:
    """The request body; InvalidArgument names the field that does not fit."""
    value = with_exact_names(decode_object(raw), ExecBody)
    if isinstance(value.get("Cmd"), str):  # Go's strslice takes one string for a list of one
        value["Cmd"] = [value["Cmd"]]
    body = convert(value, ExecBody)
    if not body.cmd or body.cmd == ("",):
        raise InvalidArgument("no exec command specified")
    if body.working_dir and not body.working_dir.startswith("/"):
        raise InvalidArgument(
            f"the working directory '{body.working_dir}' is invalid: it must be an absolute path"
        )
    for text in (*body.cmd, *body.env, body.user, body.working_dir):
        if "\0" in text:
            raise InvalidArgument(
                "an exec session's command, environment, user and folder "
                "must not contain a NUL byte"
            )
    return body


def decode_exec_start(raw: bytes) -> ExecStartBody:
    """The request body; an empty one is all defaults."""
    return convert(decode_object(raw), ExecStartBody) if raw.strip() else ExecStartBody()
