"""Who a client is to a registry: docker's X-Registry-Auth header and the body of POST /auth."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field

import msgspec

from supervisor.errors import InvalidArgument

MAX_HEADER = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A user's; no secret of them is in a repr. All "" is nobody.

    `identity_token` is a refresh token that stands for the password, `registry_token` one
    that is sent to the registry as it is.
    """

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)
    server: str = ""

    @property
    def anonymous(self) -> bool:
        """Nothing in them lets anybody in."""
        return not (self.password or self.identity_token or self.registry_token)

    @property
    def basic(self) -> str:
        """The value of an Authorization header."""
        pair = f"{self.username}:{self.password}".encode()
        return "Basic " + base64.b64encode(pair).decode()


NOBODY = Credentials()


class AuthBody(msgspec.Struct):
    """The body of POST /auth, and the JSON in X-Registry-Auth."""

    username: str | None = None
    password: str | None = None
    auth: str | None = None
    serveraddress: str | None = None
    identitytoken: str | None = None
    registrytoken: str | None = None


def decode_header(value: str) -> Credentials:
    """Of X-Registry-Auth, base64url of JSON with or without padding; "" is nobody.

    Raises InvalidArgument, which never quotes the header.
    """
    if not value.strip():
        return NOBODY
    if len(value) > MAX_HEADER:
        raise InvalidArgument("invalid X-Registry-Auth header: too long")
    text = value.strip().rstrip("=").replace("+", "-").replace("/", "_")
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise InvalidArgument("invalid X-Registry-Auth header: not base64url") from None
    return decode_body(raw, "X-Registry-Auth header")


def decode_body(raw: bytes, what: str = "auth request") -> Credentials:
    """Of docker's JSON object AuthConfig; raises InvalidArgument, which never quotes it."""
    try:
        body = msgspec.json.decode(raw, type=AuthBody | None)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidArgument(f"invalid {what}: not a JSON object of docker's form") from None
    if body is None:
        return NOBODY
    username, password = body.username or "", body.password or ""
    if body.auth and not password:
        username, password = split_pair(body.auth)
    if ":" in username or any(c < " " for c in username + password):
        raise InvalidArgument(
            f"invalid {what}: the user name or password has characters that no "
            "user name or password can have"
        )
    return Credentials(
        username=username,
        password=password,
        identity_token=_header_safe(body.identitytoken, what),
        registry_token=_header_safe(body.registrytoken, what),
        server=body.serveraddress or "",
    )


def split_pair(encoded: str) -> tuple[str, str]:
    """User and password of base64 "user:password"; raises InvalidArgument."""
    try:
        pair = base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, ValueError):
        raise InvalidArgument("invalid auth: not base64 of user:password") from None
    user, colon, password = pair.partition(":")
    if not user or not colon:
        raise InvalidArgument("invalid auth: not base64 of user:password")
    # Docker's own writing had zero bytes at the end once.
    return user, password.rstrip("\0")


def _header_safe(token: str | None, what: str) -> str:
    if token and not (token.isascii() and token.isprintable()):
        raise InvalidArgument(f"invalid {what}: a token has characters that no token can have")
    return token or ""
