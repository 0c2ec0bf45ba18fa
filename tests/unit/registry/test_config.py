"""The table [registries] and the daemon's flags."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from supervisor.errors import InvalidArgument
from supervisor.registry.config import RegistryConfig, decode


def test_table() -> None:
    config = decode(
        {
            "insecure": ["registry.lan:5000", "10.0.0.0/8"],
            "mirrors": {"docker.io": ["https://m.example"]},
            "certs": ["/x"],
            "timeout": 5,
            "backoff": 0.01,
            "retries": 2,
            "parallel": 4,
        }
    )
    assert config.rules.insecure == ("registry.lan:5000", "10.0.0.0/8")
    assert config.certs == ("/x",)
    assert (config.timeout, config.backoff, config.retries, config.parallel) == (5, 0.01, 2, 4)
    assert decode({}) == RegistryConfig()


@pytest.mark.parametrize(
    "table, word",
    [
        ({"nope": 1}, "nope"),
        ({"insecure": "registry.lan"}, "insecure"),
        ({"insecure": [1]}, "insecure"),
        ({"mirrors": ["https://m.example"]}, "mirrors"),
        ({"mirrors": {"docker.io": "https://m.example"}}, "mirrors.docker.io"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": "5"}, "timeout"),
        ({"retries": 1.5}, "retries"),
        ({"retries": True}, "retries"),
        ({"parallel": -1}, "parallel"),
    ],
)
def test_bad_table(table: dict[str, Any], word: str) -> None:
    with pytest.raises(InvalidArgument, match=word):
        decode(table)


def test_flags_add_to_the_file() -> None:
    config = decode(
        {"insecure": ["a.lan"], "mirrors": {"docker.io": ["https://m"], "q.io": ["https://q"]}}
    ).with_flags(("b.lan",), ("https://first",))
    assert config.rules.insecure == ("a.lan", "b.lan")
    assert config.rules.mirrors == {
        "docker.io": ("https://first", "https://m"),
        "q.io": ("https://q",),
    }
    assert RegistryConfig().with_flags((), ()) == RegistryConfig()
    with pytest.raises(InvalidArgument):
        RegistryConfig().with_flags(("http://x",), ())


def test_an_idle_daemon_has_not_loaded_the_client() -> None:
    program = "import sys, supervisor.daemon.main; print('httpx' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("False\n", "")
