"""The text of the files that a container is given: /etc/hosts, /etc/hostname, /etc/resolv.conf.

Text in, text out. Formats: hosts(5), hostname(5), resolv.conf(5).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from supervisor.errors import InvalidArgument

HOSTS, HOSTNAME, RESOLV = "/etc/hosts", "/etc/hostname", "/etc/resolv.conf"
PATHS = (HOSTS, HOSTNAME, RESOLV)
HOST_GATEWAY = "host-gateway"
NO_SEARCH = "."
NAME_SERVER = "127.0.0.11"

_LOCAL = """\
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolver:
    """What a resolv.conf says; lines that are neither of these are kept in `others`."""

    nameservers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


def parse_extra_host(text: str, gateway: str = "") -> tuple[str, str]:
    """One --add-host, NAME:IP or NAME=IP, as (name, address).

    `gateway` is the address that the word host-gateway stands for. Raises InvalidArgument
    in docker's words.
    """
    name, mark, address = text.partition("=") if "=" in text else text.partition(":")
    if not mark or not name or any(not 33 <= ord(c) < 127 or c in "#:=" for c in name):
        raise InvalidArgument(f"bad format for add-host: {text!a:.200}")
    if address == HOST_GATEWAY:
        if not gateway:
            raise InvalidArgument(
                f"unable to derive the IP value for host-gateway in add-host: {text!a:.200}: the "
                "container has no network that leads to the host"
            )
        return name, gateway
    if address.startswith("[") and address.endswith("]"):
        address = address[1:-1]
    if not _is_address(address):
        raise InvalidArgument(f"invalid IP address in add-host: {address!a:.200}")
    return name, address


def check_resolver(dns: Iterable[str], search: Iterable[str], options: Iterable[str]) -> None:
    """InvalidArgument for what would not be a word of resolv.conf."""
    for address in dns:
        if not _is_address(address):
            raise InvalidArgument(f"IP address is not correctly formatted: {address!a:.200}")
    for what, words in (("--dns-search", search), ("--dns-option", options)):
        for word in words:
            if not word or any(not 33 <= ord(c) < 127 for c in word):
                raise InvalidArgument(f"invalid {what}: {word!a:.200} is no word of resolv.conf")


def hosts_text(
    names: Sequence[str], addresses: Sequence[str], extra: Iterable[tuple[str, str]] = ()
) -> str:
    """/etc/hosts: localhost, the container's own `names` at its `addresses`, then `extra`."""
    lines = [f"{address}\t{name}\n" for name, address in extra]
    return with_hosts(_LOCAL + "".join(lines), names, addresses)


def with_hosts(text: str, names: Sequence[str], addresses: Iterable[str]) -> str:
    """/etc/hosts with lines for a container's own `names` at these addresses."""
    end = "" if not text or text.endswith("\n") else "\n"
    return text + end + "".join(_own_line(names, address) for address in addresses if names)


def without_hosts(text: str, names: Sequence[str], addresses: Iterable[str]) -> str:
    """/etc/hosts without the lines that `with_hosts` makes; others are left as they are."""
    gone = {_own_line(names, address) for address in addresses}
    return "".join(line for line in text.splitlines(keepends=True) if line not in gone)


def _own_line(names: Sequence[str], address: str) -> str:
    return f"{address}\t{' '.join(names)}\n"


def with_extra_hosts(text: str, extra: Iterable[tuple[str, str]]) -> str:
    """The host's own /etc/hosts, for a container in its network, with further lines."""
    end = "" if not text or text.endswith("\n") else "\n"
    return text + end + "".join(f"{address}\t{name}\n" for name, address in extra)


@lru_cache(maxsize=4)  # the host's seldom changes, and every start asks
def parse_resolver(text: str) -> Resolver:
    """A resolv.conf; of several search lines the last counts, as for the C library."""
    nameservers: list[str] = []
    options: list[str] = []
    others: list[str] = []
    search: tuple[str, ...] = ()
    for line in text.splitlines():
        if not line.strip() or line.lstrip()[0] in "#;":
            continue
        keyword, *words = line.split()
        if keyword == "nameserver":
            nameservers += words[:1]
        elif keyword in ("search", "domain"):
            search = tuple(words)
        elif keyword == "options":
            options += words
        else:
            others.append(" ".join([keyword, *words]))
    return Resolver(
        nameservers=tuple(nameservers),
        search=search,
        options=tuple(options),
        others=tuple(others),
    )


@lru_cache(maxsize=64)
def is_loopback(address: str) -> bool:
    """Whether it leads nowhere from another network namespace (127.0.0.53, ::1)."""
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False


def resolver_text(
    host: Resolver,
    *,
    dns: Sequence[str] = (),
    search: Sequence[str] = (),
    options: Sequence[str] = (),
    keep_loopback: bool = False,
) -> str:
    """/etc/resolv.conf: the host's, each part replaced by what was asked for.

    The host's loopback name servers are left out unless the container shares its network.
    A search of "." alone is none.
    """
    servers = dns or [a for a in host.nameservers if keep_loopback or not is_loopback(a)]
    domains = [word for word in search or host.search if word != NO_SEARCH]
    words = options or host.options
    return "".join(
        (
            *(f"nameserver {address}\n" for address in servers),
            *([f"search {' '.join(domains)}\n"] if domains else []),
            *([f"options {' '.join(words)}\n"] if words else []),
            *(f"{line}\n" for line in host.others),
        )
    )


def named_resolver_text(
    host: Resolver, *, search: Sequence[str] = (), options: Sequence[str] = ()
) -> str:
    """/etc/resolv.conf of a container that asks our name server.

    As docker's: a name without a dot may be a container's, and is asked for as it is at first.
    """
    words = list(options or host.options)
    if not any(word.startswith("ndots:") for word in words):
        words.append("ndots:0")
    return resolver_text(host, dns=(NAME_SERVER,), search=search, options=words)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
