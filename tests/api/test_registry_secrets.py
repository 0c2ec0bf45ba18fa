"""Credentials reach their registry and the token server that it may name, and nobody else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.api.registry_rig import (
    ask,
    image_id,
    inspect,
    pull,
    pulled,
    push,
    secrets_in,
    settings,
    some_image,
    stored,
)
from tests.support.daemon import Daemon, running_daemon
from tests.support.fault_proxy import FaultProxy, TokenServer, fault_proxy
from tests.support.oci_layout import OCI_MANIFEST, TestImage
from tests.support.places import short_folder
from tests.support.registry import (
    Certificates,
    Registry,
    User,
    certificates,
    running_registry,
)

USER = User("somebody", "s3cr3t-of-somebody")
CONTENT = "GET /v2/.*/(blobs|manifests)/"


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with short_folder() as folder:
        yield folder


@pytest.fixture(scope="module")
def registry(folder: Path) -> Iterator[Registry]:
    """Only USER gets in; Basic."""
    with running_registry(folder, user=USER) as registry:
        yield registry


@pytest.fixture(scope="module")
def made(folder: Path) -> Certificates:
    return certificates(folder)


@pytest.fixture(scope="module")
def daemon(folder: Path) -> Iterator[Daemon]:
    with running_daemon(settings(folder)) as daemon:
        yield daemon
        assert USER.password not in daemon.log
        assert USER.basic not in daemon.log


@pytest.fixture
def front(registry: Registry) -> Iterator[FaultProxy]:
    """What the daemon takes for the registry; asks for credentials as the registry does."""
    with fault_proxy(registry.address) as proxy:
        yield proxy


@pytest.fixture
def other(registry: Registry) -> Iterator[FaultProxy]:
    """Another origin, which has all content and wants no credentials."""
    with fault_proxy(registry.address, USER) as proxy:
        yield proxy


@pytest.fixture
def tls_front(registry: Registry, made: Certificates, folder: Path) -> Iterator[FaultProxy]:
    """The registry behind TLS, with a CA that the daemon trusts."""
    certificate = (made.certificate, made.key)
    with fault_proxy(registry.address, certificate=certificate) as proxy:
        trusted = folder / proxy.address
        trusted.mkdir()
        (trusted / "ca.crt").write_bytes(made.authority.read_bytes())
        yield proxy


def put(registry: Registry, seed: int) -> TestImage:
    one = some_image(seed, 1000)
    registry.put(f"secret/n{seed}:1", one)
    return one


def ref(proxy: FaultProxy, seed: int) -> str:
    return f"{proxy.address}/secret/n{seed}:1"


# --- redirects ------------------------------------------------------------------------------


def test_redirected_content_comes_without_credentials(
    daemon: Daemon, registry: Registry, front: FaultProxy, other: FaultProxy
) -> None:
    one = put(registry, 1)
    contents = (one.config, *one.layers)
    for blob in contents:
        path = f"/v2/secret/n1/blobs/{blob.digest}"
        front.redirect(f"GET {path}", f"{other.url}{path}?signature=1", times=9)
    pulled(daemon, ref(front, 1), USER)
    assert image_id(daemon, ref(front, 1)) == one.id
    assert USER.basic in secrets_in(front)
    assert len(other.seen("GET .*signature")) == len(contents)
    assert secrets_in(other) == []


def test_redirected_content_comes_without_tokens(
    daemon: Daemon, registry: Registry, other: FaultProxy
) -> None:
    one = put(registry, 2)
    with fault_proxy(registry.address, USER) as front:
        front.tokens = TokenServer(USER)
        for blob in one.layers:
            path = f"/v2/secret/n2/blobs/{blob.digest}"
            front.redirect(f"GET {path}", f"{other.url}{path}", times=9)
        pulled(daemon, ref(front, 2), USER)
        assert any(secret.startswith("Bearer") for secret in secrets_in(front))
    assert other.requests
    assert secrets_in(other) == []


def test_a_redirected_manifest(
    daemon: Daemon, registry: Registry, front: FaultProxy, other: FaultProxy
) -> None:
    one = put(registry, 3)
    path = "/v2/secret/n3/manifests/1"
    front.redirect(f"GET {path}", f"{other.url}{path}", times=9)
    pulled(daemon, ref(front, 3), USER)
    assert image_id(daemon, ref(front, 3)) == one.id
    assert secrets_in(other) == []


@pytest.mark.parametrize("challenge", ['Basic realm="x"', 'Bearer realm="{other}/token"'])
def test_a_redirect_target_that_asks_for_credentials(
    daemon: Daemon, registry: Registry, front: FaultProxy, other: FaultProxy, challenge: str
) -> None:
    put(registry, 4)
    header = {"WWW-Authenticate": challenge.format(other=other.url)}
    front.redirect("GET .*/blobs/", f"{other.url}/v2/x", times=99)
    other.fault("status", "GET ", status=401, headers=header, times=99)
    told = pull(daemon, ref(front, 4), USER)
    assert told.status >= 400
    assert other.seen("GET /v2/x")
    assert not other.seen("GET /token")
    assert secrets_in(other) == []


def test_redirects_without_end(daemon: Daemon, registry: Registry, front: FaultProxy) -> None:
    put(registry, 5)
    front.redirect("GET .*/manifests/", f"{front.url}/v2/secret/n5/manifests/1", times=99)
    told = pull(daemon, ref(front, 5), USER)
    assert told.status == 400
    assert "redirects" in told.error


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "http://169.254.169.254/latest/meta-data/",
        "ftp://127.0.0.1/x",
        "http://user:pw@127.0.0.1/x",
        "http://127.0.0.1\\@evil.example/x",
        "http://" + "a" * 9000,
        "",
    ],
)
def test_redirects_to_nowhere(
    daemon: Daemon, registry: Registry, front: FaultProxy, location: str
) -> None:
    put(registry, 6)
    front.redirect("GET .*/manifests/", location, times=99)
    assert pull(daemon, ref(front, 6), USER).status >= 400


def test_no_way_back_from_tls(
    daemon: Daemon, registry: Registry, tls_front: FaultProxy, other: FaultProxy
) -> None:
    one = put(registry, 7)
    pulled(daemon, ref(tls_front, 7), USER)
    assert image_id(daemon, ref(tls_front, 7)) == one.id
    put(registry, 8)
    tls_front.redirect("GET .*/blobs/", f"{other.url}/v2/x", times=99)
    told = pull(daemon, ref(tls_front, 8), USER)
    assert "without TLS: refused" in told.error
    assert other.requests == []


def test_a_trusted_authority_rules_out_plain_http(
    daemon: Daemon, registry: Registry, front: FaultProxy, made: Certificates, folder: Path
) -> None:
    put(registry, 9)
    trusted = folder / front.address
    trusted.mkdir()
    (trusted / "ca.crt").write_bytes(made.authority.read_bytes())
    told = pull(daemon, ref(front, 9), USER)
    assert told.status == 503
    assert "TLS failed" in told.error
    assert secrets_in(front) == []


# --- token servers --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "realm",
    [
        "file:///etc/passwd",
        "gopher://127.0.0.1/token",
        "//{other}/token",
        "http://u:p@{other}/token",
        "http://169.254.169.254/token",
        "http://auth.example/token",
        "http://{other}\\@auth.example/",
        "http://{other}/" + "x" * 9000,
        "",
    ],
)
def test_hostile_realms(
    daemon: Daemon, registry: Registry, front: FaultProxy, other: FaultProxy, realm: str
) -> None:
    put(registry, 20)
    header = f'Bearer realm="{realm.format(other=other.address)}",service="x"'
    front.fault("status", "GET ", status=401, headers={"WWW-Authenticate": header}, times=99)
    told = pull(daemon, ref(front, 20), USER)
    assert told.status == 400
    assert other.requests == []
    assert secrets_in(front) == []


def test_a_realm_without_tls_for_a_registry_with(
    daemon: Daemon, registry: Registry, tls_front: FaultProxy, other: FaultProxy
) -> None:
    put(registry, 21)
    header = {"WWW-Authenticate": f'Bearer realm="{other.url}/token"'}
    tls_front.fault("status", "GET ", status=401, headers=header, times=99)
    told = pull(daemon, ref(tls_front, 21), USER)
    assert told.status == 400
    assert "without TLS: refused" in told.error
    assert other.requests == []
    assert secrets_in(tls_front) == []


def test_a_token_server_that_redirects(
    daemon: Daemon, registry: Registry, front: FaultProxy, other: FaultProxy
) -> None:
    put(registry, 22)
    header = {"WWW-Authenticate": f'Bearer realm="{front.url}/token"'}
    front.redirect("GET /token", f"{other.url}/token", times=99)
    front.fault("status", "GET ", status=401, headers=header, times=99)
    assert pull(daemon, ref(front, 22), USER).status >= 400
    assert other.requests == []


@pytest.mark.parametrize(
    "answer", [b"{}", b"[]", b'{"token": "a b"}', b'{"token": "a\\r\\nX: y"}', b"x", b"[" * 9999]
)
def test_answers_that_are_no_token(
    daemon: Daemon, registry: Registry, front: FaultProxy, answer: bytes
) -> None:
    put(registry, 23)
    header = {"WWW-Authenticate": f'Bearer realm="{front.url}/token"'}
    front.fault("status", "GET /token", body=answer, times=99)
    front.fault("status", "GET ", status=401, headers=header, times=99)
    told = pull(daemon, ref(front, 23), USER)
    assert told.status == 400
    assert "token" in told.error


# --- images that lead elsewhere -------------------------------------------------------------


def test_foreign_layers(
    daemon: Daemon, registry: Registry, front: FaultProxy, other: FaultProxy
) -> None:
    one = some_image(30, 1000)
    document = json.loads(one.manifest)
    before = stored(daemon)
    with_urls = json.loads(one.manifest)
    with_urls["layers"][1]["urls"] = [f"{other.url}/v2/x"]
    foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    document["layers"][1]["mediaType"] = foreign
    for number, odd in enumerate((with_urls, document)):
        name = f"secret/foreign{number}:1"
        front.fault(
            "status",
            f"GET .*/foreign{number}/manifests/",
            body=json.dumps(odd).encode(),
            headers={"Content-Type": OCI_MANIFEST},
            times=9,
        )
        told = pull(daemon, f"{front.address}/{name}", USER)
        assert told.status == 400
        assert "foreign" in told.error
    assert other.requests == []
    assert stored(daemon) == before


def test_uploads_that_lead_elsewhere(
    daemon: Daemon, registry: Registry, front: FaultProxy, other: FaultProxy
) -> None:
    put(registry, 31)
    pulled(daemon, f"{registry.address}/secret/n31:1", USER)
    copy = f"{front.address}/secret/copy31:1"
    daemon.docker("tag", f"{registry.address}/secret/n31:1", copy)
    path = "/v2/secret/copy31/blobs/uploads/"
    front.fault(
        "status", f"POST {path}", status=202, headers={"Location": f"{other.url}{path}x"}, times=99
    )
    assert push(daemon, copy, USER).error
    assert other.seen(f"PUT {path}")
    assert secrets_in(other) == []


def test_uploads_that_lead_away_from_tls(
    daemon: Daemon, registry: Registry, tls_front: FaultProxy, other: FaultProxy
) -> None:
    put(registry, 32)
    pulled(daemon, f"{registry.address}/secret/n32:1", USER)
    copy = f"{tls_front.address}/secret/copy32:1"
    daemon.docker("tag", f"{registry.address}/secret/n32:1", copy)
    path = "/v2/secret/copy32/blobs/uploads/"
    tls_front.fault(
        "status", f"POST {path}", status=202, headers={"Location": f"{other.url}{path}x"}, times=99
    )
    assert "without TLS: refused" in push(daemon, copy, USER).error
    assert other.requests == []


def test_lists_that_lead_elsewhere(daemon: Daemon, front: FaultProxy, other: FaultProxy) -> None:
    link = {"Link": f'<{other.url}/v2/_catalog?last=x>; rel="next"'}
    front.fault("status", "GET /v2/_catalog", headers=link, body=b'{"repositories":["a"]}')
    ask(daemon, "GET", "/images/search", user=USER, term=f"{front.address}/a")
    assert secrets_in(other) == []


def test_a_mirror_that_asks_for_credentials(
    registry: Registry, front: FaultProxy, other: FaultProxy, new_daemon: Callable[..., Daemon]
) -> None:
    one = put(registry, 33)
    header = {"WWW-Authenticate": 'Basic realm="x"'}
    other.fault("status", "GET ", status=401, headers=header, times=99)
    with short_folder() as folder:
        daemon = new_daemon(*settings(folder, mirrors={front.address: [other.url]}))
        pulled(daemon, ref(front, 33), USER)
        assert image_id(daemon, ref(front, 33)) == one.id
    assert other.seen("GET .*/manifests/")
    assert secrets_in(other) == []
    assert USER.basic in secrets_in(front)


# --- what is told ---------------------------------------------------------------------------


def test_errors_tell_no_secret(daemon: Daemon, registry: Registry, front: FaultProxy) -> None:
    put(registry, 40)
    texts = []
    for fault in ("drop", "status"):
        front.fault(fault, "GET .*/manifests/", status=500, times=4)
        texts.append(pull(daemon, ref(front, 40), USER).error)
    hostile = b'{"errors":[{"code":"DENIED","message":"\\u001b[2Jgone\\nline"}]}'
    front.fault("status", "GET .*/manifests/", status=403, body=hostile)
    told = pull(daemon, ref(front, 40), USER)
    texts.append(told.error)
    pulled(daemon, ref(front, 40), USER)
    texts.append(json.dumps(inspect(daemon, ref(front, 40))))
    assert all(text.isprintable() for text in texts)
    for text in texts:
        assert USER.password not in text
        assert USER.basic.partition(" ")[2] not in text
