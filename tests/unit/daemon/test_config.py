"""The daemon's settings."""

from pathlib import Path

import pytest

from supervisor.daemon.config import Config, merge, read_file
from supervisor.daemon.network_config import network_defaults, stack_settings
from supervisor.errors import InvalidArgument


def test_file_then_command_line(tmp_path: Path) -> None:
    file = tmp_path / "orlop.toml"
    file.write_text('data_root = "/a"\n[log]\nmax_size = "5m"\nmax_files = 2\n')
    config = merge(merge(Config(), read_file(file)), {"data_root": "/b", "host": None})
    assert (config.data_root, config.log_max_size, config.log_max_files) == ("/b", 5 << 20, 2)
    assert config.host == Config().host


def test_metrics(tmp_path: Path) -> None:
    file = tmp_path / "orlop.toml"
    file.write_text(
        'metrics-addr = "off"\nmetrics_web_config = "/w.yml"\nmetrics-label = ["a.b", "c"]\n'
    )
    config = merge(Config(), read_file(file))
    assert (config.metrics_addr, config.metrics_web_config) == ("off", "/w.yml")
    assert config.metrics_label == ("a.b", "c")
    assert merge(config, {"metrics_label": ["d"]}).metrics_label == ("d",)
    assert merge(config, {"metrics_label": None}).metrics_label == ("a.b", "c")
    file.write_text("metrics-interval = 2\n")
    assert merge(Config(), read_file(file)).metrics_interval == 2.0
    assert merge(Config(), {"metrics_interval": 0.5}).metrics_interval == 0.5


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
        *({"on_exit": what} for what in ("", "kill", True)),
        {"log_max_size": "much"},
        {"metrics_label": "a"},
        {"metrics_label": [3]},
        {"metrics_label": [" "]},
        *({"metrics_interval": seconds} for seconds in (0, 0.4, 61, float("nan"), "1", True)),
        *({"bip": bip} for bip in ("10.0.0.1", "10.0.0.0/24", "10.0.0.1/31", "fd00::1/64", "x")),
        *({"bridge": name} for name in ("a/b", "x" * 16)),
        *({"mtu": mtu} for mtu in (0, 67, 65536, True)),
        *({"warm_sandboxes": count} for count in (-1, 257)),
        *({"dns": dns} for dns in (["x"], "10.0.0.53", [1])),
        {"ip": "eth0"},
        {"icc": 1},
        {"bridge": "none", "bip": "10.0.0.1/24"},
        *(
            {"default_address_pool": [pool]}
            for pool in (
                *("10.0.0.0/8", "base=10.0.0.0/8", "base=10.0.0.0/8,size=7"),
                *("base=10.0.0.1/8,size=16", "base=10.0.0.0/8,size=x", "base=x,size=16"),
            )
        ),
    ],
)
def test_bad_values(settings: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument):
        merge(Config(), settings)


def test_networks(tmp_path: Path) -> None:
    file = tmp_path / "orlop.toml"
    file.write_text(
        'bridge = "br9"\nbip = "10.1.0.1/24"\ndns = ["10.0.0.53"]\nip = "127.0.0.1"\n'
        "icc = false\nmtu = 1400\nwarm-sandboxes = 0\n"
        'default-address-pool = ["base=10.128.0.0/9,size=24", "base=fd00::/32,size=64"]\n'
    )
    config = merge(Config(), read_file(file))
    defaults = network_defaults(config)
    assert (defaults.bridge, str(defaults.bip)) == ("br9", "10.1.0.1/24")
    assert (defaults.icc, defaults.mtu, defaults.host_ip) == (False, 1400, "127.0.0.1")
    assert [(str(pool.base), pool.length) for pool in defaults.pools] == [
        ("10.128.0.0/9", 24),
        ("fd00::/32", 64),
    ]
    assert (config.dns, config.warm_sandboxes) == (("10.0.0.53",), 0)
    assert stack_settings(config).dns == ("10.0.0.53",)
    assert merge(config, {"dns": ["10.0.0.54"], "icc": True}).icc is True


def test_networks_of_a_daemon_that_was_told_nothing() -> None:
    assert network_defaults(Config()).bridge == "orlop0"
    assert network_defaults(Config()).bip is None
    other = merge(Config(), {"cgroup_parent": "orlop/second"})
    assert network_defaults(other).bridge not in ("orlop0", "none")
    assert stack_settings(other).identity != stack_settings(Config()).identity
    none = merge(Config(), {"bridge": "none"})
    assert not network_defaults(none).has_bridge
    assert stack_settings(Config()).check
    assert not stack_settings(none).check
