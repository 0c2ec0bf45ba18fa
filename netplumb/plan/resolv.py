"""resolv.conf(5): which servers the host asks, and what a container gets to read."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address

import msgspec

MOST_SERVERS = 3  # MAXNS of the C library
_LONGEST_FILE = 65536


class Resolv(msgspec.Struct, frozen=True):
    """The `nameserver` lines (an IPv6 address may have a zone), and the last of the others."""

    servers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


def parse(text: str) -> Resolv:
    """What a resolv.conf says; lines that make no sense are left out, as resolvers do."""
    servers: list[str] = []
    search: tuple[str, ...] = ()
    options: list[str] = []
    for line in text[:_LONGEST_FILE].splitlines():
        words = line.split()
        if len(words) < 2 or line[0] in "#;":
            continue
        if words[0] == "nameserver" and _is_address(words[1]):
            servers.append(words[1])
        elif words[0] in ("search", "domain"):
            search = tuple(words[1:]) if words[0] == "search" else (words[1],)
        elif words[0] == "options":
            options += words[1:]
    return Resolv(tuple(servers[:MOST_SERVERS]), search, tuple(options))


def render(server: str, search: Sequence[str] = (), options: Sequence[str] = ()) -> str:
    """A container's resolv.conf."""
    lines = [f"nameserver {server}"]
    if search:
        lines.append(f"search {' '.join(search)}")
    if options:
        lines.append(f"options {' '.join(options)}")
    return "\n".join(lines) + "\n"


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
