"""Which shims are understood, and what of their messages is none."""

from __future__ import annotations

import pytest

from supervisor.errors import InitError, Internal, ProtocolError
from supervisor.wire.shim_protocol import OLDEST, VERSION, decode, error_from_json, unspoken


@pytest.mark.parametrize("version", range(OLDEST, VERSION + 1))
def test_older_shims_are_driven(version: int) -> None:
    assert unspoken(version) == ""


@pytest.mark.parametrize("version", [0, -1, VERSION + 1, 1000])
def test_others_are_not(version: int) -> None:
    said = unspoken(version)
    assert f"version {version} of the shim protocol" in said
    assert f"this daemon {OLDEST} to {VERSION}" in said


@pytest.mark.parametrize("packet", [b"[" * 60_000, b'{"a":' * 10_000, b"{", b"[]", b"\xff", b""])
def test_no_message(packet: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode(packet)


@pytest.mark.parametrize("field", [None, 1, "conflict", [], {"init": 1}, {"init": {"step": "x"}}])
def test_no_error(field: object) -> None:
    with pytest.raises(ProtocolError):
        error_from_json(field)


def test_errors_of_a_newer_shim_are_internal() -> None:
    error = error_from_json({"code": "new", "message": "said"})
    assert type(error) is Internal
    assert error.message == "said"
    init = {"step": "x", "path": "", "errno": 2, "message": "m", "more": 1}
    assert isinstance(error_from_json({"code": "internal", "init": init}), InitError)
