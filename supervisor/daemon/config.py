"""The daemon's configuration: defaults, then the file, then the command line."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from supervisor.errors import InvalidArgument
from supervisor.registry import config as registry_config
from supervisor.registry.config import RegistryConfig
from supervisor.spec.units import parse_size

LEVELS = ("debug", "info", "warning", "error")
DEFAULT_FILE = "/etc/orlop/orlop.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Settings of one daemon; `log_max_size` is in bytes.

    `metrics_addr` is HOST:PORT or "off"; "" is the default address, done without if it is in use.
    """

    data_root: str = "/var/lib/orlop"
    run_root: str = "/run/orlop"
    host: str = "unix:///run/orlop/orlop.sock"
    cgroup_parent: str = "orlop"
    log_level: str = "info"
    log_max_size: int = 10 << 20
    log_max_files: int = 3
    metrics_addr: str = ""
    metrics_web_config: str = ""
    registries: RegistryConfig = field(default_factory=RegistryConfig)

    @property
    def socket(self) -> Path:
        """The path of the API's socket; InvalidArgument unless `host` is unix:///PATH."""
        scheme, _, path = self.host.partition("://")
        if scheme != "unix" or not path.startswith("/"):
            raise InvalidArgument(f"host {self.host!r}: give unix:///absolute/path")
        return Path(path)


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
    known = {one.name for one in fields(Config)}
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
    for one in fields(Config):
        value = values.get(one.name)
        kind = type(getattr(Config(), one.name))
        if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
            raise InvalidArgument(f"{one.name}: expected a {kind.__name__}, got {value!r:.80}")
    merged = replace(config, **values)
    _check(merged)
    return merged


def _check(config: Config) -> None:
    _ = config.socket
    if config.log_level not in LEVELS:
        raise InvalidArgument(f"log_level {config.log_level!r}: give one of {', '.join(LEVELS)}")
    for key in ("data_root", "run_root"):
        if not getattr(config, key).startswith("/"):
            raise InvalidArgument(f"{key} {getattr(config, key)!r}: give an absolute path")
    parent = config.cgroup_parent
    if not parent or parent.startswith(("/", ".")) or ".." in parent.split("/"):
        raise InvalidArgument(f"cgroup_parent {parent!r}: give a relative name such as orlop")
    if config.log_max_size < 1 or config.log_max_files < 1:
        raise InvalidArgument("log max_size and max_files must be at least 1")
