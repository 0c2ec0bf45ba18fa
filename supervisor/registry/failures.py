"""How asking a registry fails: what may be asked again, and what to tell the user."""

from __future__ import annotations

from supervisor.errors import Forbidden, InvalidArgument, NotFound, OrlopError, Unavailable
from supervisor.oci import registry_errors
from supervisor.oci.reference import Reference
from supervisor.oci.registry_errors import RemoteError

LATER = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses that may be different when the same is asked again."""


class Interrupted(Unavailable):
    """No answer, or not all of it. `connected` False: there was nobody to talk to."""

    def __init__(self, message: str, *, connected: bool) -> None:
        super().__init__(message)
        self.connected = connected


class Refused(OrlopError):
    """The registry answered with an error; `remote` is what it said.

    `known` tells whether it knew who was asking when it refused.
    """

    code = "internal"
    status = 500

    def __init__(self, what: str, status: int, remote: tuple[RemoteError, ...]) -> None:
        said = "; ".join(map(str, remote)) or f"HTTP status {status}"
        super().__init__(f"{what}: {said}")
        self.http_status = status
        self.remote = remote
        self.said = said

    def has(self, code: str) -> bool:
        """Whether one of its errors has this code."""
        return any(error.code == code for error in self.remote)


class LoginNeeded(Refused):
    """The registry wants other credentials, or some at all; `given` are those that it had."""

    def __init__(
        self, what: str, status: int, remote: tuple[RemoteError, ...], given: str = ""
    ) -> None:
        super().__init__(what, status, remote)
        self.given = given


def refused(what: str, status: int, body: bytes, given: str = "") -> Refused:
    """The error that an answer with this status and body is."""
    remote = registry_errors.decode(body)
    if status in (401, 403):
        return LoginNeeded(what, status, remote, given)
    return Refused(what, status, remote)


def pull_error(error: Refused, ref: Reference) -> OrlopError:
    """The error in docker's words, where docker has words for it."""
    if isinstance(error, LoginNeeded):
        return _denied(error, ref)
    if error.has(registry_errors.NAME_UNKNOWN):
        return NotFound(f"repository {ref.familiar_name} not found: {error.said}")
    if error.has(registry_errors.MANIFEST_UNKNOWN) or error.http_status == 404:
        return NotFound(f"manifest for {ref.familiar} not found: {error.said}")
    if error.http_status in LATER:
        return Unavailable(str(error))
    return InvalidArgument(str(error)) if error.http_status < 500 else error


def push_error(error: Refused, ref: Reference) -> OrlopError:
    """Why a push is refused."""
    if isinstance(error, LoginNeeded):
        return Forbidden(f"{_said(error)}: {_advice(error, ref.domain)}")
    return error


def _denied(error: LoginNeeded, ref: Reference) -> OrlopError:
    if error.given == "basic" or (error.http_status == 401 and not error.given):
        return Forbidden(f"{_said(error)}: {_advice(error, ref.domain)}")
    return NotFound(
        f"pull access denied for {ref.familiar_name}, repository does not exist or may require "
        f"'docker login': {_said(error)}"
    )


def _said(error: LoginNeeded) -> str:
    known = [one for one in error.remote if one.message]
    if known:
        return "; ".join(map(str, known))
    if error.http_status == 401 and error.given != "token":
        return "unauthorized: authentication required"
    return "denied: requested access to the resource is denied"


def _advice(error: LoginNeeded, domain: str) -> str:
    if error.given == "basic":
        return f"the user name or password for {domain} is wrong"
    if error.given:
        return f"this user of {domain} may not do that"
    return (
        f"no basic auth credentials: log in with `docker login {domain}` or `orlop login {domain}`"
    )
