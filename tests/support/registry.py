"""Debian's docker-registry on a free port of the loopback, and skopeo to fill it."""

from __future__ import annotations

import base64
import ctypes
import http.client
import json
import os
import re
import select
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.oci_layout import OCI_INDEX, OCI_MANIFEST, Layout, TestImage, digest
from tests.support.pace import patience

START_SECONDS = 30.0
_LISTENING = re.compile(rb"listening on ([0-9.]+:[0-9]+)")
_TOOLS = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"


@dataclass(frozen=True)
class User:
    """Somebody whom the registry knows."""

    name: str
    password: str

    @property
    def basic(self) -> str:
        """The value of an Authorization header."""
        return "Basic " + base64.b64encode(f"{self.name}:{self.password}".encode()).decode()


class Registry:
    """A running docker-registry; `address` is host:port, as a reference begins with."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes], scheme: str) -> None:
        self.folder = folder
        self.scheme = scheme
        self.process = process
        self.user: User | None = None
        self.address = _address(process)

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"{self.scheme}://{self.address}"

    def put(self, name: str, *images: TestImage) -> str:
        """Copy an image, or an index over several, to `name`; the digest that `name` has."""
        repository, _, tag = name.rpartition(":")
        layout = Layout(self.folder / f"layout-{time.monotonic_ns()}")
        given = layout.add(tag, *images)
        self.skopeo(
            "copy",
            *(["--all"] if len(images) > 1 else []),
            "--preserve-digests",
            f"oci:{layout.path}:{tag}",
            f"docker://{self.address}/{repository}:{tag}",
        )
        return given

    def put_raw(self, name: str, manifest: bytes, blobs: Sequence[bytes], media_type: str) -> str:
        """Put a manifest as it is (skopeo would refuse an odd one); its digest."""
        repository, _, tag = name.rpartition(":")
        for blob in blobs:
            _, headers, _ = self.call("POST", f"/v2/{repository}/blobs/uploads/")
            place = headers["location"]
            mark = "&" if "?" in place else "?"
            self.call("PUT", f"{place}{mark}digest={digest(blob)}", blob)
        self.call("PUT", f"/v2/{repository}/manifests/{tag}", manifest, media_type)
        return digest(manifest)

    def skopeo(self, command: str, *arguments: str) -> str:
        """Run skopeo against this registry; its output."""
        side = "dest-" if command == "copy" else ""
        credentials = (
            [f"--{side}creds", f"{self.user.name}:{self.user.password}"] if self.user else []
        )
        done = subprocess.run(
            [
                *("skopeo", "--insecure-policy", command, f"--{side}tls-verify=false"),
                *(*credentials, *arguments),
            ],
            env={**os.environ, "PATH": _TOOLS, "TMPDIR": str(self.folder)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        return done.stdout

    def manifest(self, name: str, reference: str) -> tuple[str, bytes]:
        """Digest and bytes of a manifest that the registry has."""
        _, _, data = self.call("GET", f"/v2/{name}/manifests/{reference}")
        return digest(data), data

    def has_blob(self, name: str, wanted: str) -> bool:
        """Whether a repository has the blob."""
        return self._request("HEAD", f"/v2/{name}/blobs/{wanted}")[0] == 200

    def call(
        self, method: str, path: str, body: bytes | None = None, media_type: str = ""
    ) -> tuple[int, dict[str, str], bytes]:
        """One request that must succeed; status, headers by lower-case name, body."""
        answer = self._request(method, path.removeprefix(self.url), body, media_type)
        assert answer[0] < 400, (method, path, answer)
        return answer

    def _request(
        self, method: str, path: str, body: bytes | None = None, media_type: str = ""
    ) -> tuple[int, dict[str, str], bytes]:
        headers = {"Accept": f"{OCI_INDEX}, {OCI_MANIFEST}"}
        if body is not None:
            headers["Content-Type"] = media_type or "application/octet-stream"
        if self.user:
            headers["Authorization"] = self.user.basic
        with closing(self._connection()) as connection:
            connection.request(method, path, body=body, headers=headers)
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.headers.items()}
            return response.status, found, response.read()

    def _connection(self) -> http.client.HTTPConnection:
        if self.scheme == "http":
            return http.client.HTTPConnection(self.address, timeout=30)
        unverified = ssl.create_default_context()
        unverified.check_hostname = False
        unverified.verify_mode = ssl.CERT_NONE
        return http.client.HTTPSConnection(self.address, timeout=30, context=unverified)


@contextmanager
def running_registry(
    folder: Path, *, user: User | None = None, certificate: tuple[Path, Path] | None = None
) -> Iterator[Registry]:
    """A registry with its data in `folder`; with a `user` nobody else gets in, and with a
    `certificate` (its file, its key's) it speaks TLS. Ended and reaped at the end.
    """
    configuration: dict[str, Any] = {
        "version": "0.1",
        "log": {"level": "info", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": str(folder / "data")},
            "delete": {"enabled": True},
        },
        "http": {"addr": "127.0.0.1:0", "secret": "of a test"},
    }
    if user is not None:
        (folder / "htpasswd").write_text(f"{user.name}:{bcrypt(user.password)}\n")
        configuration["auth"] = {
            "htpasswd": {"realm": "the test's", "path": str(folder / "htpasswd")}
        }
    if certificate is not None:
        configuration["http"]["tls"] = {
            "certificate": str(certificate[0]),
            "key": str(certificate[1]),
        }
    (folder / "config.yml").write_text(json.dumps(configuration))  # JSON is YAML
    process = subprocess.Popen(
        ["docker-registry", "serve", str(folder / "config.yml")],
        env={**os.environ, "PATH": _TOOLS, "OTEL_TRACES_EXPORTER": "none"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        registry = Registry(folder, process, "https" if certificate else "http")
        registry.user = user
        with _drained(process):
            yield registry
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(patience(START_SECONDS))
        if process.stderr is not None:
            process.stderr.close()


def bcrypt(password: str) -> str:
    """A line's second half in an htpasswd file; libcrypt is Debian's login's, always there."""
    library = ctypes.CDLL("libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    hashed = library.crypt(password.encode(), b"$2b$04$abcdefghijklmnopqrstuu")
    assert hashed is not None
    assert hashed.startswith(b"$2b$")
    return str(hashed.decode())


@dataclass(frozen=True)
class Certificates:
    """A throw-away authority and what it vouches for."""

    authority: Path
    certificate: Path
    key: Path


def certificates(folder: Path) -> Certificates:
    """A CA, and a certificate by it for 127.0.0.1 and localhost."""
    made = Certificates(folder / "ca.crt", folder / "server.crt", folder / "server.key")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    _openssl(
        *("req", "-x509", *key, "-days", "30", "-subj", "/CN=the test's authority"),
        *("-keyout", str(folder / "ca.key"), "-out", str(made.authority)),
    )
    _openssl(
        *("req", *key, "-subj", "/CN=localhost"),
        *("-keyout", str(made.key), "-out", str(folder / "server.csr")),
    )
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    _openssl(
        *("x509", "-req", "-in", str(folder / "server.csr"), "-days", "30"),
        *("-CA", str(made.authority), "-CAkey", str(folder / "ca.key"), "-CAcreateserial"),
        *("-extfile", str(folder / "names"), "-out", str(made.certificate)),
    )
    return made


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=60)


def _address(process: subprocess.Popen[bytes]) -> str:
    """Where it listens, from its log: port 0 is its choice of a free one."""
    assert process.stderr is not None
    seen = b""
    deadline = time.monotonic() + patience(START_SECONDS)
    while not (found := _LISTENING.search(seen)):
        left = deadline - time.monotonic()
        ready, _, _ = select.select([process.stderr], [], [], max(0.0, left))
        data = os.read(process.stderr.fileno(), 1 << 16) if ready else b""
        if not data:
            process.kill()
            raise AssertionError(f"docker-registry did not start:\n{seen.decode()}")
        seen += data
    return found[1].decode()


@contextmanager
def _drained(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Its log goes nowhere from now on: a full pipe would stop it."""
    assert process.stderr is not None
    with subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL) as sink:
        try:
            yield
        finally:
            sink.kill()
