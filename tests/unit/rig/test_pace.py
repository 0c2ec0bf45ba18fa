"""How much longer is waited on a busy machine."""

from __future__ import annotations

import os

import pytest

from tests.support import pace


@pytest.mark.parametrize(
    "load, seconds", [(0.0, 30), (4.0, 30), (8.0, 60), (20.0, 150), (70.0, 300)]
)
def test_waits_are_longer_on_a_busy_machine(
    monkeypatch: pytest.MonkeyPatch, load: float, seconds: float
) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(pace, "SLOWER", 1)
    assert pace.patience(30) == seconds
    assert pace.limit(30) == 30
