"""What can go wrong, by what a caller should do about it.

The texts are sentences for people; a caller decides by the class, and by `Refused.errno`.
"""

from __future__ import annotations

import errno as codes
import os


class NetworkError(Exception):
    """Any failure of this package that is not a mistake in it."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Invalid(NetworkError):
    """What was asked for cannot be; change the request."""


class Taken(NetworkError):
    """An address, port, subnet or name is in use; the message says by whom, if that is known."""


class Exhausted(NetworkError):
    """No address, subnet or port is left; it works again when one is given back."""


class Unsupported(NetworkError):
    """This host's kernel lacks what it needs; the message names the option."""


class Malformed(NetworkError):
    """Bytes do not follow their protocol (netlink, DNS)."""


class Refused(NetworkError):
    """The kernel refused one operation of a batch."""

    def __init__(self, operation: str, errno: int, text: str = "") -> None:
        reason = os.strerror(errno)
        super().__init__(f"{operation}: {reason}" + (f" ({text})" if text else ""))
        self.operation = operation
        self.errno = errno
        self.text = text

    @property
    def code(self) -> str:
        """The errno's name."""
        return codes.errorcode.get(self.errno, str(self.errno))
