"""Who is at the other end of a connection, and which callers no TCP port serves."""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Mapping
from typing import Any

import msgspec
import trio

from supervisor.api.plain_heads import Head
from supervisor.errors import Forbidden

_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid (unix(7))
_SHORT = {"commonName": "CN", "organizationName": "O", "organizationalUnitName": "OU"}
_LONGEST = 200


class Peer(msgspec.Struct, frozen=True):
    """`name` for the log; `open_port`: every program on this host gets here, browsers too."""

    name: str
    open_port: bool = False


def peer_of(
    sock: socket.socket | trio.socket.SocketType, certificate: Mapping[str, Any] | None = None
) -> Peer:
    """The caller on an accepted socket; `certificate` is what it showed."""
    if sock.family == socket.AF_UNIX:
        raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid, uid, gid = _CREDENTIALS.unpack(raw)
        return Peer(f"uid={uid} gid={gid} pid={pid}")
    host, port = sock.getpeername()[:2]
    if certificate is None:
        return Peer(f"{host}:{port}", open_port=True)
    return Peer(f"{_subject(certificate)} at {host}:{port}")


def _subject(certificate: Mapping[str, Any]) -> str:
    words = [
        f"{_SHORT.get(name, name)}={value}"
        for group in certificate.get("subject", ())
        for name, value in group
    ]
    text = ",".join(words) or "a certificate without subject"
    return text.encode("unicode_escape").decode()[:_LONGEST]


def refuse_web_pages(request: Head) -> None:
    """Forbidden for what a browser sends for a page that is not this daemon's own.

    Any page may make a browser send requests to a port on this host. Such a request names its
    page in `Origin`; one to a name that was bent to point here has that name as its `Host`.
    """
    headers = dict(request.headers)
    host = headers.get(b"host", b"").decode("latin-1")
    if not _is_local(host):
        raise Forbidden(f"Host {host:.80}: this port answers to 127.0.0.1, [::1] and localhost")
    origin = headers.get(b"origin", b"").decode("latin-1")
    if origin and origin.partition("://")[2] != host:
        raise Forbidden(f"Origin {origin:.80}: web pages are not served")


def _is_local(host: str) -> bool:
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if name.lower() in ("", "localhost", "api.moby.localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
