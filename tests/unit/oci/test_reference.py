"""Image references, checked against the cases of github.com/distribution/reference."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.errors import InvalidArgument
from supervisor.oci.digest import Digest
from supervisor.oci.reference import Reference, id_prefix, is_full_id, parse

HEX = "86e0e091d0da6bde2456dbb48306f3956bbeb2eae1b5b9a43045843f69fe4aaa"


@pytest.mark.parametrize(
    "text, full, familiar",
    [
        ("busybox", "docker.io/library/busybox", "busybox"),
        ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
        ("library/ubuntu", "docker.io/library/ubuntu", "ubuntu"),
        ("docker.io/foo", "docker.io/library/foo", "foo"),
        ("index.docker.io/foo", "docker.io/library/foo", "foo"),
        ("index.docker.io/fooo/bar", "docker.io/fooo/bar", "fooo/bar"),
        ("library/foo/bar", "docker.io/library/foo/bar", "library/foo/bar"),
        ("other/library", "docker.io/other/library", "other/library"),
        ("127.0.0.1:8000/private", "127.0.0.1:8000/private", "127.0.0.1:8000/private"),
        ("localhost/a:b", "localhost/a:b", "localhost/a:b"),
        ("example.com:80/a/b:T.1-x_", "example.com:80/a/b:T.1-x_", "example.com:80/a/b:T.1-x_"),
        ("[fc00::1]:5000/docker", "[fc00::1]:5000/docker", "[fc00::1]:5000/docker"),
        ("test_com/foo", "docker.io/test_com/foo", "test_com/foo"),
        ("Foo/bar", "Foo/bar", "Foo/bar"),
        ("192.168.0.1:80", "docker.io/library/192.168.0.1:80", "192.168.0.1:80"),
        ("docker.io/a.example/b", "docker.io/a.example/b", "docker.io/a.example/b"),
        ("docker.io/docker.io/b", "docker.io/docker.io/b", "docker.io/docker.io/b"),
        ("docker.io/localhost/b:1", "docker.io/localhost/b:1", "docker.io/localhost/b:1"),
        ("dock__er/a---b", "docker.io/dock__er/a---b", "dock__er/a---b"),
        (
            f"busybox:latest@sha256:{HEX}",
            f"docker.io/library/busybox:latest@sha256:{HEX}",
            f"busybox:latest@sha256:{HEX}",
        ),
        (f"docker.io/{HEX}", f"docker.io/library/{HEX}", HEX),
    ],
)
def test_names_are_normalised_and_made_familiar(text: str, full: str, familiar: str) -> None:
    reference = parse(text)
    assert str(reference) == full
    assert reference.familiar == familiar
    if familiar != HEX:
        assert parse(reference.familiar) == reference


def test_the_default_tag_is_latest() -> None:
    assert parse("busybox").tag == ""
    assert parse("busybox").with_default_tag().familiar == "busybox:latest"
    assert parse("busybox:1").with_default_tag().familiar == "busybox:1"
    digested = parse(f"busybox@sha256:{HEX}")
    assert digested.with_default_tag() == digested
    assert digested.digest == Digest("sha256", HEX)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        ":",
        "@",
        "a:",
        "a@",
        ":latest",
        "-docker",
        "-docker/docker",
        "docker-/docker",
        "docker///docker",
        "docker/",
        "docker.io/docker///docker",
        "https://github.com/docker/docker",
        "[fc00::1]",
        "[fc00::1]:5000",
        "fc00::1:5000/debian",
        "[fe80::1%eth0]:5000/debian",
        "____/____",
        "dock..er/docker",
        "dock_.er/docker",
        "a b",
        "a\n",
        "a:b\n",
        "a\0b",
        "../../etc/passwd",
        "a/../b",
        "a:../b",
        "é",
        "a:" + "t" * 129,
        "a:-t",
        "a:t:t",
        "a" * 2000,
        "n" * 256,
        "%2e%2e/a",
        f"a@sha256:{HEX}0",
        f"a@sha256:{HEX[1:]}",
        f"a@md5:{HEX[:32]}",
        f"a@sha256:{HEX.upper()}",
        f"a@sha256:{HEX}@sha256:{HEX}",
    ],
)
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse(text)


def test_the_errors_are_dockers() -> None:
    with pytest.raises(InvalidArgument, match=r"^invalid reference format$"):
        parse("a b")
    upper = r"^invalid reference format: repository name \(library/BusyBox\) must be lowercase$"
    with pytest.raises(InvalidArgument, match=upper):
        parse("BusyBox:Tag")
    with pytest.raises(InvalidArgument, match="cannot specify 64-byte hexadecimal strings"):
        parse(HEX)


@pytest.mark.parametrize("text", ["a-" * 500_000, "a" * 1_000_000, "a." * 500, "a-" * 500 + "!"])
def test_hostile_references_cost_nothing(text: str) -> None:
    begin = time.monotonic()
    with pytest.raises(InvalidArgument):
        parse(text)
    assert time.monotonic() - begin < 0.5


components = st.from_regex(r"[a-z0-9]{1,8}(?:(?:[._]|__|-{1,3})[a-z0-9]{1,8}){0,2}", fullmatch=True)
references = st.builds(
    lambda domain, path, tag, digest: Reference(
        domain=domain,
        # A single component on docker.io is always below library/.
        path="/".join(path if len(path) > 1 or domain != "docker.io" else ["library", *path]),
        tag=tag,
        digest=digest,
    ),
    domain=st.sampled_from(["docker.io", "localhost", "127.0.0.1:5000", "[::1]:1", "a.b", "UP"]),
    path=st.lists(components, min_size=1, max_size=3),
    tag=st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}|", fullmatch=True),
    digest=st.none() | st.binary().map(Digest.of),
)


@given(references)
def test_a_reference_survives_its_text_in_both_forms(reference: Reference) -> None:
    assert parse(str(reference)) == reference
    # "docker.io/localhost/x" and the like read as a domain once docker.io is left out.
    first = reference.familiar_name.partition("/")[0]
    if reference.domain == "docker.io" and (first == "localhost" or "." in first):
        return
    if not is_full_id(reference.familiar):
        assert parse(reference.familiar) == reference


@given(st.text(max_size=40))
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        reference = parse(text)
    except InvalidArgument:
        return
    assert parse(str(reference)) == reference


def test_ids_and_their_prefixes() -> None:
    assert id_prefix("sha256:86e0") == "86e0"
    assert id_prefix("86e0") == "86e0"
    assert id_prefix("86E0") == ""
    assert id_prefix("busybox") == ""
    assert id_prefix("86e0\n") == ""
    assert id_prefix("") == ""
    assert is_full_id(HEX)
    assert is_full_id(f"sha256:{HEX}")
    assert not is_full_id(HEX[1:])
    assert not is_full_id(f"{HEX}\n")
