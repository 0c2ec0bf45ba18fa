"""Image references as docker understands them: `[domain/]path[:tag][@digest]`.

Grammar and normalisation follow github.com/distribution/reference: a name without a
domain belongs to docker.io, one of a single component to docker.io/library. The familiar
form, the one that people see, leaves those defaults out again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache

from supervisor.errors import InvalidArgument
from supervisor.oci.digest import Digest

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"
_LEGACY_DOMAIN = "index.docker.io"
_OFFICIAL = "library/"

MAX_NAME = 255
# The grammar bounds neither domain nor digest; nothing real is longer than this, and the
# patterns below never see more.
_MAX_REFERENCE = 1024

_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_DOMAIN = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_PATH = rf"{_COMPONENT}(?:/{_COMPONENT})*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_REFERENCE = re.compile(rf"(?P<path>{_PATH})(?::(?P<tag>{_TAG}))?(?:@(?P<digest>[^@]+))?")
_DOMAIN_ONLY = re.compile(_DOMAIN)
_IDENTIFIER = re.compile(r"[a-f0-9]{64}")
_ID_PREFIX = re.compile(r"(?:sha256:)?(?P<hex>[a-f0-9]{1,64})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A normalised reference; `tag` and `digest` are "" and None where not given."""

    domain: str
    path: str
    tag: str = ""
    digest: Digest | None = None

    def __str__(self) -> str:
        return f"{self.domain}/{self.path}{self._suffix()}"

    @property
    def familiar_name(self) -> str:
        """The name without docker.io, library/, tag and digest: "busybox".

        docker.io stays where the name would be another registry's without it.
        """
        if self.domain != DEFAULT_DOMAIN or _split_domain(self.path) != (self.domain, self.path):
            return f"{self.domain}/{self.path}"
        official = self.path.removeprefix(_OFFICIAL)
        return self.path if "/" in official else official

    @property
    def familiar(self) -> str:
        """The form that people see: "busybox:latest", "host:5000/name@sha256:…"."""
        return self.familiar_name + self._suffix()

    def with_default_tag(self) -> Reference:
        """The reference itself, with tag "latest" if it has neither tag nor digest."""
        return self if self.tag or self.digest else replace(self, tag=DEFAULT_TAG)

    def _suffix(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{tag}@{self.digest}" if self.digest else tag


@lru_cache(maxsize=256)
def parse(text: str) -> Reference:
    """A reference from what a user wrote; raises InvalidArgument in docker's words."""
    if _IDENTIFIER.fullmatch(text):
        raise InvalidArgument(
            f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings"
        )
    if len(text) > _MAX_REFERENCE:
        raise InvalidArgument("invalid reference format")
    domain, remainder = _split_domain(text)
    remote = remainder.partition(":")[0]
    if remote.lower() != remote:
        raise InvalidArgument(
            f"invalid reference format: repository name ({remote}) must be lowercase"
        )
    match = _REFERENCE.fullmatch(remainder)
    if match is None or not _DOMAIN_ONLY.fullmatch(domain):
        raise InvalidArgument("invalid reference format")
    if len(match["path"]) > MAX_NAME:
        raise InvalidArgument(f"repository name must not be more than {MAX_NAME} characters")
    digest = Digest.parse(match["digest"]) if match["digest"] else None
    return Reference(domain=domain, path=match["path"], tag=match["tag"] or "", digest=digest)


def id_prefix(text: str) -> str:
    """The hexadecimal digits if `text` may be (the start of) an image id, else ""."""
    match = _ID_PREFIX.fullmatch(text)
    return match["hex"] if match else ""


def is_full_id(text: str) -> bool:
    """Whether `text` can only be an image id: 64 digits, with or without `sha256:`."""
    return _IDENTIFIER.fullmatch(text.removeprefix("sha256:")) is not None


def _split_domain(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    if not slash:
        return DEFAULT_DOMAIN, _OFFICIAL + name
    # A dot, a port or an upper-case letter can only be a domain; so is "localhost".
    if first == "localhost" or "." in first or ":" in first or first.lower() != first:
        domain, remote = first, rest
    else:
        domain, remote = DEFAULT_DOMAIN, name
    if domain == _LEGACY_DOMAIN:
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and "/" not in remote:
        remote = _OFFICIAL + remote
    return domain, remote
