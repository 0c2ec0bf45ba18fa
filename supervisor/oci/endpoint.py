"""Where the registry of a reference is: its mirrors first, then itself.

docker.io is served by registry-1.docker.io. TLS is a must, but for registries that the
user called insecure and, as in docker, for this machine.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping

import msgspec

from supervisor.errors import InvalidArgument
from supervisor.oci import reference, web_url
from supervisor.oci.web_url import Origin

HUB = "registry-1.docker.io"

_DOMAIN = re.compile(r"(?:[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?")


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One server to ask. `origins` are tried in order until one of them speaks.

    `verify` is False where its certificate does not count. `mirror` tells that it is not
    the registry itself: it gets none of the registry's credentials.
    """

    origins: tuple[Origin, ...]
    verify: bool = True
    mirror: bool = False

    def __str__(self) -> str:
        return str(self.origins[0])


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """Which registries need no TLS ("host[:port]", or a network of addresses), and mirrors.

    `mirrors` are base URLs by the domain of references ("docker.io").
    """

    insecure: tuple[str, ...] = ()
    mirrors: Mapping[str, tuple[str, ...]] = msgspec.field(default_factory=dict)

    def is_insecure(self, domain: str) -> bool:
        """Whether the user allowed to speak to `domain` (host[:port]) without TLS."""
        return domain.lower() in self.insecure or any(
            _within(host_of(domain), network) for network in self.insecure if "/" in network
        )

    def lenient(self, origin: Origin, registry: Origin) -> bool:
        """Whether `origin`, which `registry` sends us to, may do without TLS or with a
        certificate that nobody vouches for.
        """
        domain = str(origin).partition("://")[2]
        if self.is_insecure(domain) or self.is_insecure(f"{origin.host}:{origin.port}"):
            return True
        return origin.loopback and registry.loopback

    def endpoints(self, domain: str) -> tuple[Endpoint, ...]:
        """What to ask for images of `domain`, in order."""
        return (*map(self.mirror, self.mirrors.get(domain, ())), self.registry(domain))

    def registry(self, domain: str) -> Endpoint:
        """The registry itself."""
        server = HUB if domain == reference.DEFAULT_DOMAIN else domain
        secure = _origin("https", server)
        if not (self.is_insecure(domain) or secure.loopback):
            return Endpoint(origins=(secure,))
        return Endpoint(origins=(secure, _origin("http", server)), verify=False)

    def mirror(self, url: str) -> Endpoint:
        """A mirror by its base URL; http:// is what the user chose then."""
        origin = web_url.parse(url).origin
        domain = str(origin).partition("://")[2]
        insecure = self.is_insecure(domain) or origin.loopback
        return Endpoint(origins=(origin,), verify=not insecure, mirror=True)


def checked(insecure: Iterable[str], mirrors: Mapping[str, Iterable[str]]) -> Rules:
    """Rules from what a user wrote; raises InvalidArgument saying what would be right."""
    return Rules(
        insecure=tuple(_insecure(entry) for entry in insecure),
        mirrors={
            _domain(domain): tuple(_mirror(url) for url in urls) for domain, urls in mirrors.items()
        },
    )


def host_of(domain: str) -> str:
    """The host of `host[:port]`; an IPv6 address stays in its brackets."""
    host, colon, port = domain.rpartition(":")
    return host if colon and port.isdecimal() else domain


def login_domain(server: str) -> str:
    """The domain that `docker login SERVER` means: "" and docker's old URL are docker.io.

    InvalidArgument for what cannot be one.
    """
    text = server.strip()
    for prefix in ("https://", "http://"):
        text = text.removeprefix(prefix)
    text = text.partition("/")[0] or reference.DEFAULT_DOMAIN
    if text in ("index.docker.io", HUB, "registry.hub.docker.com"):
        return reference.DEFAULT_DOMAIN
    return _domain(text)


def _origin(scheme: str, domain: str) -> Origin:
    return web_url.parse(f"{scheme}://{domain}").origin


def _within(host: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")) in ipaddress.ip_network(network)
    except ValueError:  # a name: no network has it, whatever a name server says
        return False


def _insecure(entry: str) -> str:
    if "/" in entry and "://" not in entry:
        try:
            return str(ipaddress.ip_network(entry, strict=False))
        except ValueError:
            pass
    if not _DOMAIN.fullmatch(entry):
        raise InvalidArgument(
            f"insecure registry {entry!r:.200}: give host[:port], without a scheme, or a network "
            "such as 10.0.0.0/8"
        )
    return entry.lower()


def _domain(text: str) -> str:
    if not _DOMAIN.fullmatch(text):
        raise InvalidArgument(f"registry {text!r:.200}: give host[:port], such as docker.io")
    _origin("https", text)
    return text.lower()


def _mirror(url: str) -> str:
    parsed = web_url.parse(url)
    if parsed.target != "/":
        raise InvalidArgument(
            f"mirror {url!r:.200}: give https://host[:port]; a path or query is not supported"
        )
    return str(parsed.origin)
