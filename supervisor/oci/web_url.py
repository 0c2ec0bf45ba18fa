"""http and https URLs as a registry client takes them: checked once, then only compared.

URLs come from registries that may be hostile (redirects, token realms, upload locations).
What two parsers could read differently (user names, backslashes, control characters, other
scripts) is refused, so the origin that is compared is the one that is spoken to.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urljoin, urlsplit

import msgspec

from supervisor.errors import InvalidArgument

MAX_LENGTH = 8192
_PORTS = {"http": 80, "https": 443}
_ALLOWED = re.compile(r"[!-~]+")
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]+\]")


class Origin(msgspec.Struct, frozen=True):
    """Who is spoken to: scheme, host in lower case (an IPv6 address in brackets), port."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}"

    @property
    def plain(self) -> bool:
        """Whether everybody on the way can read along."""
        return self.scheme == "http"

    @property
    def loopback(self) -> bool:
        """Whether it can only be this machine."""
        return is_loopback(self.host)


class WebUrl(msgspec.Struct, frozen=True):
    """A URL without user and fragment; `target` is its path and query."""

    origin: Origin
    target: str

    def __str__(self) -> str:
        return f"{self.origin}{self.target}"

    def join(self, reference: str) -> WebUrl:
        """Where a Location header leads from here; InvalidArgument for what cannot be."""
        _check(reference)
        return parse(urljoin(str(self), reference))


def parse(text: str) -> WebUrl:
    """A URL from its text; raises InvalidArgument."""
    _check(text)
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise _invalid(text, str(error)) from None
    if parts.scheme not in _PORTS:
        raise _invalid(text, "its scheme is neither https nor http")
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    if "@" in parts.netloc or not _HOST.fullmatch(host):
        raise _invalid(text, "it has no plain host name")
    if port == 0:
        raise _invalid(text, "port 0")
    path = parts.path or "/"
    query = f"?{parts.query}" if parts.query else ""
    origin = Origin(parts.scheme, host.lower(), port or _PORTS[parts.scheme])
    return WebUrl(origin, path + query)


def check_redirect(registry: Origin, at: Origin, to: Origin) -> None:
    """InvalidArgument if a `registry` may not send us from `at` to `to`.

    Not from TLS to none; and not to this machine or its link, where services trust whoever
    can reach them (a cloud's metadata, say), unless the registry is there itself.
    """
    if to.plain and not at.plain:
        raise InvalidArgument(f"{at} leads to {to}, without TLS: refused")
    if _is_near(to.host) and not _is_near(registry.host):
        raise InvalidArgument(f"{at} leads to {to}, an address of this machine: refused")


def is_loopback(host: str) -> bool:
    """`localhost`, 127.0.0.0/8 or ::1, however written; other names are never looked up."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _is_near(host: str) -> bool:
    if is_loopback(host):
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None) or address
    return mapped.is_loopback or mapped.is_link_local or mapped.is_unspecified


def _check(text: str) -> None:
    if len(text) > MAX_LENGTH:
        raise InvalidArgument(f"invalid URL: longer than {MAX_LENGTH} characters")
    if not _ALLOWED.fullmatch(text) or "\\" in text:
        raise _invalid(text, "it has characters that no URL has")


def _invalid(text: str, why: str) -> InvalidArgument:
    return InvalidArgument(f"invalid URL {text!r:.200}: {why}")
