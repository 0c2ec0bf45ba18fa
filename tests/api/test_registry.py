"""Pulling from and pushing to Debian's docker-registry, by the API and by both commands."""

from __future__ import annotations

import json
import os
import pty
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import docker
import pytest

from tests.api.registry_rig import (
    ask,
    image_id,
    inspect,
    pull,
    pulled,
    push,
    settings,
    some_image,
    stored,
    together,
)
from tests.support.daemon import Daemon, UnixConnection, orlop_command, running_daemon
from tests.support.fault_proxy import fault_proxy
from tests.support.oci_layout import OCI_MANIFEST, Blob, manifest
from tests.support.places import short_folder
from tests.support.registry import Registry, User, certificates, running_registry

USER = User("somebody", "s3cr3t:of/somebody")


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with short_folder() as folder:
        yield folder


@pytest.fixture(scope="module")
def registry(folder: Path) -> Iterator[Registry]:
    (folder / "open").mkdir()
    with running_registry(folder / "open") as registry:
        yield registry


@pytest.fixture(scope="module")
def private(folder: Path) -> Iterator[Registry]:
    """A registry that only USER may use."""
    (folder / "private").mkdir()
    with running_registry(folder / "private", user=USER) as registry:
        yield registry


@pytest.fixture(scope="module")
def daemon(folder: Path) -> Iterator[Daemon]:
    with running_daemon(settings(folder)) as daemon:
        yield daemon


def short(blob: Blob) -> str:
    return blob.digest[7:19]


# --- pull -----------------------------------------------------------------------------------


def test_pull_and_run(daemon: Daemon, registry: Registry) -> None:
    one = some_image(1)
    digest = registry.put("team/one:1", one)
    ref = f"{registry.address}/team/one"
    told = pulled(daemon, f"{ref}:1")
    assert told.messages[0] == {"status": "Pulling from team/one", "id": "1"}
    assert told.steps() == [
        f"Digest: {digest}",
        f"Status: Downloaded newer image for {ref}:1",
    ]
    for layer in one.layers:
        steps = told.steps(short(layer))
        assert steps[0] == "Pulling fs layer"
        assert steps[-1] == "Pull complete"
        assert [s for s in steps if s in ("Verifying Checksum", "Download complete")] == [
            "Verifying Checksum",
            "Download complete",
        ]
    found = inspect(daemon, f"{ref}:1")
    assert found is not None
    assert (found["Id"], found["RepoTags"]) == (one.id, [f"{ref}:1"])
    assert found["RepoDigests"] == [f"{ref}@{digest}"]
    ran = daemon.docker("run", "--rm", f"{ref}:1")
    assert (ran.stdout, ran.returncode) == ("1", 0), ran.stderr


def test_pull_again_is_up_to_date(daemon: Daemon, registry: Registry) -> None:
    digest = registry.put("team/again:1", some_image(2))
    ref = f"{registry.address}/team/again:1"
    pulled(daemon, ref)
    before = stored(daemon)
    assert pulled(daemon, ref).messages == [
        {"status": "Pulling from team/again", "id": "1"},
        {"status": f"Digest: {digest}"},
        {"status": f"Status: Image is up to date for {ref}"},
    ]
    assert stored(daemon) == before


def test_a_tag_that_moved_is_pulled(daemon: Daemon, registry: Registry) -> None:
    old, new = some_image(3), some_image(4)
    ref = f"{registry.address}/team/moves:1"
    registry.put("team/moves:1", old)
    pulled(daemon, ref)
    registry.put("team/moves:1", new)
    assert pulled(daemon, ref).steps()[-1] == f"Status: Downloaded newer image for {ref}"
    assert image_id(daemon, ref) == new.id
    left = inspect(daemon, old.id)
    assert left is not None
    assert left["RepoTags"] == []


def test_layers_that_are_there_are_not_fetched(daemon: Daemon, registry: Registry) -> None:
    base = some_image(5)
    registry.put("team/base:1", base)
    pulled(daemon, f"{registry.address}/team/base:1")
    other = some_image(5, config={"Labels": {"other": "config"}})
    registry.put("team/other:1", other)
    with fault_proxy(registry.address) as proxy:
        told = pulled(daemon, f"{proxy.address}/team/other:1")
        assert [told.steps(short(layer)) for layer in other.layers] == [["Already exists"]] * 2
        (config,) = proxy.seen("GET .*/blobs/")
        assert config.path.endswith(other.config.digest)


def test_by_digest(daemon: Daemon, registry: Registry) -> None:
    one = some_image(6)
    digest = registry.put("team/digest:1", one)
    ref = f"{registry.address}/team/digest@{digest}"
    told = pulled(daemon, ref)
    assert told.messages[0] == {"status": "Pulling from team/digest", "id": digest}
    assert told.steps()[-1] == f"Status: Downloaded newer image for {ref}"
    found = inspect(daemon, ref)
    assert found is not None
    assert (found["Id"], found["RepoTags"], found["RepoDigests"]) == (one.id, [], [ref])
    assert pulled(daemon, ref).steps()[-1] == f"Status: Image is up to date for {ref}"


def test_platforms(daemon: Daemon, registry: Registry) -> None:
    here = some_image(7)
    arm = some_image(8, platform="linux/arm64/v8")
    digest = registry.put("team/multi:1", here, arm)
    ref = f"{registry.address}/team/multi:1"
    pulled(daemon, ref)
    assert image_id(daemon, ref) == here.id
    pulled(daemon, ref, platform="linux/arm64")
    assert image_id(daemon, ref) == arm.id
    # One digest leads to both: the image that came last has it.
    assert image_id(daemon, f"{registry.address}/team/multi@{digest}") == arm.id
    pulled(daemon, ref)  # and without a word about the platform it is the host's again
    assert image_id(daemon, ref) == here.id
    told = pull(daemon, ref, platform="linux/s390x")
    assert (told.status, told.error) == (
        404,
        (
            "no matching manifest for linux/s390x in the manifest list entries (there are: "
            "linux/amd64, linux/arm64/v8)"
        ),
    )
    assert pull(daemon, ref, platform="a/b/c/d").status == 400


def test_a_single_image_of_another_platform(daemon: Daemon, registry: Registry) -> None:
    registry.put("team/arm:1", some_image(9, platform="linux/arm64"))
    ref = f"{registry.address}/team/arm:1"
    told = pull(daemon, ref, platform="linux/amd64")
    assert told.status == 404
    assert "wanted linux/amd64, actual: linux/arm64" in told.error
    pulled(daemon, ref)  # who does not ask gets what there is


def test_all_tags(daemon: Daemon, registry: Registry) -> None:
    images = {tag: some_image(number) for number, tag in enumerate(("a", "b", "c"), 10)}
    for tag, one in images.items():
        registry.put(f"team/tags:{tag}", one)
    ref = f"{registry.address}/team/tags"
    told = ask(daemon, "POST", "/images/create", fromImage=ref)
    assert told.status == 200
    assert {tag: image_id(daemon, f"{ref}:{tag}") for tag in images} == {
        tag: one.id for tag, one in images.items()
    }


def test_docker_manifest_with_compressions(daemon: Daemon, registry: Registry) -> None:
    plain = some_image(13, compress=False)
    registry.put("team/plain:1", plain)
    ref = f"{registry.address}/team/plain:1"
    pulled(daemon, ref)
    assert daemon.docker("run", "--rm", ref).stdout == "13"
    registry.skopeo(
        "copy",
        *("--format", "v2s2", "--src-tls-verify=false"),
        *(f"docker://{ref}", f"docker://{registry.address}/team/v2s2:1"),
    )
    ref = f"{registry.address}/team/v2s2:1"
    pulled(daemon, ref)
    assert daemon.docker("run", "--rm", ref).stdout == "13"


def test_what_is_not_there(daemon: Daemon, registry: Registry) -> None:
    registry.put("team/there:1", some_image(14))
    ref = f"{registry.address}/team/there:2"
    told = pull(daemon, ref)
    assert (told.status, told.error) == (
        404,
        f"manifest for {ref} not found: manifest unknown: manifest unknown",
    )
    told = pull(daemon, f"{registry.address}/team/there@sha256:{'0' * 64}")
    assert told.status == 404
    told = pull(daemon, "127.0.0.1:1/x:1")
    assert (told.status, told.error) == (
        503,
        'Get "http://127.0.0.1:1/v2/x/manifests/1": connection refused',
    )
    assert pull(daemon, f"{registry.address}/UPPER:1").status == 400


@pytest.mark.parametrize(
    "media_type, words",
    [
        ("application/vnd.cncf.helm.config.v1+json", "no container image"),
        ("application/vnd.docker.distribution.manifest.v1+json", "no container image"),
    ],
)
def test_what_is_no_image(daemon: Daemon, registry: Registry, media_type: str, words: str) -> None:
    one = some_image(15)
    odd = manifest(Blob(one.config.data, media_type), one.layers)
    blobs = [one.config.data, *(layer.data for layer in one.layers)]
    registry.put_raw("team/odd:1", odd, blobs, OCI_MANIFEST)
    told = pull(daemon, f"{registry.address}/team/odd:1")
    assert told.status == 400
    assert words in told.error


def test_two_pulls_share_the_work(daemon: Daemon, registry: Registry) -> None:
    one = some_image(16, size=3_000_000)
    registry.put("team/shared:1", one)
    with fault_proxy(registry.address) as proxy:
        proxy.delay = 0.05
        ref = f"{proxy.address}/team/shared:1"
        results = together(*[lambda: pulled(daemon, ref)] * 4)
        assert all(told.steps()[-1].endswith(ref) for told in results)
        for layer in one.layers:
            assert len(proxy.seen(f"GET .*/blobs/{layer.digest}")) == 1
    assert image_id(daemon, ref) == one.id


def test_events(daemon: Daemon, registry: Registry) -> None:
    registry.put("team/event:1", some_image(17))
    ref = f"{registry.address}/team/event:1"
    since = time.time()
    pulled(daemon, ref)
    assert not push(daemon, ref).error
    filters = quote(json.dumps({"type": ["image"]}))
    path = f"/events?since={since:.6f}&until={time.time():.6f}&filters={filters}"
    told = ask(daemon, "GET", path)
    assert [(m["Action"], m["Actor"]["ID"]) for m in told.messages] == [
        ("pull", ref),
        ("push", ref),
    ]


# --- push -----------------------------------------------------------------------------------


def test_push_then_pull_elsewhere(
    daemon: Daemon,
    registry: Registry,
    private: Registry,
    new_daemon: Callable[..., Daemon],
    folder: Path,
) -> None:
    one = some_image(20)
    digest = registry.put("team/push:1", one)
    pulled(daemon, f"{registry.address}/team/push:1")
    ref = f"{private.address}/copy/push:2"
    tagged = daemon.docker("tag", f"{registry.address}/team/push:1", ref)
    assert tagged.returncode == 0, tagged.stderr
    told = push(daemon, ref, USER)
    assert not told.error
    assert told.messages[0] == {
        "status": f"The push refers to repository [{private.address}/copy/push]"
    }
    assert told.messages[-1] == {
        "progressDetail": {},
        "aux": {"Tag": "2", "Digest": digest, "Size": len(one.manifest)},
    }
    assert told.messages[-2] == {"status": f"2: digest: {digest} size: {len(one.manifest)}"}
    assert private.manifest("copy/push", "2") == (digest, one.manifest)
    assert sum(message.get("status") == "Pushed" for message in told.messages) == 2
    found = inspect(daemon, ref)
    assert found is not None
    assert f"{private.address}/copy/push@{digest}" in found["RepoDigests"]
    other = new_daemon(*settings(folder))
    pulled(other, ref, USER)
    again = inspect(other, ref)
    assert again is not None
    for member in ("Id", "RootFS", "Config", "Created", "Size"):
        assert again[member] == found[member], member
    again_told = push(daemon, ref, USER)
    assert sum(m.get("status") == "Layer already exists" for m in again_told.messages) == 2


def test_push_mounts_what_the_registry_has(daemon: Daemon, registry: Registry) -> None:
    one = some_image(21)
    digest = registry.put("team/source:1", one)
    source, copy = f"{registry.address}/team/source:1", f"{registry.address}/team/mounted:1"
    pulled(daemon, source)
    daemon.docker("tag", source, copy)
    told = push(daemon, copy)
    assert not told.error
    assert sum(m.get("status") == "Mounted from team/source" for m in told.messages) == 2
    assert registry.manifest("team/mounted", "1")[0] == digest


def test_push_of_a_scratch_image(daemon: Daemon, registry: Registry) -> None:
    ref = f"{registry.address}/team/scratch:1"
    assert daemon.orlop("image", "scratch", ref).returncode == 0
    told = push(daemon, ref)
    assert not told.error
    id_before = image_id(daemon, ref)
    assert daemon.docker("rmi", ref).returncode == 0
    pulled(daemon, ref)
    assert image_id(daemon, ref) == id_before
    assert daemon.docker("run", "--rm", ref, "echo", "back").stdout == "back\n"


def test_push_all_tags(daemon: Daemon, registry: Registry) -> None:
    one = some_image(22)
    digest = registry.put("team/many:a", one)
    ref = f"{registry.address}/team/many"
    pulled(daemon, f"{ref}:a")
    for tag in ("b", "c"):
        daemon.docker("tag", f"{ref}:a", f"{ref}:{tag}")
    told = ask(daemon, "POST", f"/images/{quote(ref)}/push")
    assert not told.error
    assert {registry.manifest("team/many", tag)[0] for tag in ("a", "b", "c")} == {digest}


def test_push_of_what_is_not_there(daemon: Daemon, registry: Registry) -> None:
    name = f"{registry.address}/team/nothing"
    told = push(daemon, f"{name}:1")
    assert (told.status, told.error) == (
        404,
        f"An image does not exist locally with the tag: {name}",
    )


# --- credentials ----------------------------------------------------------------------------


def test_private_registry(daemon: Daemon, private: Registry) -> None:
    one = some_image(30)
    private.put("team/private:1", one)
    ref = f"{private.address}/team/private:1"
    told = pull(daemon, ref)
    assert told.status == 403
    assert "no basic auth credentials" in told.error
    told = pull(daemon, ref, User("somebody", "wrong"))
    assert told.status == 403
    assert "password" in told.error
    assert "wrong" in told.error
    pulled(daemon, ref, USER)
    assert image_id(daemon, ref) == one.id
    daemon.docker("tag", ref, f"{private.address}/team/private:2")
    told = push(daemon, f"{private.address}/team/private:2")
    assert told.status == 200
    assert "no basic auth credentials" in told.error
    assert USER.password not in daemon.log


def test_login(daemon: Daemon, private: Registry, registry: Registry) -> None:
    def log_in(server: str, password: str) -> tuple[int, dict[str, Any]]:
        body = {"username": USER.name, "password": password, "serveraddress": server}
        told = ask(daemon, "POST", "/auth", body=body)
        return told.status, told.messages[0]

    assert log_in(private.address, USER.password) == (
        200,
        {"IdentityToken": "", "Status": "Login Succeeded"},
    )
    status, answer = log_in(private.address, "wrong")
    assert status == 401
    assert "unauthorized" in answer["message"]
    assert log_in(f"http://{private.address}/v1/", USER.password)[0] == 200
    assert log_in("127.0.0.1:1", "x")[0] == 503
    assert log_in("no server", "x")[0] == 400


@pytest.mark.parametrize("header", ["!", "WzFd", "eyJ1c2VybmFtZSI6MX0="])
def test_bad_auth_header(daemon: Daemon, registry: Registry, header: str) -> None:
    connection = UnixConnection(daemon.socket, 10)
    target = f"/images/create?fromImage={registry.address}/team/one&tag=1"
    connection.request("POST", target, headers={"X-Registry-Auth": header})
    response = connection.getresponse()
    assert response.status == 400
    assert b"X-Registry-Auth" in response.read()
    connection.close()


# --- look-up and search ---------------------------------------------------------------------


def test_distribution(daemon: Daemon, registry: Registry) -> None:
    one, arm = some_image(40), some_image(41, platform="linux/arm64/v8")
    digest = registry.put("team/dist:1", one, arm)
    registry.put("team/dist:single", one)
    told = ask(daemon, "GET", f"/distribution/{registry.address}/team/dist:1/json")
    assert told.status == 200
    descriptor = told.messages[0]["Descriptor"]
    assert descriptor["digest"] == digest
    assert descriptor["mediaType"] == "application/vnd.oci.image.index.v1+json"
    assert told.messages[0]["Platforms"] == [
        {"architecture": "amd64", "os": "linux"},
        {"architecture": "arm64", "os": "linux", "variant": "v8"},
    ]
    told = ask(daemon, "GET", f"/distribution/{registry.address}/team/dist:single/json")
    assert told.messages[0]["Descriptor"]["digest"] == one.digest
    assert told.messages[0]["Platforms"] == [{"architecture": "amd64", "os": "linux"}]
    told = ask(daemon, "GET", f"/distribution/{registry.address}/team/nope/json")
    assert told.status == 404


def test_search(daemon: Daemon, registry: Registry, private: Registry) -> None:
    registry.put("searched/word:1", some_image(42))
    told = ask(daemon, "GET", "/images/search", term=f"{registry.address}/searched")
    rows: Any = told.messages[0]
    assert [row["name"] for row in rows] == [f"{registry.address}/searched/word"]
    assert ask(daemon, "GET", "/images/search").status == 400
    assert ask(daemon, "GET", "/images/search", term="x", limit="1000").status == 400
    assert ask(daemon, "GET", "/images/search", term=f"{private.address}/x").status == 401
    found = daemon.docker("search", "--format", "{{.Name}}", f"{registry.address}/searched")
    assert found.stdout.split() == [f"{registry.address}/searched/word"]


# --- TLS and mirrors ------------------------------------------------------------------------


def test_tls(daemon: Daemon, folder: Path) -> None:
    tls = folder / "tls"
    tls.mkdir()
    made, stranger = certificates(tls), folder / "stranger"
    stranger.mkdir()
    one = some_image(50)
    with running_registry(tls, certificate=(made.certificate, made.key)) as registry:
        registry.put("team/tls:1", one)
        ref = f"{registry.address}/team/tls:1"
        trusted = folder / registry.address
        trusted.mkdir()
        (trusted / "ca.crt").write_bytes(certificates(stranger).authority.read_bytes())
        told = pull(daemon, ref)
        assert told.status == 503
        assert "certificate is not to be trusted" in told.error
        (trusted / "ca.crt").write_bytes(made.authority.read_bytes())
        pulled(daemon, ref)
        assert image_id(daemon, ref) == one.id
        (trusted / "ca.crt").write_text("nonsense")
        assert pull(daemon, ref).status == 400
        (trusted / "ca.crt").unlink()
        pulled(daemon, ref)  # on the loopback nobody needs to vouch for it, as in docker


def test_mirrors(registry: Registry, folder: Path, new_daemon: Callable[..., Daemon]) -> None:
    ours = folder / "mirrors"
    ours.mkdir()
    one, two = some_image(51), some_image(52)
    registry.put("library/mirrored:1", one)
    with (
        fault_proxy(registry.address) as first,
        fault_proxy(registry.address) as second,
        fault_proxy(registry.address) as upstream,
    ):
        mirrors = {upstream.address: [first.url, second.url]}
        daemon = new_daemon(*settings(ours, mirrors=mirrors))
        ref = f"{upstream.address}/library/mirrored:1"
        pulled(daemon, ref, USER)
        assert image_id(daemon, ref) == one.id
        assert first.requests
        assert not second.requests
        assert not upstream.requests
        assert not any(seen.authorization for seen in first.requests)
        # A mirror that fails in the middle of a layer, and then for good.
        registry.put("library/mirrored:2", two)
        first.fault("cut", "GET .*/blobs/", after=100_000, times=1000)
        second.fault("status", "GET .*/blobs/", times=1000, status=404)
        pulled(daemon, f"{upstream.address}/library/mirrored:2")
        assert image_id(daemon, f"{upstream.address}/library/mirrored:2") == two.id
        assert upstream.seen("GET .*/blobs/")
        # Mirrors without the image, or without life.
        first.fault("status", "GET .*/manifests/", status=404)
        second.fault("drop", "GET .*/manifests/", times=1000)
        pulled(daemon, f"{upstream.address}/library/mirrored@{one.digest}")
        assert upstream.seen("GET .*/manifests/")


def test_registry_mirror_flag_and_info(
    registry: Registry, new_daemon: Callable[..., Daemon]
) -> None:
    one = some_image(53)
    registry.put("library/official:1", one)
    daemon = new_daemon(
        *("--registry-mirror", registry.url, "--insecure-registry", "registry.lan:5000")
    )
    done = daemon.docker("pull", "official:1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("docker.io/library/official:1\n")
    assert image_id(daemon, "official:1") == one.id
    _, info = daemon.request("GET", "/info")
    assert info["RegistryConfig"]["Mirrors"] == [registry.url]
    assert info["RegistryConfig"]["IndexConfigs"]["registry.lan:5000"]["Secure"] is False


# --- commands -------------------------------------------------------------------------------


def test_docker_login_pull_push(daemon: Daemon, private: Registry) -> None:
    one = some_image(60)
    private.put("team/cli:1", one)
    ref = f"{private.address}/team/cli"
    failed = daemon.docker("pull", f"{ref}:1")
    assert failed.returncode == 1
    assert "no basic auth credentials" in failed.stderr
    login = ("login", "-u", USER.name, "--password-stdin", private.address)
    bad = daemon.docker(*login, input="wrong")
    assert bad.returncode == 1
    assert "unauthorized" in bad.stderr
    good = daemon.docker(*login, input=USER.password)
    assert (good.returncode, good.stdout.strip()) == (0, "Login Succeeded"), good.stderr
    done = daemon.docker("pull", f"{ref}:1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == [
        f"Status: Downloaded newer image for {ref}:1",
        f"{ref}:1",
    ]
    daemon.docker("tag", f"{ref}:1", f"{ref}:2")
    done = daemon.docker("push", f"{ref}:2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"2: digest: {one.digest} size: {len(one.manifest)}"
    daemon.docker("logout", private.address)
    assert daemon.docker("push", f"{ref}:2").returncode == 1


def test_docker_run_pulls(daemon: Daemon, registry: Registry) -> None:
    registry.put("team/auto:1", some_image(61))
    ref = f"{registry.address}/team/auto:1"
    done = daemon.docker("run", "--rm", ref)
    assert (done.stdout, done.returncode) == ("61", 0), done.stderr
    assert f"Unable to find image '{ref}' locally" in done.stderr


def test_docker_py(daemon: Daemon, private: Registry) -> None:
    one = some_image(67)
    private.put("team/py:1", one)
    name = f"{private.address}/team/py"
    client: Any = docker.DockerClient(base_url=daemon.host, version="1.45", timeout=60)
    with closing(client):
        with pytest.raises(docker.errors.APIError, match="no basic auth credentials"):
            client.images.pull(name, tag="1")
        assert client.login(USER.name, USER.password, registry=private.address)["Status"]
        assert client.images.pull(name, tag="1").id == one.id
        (digest,) = (client.images.get_registry_data(f"{name}:1").id,)
        assert digest == one.digest
        client.images.get(f"{name}:1").tag(name, "2")
        assert f"2: digest: {one.digest}" in client.images.push(name, tag="2")
        with pytest.raises(docker.errors.NotFound):
            client.images.pull(name, tag="none")


def test_orlop_login_pull_push(daemon: Daemon, private: Registry) -> None:
    one = some_image(62)
    private.put("team/orlop:1", one)
    ref = f"{private.address}/team/orlop"
    config = Path(daemon.environment["DOCKER_CONFIG"]) / "config.json"
    config.parent.mkdir(exist_ok=True)
    config.write_text('{"psFormat": "kept"}')
    failed = daemon.orlop("pull", f"{ref}:1")
    assert failed.returncode == 1
    assert "no basic auth credentials" in failed.stderr
    login = ("login", "-u", USER.name, "--password-stdin", private.address)
    bad = daemon.orlop(*login, input="wrong\n")
    assert bad.returncode == 1
    assert "unauthorized" in bad.stderr
    assert json.loads(config.read_text()) == {"psFormat": "kept"}
    good = daemon.orlop(*login, input=USER.password + "\n")
    assert (good.returncode, good.stdout) == (0, "Login Succeeded\n"), good.stderr
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert json.loads(config.read_text())["psFormat"] == "kept"
    done = daemon.orlop("pull", f"{ref}:1")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "1: Pulling from team/orlop"
    assert lines[-2:] == [f"Status: Downloaded newer image for {ref}:1", f"{ref}:1"]
    assert f"{short(one.layers[0])}: Pull complete" in lines
    assert "\x1b" not in done.stdout
    assert daemon.orlop("pull", "-q", f"{ref}:1").stdout == f"{ref}:1\n"
    daemon.docker("tag", f"{ref}:1", f"{ref}:2")
    done = daemon.orlop("push", f"{ref}:2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"2: digest: {one.digest} size: {len(one.manifest)}"
    # docker finds what orlop stored, and the other way round.
    assert daemon.docker("pull", f"{ref}:2").returncode == 0
    assert daemon.orlop("logout", private.address).stdout.startswith("Removing login")
    assert daemon.orlop("pull", f"{ref}:2").returncode == 1


def test_orlop_run_pulls(daemon: Daemon, registry: Registry) -> None:
    registry.put("team/run:1", some_image(63))
    ref = f"{registry.address}/team/run:1"
    never = daemon.orlop("run", "--rm", "--pull", "never", ref)
    assert never.returncode == 125
    assert "No such image" in never.stderr
    done = daemon.orlop("run", "--rm", ref)
    assert (done.stdout, done.returncode) == ("63", 0), done.stderr
    assert f"Unable to find image '{ref}' locally" in done.stderr
    registry.put("team/run:1", some_image(64))
    assert daemon.orlop("run", "--rm", ref).stdout == "63"
    always = daemon.orlop("run", "--rm", "--pull=always", "-q", ref)
    assert (always.stdout, always.stderr) == ("64", "")
    gone = daemon.orlop("create", f"{registry.address}/team/run:nope")
    assert gone.returncode == 1
    assert "manifest unknown" in gone.stderr
    assert daemon.orlop("run", "--pull", "often", ref).returncode == 125


def test_orlop_pull_on_a_terminal(daemon: Daemon, registry: Registry) -> None:
    one = some_image(65)
    registry.put("team/tty:1", one)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*orlop_command(), "pull", f"{registry.address}/team/tty:1"],
        env={**daemon.environment, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            data = os.read(ours, 65536)
        except OSError:  # EIO: its other end is closed
            break
        if not data:
            break
        shown += data
    os.close(ours)
    assert process.wait(30) == 0
    text = shown.decode()
    assert "\x1b[2K" in text
    assert f"{short(one.layers[1])}: Pull complete" in text
    assert text.rstrip().endswith(f"{registry.address}/team/tty:1")


def test_orlop_search(daemon: Daemon, registry: Registry) -> None:
    registry.put("orlop/found:1", some_image(66))
    done = daemon.orlop("search", f"{registry.address}/orlop")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1].split()[0] == f"{registry.address}/orlop/found"
