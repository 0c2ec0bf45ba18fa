"""TLS to registries: whose word counts for a server's certificate, and our own certificates.

    /etc/orlop/certs.d/registry.lan:5000/ca.crt         a CA that vouches for it, *.crt each
    /etc/orlop/certs.d/registry.lan:5000/client.cert    with client.key: who we are

As docker's /etc/docker/certs.d, which is read, too.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from pathlib import Path

from supervisor.errors import InvalidArgument
from supervisor.oci.web_url import Origin


def context(origin: Origin, folders: Iterable[str], verify: bool) -> ssl.SSLContext:
    """How to speak to `origin`. Blocking; raises InvalidArgument for files that are no good.

    Who has put a CA for it there wants it verified, whatever `verify` says.
    """
    found = [path for folder in folders for path in _folders(Path(folder), origin)]
    authorities = [path for folder in found for path in sorted(folder.glob("*.crt"))]
    settings = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    settings.minimum_version = ssl.TLSVersion.TLSv1_2
    if verify or authorities:
        _trust_system(settings)
    else:
        settings.check_hostname = False
        settings.verify_mode = ssl.CERT_NONE
    for path in authorities:
        with _named(path):
            settings.load_verify_locations(cafile=path)
    for folder in found:
        for path in sorted(folder.glob("*.cert")):
            with _named(path):
                settings.load_cert_chain(path, path.with_suffix(".key"))
    return settings


def has_authority(origin: Origin, folders: Iterable[str]) -> bool:
    """Whether there is a CA for it: then it speaks TLS."""
    return any(
        True
        for folder in folders
        for path in _folders(Path(folder), origin)
        for _ in path.glob("*.crt")
    )


def _folders(base: Path, origin: Origin) -> list[Path]:
    host = origin.host
    names = [f"{host}:{origin.port}", *([host] if origin.port in (80, 443) else [])]
    return [base / name for name in names if (base / name).is_dir()]


def _trust_system(settings: ssl.SSLContext) -> None:
    settings.load_default_certs(ssl.Purpose.SERVER_AUTH)
    places = ssl.get_default_verify_paths()
    if not any(map(_has_content, (places.cafile, places.capath))):
        import certifi  # noqa: PLC0415 - for hosts without ca-certificates only

        settings.load_verify_locations(cafile=certifi.where())


def _has_content(place: str | None) -> bool:
    path = Path(place or "/nonexistent")
    return path.is_file() or (path.is_dir() and any(path.iterdir()))


class _named:  # noqa: N801 - used as a word
    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):  # SSLError is one
            raise InvalidArgument(f"{self._path}: {error.strerror or error}") from None
