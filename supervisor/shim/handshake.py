"""What a shim and its child, an init or an exec session's stage, say to each other."""

import json
import socket
from collections.abc import Mapping

from supervisor.errors import InitError

GO = b"go"
ERROR_TEXT = 2048


def send(sync: socket.socket, message: Mapping[str, object], fds: tuple[int, ...] = ()) -> None:
    """One message to the shim; silent where it is gone (its death is ours as well)."""
    try:
        socket.send_fds(sync, [json.dumps(dict(message)).encode()], list(fds))
    except OSError:
        pass


def send_error(sync: socket.socket, error: InitError) -> None:
    """The last words; cut to fit a message, as a command's name may be 128 KiB long."""
    message = error.to_json()
    message["path"] = error.path[:ERROR_TEXT]
    message["message"] = error.message[:ERROR_TEXT]
    send(sync, message)
