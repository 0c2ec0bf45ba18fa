"""Certificates made for one test by the openssl command: an authority, a server, clients."""

from __future__ import annotations

import subprocess
from pathlib import Path

_DAYS = ["-days", "30"]
_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


class Authority:
    """A certificate authority in `folder`; what it signs gets a folder of ca, cert, key.pem."""

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir()
        self.folder = folder
        self.ca = folder / "ca.pem"
        self._key = folder / "ca-key.pem"
        _openssl("req", "-x509", *_KEY, *_DAYS, "-subj", f"/CN={name}",
                 "-keyout", str(self._key), "-out", str(self.ca))  # fmt: skip

    def server(self, *, names: str = "IP:127.0.0.1,DNS:localhost") -> Path:
        """A server's folder."""
        extensions = f"subjectAltName={names}\nextendedKeyUsage=serverAuth"
        return self._sign("server", "/CN=server", extensions)

    def client(self, subject: str = "/O=tests/CN=alice") -> Path:
        """A client's folder, as DOCKER_CERT_PATH wants it."""
        return self._sign("client", subject, "extendedKeyUsage=clientAuth")

    def _sign(self, name: str, subject: str, extensions: str) -> Path:
        folder = self.folder / name
        folder.mkdir()
        request, extra = folder / "request.pem", folder / "extensions"
        extra.write_text(extensions)
        _openssl("req", "-new", *_KEY, "-subj", subject,
                 "-keyout", str(folder / "key.pem"), "-out", str(request))  # fmt: skip
        _openssl("x509", "-req", *_DAYS, "-in", str(request), "-CA", str(self.ca),
                 "-CAkey", str(self._key), "-CAcreateserial", "-extfile", str(extra),
                 "-out", str(folder / "cert.pem"))  # fmt: skip
        (folder / "ca.pem").write_bytes(self.ca.read_bytes())
        return folder


def _openssl(*words: str) -> None:
    done = subprocess.run(["openssl", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
