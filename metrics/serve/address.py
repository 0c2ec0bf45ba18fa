"""Where the metrics are served: `127.0.0.1:9323`, `[::1]:9323`, `:9323` for all addresses."""

from __future__ import annotations

import errno
from typing import NamedTuple

import trio

from metrics.errors import AddressError, ConfigError

DEFAULT = "127.0.0.1:9323"
_BACKLOG = 64


class Address(NamedTuple):
    """`host` None: every address of this host."""

    host: str | None
    port: int

    def __str__(self) -> str:
        host = self.host or ""
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"


def parse(text: str) -> Address:
    """ConfigError for what is no address and port."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        colon = ""
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ConfigError(
            f"metrics address {text!r} is not HOST:PORT, such as {DEFAULT} or [::1]:9323"
        )
    return Address(host or None, int(port))


async def listen(address: Address) -> list[trio.SocketListener]:
    """Listen there; AddressError when that cannot be. Port 0: one that is free."""
    try:
        return await trio.open_tcp_listeners(address.port, host=address.host, backlog=_BACKLOG)
    except OSError as error:
        raise AddressError(f"cannot serve metrics on {address}: {_reason(error)}") from None


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "another program listens there; choose another port, or end that program"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this host does not have that address"
    return error.strerror or str(error)
