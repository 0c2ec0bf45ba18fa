"""X-Registry-Auth and the body of POST /auth."""

from __future__ import annotations

import base64
import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.errors import InvalidArgument
from supervisor.oci.registry_auth import NOBODY, Credentials, decode_body, decode_header

SECRET = "s3cr3t-ÿ~?"
TEXT = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=40)


def header(value: object, *, pad: bool = True) -> str:
    text = base64.urlsafe_b64encode(json.dumps(value).encode()).decode()
    return text if pad else text.rstrip("=")


@pytest.mark.parametrize("value", ["", " ", "e30=", "e30", "bnVsbA=="])
def test_nobody(value: str) -> None:
    assert decode_header(value) == NOBODY
    assert decode_header(value).anonymous


@given(TEXT.filter(lambda name: ":" not in name), TEXT, st.booleans())
def test_password(user: str, password: str, pad: bool) -> None:
    found = decode_header(header({"username": user, "password": password}, pad=pad))
    assert (found.username, found.password, found.anonymous) == (user, password, False)
    pair = base64.b64decode(found.basic.removeprefix("Basic ")).decode()
    assert pair == f"{user}:{password}"


def test_other_forms() -> None:
    pair = base64.b64encode(f"me:{SECRET}".encode()).decode()
    assert decode_header(header({"auth": pair})).password == SECRET
    standard = base64.b64encode(json.dumps({"username": "x", "password": "??>>"}).encode())
    assert decode_header(standard.decode()).password == "??>>"
    found = decode_body(b'{"username":"u","password":"p","serveraddress":"r:5000","email":"x"}')
    assert found.server == "r:5000"
    assert not decode_header(header({"identitytoken": "abc"})).anonymous
    assert not decode_header(header({"registrytoken": "abc"})).anonymous


@pytest.mark.parametrize(
    "value",
    [
        *("!", "a", "e30=x", "e30\xff", header([]), header("x"), header({"username": 1})),
        *(header({"username": f"a:b{SECRET}", "password": "x"}), "x" * 70_000),
        *(header({"username": "u", "password": f"{SECRET}\r\nX: y"}), header({"auth": SECRET})),
        *(header({"identitytoken": f"{SECRET}\n"}), header({"registrytoken": SECRET})),
    ],
)
def test_refused_without_telling_the_secret(value: str) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        decode_header(value)
    assert "s3cr3t" not in str(refusal.value)
    assert "s3cr3t" not in repr(refusal.value)


@given(st.binary(max_size=200))
def test_any_body_is_read_or_refused(raw: bytes) -> None:
    with contextlib.suppress(InvalidArgument):
        decode_body(raw)


def test_a_repr_tells_no_secret() -> None:
    shown = repr(Credentials(username="u", password="p4ss", identity_token="1dent"))
    assert "p4ss" not in shown
    assert "1dent" not in shown
