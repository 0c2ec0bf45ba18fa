"""docker's client configuration, ~/.docker/config.json: the credentials in it.

Standard library only: the command line reads it. What else stands there is kept as it is.
Secrets that credential helpers keep (`credsStore`, `credHelpers`) are out of reach here;
`helper` names the one that has them.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from supervisor.errors import InvalidArgument

HUB_SERVER = "https://index.docker.io/v1/"
_HUB_NAMES = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})


class DockerConfig:
    """The file's object; `text` "" is one that is not there."""

    def __init__(self, text: str = "", path: str = "config.json") -> None:
        try:
            self._object: Any = json.loads(text) if text.strip() else {}
        except (ValueError, RecursionError) as error:
            raise InvalidArgument(f"{path}: not JSON: {error}") from None
        if not isinstance(self._object, dict) or not isinstance(self._auths(), dict):
            raise InvalidArgument(f"{path}: not the form of docker's configuration")

    def text(self) -> str:
        """The file's content."""
        return json.dumps(self._object, indent="\t", ensure_ascii=False) + "\n"

    def auth(self, server: str) -> dict[str, str]:
        """The AuthConfig for the API of a registry (host[:port], "docker.io"); {} without one.

        Raises InvalidArgument for an entry that is damaged.
        """
        for name, entry in self._auths().items():
            if server_key(name) == server_key(server) and isinstance(entry, dict):
                return _auth_config(entry, server_key(server))
        return {}

    def helper(self, server: str) -> str:
        """The credential helper that the configuration leaves this registry to, or ""."""
        helpers = self._object.get("credHelpers")
        for name, helper in helpers.items() if isinstance(helpers, dict) else ():
            if server_key(name) == server_key(server) and isinstance(helper, str):
                return helper
        default = self._object.get("credsStore")
        return default if isinstance(default, str) else ""

    def left_to(self, server: str) -> str:
        """The helper that has credentials for this registry, for all that can be seen here."""
        helpers = self._object.get("credHelpers")
        names = {*(helpers if isinstance(helpers, dict) else ()), *self._auths()}
        known = any(server_key(name) == server_key(server) for name in names)
        return self.helper(server) if known else ""

    def keep(self, server: str, *, username: str, password: str, identity_token: str = "") -> None:
        """Put in what a login gave, in place of what was there for the registry."""
        self.drop(server)
        secret = "" if identity_token else password
        pair = base64.b64encode(f"{username}:{secret}".encode()).decode()
        entry = {"auth": pair}
        if identity_token:
            entry["identitytoken"] = identity_token
        self._object.setdefault("auths", {})[server_key(server)] = entry

    def drop(self, server: str) -> bool:
        """Take out the registry's entries; whether there were any."""
        auths = self._auths()
        names = [name for name in auths if server_key(name) == server_key(server)]
        for name in names:
            del auths[name]
        return bool(names)

    def _auths(self) -> Any:
        return self._object.get("auths") or {}


def server_key(server: str) -> str:
    """The name under which a registry stands in `auths`: host[:port], or docker.io's old URL."""
    host = server.removeprefix("https://").removeprefix("http://").partition("/")[0]
    return HUB_SERVER if not host or host in _HUB_NAMES else host


def _auth_config(entry: dict[str, Any], server: str) -> dict[str, str]:
    found = {
        name: entry[name]
        for name in ("username", "password", "identitytoken", "registrytoken")
        if isinstance(entry.get(name), str) and entry[name]
    }
    encoded = entry.get("auth")
    if isinstance(encoded, str) and encoded:
        user, password = _pair(encoded, server)
        found["username"] = user
        if password:
            found["password"] = password
    return {**found, "serveraddress": server} if found else {}


def _pair(encoded: str, server: str) -> tuple[str, str]:
    try:
        pair = base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, ValueError):
        pair = ""
    user, colon, password = pair.partition(":")
    if not user or not colon:
        raise InvalidArgument(f"the stored credentials for {server} are damaged: log in again")
    return user, password.rstrip("\0")
