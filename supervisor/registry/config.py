"""How this daemon deals with registries: the table [registries] of its configuration.

[registries]
insecure = ["registry.lan:5000", "10.0.0.0/8"]
mirrors = { "docker.io" = ["https://mirror.lan"] }
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from supervisor.errors import InvalidArgument
from supervisor.oci import endpoint, reference
from supervisor.oci.endpoint import Rules

CERTIFICATE_FOLDERS = ("/etc/orlop/certs.d", "/etc/docker/certs.d")


class RegistryConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`certs` are folders with one folder per registry (host[:port]) of CAs and client keys.

    `timeout` is the longest silence of a server, `backoff` the first pause before something
    is tried again, both in seconds; `retries` how often, without anything gained; `parallel`
    the layers of one image under way at once.
    """

    rules: Rules = msgspec.field(default_factory=Rules)
    certs: tuple[str, ...] = CERTIFICATE_FOLDERS
    timeout: float = 60.0
    backoff: float = 0.5
    retries: int = 5
    parallel: int = 3

    def with_flags(self, insecure: tuple[str, ...], mirrors: tuple[str, ...]) -> RegistryConfig:
        """The same and what the daemon's flags add; mirrors are docker.io's, and go first."""
        known = dict(self.rules.mirrors)
        hub = (*mirrors, *known.pop(reference.DEFAULT_DOMAIN, ()))
        merged = {**known, reference.DEFAULT_DOMAIN: hub} if hub else known
        return replace(self, rules=endpoint.checked((*self.rules.insecure, *insecure), merged))


def decode(table: Mapping[str, Any]) -> RegistryConfig:
    """From the table of a configuration file; raises InvalidArgument naming the key."""
    known = set(RegistryConfig.__struct_fields__) - {"rules"} | {"insecure", "mirrors"}
    for key in table:
        if key not in known:
            words = ", ".join(sorted(known))
            raise InvalidArgument(f"registries: unknown key {key!r}; known are {words}")
    numbers = {
        key: _number(key, table[key], whole=key in ("retries", "parallel"))
        for key in ("timeout", "backoff", "retries", "parallel")
        if key in table
    }
    mirrors = table.get("mirrors", {})
    if not isinstance(mirrors, dict):
        raise InvalidArgument(
            'registries.mirrors: give a table, as { "docker.io" = ["https://…"] }'
        )
    config = RegistryConfig(
        rules=endpoint.checked(
            _texts("insecure", table.get("insecure", ())),
            {domain: _texts(f"mirrors.{domain}", urls) for domain, urls in mirrors.items()},
        ),
        certs=_texts("certs", table.get("certs", CERTIFICATE_FOLDERS)),
    )
    return replace(config, **numbers)


def _texts(key: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
        raise InvalidArgument(f"registries.{key}: give a list of strings")
    return tuple(value)


def _number(key: str, value: Any, *, whole: bool) -> Any:
    kinds = int if whole else int | float
    if not isinstance(value, kinds) or isinstance(value, bool) or not 0 < value <= 3600:
        kind = "a whole number" if whole else "a number of seconds"
        raise InvalidArgument(f"registries.{key}: give {kind} from 1 to 3600, not {value!r:.80}")
    return value
