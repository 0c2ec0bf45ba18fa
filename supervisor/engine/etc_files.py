"""The files that each run of a container finds at /etc/hosts, /etc/hostname, /etc/resolv.conf.

Plain files in the bundle, written anew for each run and bind-mounted: the container may
change them, and no other run sees it. Nothing of the image is touched but for an empty file
to mount on where it has none.
"""

from __future__ import annotations

import os
from pathlib import Path

from supervisor.engine.record import Record
from supervisor.spec import etc_files
from supervisor.spec.types import Mount

LOOPBACK = "127.0.0.1"
# Where systemd-resolved keeps the servers that its 127.0.0.53 asks (systemd-resolved(8)).
_BEHIND_STUB = "/run/systemd/resolve/resolv.conf"
_LIMIT = 1 << 20
_FOLDER = "/etc/"


def write(bundle: Path, record: Record, hostname: str) -> None:
    """Write the files of a new run into the bundle, but for those that the user mounts."""
    for path in _wanted(record):
        _write(_source(bundle, path), _FILES[path](record, hostname))


def mounts(bundle: Path, record: Record) -> tuple[Mount, ...]:
    """The mounts of the files that `write` makes."""
    words = ("bind", "rprivate", *(("ro",) if record.options.read_only else ()))
    return tuple(
        Mount(destination=path, type="bind", source=_source(bundle, path), options=words)
        for path in _wanted(record)
    )


def _wanted(record: Record) -> list[str]:
    taken = {*(point.destination for point in record.mounts), *record.options.tmpfs}
    return [path for path in _FILES if path not in taken]


def _source(bundle: Path, path: str) -> str:
    return f"{bundle}/{path.removeprefix(_FOLDER)}"


def _hosts(record: Record, hostname: str) -> str:
    options = record.options
    shared = options.network == "host"
    gateway = LOOPBACK if shared else ""
    extra = [etc_files.parse_extra_host(text, gateway) for text in options.extra_hosts]
    if shared:
        return etc_files.with_extra_hosts(_read("/etc/hosts"), extra)
    names = [f"{hostname}.{options.domainname}", hostname] if options.domainname else [hostname]
    return etc_files.hosts_text(names, [LOOPBACK], extra)


def _hostname(_record: Record, hostname: str) -> str:
    return f"{hostname}\n"


def _resolver(record: Record, _hostname: str) -> str:
    options = record.options
    shared = options.network == "host"
    host = etc_files.parse_resolver(_read("/etc/resolv.conf"))
    if not shared and host.nameservers == ("127.0.0.53",):
        host = etc_files.parse_resolver(_read(_BEHIND_STUB))
    return etc_files.resolver_text(
        host,
        dns=options.dns,
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
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        os.write(fd, text.encode())
        os.fchmod(fd, 0o644)  # whatever the umask, or the last run
    finally:
        os.close(fd)
