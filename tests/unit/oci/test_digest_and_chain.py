"""Digests and chain ids."""

from __future__ import annotations

import hashlib

import pytest

from supervisor.errors import InvalidArgument
from supervisor.oci.chain import chain_ids
from supervisor.oci.digest import Digest


def test_digest_of_bytes_is_sha256() -> None:
    digest = Digest.of(b"abc")
    assert str(digest) == "sha256:" + hashlib.sha256(b"abc").hexdigest()
    assert Digest.parse(str(digest)) == digest


def test_sha512_is_known() -> None:
    assert Digest.parse("sha512:" + "a" * 128).algorithm == "sha512"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256",
        "sha256:",
        "sha256:" + "a" * 63,
        "sha256:" + "a" * 65,
        "sha256:" + "A" * 64,
        "sha256:" + "a" * 63 + "\n",
        "sha256:" + "\u0661" * 64,
        "sha256:../../../../etc/passwd",
        "sha256:" + "../" * 21 + "a",
        "md5:" + "a" * 32,
        "sha512:" + "a" * 64,
        "a" * 64,
    ],
)
def test_what_is_no_digest_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        Digest.parse(text)


def test_the_chain_id_of_the_lowest_layer_is_its_diff_id() -> None:
    diff_id = Digest.of(b"layer")
    assert chain_ids([diff_id]) == (diff_id,)
    assert chain_ids([]) == ()


def test_chain_ids_are_those_of_the_specification() -> None:
    a, b, c = (Digest.of(text) for text in (b"a", b"b", b"c"))
    ab = Digest("sha256", hashlib.sha256(f"{a} {b}".encode()).hexdigest())
    abc = Digest("sha256", hashlib.sha256(f"{ab} {c}".encode()).hexdigest())
    assert chain_ids([a, b, c]) == (a, ab, abc)
    assert chain_ids([b, a])[1] != ab
