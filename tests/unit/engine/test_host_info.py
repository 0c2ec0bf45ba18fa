"""What `docker info` shows of the host beside what is tested elsewhere."""

from __future__ import annotations

import pytest

from supervisor.engine import host_info


@pytest.mark.parametrize(
    "variables, shown",
    [
        ({}, ""),
        ({"HTTP_PROXY": "http://proxy:3128"}, "http://proxy:3128"),
        ({"http_proxy": "http://low:1", "HTTP_PROXY": "http://up:1"}, "http://low:1"),
        ({"HTTP_PROXY": "http://me:se%40cret@proxy:1/"}, "http://xxxxx:xxxxx@proxy:1/"),
        ({"HTTP_PROXY": "http://token@proxy:1"}, "http://xxxxx:xxxxx@proxy:1"),
    ],
)
def test_a_proxy_is_shown_without_credentials(
    variables: dict[str, str], shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert host_info.of_environment("http_proxy") == shown
