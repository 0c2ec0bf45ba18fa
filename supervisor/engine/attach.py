"""Attaching clients: the socket itself goes to the shim, so output never passes through here."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import trio

from supervisor.docker.streams import AttachOptions
from supervisor.engine.logs import FILE_NAME, LogReader
from supervisor.wire import detach, stdcopy

DEFAULT_DETACH_KEYS = "ctrl-p,ctrl-q"
SEND_SECONDS = 30.0


def attach_fields(options: AttachOptions) -> dict[str, Any]:
    """The fields of the shim's `attach` request."""
    keys = detach.parse_keys(options.detach_keys or DEFAULT_DETACH_KEYS)
    return {
        "stdin": options.stdin,
        "stdout": options.stdout,
        "stderr": options.stderr,
        "framed": options.framed,
        # Only a person at a terminal detaches: in a pipe the same bytes are data.
        "detach_keys": keys.hex() if options.terminal and not options.framed else "",
        "preface": options.preface.hex(),
    }


async def send_log(bundle: Path, options: AttachOptions, fd: int) -> None:
    """Write what was logged so far to the client's socket; `fd` stays the caller's."""
    reader = LogReader(bundle / FILE_NAME)
    stream = trio.socket.from_stdlib_socket(socket.socket(fileno=socket.dup(fd)))
    try:
        reader.open_at(None)
        reader.end_here()
        with trio.move_on_after(SEND_SECONDS):
            while records := reader.read():
                for record in records:
                    wanted = options.stderr if record.stream == "stderr" else options.stdout
                    if wanted:
                        number = stdcopy.STDERR if record.stream == "stderr" else stdcopy.STDOUT
                        head = stdcopy.header(number, len(record.data)) if options.framed else b""
                        await _send_all(stream, head + record.data)
    except OSError:
        pass  # the client left; the shim finds that out again
    finally:
        reader.close()
        stream.close()


async def _send_all(stream: trio.socket.SocketType, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[await stream.send(view) :]
