"""--publish and --expose: ports as docker writes them, as pieces of a create request.

Both raise ValueError saying what was wrong. Which ports are free only the daemon knows.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable

Binding = dict[str, str]
Published = tuple[str, Binding]
"""A container's port ("80/tcp"), and where on the host it is to be found."""

PROTOCOLS = ("tcp", "udp", "sctp")
_LAST = 65535
_FORM = "[IP:][HOSTPORT:]CONTAINERPORT[/PROTOCOL] is expected, as 8080:80 or [::1]:8000-8002:80-82"


def publish(text: str) -> list[Published]:
    """[IP:][HOST[-LAST]:]CONTAINER[-LAST][/PROTOCOL]; without a host port, any free one.

    A range of host ports for one container port asks for a free one of these.
    """
    before, _, inside = text.rpartition(":")
    address, _, outside = before.rpartition(":")
    inside, protocol = _protocol(inside)
    if not inside:
        raise ValueError(f"no container port in '{text}': {_FORM}")
    host_ip = _address(address) if address else ""
    first, last = _range(inside, "container port")
    if outside in ("", "0"):
        return _pairs(range(first, last + 1), protocol, host_ip, [outside] * (last - first + 1))
    lowest, highest = _range(outside, "host port")
    if first == last and lowest != highest:
        return _pairs([first], protocol, host_ip, [f"{lowest}-{highest}"])
    if last - first != highest - lowest:
        raise ValueError(
            f"invalid ranges specified for container and host ports: {inside} and {outside}"
            " are not of the same length"
        )
    ports = map(str, range(lowest, highest + 1))
    return _pairs(range(first, last + 1), protocol, host_ip, ports)


def expose(text: str) -> list[str]:
    """The ports of PORT[-LAST][/PROTOCOL] as "80/tcp"."""
    if ":" in text:
        raise ValueError(
            "PORT[-LAST][/PROTOCOL] is expected; --publish is for ports that the host shows"
        )
    ports, protocol = _protocol(text)
    first, last = _range(ports, "port")
    return [f"{port}/{protocol}" for port in range(first, last + 1)]


def bindings(published: Iterable[Published]) -> dict[str, list[Binding]]:
    """PortBindings of a create request."""
    found: dict[str, list[Binding]] = {}
    for port, binding in published:
        found.setdefault(port, []).append(binding)
    return found


def _pairs(
    inside: Iterable[int], protocol: str, host_ip: str, outside: Iterable[str]
) -> list[Published]:
    return [
        (f"{port}/{protocol}", {"HostIp": host_ip, "HostPort": host})
        for port, host in zip(inside, outside, strict=True)
    ]


def _protocol(text: str) -> tuple[str, str]:
    ports, _, word = text.partition("/")
    protocol = word.lower() or "tcp"
    if protocol not in PROTOCOLS:
        raise ValueError(f"invalid protocol '{word}': tcp, udp or sctp is expected")
    return ports, protocol


def _address(text: str) -> str:
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    family = socket.AF_INET6 if ":" in bare else socket.AF_INET
    try:
        socket.inet_pton(family, bare)
    except (OSError, ValueError):
        raise ValueError(
            f"invalid IP address '{bare}' of the host: an address is expected, no name, as"
            " 127.0.0.1 or [::1]"
        ) from None
    return bare


def _range(text: str, what: str) -> tuple[int, int]:
    low, dash, high = text.partition("-")
    words = (low, high) if dash else (low, low)
    if all(word.isascii() and word.isdecimal() and len(word) <= len(str(_LAST)) for word in words):
        first, last = int(words[0]), int(words[1])
        if 0 < first <= last <= _LAST:
            return first, last
    raise ValueError(
        f"invalid {what} '{text}': a number from 1 to {_LAST} or a range as 8000-8002 is expected"
    )
