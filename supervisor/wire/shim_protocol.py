"""The shim protocol: JSON messages over SOCK_SEQPACKET, one message a packet, fds beside it.

Three kinds of message, told apart by their key:

    request   {"id": 7, "op": "signal", "signal": 15}        supervisor → shim (or zygote)
    reply     {"id": 7, "ok": {…}} or {"id": 7, "error": {…}}  shim → supervisor, once a request
    event     {"event": "exited", …}                          shim → supervisor, unasked

Requests of the zygote: `spawn` (no reply: the shim speaks on the passed socket).
Requests of a shim: `start`, `wired`, `signal`, `resize`, `attach`, `exec`, `exec_state`,
`state`, `acknowledge`.
Events of a shim: `hello` (first on every connection), `created`, `network` (with an fd),
`failed`, `exited`, `exec_exited`, `detached`. An error is {"code": an OrlopError's code,
"message": …} and, where a step of init failed, {"init": InitError.to_json()} beside them.

A newer supervisor must drive an older shim: fields are added, never changed, and VERSION
grows with every addition.
"""

from __future__ import annotations

import json
from typing import Any

from supervisor.errors import BY_CODE, InitError, Internal, OrlopError, ProtocolError

VERSION = 4
OLDEST = 1
"""The versions that are spoken: shims of these are driven."""
MAX_MESSAGE = 64 * 1024
MAX_FDS = 5
# In the container's bundle: where its shim listens, and what it is told to make.
SOCKET_NAME = "shim.sock"
CONFIG_NAME = "config.json"

Message = dict[str, Any]


def unspoken(version: int) -> str:
    """Why a shim of this version cannot be driven; "" for one that can."""
    if OLDEST <= version <= VERSION:
        return ""
    return (
        f"the container's shim speaks version {version} of the shim protocol, this daemon "
        f"{OLDEST} to {VERSION}: use the orlop that started the container"
    )


def encode(message: Message) -> bytes:
    """The packet for `message`; raises ProtocolError if it would not fit MAX_MESSAGE."""
    return fitting(json.dumps(message, separators=(",", ":")).encode())


def fitting(packet: bytes) -> bytes:
    """The packet itself; raises ProtocolError if it does not fit MAX_MESSAGE."""
    if len(packet) > MAX_MESSAGE:
        raise ProtocolError(f"message of {len(packet)} bytes; at most {MAX_MESSAGE} fit")
    return packet


def decode(packet: bytes) -> Message:
    """The message in one packet; raises ProtocolError for anything but a JSON object."""
    try:
        message = json.loads(packet)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"not JSON: {error}") from None
    if not isinstance(message, dict):
        raise ProtocolError(f"not an object: {packet[:80]!r}")
    return message


def error_to_json(error: OrlopError | InitError) -> Message:
    """The `error` field of a reply or event."""
    if isinstance(error, InitError):
        return {"code": Internal.code, "message": error.message, "init": error.to_json()}
    return {"code": error.code, "message": error.message}


def error_from_json(data: object) -> OrlopError | InitError:
    """The typed error of an `error` field; an unknown code is Internal, ProtocolError no object."""
    if not isinstance(data, dict):
        raise ProtocolError(f"not an error: {data!r:.200}")
    if "init" in data:
        return InitError.from_json(data["init"])
    return BY_CODE.get(str(data.get("code")), Internal)(str(data.get("message", "unknown error")))
