"""The web-config file: TLS and basic authentication, in the format of Prometheus' exporter-toolkit.

https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md. What
that has and this server cannot do is refused, as it would be a false sense of security.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from metrics.errors import ConfigError

MAX_COST = 16
"""Of bcrypt: it takes 5 s, and doubles with each step."""

_HASH = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")
_HEADERS = {
    "Content-Security-Policy": None,
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-Content-Type-Options": ("nosniff",),
    "X-XSS-Protection": None,
    "Strict-Transport-Security": None,
}
_TOP = ("tls_server_config", "http_server_config", "basic_auth_users")
_TLS_FILES = ("cert", "key", "client_ca")
_TLS_REST = (
    "client_auth_type",
    "min_version",
    "max_version",
    "cipher_suites",
    "prefer_server_cipher_suites",
)
_UNSUPPORTED = ("rate_limit", "curve_preferences", "client_allowed_sans")
_VERSIONS = ("TLS12", "TLS13")
_CLIENT_AUTH = ("NoClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert")


class Tls(msgspec.Struct, frozen=True, kw_only=True):
    """`cert`, `key` and `client_ca` are files' paths, or PEM texts."""

    cert: Path | str
    key: Path | str
    client_ca: Path | str | None = None
    client_auth: str = "NoClientCert"
    min_version: str = "TLS12"
    max_version: str = "TLS13"
    ciphers: tuple[str, ...] = ()
    prefer_own_order: bool = True

    @property
    def files(self) -> tuple[Path, ...]:
        """Those that may be renewed."""
        return tuple(p for p in (self.cert, self.key, self.client_ca) if isinstance(p, Path))


class WebConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`users` are bcrypt hashes by name; without any, everybody may read."""

    tls: Tls | None = None
    users: Mapping[str, str] = msgspec.field(default_factory=dict)
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)


def parse(text: str, folder: Path) -> WebConfig:
    """The file's meaning; `folder` is where its relative paths start. ConfigError, one sentence."""
    import yaml  # noqa: PLC0415 - 1 MB that only those pay who have such a file

    try:
        data = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "it cannot be read"
        raise ConfigError(f"no valid YAML{where}: {problem}") from None
    top = _section(data, "the file", _TOP)
    return WebConfig(
        tls=_tls(top["tls_server_config"], folder) if top.get("tls_server_config") else None,
        users=_users(top.get("basic_auth_users")),
        headers=_headers(top.get("http_server_config")),
    )


def _section(data: object, name: str, known: tuple[str, ...] = ()) -> dict[str, Any]:
    if data is None:
        return {}
    if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
        raise ConfigError(f"{name} is not a mapping of names to values")
    for key in data:
        if key in _UNSUPPORTED:
            raise ConfigError(f"{key} is not supported")
        if known and key not in known:
            raise ConfigError(f"{name} has no field {key!r}; there are {', '.join(known)}")
    return data


def _tls(data: object, folder: Path) -> Tls:
    files = tuple(f"{name}{suffix}" for name in _TLS_FILES for suffix in ("_file", ""))
    section = _section(data, "tls_server_config", (*files, *_TLS_REST))
    cert, key, client_ca = (_pem(section, name, folder) for name in _TLS_FILES)
    if cert is None or key is None:
        raise ConfigError("tls_server_config needs cert_file and key_file")
    client_auth = _choice(section, "client_auth_type", _CLIENT_AUTH, "NoClientCert")
    if (client_auth != "NoClientCert") != (client_ca is not None):
        raise ConfigError(
            "tls_server_config: client_ca_file and a client_auth_type that verifies go together"
        )
    lowest = _choice(section, "min_version", _VERSIONS, "TLS12")
    highest = _choice(section, "max_version", _VERSIONS, "TLS13")
    if lowest > highest:
        raise ConfigError("tls_server_config: min_version is above max_version")
    return Tls(
        cert=cert,
        key=key,
        client_ca=client_ca,
        client_auth=client_auth,
        min_version=lowest,
        max_version=highest,
        ciphers=_strings(section, "cipher_suites"),
        prefer_own_order=_boolean(section, "prefer_server_cipher_suites", default=True),
    )


def _pem(section: dict[str, Any], name: str, folder: Path) -> Path | str | None:
    text, file = (_string(section, key) for key in (name, f"{name}_file"))
    if text and file:
        raise ConfigError(f"tls_server_config has both {name} and {name}_file")
    return text or (folder / file if file else None)


def _users(data: object) -> dict[str, str]:
    section = _section(data, "basic_auth_users")
    for user, hashed in section.items():
        match = _HASH.fullmatch(hashed) if isinstance(hashed, str) else None
        if match is None:
            raise ConfigError(
                f"the password of user {user!r} is no bcrypt hash, such as `htpasswd -nBC 10` makes"
            )
        if not 4 <= int(match[1]) <= MAX_COST:
            raise ConfigError(f"the bcrypt cost of user {user!r} is not within 4 and {MAX_COST}")
        if not user or ":" in user:
            raise ConfigError(f"{user!r} cannot be a user's name")
    return section


def _headers(data: object) -> dict[str, str]:
    section = _section(data, "http_server_config", ("http2", "headers"))
    _boolean(section, "http2", default=True)  # an offer, and HTTP/1.1 always is one, too
    headers = _section(section.get("headers"), "headers", tuple(_HEADERS))
    result = {}
    for name in headers:
        value = _string(headers, name)
        allowed = _HEADERS[name]
        if value and allowed and value not in allowed:
            raise ConfigError(f"header {name} must be {' or '.join(allowed)}")
        if not value.isascii() or not value.isprintable():
            raise ConfigError(f"header {name} has characters that HTTP does not allow")
        if value:
            result[name] = value
    return result


def _string(section: dict[str, Any], name: str) -> str:
    value = section.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ConfigError(f"{name} is not a text")
    return value


def _strings(section: dict[str, Any], name: str) -> tuple[str, ...]:
    value = section.get(name) or []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ConfigError(f"{name} is not a list of texts")
    return tuple(value)


def _choice(section: dict[str, Any], name: str, allowed: tuple[str, ...], default: str) -> str:
    value = _string(section, name) or default
    if value not in allowed:
        raise ConfigError(f"{name} {value!r} is not one of {', '.join(allowed)}")
    return value


def _boolean(section: dict[str, Any], name: str, *, default: bool) -> bool:
    value = section.get(name, default)
    if not isinstance(value, bool):
        raise ConfigError(f"{name} is neither true nor false")
    return value
