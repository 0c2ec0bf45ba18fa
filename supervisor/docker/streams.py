"""What a client asks of a container's streams: attach and logs."""

from __future__ import annotations

import msgspec


class AttachOptions(msgspec.Struct, frozen=True, kw_only=True):
    """One attach; the client's end is a connected stream socket passed beside it.

    logs        first send what the log has
    stream      then send and receive what comes; without it the attach ends after the logs
    detach_keys docker's words ("ctrl-p,ctrl-q"); "" = the default
    terminal    of a person: without frames, the detach keys are looked for in what it sends
    framed      output in 8-byte-header frames (no terminal), else raw
    preface     bytes of stdin that came with the request
    """

    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    logs: bool = False
    stream: bool = False
    detach_keys: str = ""
    terminal: bool = True
    framed: bool = True
    preface: bytes = b""


class LogOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Which log records; times are wall clock in ns, `tail` None = all."""

    stdout: bool = True
    stderr: bool = True
    follow: bool = False
    since_ns: int | None = None
    until_ns: int | None = None
    tail: int | None = None
