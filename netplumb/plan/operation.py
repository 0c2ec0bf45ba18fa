"""What is to be done, as values: decided here, executed by `netplumb.apply`."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec


@dataclass(frozen=True, slots=True)
class Operation:
    """One netlink message and what it does."""

    what: str
    message: bytes = field(repr=False)

    def describe(self) -> str:
        """What it does, for logs and errors."""
        return self.what


class Setting(msgspec.Struct, frozen=True):
    """A value for a file below /proc/sys/net."""

    path: str
    value: str

    def describe(self) -> str:
        """As sysctl(8) would write it."""
        return f"net.{self.path.replace('/', '.')} = {self.value}"
