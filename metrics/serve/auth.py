"""Basic authentication against bcrypt hashes (RFC 7617)."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping

import trio

MAX_REMEMBERED = 64
_BCRYPT_BYTES = 72
"""bcrypt looks at no more of a password."""

_NOBODY = "$2b$10$" + "." * 53


class BasicAuth:
    """Checks passwords one at a time in a thread: a hash costs 50 ms of CPU and more.

    Right ones are remembered (as a hash), so that a scraper pays once; wrong ones queue up.
    """

    def __init__(self) -> None:
        self._right: dict[bytes, None] = {}
        self._limiter = trio.CapacityLimiter(1)

    async def allows(self, users: Mapping[str, str], header: bytes) -> bool:
        """Whether an Authorization header is that of one of `users` (bcrypt hash by name)."""
        credentials = decode(header)
        if credentials is None:
            return False
        user, password = credentials
        # A name that does not exist takes as long as a wrong password.
        hashed = users.get(user, _NOBODY)
        proof = hashlib.sha256(b"\0".join((user.encode(), hashed.encode(), password))).digest()
        if proof in self._right:
            return True
        matches = await trio.to_thread.run_sync(
            _matches, password, hashed, limiter=self._limiter, abandon_on_cancel=True
        )
        if not matches or user not in users:
            return False
        if len(self._right) >= MAX_REMEMBERED:
            del self._right[next(iter(self._right))]
        self._right[proof] = None
        return True


def decode(header: bytes) -> tuple[str, bytes] | None:
    """The name and the password of an Authorization header; None for anything else."""
    scheme, _, encoded = header.partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
        return (user.decode(), password) if colon else None
    except (binascii.Error, UnicodeDecodeError):
        return None


def _matches(password: bytes, hashed: str) -> bool:
    import bcrypt  # noqa: PLC0415 - only where there are users

    try:
        return bcrypt.checkpw(password[:_BCRYPT_BYTES], hashed.encode())
    except ValueError:
        return False
