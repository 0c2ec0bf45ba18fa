"""What attackers bring along: images, programs, and the words for what they get done."""

from __future__ import annotations

import json
import os
import platform
import struct
from collections.abc import Mapping
from contextlib import closing
from http.client import HTTPException
from typing import Any

from supervisor.wire import stdcopy
from tests.api.box import IMAGE, Box
from tests.support import image_tars as made
from tests.support.daemon import UnixConnection
from tests.support.image_tars import Made, Member
from tests.support.pace import limit

UP = "../" * 24  # more than any path here is deep

# A program that waits for ever by pause(2) or ppoll(2), as instructions.
_WAIT = {
    "x86_64": (62, bytes.fromhex("b8220000000f05ebf7")),
    "aarch64": (
        183,
        struct.pack("<7I", *(0xD2800000 | n for n in range(4)), 0xD2800928, 0xD4000001, 0x17FFFFFA),
    ),
}


def waiting_program() -> bytes:
    """An ELF file that waits for ever: in the place of a dynamic loader it keeps what it should
    load from running, as the process's /proc/PID/exe."""
    machine, code = _WAIT[platform.machine()]
    size = 64 + 56
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 3, machine, 1, size, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    total = size + len(code)
    return header + struct.pack("<IIQQQQQQ", 1, 5, 0, 0, 0, total, total, 0x10000) + code


def image(box: Box, name: str, *more: Member, config: Mapping[str, Any] | None = None) -> str:
    """Load an image of busybox and `more`; its name."""
    settings = {"Cmd": ["/bin/sh"], **(config or {})}
    load(box, [made.busybox_layer(*more)], name, settings)
    return name


def load(box: Box, layers: list[bytes], name: str, config: Mapping[str, Any]) -> None:
    """Load an image of these layers."""
    archive = made.docker_archive([(Made(layers, config), [name])])
    status, answer = upload(box, "POST", "/images/load?quiet=1", archive)
    assert (status, b"errorDetail" in answer) == (200, False), answer


def upload(box: Box, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    """A request with a tar for a body, and the whole answer; status 0 if that breaks off."""
    with closing(UnixConnection(box.daemon.socket, limit(60))) as connection:
        headers = {"Content-Type": "application/x-tar", "Connection": "close"}
        try:
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (HTTPException, OSError):
            return 0, b""


def execute(box: Box, container: str, *command: str, detach: bool = False, **more: Any) -> str:
    """The output of a command in it by the API, both streams; or the error's words."""
    body = {"AttachStdout": True, "AttachStderr": True, "Cmd": list(command), **more}
    status, made_ = box.daemon.request("POST", f"/containers/{container}/exec", body)
    if status != 201:
        return str(made_)
    with closing(UnixConnection(box.daemon.socket, limit(60))) as connection:
        headers = {"Content-Type": "application/json", "Connection": "close"}
        start = json.dumps({"Detach": detach, "Tty": more.get("Tty", False)})
        connection.request("POST", f"/exec/{made_['Id']}/start", body=start, headers=headers)
        data = connection.getresponse().read()
    return (data if more.get("Tty") else _unframed(data)).decode(errors="replace")


def begin(box: Box, script: str = "", **body: Any) -> str:
    """The id of a running container, made by the API (the command takes ten times as long)."""
    command = ["sh", "-c", script] if script else ["sleep", "100000"]
    status, answer = box.daemon.request(
        "POST", "/containers/create", {"Image": IMAGE, "Cmd": command, **body}
    )
    assert status == 201, answer
    status, started = box.daemon.request("POST", f"/containers/{answer['Id']}/start")
    assert status == 204, started
    return str(answer["Id"])


def outcome(box: Box, body: Mapping[str, Any]) -> tuple[int, str]:
    """The status and output of a container made by the API; or an answer's, and its words."""
    status, answer = box.daemon.request("POST", "/containers/create", {"Image": IMAGE, **body})
    if status != 201:
        return status, str(answer["message"])
    it = answer["Id"]
    try:
        status, answer = box.daemon.request("POST", f"/containers/{it}/start")
        if status != 204:
            return status, str(answer["message"])
        _, ended = box.daemon.request("POST", f"/containers/{it}/wait")
        _, said = box.daemon.request("GET", f"/containers/{it}/logs?stdout=1&stderr=1")
        said = said if body.get("Tty") else _unframed(said)
        return ended["StatusCode"], said.decode(errors="replace")
    finally:
        box.daemon.request("DELETE", f"/containers/{it}?force=1&v=1")


def _unframed(data: bytes) -> bytes:
    """The content of docker's multiplexed streams."""
    return b"".join(payload for _, payload in stdcopy.Decoder().feed(data))


def same_but_read(before: os.stat_result, path: str) -> bool:
    """The file at `path` has not changed: not its bytes, owner, mode, links or attributes."""
    now = os.stat(path)
    return all(
        getattr(before, f"st_{name}") == getattr(now, f"st_{name}")
        for name in ("ino", "mode", "uid", "gid", "nlink", "size", "mtime_ns", "ctime_ns")
    )
