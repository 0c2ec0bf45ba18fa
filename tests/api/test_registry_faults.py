"""What networks and registries do to pulls and pushes: they complete, or leave nothing behind."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.api.box import eventually
from tests.api.registry_rig import (
    SILENCE,
    image_id,
    inspect,
    pull,
    pulled,
    pulling,
    push,
    settings,
    some_image,
    stored,
)
from tests.support.daemon import Daemon, running_daemon
from tests.support.fault_proxy import FaultProxy, TokenServer, fault_proxy
from tests.support.oci_layout import OCI_MANIFEST, Blob, TestImage, digest, manifest
from tests.support.places import short_folder
from tests.support.registry import Registry, User, running_registry

USER = User("somebody", "s3cr3t")
BLOBS = "GET /v2/.*/blobs/"
MANIFESTS = "(GET|HEAD) /v2/.*/manifests/"


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with short_folder() as folder:
        yield folder


@pytest.fixture(scope="module")
def registry(folder: Path) -> Iterator[Registry]:
    with running_registry(folder) as registry:
        yield registry


@pytest.fixture(scope="module")
def daemon(folder: Path) -> Iterator[Daemon]:
    with running_daemon(settings(folder)) as daemon:
        yield daemon


@pytest.fixture
def proxy(registry: Registry) -> Iterator[FaultProxy]:
    with fault_proxy(registry.address) as proxy:
        yield proxy


class Put:
    """An image in the registry, by its address behind the proxy."""

    def __init__(self, registry: Registry, proxy: FaultProxy, seed: int, size: int) -> None:
        self.image = some_image(seed, size)
        registry.put(f"fault/n{seed}:1", self.image)
        self.big = self.image.layers[1]
        self.ref = f"{proxy.address}/fault/n{seed}:1"

    def blob(self) -> str:
        """Requests for the big layer."""
        return f"GET .*/blobs/{self.big.digest}"


Putting = Callable[..., Put]


@pytest.fixture
def put(registry: Registry, proxy: FaultProxy) -> Putting:
    return lambda seed, size=3_000_000: Put(registry, proxy, seed, size)


def ranges(proxy: FaultProxy, one: Put) -> list[str]:
    """From where the big layer was asked for, each time."""
    return [seen.headers.get("range", "") for seen in proxy.seen(one.blob())]


# --- it goes on where it broke off ----------------------------------------------------------


@pytest.mark.parametrize("kind", ["reset", "cut", "shorten"])
def test_a_broken_layer_is_gone_on_with(
    daemon: Daemon, proxy: FaultProxy, put: Putting, kind: str
) -> None:
    one = put({"reset": 1, "cut": 2, "shorten": 3}[kind])
    proxy.fault(kind, one.blob(), after=1_000_000)  # type: ignore[arg-type]
    proxy.fault(kind, one.blob(), after=500_000)  # type: ignore[arg-type]
    pulled(daemon, one.ref)
    assert image_id(daemon, one.ref) == one.image.id
    first, second, third = ranges(proxy, one)
    assert first == ""
    # A reset may overtake bytes that were on their way.
    assert 0 < int(second[6:-1]) <= 1_000_000
    assert int(second[6:-1]) < int(third[6:-1]) <= 1_500_000
    if kind != "reset":
        assert (second, third) == ("bytes=1000000-", "bytes=1500000-")


def test_silence(daemon: Daemon, proxy: FaultProxy, put: Putting) -> None:
    one = put(4)
    proxy.fault("silence", one.blob(), after=1_000_000)
    proxy.fault("silence", MANIFESTS)
    begin = time.monotonic()
    pulled(daemon, one.ref)
    assert time.monotonic() - begin >= 2 * SILENCE
    assert ranges(proxy, one) == ["", "bytes=1000000-"]


def test_a_registry_without_ranges(daemon: Daemon, proxy: FaultProxy, put: Putting) -> None:
    one = put(5)
    proxy.fault("cut", one.blob(), after=2_000_000)
    proxy.fault("no_ranges", one.blob(), times=10)
    pulled(daemon, one.ref)
    assert image_id(daemon, one.ref) == one.image.id
    assert ranges(proxy, one) == ["", "bytes=2000000-"]


def test_another_range_than_asked_for(daemon: Daemon, proxy: FaultProxy, put: Putting) -> None:
    one = put(6)
    before = stored(daemon)
    proxy.fault("cut", one.blob(), after=1000)
    headers = {"Content-Range": f"bytes 0-9/{len(one.big.data)}"}
    proxy.fault("status", one.blob(), status=206, headers=headers, body=bytes(10))
    assert "another range" in pull(daemon, one.ref).error
    assert stored(daemon) == before


def test_dropped_connections(daemon: Daemon, proxy: FaultProxy, put: Putting) -> None:
    one = put(7)
    # The first is the knock that finds out who speaks TLS.
    pulled(daemon, one.ref)
    two = put(8)
    proxy.fault("drop", one.blob(), times=2)
    proxy.fault("drop", "GET .*/n8/manifests", times=2)
    pulled(daemon, two.ref)
    assert image_id(daemon, two.ref) == two.image.id


# --- it is patient --------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_try_later(daemon: Daemon, proxy: FaultProxy, put: Putting, status: int) -> None:
    one = put(status)
    proxy.fault("status", MANIFESTS, status=status, times=2)
    proxy.fault("status", BLOBS, status=status, times=2)
    pulled(daemon, one.ref)
    assert image_id(daemon, one.ref) == one.image.id


def test_retry_after(daemon: Daemon, proxy: FaultProxy, put: Putting) -> None:
    one = put(10)
    proxy.fault("status", one.blob(), status=429, headers={"Retry-After": "1"})
    pulled(daemon, one.ref)
    first, second = proxy.seen(one.blob())
    assert second.at - first.at >= 1.0


def test_retry_after_an_hour_is_told_at_once(
    daemon: Daemon, proxy: FaultProxy, put: Putting
) -> None:
    one = put(11)
    body = b'{"errors":[{"code":"TOOMANYREQUESTS","message":"pull rate limit"}]}'
    proxy.fault(
        "status", MANIFESTS, status=429, headers={"Retry-After": "3600"}, body=body, times=9
    )
    told = pull(daemon, one.ref)
    assert told.status == 503
    assert "toomanyrequests: pull rate limit" in told.error
    assert len(proxy.seen("GET .*/manifests/")) == 1


@pytest.mark.parametrize(
    "kind, fields",
    [
        ("status", {"status": 503}),
        ("reset", {"after": 1000}),
        ("cut", {"after": 0}),
        ("shorten", {"after": 0}),
        ("drop", {}),
    ],
)
def test_patience_ends(
    daemon: Daemon, proxy: FaultProxy, put: Putting, kind: str, fields: dict[str, int]
) -> None:
    one = put({"status": 20, "reset": 21, "cut": 22, "shorten": 23, "drop": 24}[kind], 300_000)
    before = stored(daemon)
    fault = proxy.fault(kind, one.blob(), times=1000, **fields)  # type: ignore[arg-type]
    told = pull(daemon, one.ref)
    assert told.status == 200  # it was under way
    assert told.error
    assert fault.hits == 4  # the first, and three more
    assert inspect(daemon, one.ref) is None
    assert stored(daemon) == before
    fault.times = 0
    pulled(daemon, one.ref)
    assert image_id(daemon, one.ref) == one.image.id


# --- it believes nothing --------------------------------------------------------------------


def test_wrong_content(daemon: Daemon, proxy: FaultProxy, put: Putting) -> None:
    one = put(30)
    before = stored(daemon)
    proxy.fault("corrupt", one.blob(), after=1_500_000)
    told = pull(daemon, one.ref)
    assert f"filesystem layer verification failed for digest {one.big.digest}" in told.error
    assert inspect(daemon, one.ref) is None
    assert stored(daemon) == before
    pulled(daemon, one.ref)
    assert image_id(daemon, one.ref) == one.image.id


def test_wrong_content_of_one_part(daemon: Daemon, proxy: FaultProxy, put: Putting) -> None:
    one = put(31)
    proxy.fault("cut", one.blob(), after=1_000_000)
    proxy.fault("corrupt", one.blob(), after=10)
    pulled(daemon, one.ref)
    assert image_id(daemon, one.ref) == one.image.id
    assert ranges(proxy, one) == ["", "bytes=1000000-", ""]


def test_wrong_manifest(daemon: Daemon, proxy: FaultProxy, put: Putting) -> None:
    one = put(32, 1000)
    name = one.ref.rpartition(":")[0]
    for ref in (one.ref, f"{name}@{one.image.digest}"):
        proxy.fault("corrupt", "GET .*/manifests/", after=20)
        told = pull(daemon, ref)
        assert told.status == 400
        assert "manifest verification failed" in told.error
    proxy.fault("corrupt", f"GET .*/blobs/{one.image.config.digest}", after=20)
    told = pull(daemon, one.ref)
    assert told.status == 400
    assert "its content has the digest" in told.error


def test_endless_manifest(daemon: Daemon, proxy: FaultProxy, put: Putting) -> None:
    one = put(33, 1000)
    proxy.fault("status", "GET .*/manifests/", body=bytes(5 << 20))
    told = pull(daemon, one.ref)
    assert told.status == 400
    assert "more than 4194304 bytes" in told.error


def odd(registry: Registry, name: str, one: TestImage, config: Blob, *layers: Blob) -> str:
    blobs = [config.data, *(layer.data for layer in one.layers)]
    return registry.put_raw(name, manifest(config, layers or one.layers), blobs, OCI_MANIFEST)


def test_layer_of_another_diff_id(daemon: Daemon, registry: Registry) -> None:
    one = some_image(34, 1000)
    other = digest(b"another layer").encode()
    wrong = digest(b"")
    text = one.config.data
    begin = text.index(b"sha256:")
    config = Blob(text[:begin] + other + text[begin + len(other) :], one.config.media_type)
    odd(registry, "fault/diff:1", one, config)
    before = stored(daemon)
    assert wrong not in pull(daemon, f"{registry.address}/fault/diff:1").error
    assert inspect(daemon, f"{registry.address}/fault/diff:1") is None
    assert stored(daemon) == before


def test_another_number_of_layers(daemon: Daemon, registry: Registry) -> None:
    one = some_image(35, 1000)
    odd(registry, "fault/number:1", one, one.config, one.layers[0])
    told = pull(daemon, f"{registry.address}/fault/number:1")
    assert told.status == 400
    assert "2 layers" in told.error


# --- tokens ---------------------------------------------------------------------------------


def test_tokens_that_expire(daemon: Daemon, proxy: FaultProxy, put: Putting) -> None:
    one = put(40)
    proxy.tokens = TokenServer(USER, uses=2)
    for _ in range(2):
        proxy.fault("cut", one.blob(), after=500_000)
    pulled(daemon, one.ref, USER)
    assert image_id(daemon, one.ref) == one.image.id
    assert len(proxy.tokens.asked) >= 3
    scopes = {scope for asked in proxy.tokens.asked for scope in asked["scope"]}
    assert scopes == {"repository:fault/n40:pull"}
    assert proxy.tokens.asked[0]["account"] == [USER.name]


def test_anonymous_tokens(daemon: Daemon, proxy: FaultProxy, put: Putting) -> None:
    one = put(41, 1000)
    proxy.tokens = TokenServer()
    pulled(daemon, one.ref)
    assert image_id(daemon, one.ref) == one.image.id
    assert len(proxy.tokens.asked) == 1  # one token for all


def test_token_server_refuses(daemon: Daemon, proxy: FaultProxy, put: Putting) -> None:
    one = put(42, 1000)
    proxy.tokens = TokenServer(USER)
    told = pull(daemon, one.ref, User("somebody", "wrong"))
    assert told.status == 403
    assert "incorrect username or password" in told.error
    assert pull(daemon, one.ref).status == 403
    proxy.tokens = TokenServer(USER, uses=0)  # whose tokens the registry does not take
    told = pull(daemon, one.ref, USER)
    assert told.status == 404
    assert "pull access denied" in told.error
    assert len(proxy.tokens.asked) == 1  # a new one would be refused as well


# --- its end --------------------------------------------------------------------------------


def test_killed_daemon(folder: Path, registry: Registry, proxy: FaultProxy, put: Putting) -> None:
    one = put(50)
    with running_daemon(settings(folder, timeout=60)) as daemon:
        proxy.fault("silence", one.blob(), after=2_000_000)
        with pulling(daemon, one.ref):
            eventually(lambda: proxy.seen(one.blob()))
            eventually(lambda: any(path.startswith("layers/") for path in stored(daemon)))
            daemon.kill()
        daemon.start()
        assert stored(daemon) == set()
        assert inspect(daemon, one.ref) is None
        assert daemon.request("GET", "/images/json")[1] == []
        pulled(daemon, one.ref)
        assert daemon.docker("run", "--rm", one.ref).stdout == "50"


def test_a_client_that_leaves_ends_the_pull(
    daemon: Daemon, proxy: FaultProxy, put: Putting
) -> None:
    one = put(51)
    before = stored(daemon)
    fault = proxy.fault("silence", one.blob(), after=2_000_000, times=1000)
    with pulling(daemon, one.ref):
        eventually(lambda: fault.hits)
    eventually(lambda: stored(daemon) == before, seconds=SILENCE / 2)
    assert inspect(daemon, one.ref) is None


def test_another_client_goes_on(daemon: Daemon, proxy: FaultProxy, put: Putting) -> None:
    one = put(52)
    fault = proxy.fault("silence", one.blob(), after=2_000_000)
    with pulling(daemon, one.ref):
        eventually(lambda: fault.hits)
        with pulling(daemon, one.ref) as second:
            eventually(lambda: len(proxy.seen("GET .*/manifests/")) == 2)
            # The first leaves when the block ends; the second takes over what it has.
            first_done = len(ranges(proxy, one))
            assert first_done == 1
            response = second.getresponse()
            text = response.read()
    assert b"Status: Downloaded newer image" in text
    assert image_id(daemon, one.ref) == one.image.id


def test_memory(daemon: Daemon, proxy: FaultProxy, put: Putting) -> None:
    pulled(daemon, put(53, 1000).ref)  # now all modules are loaded
    before = peak(daemon)
    one = put(54, 64 << 20)
    pulled(daemon, one.ref)
    assert peak(daemon) - before < 24 << 20


def peak(daemon: Daemon) -> int:
    """The most memory that the daemon has had, in bytes."""
    status = Path(f"/proc/{daemon.pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) << 10


# --- push -----------------------------------------------------------------------------------


def copied(daemon: Daemon, registry: Registry, proxy: FaultProxy, one: Put) -> str:
    """A new name of the image behind the proxy, of which the daemon knows no other there: so
    there is nothing to mount.
    """
    direct = one.ref.replace(proxy.address, registry.address)
    pulled(daemon, direct)
    copy = one.ref.replace("fault/", "fault/copy-of-")
    assert daemon.docker("tag", direct, copy).returncode == 0
    return copy


def image_digest(daemon: Daemon, ref: str) -> str:
    """Of the manifest by which the registry knows the image now."""
    found = inspect(daemon, ref)
    assert found is not None
    name = ref.rpartition(":")[0]
    (known,) = (d for d in found["RepoDigests"] if d.startswith(f"{name}@"))
    return str(known.partition("@")[2])


@pytest.mark.parametrize(
    "seed, kind, match, fields",
    [
        (60, "drop", "PUT .*/blobs/uploads/", {"times": 2}),
        (61, "status", "PUT .*/blobs/uploads/", {"times": 2, "status": 503}),
        (62, "status", "PUT .*/blobs/uploads/", {"status": 404}),
        (63, "status", "POST .*/blobs/uploads/", {"times": 2, "status": 502}),
        (64, "drop", "POST .*/blobs/uploads/", {"times": 2}),
        (65, "status", "PUT .*/manifests/", {"times": 2, "status": 429}),
        (66, "drop", "PUT .*/manifests/", {"times": 2}),
        (67, "status", "HEAD .*/blobs/", {"times": 2, "status": 500}),
        (68, "silence", "PUT .*/blobs/uploads/", {}),
    ],
)
def test_push_is_patient(
    daemon: Daemon,
    registry: Registry,
    proxy: FaultProxy,
    put: Putting,
    seed: int,
    kind: str,
    match: str,
    fields: dict[str, int],
) -> None:
    copy = copied(daemon, registry, proxy, put(seed, 300_000))
    fault = proxy.fault(kind, match, **fields)  # type: ignore[arg-type]
    told = push(daemon, copy)
    assert not told.error
    assert registry.manifest(f"fault/copy-of-n{seed}", "1")[0] == image_digest(daemon, copy)
    assert fault.hits == fault.times


def test_push_gives_up(daemon: Daemon, proxy: FaultProxy, put: Putting) -> None:
    one = put(70, 300_000)
    pulled(daemon, one.ref)
    proxy.fault("status", "PUT .*/manifests/", status=503, times=1000)
    told = push(daemon, one.ref)
    assert told.status == 200
    assert "503" in told.error
    assert len(proxy.seen("PUT .*/manifests/")) == 4


def test_push_with_tokens_that_expire(
    daemon: Daemon, registry: Registry, proxy: FaultProxy, put: Putting
) -> None:
    copy = copied(daemon, registry, proxy, put(71, 300_000))
    proxy.tokens = TokenServer(USER, uses=2)
    told = push(daemon, copy, USER)
    assert not told.error
    assert registry.manifest("fault/copy-of-n71", "1")[0] == image_digest(daemon, copy)
    assert proxy.tokens.expired
    scopes = {scope for asked in proxy.tokens.asked for scope in asked["scope"]}
    assert "repository:fault/copy-of-n71:pull,push" in scopes
