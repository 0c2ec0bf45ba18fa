"""The files that each run of a container finds at /etc/hosts, /etc/hostname, /etc/resolv.conf.

Plain files in the bundle, written anew for each run and bind-mounted: the container may
change them, and no other run sees it. Nothing of the image is touched but for an empty file
to mount on where it has none. A container in another one's network has that one's files.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from supervisor.engine.record import Record
from supervisor.spec import etc_files
from supervisor.spec.networks import BRIDGE, CONTAINER_PREFIX, HOST
from supervisor.spec.types import Mount

LOOPBACK = "127.0.0.1"
# Where systemd-resolved keeps the servers that its 127.0.0.53 asks (systemd-resolved(8)).
_BEHIND_STUB = "/run/systemd/resolve/resolv.conf"
_LIMIT = 1 << 20
_FOLDER = "/etc/"
_WRITE = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What a run's files tell of its network besides its addresses: the host's address as it
    reaches it, whether the name server is at 127.0.0.11, and what it is to ask if not (() = as
    the host)."""

    gateway: str = ""
    named: bool = False
    dns: tuple[str, ...] = ()


def write(bundle: Path, record: Record, hostname: str, around: Surroundings | None = None) -> None:
    """Write the files of a new run into the bundle, but for those that the user mounts."""
    for path in _wanted(record):
        if not _is_others(bundle, record, path):
            text = _FILES[path](record, hostname, around or Surroundings())
            _write(_source(bundle, path), text)


def names(record: Record) -> tuple[str, ...]:
    """What the files that `write` writes are called in the bundle."""
    return tuple([path.removeprefix(_FOLDER) for path in _wanted(record)])


def mounts(bundle: Path, record: Record) -> tuple[Mount, ...]:
    """The mounts of the files that `write` makes, or made for whose network it is in."""
    words = ("bind", "rprivate", *(("ro",) if record.options.read_only else ()))
    return tuple(
        Mount(destination=path, type="bind", source=_place(bundle, record, path), options=words)
        for path in _wanted(record)
    )


def change_hosts(
    bundle: Path, record: Record, hostname: str, *, added: Sequence[str], removed: Sequence[str]
) -> None:
    """Take lines of the container's own addresses out of /etc/hosts and add others."""
    if etc_files.HOSTS in _wanted(record):
        path, names = _source(bundle, etc_files.HOSTS), _own_names(record, hostname)
        text = etc_files.without_hosts(_read(path), names, removed)
        _write(path, etc_files.with_hosts(text, names, added))


def replace_text(bundle: Path, record: Record, path: str, before: str, after: str) -> None:
    """Rewrite a file of a running container, unless somebody has changed it."""
    if path in _wanted(record) and _read(_source(bundle, path)) == before:
        _write(_source(bundle, path), after)


def _wanted(record: Record) -> list[str]:
    taken = {*(point.destination for point in record.mounts), *record.options.tmpfs}
    return [path for path in _FILES if path not in taken]


def _source(bundle: Path, path: str) -> str:
    return f"{bundle}/{path.removeprefix(_FOLDER)}"


def _place(bundle: Path, record: Record, path: str) -> str:
    whose = record.options.network.removeprefix(CONTAINER_PREFIX)
    others = _is_others(bundle, record, path)
    return _source(bundle.with_name(whose) if others else bundle, path)


def _is_others(bundle: Path, record: Record, path: str) -> bool:
    """It has the file of the container whose network it is in, unless that has none itself."""
    mode = record.options.network
    whose = mode.removeprefix(CONTAINER_PREFIX)
    return whose != mode and Path(_source(bundle.with_name(whose), path)).exists()


def _own_names(record: Record, hostname: str) -> list[str]:
    domain = record.options.domainname
    return [f"{hostname}.{domain}", hostname] if domain else [hostname]


def _hosts(record: Record, hostname: str, around: Surroundings) -> str:
    options = record.options
    shared = options.network == HOST
    gateway = LOOPBACK if shared else around.gateway
    extra = [etc_files.parse_extra_host(text, gateway) for text in options.extra_hosts]
    if shared:
        return etc_files.with_extra_hosts(_read("/etc/hosts"), extra)
    return etc_files.hosts_text(_own_names(record, hostname), _addresses(record), extra)


def _addresses(record: Record) -> list[str]:
    """Its addresses in networks; where it is to be in none, its own name leads to itself."""
    if record.options.network != BRIDGE:
        return [LOOPBACK]
    places = record.network.endpoints if record.network is not None else ()
    return [address for place in places for address in place.addresses]


def _hostname(_record: Record, hostname: str, _around: Surroundings) -> str:
    return f"{hostname}\n"


def _resolver(record: Record, _hostname: str, around: Surroundings) -> str:
    return resolver(record, named=around.named, dns=around.dns)


def reachable_resolvers() -> bool:
    """A container that is in no network namespace of the host's can ask the host's resolvers."""
    return any(not etc_files.is_loopback(one) for one in _host_resolver().nameservers)


def _host_resolver() -> etc_files.Resolver:
    host = etc_files.parse_resolver(_read("/etc/resolv.conf"))
    if host.nameservers == ("127.0.0.53",):
        return etc_files.parse_resolver(_read(_BEHIND_STUB))
    return host


def resolver(record: Record, *, named: bool, dns: tuple[str, ...] = ()) -> str:
    """/etc/resolv.conf; `named`: the name server is at 127.0.0.11, else `dns` or the host's."""
    options = record.options
    shared = options.network == HOST
    host = etc_files.parse_resolver(_read("/etc/resolv.conf")) if shared else _host_resolver()
    if named:
        return etc_files.named_resolver_text(
            host, search=options.dns_search, options=options.dns_options
        )
    return etc_files.resolver_text(
        host,
        dns=options.dns or (() if shared else dns),
        search=options.dns_search,
        options=options.dns_options,
        keep_loopback=shared,
    )


_FILES = {
    etc_files.HOSTS: _hosts,
    etc_files.HOSTNAME: _hostname,
    etc_files.RESOLV: _resolver,
}


def _read(path: str) -> str:
    """A file of the host's; "" where there is none."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return ""
    try:
        return os.read(fd, _LIMIT).decode("utf-8", "replace")
    except OSError:
        return ""
    finally:
        os.close(fd)


def _write(path: str, text: str) -> None:
    # Not durable, as config.json: each run has its own.
    try:
        fd = os.open(path, _WRITE | os.O_TRUNC)
    except FileNotFoundError:
        fd = os.open(path, _WRITE | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        os.fchmod(fd, 0o644)  # whatever the last run has made of it
        os.write(fd, text.encode())
    finally:
        os.close(fd)
