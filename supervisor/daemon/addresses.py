"""Where the API is served: `--host` as addresses, and which of them may do without TLS."""

from __future__ import annotations

import argparse
import ipaddress
from collections.abc import Sequence

import msgspec

from supervisor.errors import InvalidArgument

PLAIN_PORT = 2375
TLS_PORT = 2376

_FORMS = "give unix:///absolute/path, tcp://ADDRESS:PORT or fd://"


class UnixAddress(msgspec.Struct, frozen=True):
    """A socket file."""

    path: str


class TcpAddress(msgspec.Struct, frozen=True):
    """An IP address ("" = all) and a port."""

    host: str
    port: int

    @property
    def loopback(self) -> bool:
        """Whether only this host reaches it."""
        return bool(self.host) and ipaddress.ip_address(self.host).is_loopback


class InheritedSockets(msgspec.Struct, frozen=True):
    """The sockets that systemd passes (sd_listen_fds(3))."""


Address = UnixAddress | TcpAddress | InheritedSockets


class Tls(msgspec.Struct, frozen=True, kw_only=True):
    """Mutual TLS: files of the authority of clients, and of the server's certificate and key."""

    ca: str
    cert: str
    key: str


def declare_addresses(parser: argparse.ArgumentParser, host: str, group: str) -> None:
    """The flags about listening; `host` and `group` are the defaults."""
    parser.add_argument(
        "--host",
        "-H",
        metavar="URL",
        action="append",
        help="where to listen: unix:///PATH, tcp://ADDRESS:PORT or fd://; may be given often "
        f"(default: {host})",
    )
    parser.add_argument("--group", help=f"of unix sockets, by name or number (default: {group})")
    parser.add_argument(
        "--read-only-host",
        metavar="URL",
        action="append",
        help="a further unix:///PATH, which serves what changes nothing; may be given often",
    )
    parser.add_argument(
        "--read-only-group",
        metavar="GROUP",
        help="of those sockets, by name or number (default: --group's)",
    )
    for name, words in (
        ("--tls", "use TLS on TCP; needs --tlsverify"),
        ("--tlsverify", "use TLS on TCP, and check clients' certificates"),
        ("--tcp-without-tls", "do without on loopback: everybody on this host can then be root"),
    ):
        parser.add_argument(name, action="store_true", default=None, help=words)
    parser.add_argument("--tlscacert", metavar="FILE", help="authority of clients' certificates")
    parser.add_argument("--tlscert", metavar="FILE", help="the server's certificate")
    parser.add_argument("--tlskey", metavar="FILE", help="the key of the server's certificate")


def tls_of(*, tls: bool, verify: bool, ca: str, cert: str, key: str) -> Tls | None:
    """The TLS that dockerd's flags ask for; InvalidArgument for one that checks no clients."""
    if not verify:
        if tls:
            raise InvalidArgument(
                "--tls without --tlsverify lets everybody in who can connect, and so be root: "
                "give --tlsverify and --tlscacert"
            )
        if ca or cert or key:
            raise InvalidArgument("certificates are given, but not --tlsverify")
        return None
    flags = {"--tlscacert": ca, "--tlscert": cert, "--tlskey": key}
    missing = [name for name, value in flags.items() if not value]
    if missing:
        raise InvalidArgument(f"--tlsverify needs {', '.join(missing)}, too")
    return Tls(ca=ca, cert=cert, key=key)


def parse_hosts(hosts: Sequence[str], tls: Tls | None, *, without_tls: bool) -> tuple[Address, ...]:
    """The addresses of `--host`; InvalidArgument names the first that cannot be."""
    if tls is not None and without_tls:
        raise InvalidArgument("--tcp-without-tls and --tlsverify exclude each other")
    addresses = tuple(parse_host(host, TLS_PORT if tls else PLAIN_PORT) for host in hosts)
    for host, address in zip(hosts, addresses, strict=True):
        if hosts.count(host) > 1 or addresses.count(address) > 1:
            raise InvalidArgument(f"host {host!r} is given twice")
        if isinstance(address, TcpAddress):
            check_tcp(host, address, tls, without_tls=without_tls)
    return addresses


def parse_read_only_hosts(
    hosts: Sequence[str], others: Sequence[Address]
) -> tuple[UnixAddress, ...]:
    """The addresses of `--read-only-host`, none of which is among the `others`; InvalidArgument."""
    addresses: list[UnixAddress] = []
    for host in hosts:
        address = parse_host(host, 0)
        if not isinstance(address, UnixAddress):
            raise InvalidArgument(
                f"read-only host {host!r:.200}: only a unix socket can be: give unix:///absolute/path"
            )
        if address in others:
            raise InvalidArgument(f"read-only host {host!r:.200} is given as --host, too")
        if address in addresses:
            raise InvalidArgument(f"read-only host {host!r:.200} is given twice")
        addresses.append(address)
    return tuple(addresses)


def check_tcp(host: str, address: TcpAddress, tls: Tls | None, *, without_tls: bool) -> None:
    """InvalidArgument for a TCP address on which anybody could be root."""
    if tls is not None:
        return
    if not without_tls:
        more = " (or, as it is loopback, --tcp-without-tls)" if address.loopback else ""
        raise InvalidArgument(
            f"host {host!r}: whoever can connect would be root: give --tlsverify with "
            f"--tlscacert, --tlscert and --tlskey{more}"
        )
    if not address.loopback:
        raise InvalidArgument(
            f"host {host!r}: --tcp-without-tls is for loopback addresses only: give 127.0.0.1"
        )


def parse_host(text: str, port: int) -> Address:
    """One address; `port` where a TCP address has none."""
    scheme, separator, rest = text.partition("://")
    if separator and scheme == "unix" and rest.startswith("/") and len(rest) > 1:
        return UnixAddress(rest)
    if separator and scheme == "fd" and rest in ("", "*"):
        return InheritedSockets()
    if separator and scheme == "tcp":
        return _tcp(text, rest.removesuffix("/"), port)
    raise InvalidArgument(f"host {text!r:.200}: {_FORMS}")


def _tcp(text: str, rest: str, port: int) -> TcpAddress:
    if rest.startswith("["):
        host, bracket, tail = rest[1:].partition("]")
        colon, number = tail[:1], tail[1:]
        valid = bool(bracket) and colon in ("", ":")
    else:
        host, colon, number = rest.partition(":")
        valid = True
    if host == "localhost":
        host = "127.0.0.1"
    try:
        valid = valid and (not host or bool(ipaddress.ip_address(host)))
    except ValueError:
        valid = False
    if colon and number:
        valid = valid and number.isascii() and number.isdecimal() and 0 < int(number) <= 0xFFFF
        port = int(number) if valid else 0
    if not valid:
        raise InvalidArgument(
            f"host {text!r:.200}: give an IP address and a port, as in tcp://127.0.0.1:{TLS_PORT}"
        )
    return TcpAddress(host, port)
