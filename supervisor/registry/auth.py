"""Who we are to one registry: Basic, or tokens by scope that a server of its choice gives out.

Nothing is sent before the registry asked for it, and then only to the registry itself and
to the token server it named (see `auth_challenge.token_realm` for which it may name).
"""

from __future__ import annotations

from urllib.parse import urlencode

import msgspec
import trio

from supervisor.errors import InvalidArgument
from supervisor.oci import auth_challenge, web_url
from supervisor.oci.auth_challenge import Challenge, TokenRealm
from supervisor.oci.registry_auth import Credentials
from supervisor.oci.web_url import Origin, WebUrl
from supervisor.registry.backoff import Backoff
from supervisor.registry.failures import LATER, Interrupted, refused
from supervisor.registry.transport import Reply, Transport

MAX_ANSWER = 256 * 1024
CLIENT_ID = "orlop"
_LEAST_SECONDS = 60.0
_USED = 0.9
"""A token is not used in the last tenth of its time: it has a way to go."""

Scopes = tuple[str, ...]


class _Token(msgspec.Struct):
    token: str | None = None
    access_token: str | None = None
    refresh_token: str | None = None
    expires_in: float | None = None


class Authorizer:
    """The credentials for one registry, and the tokens got for them."""

    def __init__(self, transport: Transport, credentials: Credentials) -> None:
        self.credentials = credentials
        self.identity_token = ""
        """A refresh token that the token server gave in exchange for the password."""
        self._transport = transport
        self._basic = False
        self._realm: TokenRealm | None = None
        self._lenient = False
        self._asked: dict[Scopes, Scopes] = {}
        self._tokens: dict[Scopes, tuple[str, float]] = {}
        self._turn = trio.Lock()

    async def header(self, scopes: Scopes) -> str:
        """The Authorization header for a request that needs `scopes`, "" for none.

        Raises Interrupted, Refused, LoginNeeded from the token server.
        """
        if self._basic:
            return self.credentials.basic
        if self._realm is None:
            return ""
        if self.credentials.registry_token:
            return f"Bearer {self.credentials.registry_token}"
        async with self._turn:
            token, until = self._tokens.get(scopes, ("", 0.0))
            if trio.current_time() >= until:
                token = await self._fetch(self._realm, scopes)
            return f"Bearer {token}"

    def kind(self) -> str:
        """What requests are sent with: "basic", "token", "" for nothing."""
        return "basic" if self._basic else "token" if self._realm else ""

    def challenged(self, reply: Reply, registry: Origin, scopes: Scopes, used: str) -> bool:
        """Learn from a 401 of the registry itself; whether to ask again with another `header`.

        `used` is the Authorization header of the request. Raises InvalidArgument for a
        challenge that may not be followed.
        """
        by_scheme = {one.scheme: one for one in _challenges(reply)}
        if "bearer" in by_scheme:
            return self._bearer(by_scheme["bearer"], registry, scopes, used)
        if "basic" in by_scheme and not used and self.credentials.password:
            self._basic = True
            return True
        return False

    def _bearer(self, challenge: Challenge, registry: Origin, scopes: Scopes, used: str) -> bool:
        realm = web_url.parse(challenge.parameters.get("realm", "")).origin
        self._lenient = self._transport.config.rules.lenient(realm, registry)
        self._realm = auth_challenge.token_realm(challenge, registry, self._lenient)
        self._basic = False
        missing = tuple(s for s in self._realm.scopes if s not in scopes)
        self._asked[scopes] = (*scopes, *missing)
        token, _ = self._tokens.get(scopes, ("", 0.0))
        if used == f"Bearer {token}":
            del self._tokens[scopes]  # it has expired, or lacks a scope
        return not (used and self.credentials.registry_token)

    async def _fetch(self, realm: TokenRealm, scopes: Scopes) -> str:
        backoff = Backoff(self._transport.config)
        while True:
            try:
                reply, body = await self._answer(realm, self._asked.get(scopes, scopes))
            except Interrupted as error:
                if not (error.connected and await backoff.pause()):
                    raise
                continue
            if reply.status == 200:
                return self._keep(scopes, body, realm)
            again = reply.status in LATER
            if not (again and await backoff.pause(reply.headers.get("retry-after", ""))):
                what = f"cannot get a token from {realm.url.origin}"
                raise refused(what, reply.status, body, self._given())

    async def _answer(self, realm: TokenRealm, scopes: Scopes) -> tuple[Reply, bytes]:
        reply = await self._ask(realm, scopes)
        try:
            return reply, await reply.read(MAX_ANSWER)
        finally:
            await reply.close()

    def _given(self) -> str:
        return "" if self.credentials.anonymous else "basic"

    async def _ask(self, realm: TokenRealm, scopes: Scopes) -> Reply:
        credentials, verify = self.credentials, not self._lenient
        if credentials.identity_token:
            form = {
                "grant_type": "refresh_token",
                "refresh_token": credentials.identity_token,
                "service": realm.service,
                "client_id": CLIENT_ID,
                "scope": " ".join(scopes),
            }
            return await self._transport.send(
                "POST",
                realm.url,
                {"Content-Type": "application/x-www-form-urlencoded"},
                verify=verify,
                body=urlencode(form).encode(),
            )
        headers = {"Authorization": credentials.basic} if credentials.password else {}
        account = credentials.username if credentials.password else ""
        target = realm.query(scopes, account)
        if not scopes:  # a login: have the password exchanged, where the server does that
            target += ("&" if "?" in target else "?") + f"offline_token=true&client_id={CLIENT_ID}"
        return await self._transport.send(
            "GET", WebUrl(realm.url.origin, target), headers, verify=verify
        )

    def _keep(self, scopes: Scopes, body: bytes, realm: TokenRealm) -> str:
        try:
            answer = msgspec.json.decode(body, type=_Token)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise InvalidArgument(f"{realm.url.origin}: its answer is no token") from None
        token = answer.token or answer.access_token or ""
        if not token or not (token.isascii() and token.isprintable()) or " " in token:
            raise InvalidArgument(f"{realm.url.origin}: its answer has no token")
        seconds = max(_LEAST_SECONDS, min(answer.expires_in or 0.0, 86400.0))
        self._tokens[scopes] = (token, trio.current_time() + seconds * _USED)
        self.identity_token = answer.refresh_token or ""
        return token


def _challenges(reply: Reply) -> list[Challenge]:
    found: list[Challenge] = []
    for header in reply.challenges()[:8]:
        found += auth_challenge.parse(header)
    return found
