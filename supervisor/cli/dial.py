"""Connecting to the daemon: unix:///path, tcp://host:port, with TLS as docker's flags have it."""

from __future__ import annotations

import os
import socket
from typing import NamedTuple

from supervisor.cli.failures import Failure

PLAIN_PORT = 2375
TLS_PORT = 2376
CONNECT_SECONDS = 30.0


class Tls(NamedTuple):
    """Files; a `cert` that is "" is not shown. Without `verify` anybody may be the daemon."""

    ca: str
    cert: str
    key: str
    verify: bool


def tls_files(ca: str | None, cert: str | None, key: str | None, *, verify: bool) -> Tls:
    """The files named, or docker's: ca.pem, cert.pem and key.pem in DOCKER_CERT_PATH, ~/.docker."""
    from pathlib import Path

    folder = Path(os.environ.get("DOCKER_CERT_PATH") or "~/.docker").expanduser()

    def file(given: str | None, name: str) -> str:
        if given is not None:
            return given
        path = folder / name
        return str(path) if path.exists() else ""

    return Tls(file(ca, "ca.pem"), file(cert, "cert.pem"), file(key, "key.pem"), verify)


class Dialer:
    """Makes connections to `address`; `failure` is why a secured one was lost, if it tells."""

    def __init__(self, address: str, tls: Tls | None) -> None:
        self.failure = ""
        self._tls = tls
        self._path, self._host, self._port = _parse(address, secure=tls is not None)

    def dial(self) -> socket.socket | str:
        """A connected socket, or the path of a unix socket; OSError, Failure."""
        if self._path:
            return self._path
        sock = socket.create_connection((self._host, self._port), timeout=CONNECT_SECONDS)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                from supervisor.cli.tls import secure

                return secure(sock, self._host, self._tls, self._failed)
            sock.settimeout(None)
        except BaseException:
            sock.close()
            raise
        return sock

    def _failed(self, reason: str) -> None:
        self.failure = reason


def _parse(address: str, *, secure: bool) -> tuple[str, str, int]:
    """(path, "", 0) or ("", host, port)."""
    scheme, separator, rest = address.partition("://")
    if separator and scheme == "unix" and rest.startswith("/"):
        return rest, "", 0
    rest = rest.rstrip("/")
    if not (separator and scheme == "tcp" and rest) or "/" in rest:
        raise Failure(
            f"invalid --host {address!r}: give unix:///path/to/socket or tcp://HOST[:PORT]"
        )
    host, colon, port = rest.rpartition(":")
    if not colon or port.endswith("]"):
        host, port = rest, str(TLS_PORT if secure else PLAIN_PORT)
    if not (port.isascii() and port.isdecimal() and 0 < int(port) <= 0xFFFF):
        raise Failure(f"invalid --host {address!r}: {port!r} is no port")
    return "", host.removeprefix("[").removesuffix("]") or "127.0.0.1", int(port)
