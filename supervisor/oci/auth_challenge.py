"""What a registry asks for who is not let in: the WWW-Authenticate header.

    WWW-Authenticate: Bearer realm="https://auth.example/token",service="registry.example",
                      scope="repository:library/busybox:pull"

Grammar: RFC 9110, section 11.6.1. Meaning of Bearer: the distribution project's "Docker
Registry v2 authentication via central service".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from supervisor.errors import InvalidArgument
from supervisor.oci import web_url
from supervisor.oci.web_url import Origin, WebUrl

MAX_HEADER = 8192
_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_STRING = r'"(?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[\x20-\x7e])*"'
_PARAMETER = re.compile(rf"[ \t]*({_WORD})[ \t]*=[ \t]*({_WORD}|{_STRING})[ \t]*(?:,[ \t,]*|$)")
_SCHEME = re.compile(rf"[ \t,]*({_WORD})(?:[ \t]+|,[ \t,]*|$)")
_TOKEN68 = re.compile(r"[A-Za-z0-9._~+/-]+=*[ \t]*(?:,[ \t,]*|$)")
_ESCAPED = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """One way in: its scheme ("basic", "bearer") and parameters, names in lower case."""

    scheme: str
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRealm:
    """Where tokens are given out, for which service, and the scopes that were asked for."""

    url: WebUrl
    service: str
    scopes: tuple[str, ...]

    def query(self, scopes: Iterable[str], account: str = "") -> str:
        """The target of a GET for a token for `scopes`."""
        pairs = [("service", self.service)] if self.service else []
        pairs += [("scope", scope) for scope in scopes]
        pairs += [("account", account)] if account else []
        encoded = "&".join(f"{name}={quote(value, safe='')}" for name, value in pairs)
        mark = "&" if "?" in self.url.target else "?"
        return f"{self.url.target}{mark}{encoded}" if encoded else self.url.target


def parse(header: str) -> tuple[Challenge, ...]:
    """The challenges of one header; raises InvalidArgument for what is none."""
    if len(header) > MAX_HEADER:
        raise InvalidArgument(f"WWW-Authenticate is longer than {MAX_HEADER} characters")
    challenges: list[Challenge] = []
    at = 0
    while header[at:].strip(" \t,"):
        scheme = _SCHEME.match(header, at)
        if scheme is None:
            raise InvalidArgument(f"invalid WWW-Authenticate header: {header[at:]!r:.200}")
        at = scheme.end()
        parameters: dict[str, str] = {}
        while parameter := _PARAMETER.match(header, at):
            # The first of a name counts: nobody else's may be put behind it.
            parameters.setdefault(parameter[1].lower(), _value(parameter[2]))
            at = parameter.end()
        if not parameters and (other := _TOKEN68.match(header, at)) and "=" in other[0]:
            at = other.end()  # Negotiate's and the like
        challenges.append(Challenge(scheme=scheme[1].lower(), parameters=parameters))
    return tuple(challenges)


def token_realm(challenge: Challenge, registry: Origin, insecure: bool) -> TokenRealm:
    """Where to get a token that `registry` takes; raises InvalidArgument.

    A realm without TLS would hand password and token to everybody on the way: only a
    registry that is itself spoken to without may name one, on its own host, or if the user
    said that the realm's host is `insecure` to use.
    """
    realm = challenge.parameters.get("realm", "")
    if not realm:
        raise InvalidArgument(f"{registry}: its Bearer challenge names no realm")
    url = web_url.parse(realm)
    if url.origin.plain and not (registry.plain and (url.origin.host == registry.host or insecure)):
        raise InvalidArgument(
            f"{registry} wants the password to be sent to {url.origin}, without TLS: refused"
        )
    if url.origin.loopback and not registry.loopback:
        raise InvalidArgument(
            f"{registry} wants the password to be sent to {url.origin}, on this machine: refused"
        )
    return TokenRealm(
        url=url,
        service=challenge.parameters.get("service", ""),
        scopes=tuple(challenge.parameters.get("scope", "").split()),
    )


def _value(text: str) -> str:
    return _ESCAPED.sub(r"\1", text[1:-1]) if text[:1] == '"' else text
