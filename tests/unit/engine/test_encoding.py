"""Messages as the supervisor writes and reads them are what the shim reads and writes."""

from __future__ import annotations

from typing import Any

import pytest

from supervisor.engine import encoding
from supervisor.errors import ProtocolError
from supervisor.wire import shim_protocol

MESSAGES: tuple[dict[str, Any], ...] = (
    {},
    {"id": 7, "op": "signal", "signal": 15},
    {"event": "exited", "record": {"code": -1, "error": None, "big": 1 << 62, "part": 0.5}},
    {"text": 'a "quoted" ünï\n\x1b\u2028', "list": [[], {}, True]},
    {"half": "caf\udce9", "\udcff": 1},
)


@pytest.mark.parametrize("message", MESSAGES)
def test_both_ends_understand_each_other(message: dict[str, Any]) -> None:
    assert shim_protocol.decode(encoding.packet(message)) == message
    assert encoding.decode(shim_protocol.encode(message)) == message
    assert encoding.decode(encoding.packet(message)) == message


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"7", b'"x"', b"\xff", b'{"a": 1} x'])
def test_what_is_no_message(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        encoding.decode(data)


def test_what_does_not_fit() -> None:
    with pytest.raises(ProtocolError, match="at most"):
        encoding.packet({"op": "x" * shim_protocol.MAX_MESSAGE})
