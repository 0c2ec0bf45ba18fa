"""Documents of images and registries: whatever a registry or an archive says."""

from __future__ import annotations

import json
from collections.abc import Callable

from supervisor.docker.create import CreateBody, merge_image
from supervisor.docker.health import check_of
from supervisor.docker.search import hub_rows
from supervisor.errors import InvalidArgument, NotFound, OrlopError
from supervisor.oci import (
    auth_challenge,
    config,
    derive,
    document,
    http_fields,
    index,
    manifest,
    platform,
    reference,
    registry_auth,
    registry_errors,
    web_url,
)
from supervisor.oci.digest import Digest
from supervisor.oci.docker_config import DockerConfig
from supervisor.oci.endpoint import login_domain
from supervisor.oci.manifest import Descriptor
from supervisor.oci.platform import Platform
from supervisor.spec.users import parse_user
from tests.fuzz.target import Target
from tests.support import image_tars

_WANTED = Platform(os="linux", architecture="amd64")
_MADE = image_tars.Made(layers=(image_tars.layer(image_tars.file("a", b"x")),))
_MANIFEST, _BLOBS = image_tars.oci_manifest(_MADE)


def check_object(data: bytes) -> None:
    """AssertionError unless Python reads an object, too; text that nobody reads may be no UTF-8."""
    assert isinstance(json.loads(data.decode("utf-8", "replace")), dict)


def manifests(data: bytes) -> None:
    """A manifest or an index, for Python's reader as well; a search in it ends."""
    for parse in (manifest.parse, index.parse):
        try:
            parse(data)
        except InvalidArgument:
            continue
        check_object(data)
    try:
        manifest.require_image(manifest.parse(data))
    except InvalidArgument:
        pass
    else:
        assert manifest.parse(manifest.encode(manifest.parse(data))) == manifest.parse(data)
    _search(data)


def _search(data: bytes) -> None:
    root = Descriptor(media_type="", digest=Digest.of(data), size=len(data))
    search = index.find_manifest(root, _WANTED)
    answers = 0
    try:
        next(search)
        while True:
            answers += 1
            assert answers <= index.MAX_DOCUMENTS + 1
            # Whatever it asks for is this again: an index may lead to itself.
            search.send(data)
    except (StopIteration, InvalidArgument, NotFound):
        pass


def configs(data: bytes) -> None:
    """An image's config, and what a container gets of it."""
    try:
        found = config.parse(data)
    except InvalidArgument:
        return
    check_object(data)
    config.parse_history(data)
    config.unix_seconds(found.created)
    step = derive.Step(
        created=config.ZERO_TIME, created_by="x", diff_id=Digest.of(b""), author="", comment=""
    )
    try:
        derived = derive.derive(data, found.config, step, _WANTED)
    except InvalidArgument:
        pass
    else:
        config.parse(derived)
    try:
        merged = merge_image(CreateBody(), found.config)
        check_of(merged)
        parse_user(merged.user)
    except OrlopError:
        return


def references(data: bytes) -> None:
    """A reference means the same in each of its spellings."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        found = reference.parse(text)
    except InvalidArgument:
        return
    assert reference.parse(str(found)) == found
    assert reference.parse(found.familiar) == found
    assert reference.parse(str(found.with_default_tag())).tag or found.digest
    assert len(found.path) <= reference.MAX_NAME
    assert ".." not in f"{found.domain}/{found.path}".split("/")


def registries(data: bytes) -> None:
    """What registries answer with, and what names them and their users."""
    text = data.decode("latin-1")
    for read in _OF_REGISTRIES:
        try:
            read(text)
        except InvalidArgument:
            continue
    try:
        hub_rows(data)
        registry_auth.decode_body(data)
    except OrlopError:
        pass
    for remote in registry_errors.decode(data):
        registry_errors.printable(remote.message)


def _url(text: str) -> None:
    found = web_url.parse(text)
    web_url.parse(str(found))


def _challenges(text: str) -> None:
    for challenge in auth_challenge.parse(text):
        assert challenge.scheme == challenge.scheme.lower()
        auth_challenge.token_realm(challenge, web_url.parse("https://r.example/").origin, False)


def _docker_config(text: str) -> None:
    file = DockerConfig(text)
    file.helper("docker.io")
    file.left_to("r.example")
    file.auth("docker.io")
    file.drop("docker.io")
    file.keep("docker.io", username="u", password="p")
    assert file.auth("docker.io")["username"] == "u"
    DockerConfig(file.text())


_OF_REGISTRIES: tuple[Callable[[str], object], ...] = (
    _url,
    _challenges,
    _docker_config,
    Digest.parse,
    platform.parse,
    login_domain,
    registry_auth.decode_header,
    http_fields.range_start,
    lambda text: http_fields.retry_after(text, 0.0),
    lambda text: http_fields.length({"content-length": text}),
    http_fields.next_link,
    lambda text: document.decode_object(text.encode(), "x"),
)

_INDEX = json.dumps(
    {
        "schemaVersion": 2,
        "manifests": [
            image_tars.descriptor(
                _MANIFEST,
                image_tars.OCI_MANIFEST,
                platform={"os": "linux", "architecture": "amd64", "variant": "v1"},
                annotations={"org.opencontainers.image.ref.name": "1"},
            ),
            image_tars.descriptor(b"{}", image_tars.OCI_INDEX),
        ],
    }
).encode()
_CONFIG = image_tars.Made(
    layers=_MADE.layers,
    config={
        "Cmd": ["sh"],
        "Env": ["A=b"],
        "User": "1:1",
        "ExposedPorts": {"80/tcp": {}},
        "Volumes": {"/v": {}},
        "Healthcheck": {"Test": ["CMD", "true"], "Interval": 1000000000, "Retries": 3},
        "Labels": {"a": "b"},
        "OnBuild": None,
    },
).config_json
_WORDS = (b"null", b"{}", b"[]", b'"":', b"[", b'{"a":', b"1e400", b'"\\ud800"', b"-0", b"1.0")

TARGETS = (
    Target(
        name="manifest",
        run=manifests,
        seeds=(_MANIFEST, _INDEX, b'{"schemaVersion": 1}', b'{"schemaVersion": 2}'),
        words=(*_WORDS, b'"layers"', b'"manifests"', b'"config"', b'"urls"', b'"mediaType"'),
    ),
    Target(
        name="config",
        run=configs,
        seeds=(_CONFIG, _MADE.config_json),
        words=(*_WORDS, b'"Healthcheck"', b'"history"', b'"rootfs"', b'"Env"', b"sha256:"),
        cost=2,
    ),
    Target(
        name="reference",
        run=references,
        seeds=(
            b"busybox",
            b"localhost:5000/a/b_c.d--e:1.2@sha256:" + b"a" * 64,
            b"[::1]:5/x:y",
            b"index.docker.io/library/x",
            b"A.b/c__d",
        ),
        words=(b"/", b":", b"@", b"sha256:", b"--", b"__", b".", b"a-", b"library/", b"[", b"]"),
        longest=1200,
    ),
    Target(
        name="registry",
        run=registries,
        seeds=(
            b'Bearer realm="https://a.example/t",service="r",scope="repository:a:pull,push"',
            b'Negotiate abc==, Basic realm="\\"x"',
            b"https://[::1]:5000/v2/?n=1#x",
            b"bytes 0-99/100",
            b"Wed, 21 Oct 2026 07:28:00 GMT",
            b'</v2/_catalog?last=a&n=2>; rel="next"',
            b'{"errors": [{"code": "DENIED", "message": "no", "detail": null}]}',
            b'{"auths": {"r.example": {"auth": "dTpw"}}, "credsStore": "x"}',
            b'{"results": [{"name": "a", "star_count": 1}]}',
            b"linux/arm64/v8",
        ),
        words=(*_WORDS, b"realm=", b'"', b",", b"https://", b"@", b"[", b"%", b"\\", b"rel="),
        longest=2048,
    ),
)
