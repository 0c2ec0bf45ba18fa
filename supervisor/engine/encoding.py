"""Our values as JSON, fast."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from supervisor.spec.codec import to_json
from supervisor.wire import shim_protocol


def encode(value: Any) -> bytes:
    """The document of what `codec.to_json` makes of `value`."""
    return dumps(to_json(value))


def packet(message: shim_protocol.Message) -> bytes:
    """As `shim_protocol.encode`; ProtocolError for what does not fit."""
    return shim_protocol.fitting(dumps(message))


def decode(data: bytes) -> shim_protocol.Message:
    """As `shim_protocol.decode`, which takes over where the packet is unusual."""
    try:
        message = msgspec.json.decode(data)
    except msgspec.DecodeError:  # half a surrogate pair, as above; or no JSON
        return shim_protocol.decode(data)
    return message if isinstance(message, dict) else shim_protocol.decode(data)


def dumps(data: Any) -> bytes:
    """The document of a JSON value or of structs, as json.loads reads it."""
    try:
        return msgspec.json.encode(data)
    except UnicodeEncodeError:  # half a surrogate pair: a path in an error's text is not UTF-8
        return json.dumps(msgspec.to_builtins(data), separators=(",", ":")).encode()
