"""The daemon's configuration: defaults, then the file, then the command line."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from supervisor.daemon.addresses import (
    Address,
    Tls,
    UnixAddress,
    parse_hosts,
    parse_read_only_hosts,
    tls_of,
)
from supervisor.daemon.network_config import check_networks
from supervisor.daemon.userns import check_userns
from supervisor.errors import InvalidArgument
from supervisor.registry import config as registry_config
from supervisor.registry.config import RegistryConfig
from supervisor.spec.units import parse_size

ON_EXIT = ("keep", "stop")
LEVELS = ("debug", "info", "warning", "error")
SHORTEST_INTERVAL, LONGEST_INTERVAL = 0.5, 60.0
DEFAULT_FILE = "/etc/orlop/orlop.toml"


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of one daemon; `log_max_size` is in bytes.

    `metrics_addr` is HOST:PORT or "off"; "" is the default address, done without if it is in use.
    `host` and the rest about listening are as dockerd's flags (docs/listening.md).
    `read_only_host` serves what changes nothing; its `read_only_group` "" is the `group`.
    `on_exit` is what becomes of containers when the daemon is told to end: "keep" or "stop".
    `metrics_label` are the container labels that metrics have, `metrics_interval` is in seconds.
    Of networks: `bridge` is the device of the default one, "" = named after the daemon, "none" =
    there is no such network; `bip` that device's address as ADDRESS/LENGTH; the pools have the
    subnets of networks that ask for none, as base=SUBNET,size=LENGTH; `dns` are asked in place of
    the host's resolvers; `ip` is where ports are published that name no address;
    `warm_sandboxes` is how many network namespaces are ready for containers to come.
    `ksm`: the kernel may merge equal pages of shims.
    `userns` is the user namespace of containers that ask for none, host or auto; `userns_pool` has
    the ids for auto as BASE:SIZE, "" = from /etc/subuid, or a fixed one.
    """

    data_root: str = "/var/lib/orlop"
    run_root: str = "/run/orlop"
    host: tuple[str, ...] = ("unix:///run/orlop/orlop.sock",)
    group: str = "root"
    read_only_host: tuple[str, ...] = ()
    read_only_group: str = ""
    tls: bool = False
    tlsverify: bool = False
    tlscacert: str = ""
    tlscert: str = ""
    tlskey: str = ""
    tcp_without_tls: bool = False
    cgroup_parent: str = "orlop"
    log_level: str = "info"
    on_exit: str = "keep"
    log_max_size: int = 10 << 20
    log_max_files: int = 3
    metrics_addr: str = ""
    metrics_web_config: str = ""
    metrics_label: tuple[str, ...] = ()
    metrics_interval: float = 1.0
    bridge: str = ""
    bip: str = ""
    default_address_pool: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    ip: str = ""
    icc: bool = True
    mtu: int = 1500
    warm_sandboxes: int = 2
    ksm: bool = True
    userns: str = "auto"
    userns_pool: str = ""
    registries: RegistryConfig = msgspec.field(default_factory=RegistryConfig)

    @property
    def server_tls(self) -> Tls | None:
        """The TLS of TCP addresses; InvalidArgument for settings that do not go together."""
        return tls_of(
            tls=self.tls,
            verify=self.tlsverify,
            ca=self.tlscacert,
            cert=self.tlscert,
            key=self.tlskey,
        )

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Where the API is served; InvalidArgument for what cannot be, or must not."""
        return parse_hosts(self.host, self.server_tls, without_tls=self.tcp_without_tls)

    @property
    def read_only_addresses(self) -> tuple[UnixAddress, ...]:
        """Where what changes nothing is served, too; InvalidArgument for what cannot be."""
        return parse_read_only_hosts(self.read_only_host, self.addresses)


def read_file(path: Path) -> dict[str, Any]:
    """The settings in a TOML file; InvalidArgument names the line, or the key that is unknown."""
    try:
        table = tomllib.loads(path.read_text())
    except OSError as error:
        raise InvalidArgument(f"config file {path}: {(error.strerror or '').lower()}") from None
    except ValueError as error:
        raise InvalidArgument(f"config file {path}: {error}") from None
    table = {key.replace("-", "_"): value for key, value in table.items()}
    log = table.pop("log", {})
    if not isinstance(log, dict):
        raise InvalidArgument(f"config file {path}: log: expected a table")
    table |= {f"log_{key}": value for key, value in log.items()}
    try:
        table |= _registries(table.pop("registries", {}))
    except InvalidArgument as error:
        raise InvalidArgument(f"config file {path}: {error.message}") from None
    known = set(Config.__struct_fields__)
    for key in table:
        if key not in known:
            words = ", ".join(sorted(known))
            raise InvalidArgument(f"config file {path}: unknown key {key!r}; known are {words}")
    return table


def _registries(table: Any) -> dict[str, RegistryConfig]:
    if not isinstance(table, dict):
        raise InvalidArgument("registries: expected a table")
    return {"registries": registry_config.decode(table)} if table else {}


def merge(config: Config, settings: dict[str, Any]) -> Config:
    """`config` with `settings` over it; None is not set. InvalidArgument for wrong values."""
    values = {key: value for key, value in settings.items() if value is not None}
    if isinstance(values.get("log_max_size"), str):
        values["log_max_size"] = parse_size(values["log_max_size"])
    for name in Config.__struct_fields__:
        value = values.get(name)
        kind = type(getattr(Config(), name))
        if name in ("host", "read_only_host") and isinstance(value, str):
            value = (value,)
        if kind is float and type(value) is int:
            value = values[name] = float(value)
        if kind is tuple and value is not None:
            value = values[name] = _words(name, value)
        if value is not None and (
            not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)
        ):
            raise InvalidArgument(f"{name}: expected a {kind.__name__}, got {value!r:.80}")
    merged = replace(config, **values)
    _check(merged)
    return merged


def _words(name: str, value: Any) -> tuple[str, ...]:
    """A setting that may be given often, or is a list in the file."""
    wrong = not isinstance(value, list | tuple) or not all(
        isinstance(word, str) and word.strip() for word in value
    )
    if wrong:
        raise InvalidArgument(f"{name}: expected a list of words, got {value!r:.80}")
    return tuple(value)


def _check(config: Config) -> None:
    _ = config.addresses, config.read_only_addresses
    if config.read_only_group and not config.read_only_host:
        raise InvalidArgument("read_only_group is given, but no --read-only-host")
    check_networks(config)
    check_userns(config)
    if config.log_level not in LEVELS:
        raise InvalidArgument(f"log_level {config.log_level!r}: give one of {', '.join(LEVELS)}")
    if not SHORTEST_INTERVAL <= config.metrics_interval <= LONGEST_INTERVAL:
        raise InvalidArgument(
            f"metrics_interval {config.metrics_interval}: give seconds from {SHORTEST_INTERVAL} "
            f"to {LONGEST_INTERVAL:.0f}"
        )
    if config.on_exit not in ON_EXIT:
        raise InvalidArgument(f"on_exit {config.on_exit!r:.80}: give keep or stop")
    for key in ("data_root", "run_root"):
        if not getattr(config, key).startswith("/"):
            raise InvalidArgument(f"{key} {getattr(config, key)!r}: give an absolute path")
    parent = config.cgroup_parent
    if not parent or parent.startswith(("/", ".")) or ".." in parent.split("/"):
        raise InvalidArgument(f"cgroup_parent {parent!r}: give a relative name such as orlop")
    if config.log_max_size < 1 or config.log_max_files < 1:
        raise InvalidArgument("log max_size and max_files must be at least 1")
