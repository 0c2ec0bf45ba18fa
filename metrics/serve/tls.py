"""A TLS context as the web-config file wants it."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from metrics.errors import ConfigError
from metrics.serve.web_config import Tls

_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_VERIFY = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
_CIPHERS = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
}
"""Go's names of the suites before TLS 1.3 that are safe; those of TLS 1.3 are always offered."""


def context(tls: Tls) -> ssl.SSLContext:
    """The context; ConfigError where a file cannot be read or does not fit the others."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = _VERSIONS[tls.min_version]
    made.maximum_version = _VERSIONS[tls.max_version]
    made.set_alpn_protocols(["http/1.1"])
    if not tls.prefer_own_order:
        made.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    with ExitStack() as stack:
        try:
            cert, key = (stack.enter_context(_as_file(pem)) for pem in (tls.cert, tls.key))
            # A key with a passphrase must be an error, not a question on the terminal.
            made.load_cert_chain(cert, key, password="")
            if tls.client_ca is not None:
                made.load_verify_locations(stack.enter_context(_as_file(tls.client_ca)))
            if tls.ciphers:
                made.set_ciphers(":".join(map(_cipher, tls.ciphers)))
        except (OSError, ValueError) as error:
            files = ", ".join(map(str, tls.files)) or "the PEM texts"
            reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
            raise ConfigError(f"TLS with {files}: {reason}") from None
    made.verify_mode = _VERIFY[tls.client_auth]
    return made


def _cipher(name: str) -> str:
    if name not in _CIPHERS:
        raise ConfigError(f"cipher suite {name!r} is not one of {', '.join(_CIPHERS)}")
    return _CIPHERS[name]


@contextmanager
def _as_file(pem: Path | str) -> Iterator[str]:
    """A path to it: ssl loads keys from files only. A text goes into one without a name."""
    if isinstance(pem, Path):
        yield str(pem)
        return
    fd = os.memfd_create("orlop-pem", os.MFD_CLOEXEC)
    try:
        with open(fd, "w", encoding="utf-8", closefd=False) as file:
            file.write(pem)
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)
