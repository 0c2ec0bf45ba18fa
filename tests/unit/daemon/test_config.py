"""The daemon's settings."""

from pathlib import Path

import pytest

from supervisor.daemon.config import Config, merge, read_file
from supervisor.errors import InvalidArgument


def test_file_then_command_line(tmp_path: Path) -> None:
    file = tmp_path / "orlop.toml"
    file.write_text('data_root = "/a"\n[log]\nmax_size = "5m"\nmax_files = 2\n')
    config = merge(merge(Config(), read_file(file)), {"data_root": "/b", "host": None})
    assert (config.data_root, config.log_max_size, config.log_max_files) == ("/b", 5 << 20, 2)
    assert config.host == Config().host


def test_metrics(tmp_path: Path) -> None:
    file = tmp_path / "orlop.toml"
    file.write_text('metrics-addr = "off"\nmetrics_web_config = "/w.yml"\n')
    config = merge(Config(), read_file(file))
    assert (config.metrics_addr, config.metrics_web_config) == ("off", "/w.yml")


def test_registries(tmp_path: Path) -> None:
    file = tmp_path / "orlop.toml"
    file.write_text(
        '[registries]\ninsecure = ["registry.lan:5000"]\n'
        'mirrors = { "docker.io" = ["https://mirror.lan"] }\ntimeout = 5\n'
    )
    config = merge(Config(), read_file(file)).registries
    assert config.rules.insecure == ("registry.lan:5000",)
    assert config.rules.mirrors == {"docker.io": ("https://mirror.lan",)}
    assert config.timeout == 5


@pytest.mark.parametrize(
    "text",
    [
        *("x = 1", "data_root = ", "log = 3", "log.nope = 1"),
        *("registries = 3", "registries.nope = 1", 'registries.insecure = ["http://x"]'),
    ],
)
def test_bad_file(tmp_path: Path, text: str) -> None:
    file = tmp_path / "orlop.toml"
    file.write_text(text)
    with pytest.raises(InvalidArgument, match=str(file)):
        read_file(file)


@pytest.mark.parametrize(
    "settings",
    [
        {"host": "tcp://0:1"},
        {"data_root": "relative"},
        {"cgroup_parent": "../up"},
        {"log_max_files": 0},
        {"log_max_files": True},
        {"log_level": "loud"},
        {"log_max_size": "much"},
    ],
)
def test_bad_values(settings: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument):
        merge(Config(), settings)
