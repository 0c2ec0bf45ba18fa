"""Which shims are understood."""

from __future__ import annotations

import pytest

from supervisor.wire.shim_protocol import OLDEST, VERSION, unspoken


@pytest.mark.parametrize("version", range(OLDEST, VERSION + 1))
def test_older_shims_are_driven(version: int) -> None:
    assert unspoken(version) == ""


@pytest.mark.parametrize("version", [0, -1, VERSION + 1, 1000])
def test_others_are_not(version: int) -> None:
    said = unspoken(version)
    assert f"version {version} of the shim protocol" in said
    assert f"this daemon {OLDEST} to {VERSION}" in said
