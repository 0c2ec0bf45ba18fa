"""WWW-Authenticate: what registries really send, and what hostile ones might."""

from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.errors import InvalidArgument
from supervisor.oci import web_url
from supervisor.oci.auth_challenge import MAX_HEADER, Challenge, parse, token_realm
from supervisor.oci.web_url import Origin

HUB = (
    'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",'
    'scope="repository:library/busybox:pull"'
)


def origin(url: str) -> Origin:
    return web_url.parse(url).origin


def bearer(realm: str, **more: str) -> Challenge:
    return Challenge(scheme="bearer", parameters={"realm": realm, **more})


def test_docker_hub() -> None:
    (challenge,) = parse(HUB)
    assert challenge.scheme == "bearer"
    realm = token_realm(challenge, origin("https://registry-1.docker.io"), False)
    assert str(realm.url) == "https://auth.docker.io/token"
    assert realm.scopes == ("repository:library/busybox:pull",)
    assert realm.query(realm.scopes, "me & you") == (
        "/token?service=registry.docker.io&scope=repository%3Alibrary%2Fbusybox%3Apull"
        "&account=me%20%26%20you"
    )


@pytest.mark.parametrize(
    "header, expected",
    [
        ('Basic realm="x"', [("basic", {"realm": "x"})]),
        ("basic", [("basic", {})]),
        ("Basic realm=plain , charset=UTF-8", [("basic", {"realm": "plain", "charset": "UTF-8"})]),
        ('BASIC REALM = "a \\"b\\" \\\\c"', [("basic", {"realm": 'a "b" \\c'})]),
        ("Negotiate YWJj==", [("negotiate", {})]),
        (
            'Negotiate, Bearer realm="https://a/t" , Basic realm="r"',
            [("negotiate", {}), ("bearer", {"realm": "https://a/t"}), ("basic", {"realm": "r"})],
        ),
        ('Bearer realm="first",realm="second"', [("bearer", {"realm": "first"})]),
        (
            'Bearer realm="https://a/t",error="insufficient_scope"',
            [("bearer", {"realm": "https://a/t", "error": "insufficient_scope"})],
        ),
        ("", []),
        (" , ,", []),
    ],
)
def test_forms(header: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    assert [(c.scheme, dict(c.parameters)) for c in parse(header)] == expected


@pytest.mark.parametrize(
    "header",
    ['Bearer realm="open', "=x", 'Bearer realm="a\nb"', "Bearer =x", '"quoted" x', "B" * 9000],
)
def test_malformed(header: str) -> None:
    with pytest.raises(InvalidArgument, match="WWW-Authenticate"):
        parse(header)


@given(st.text(max_size=400))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidArgument):
        parse(text)


@given(
    st.dictionaries(
        st.from_regex(r"[a-z]{1,8}", fullmatch=True),
        st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30),
        min_size=1,
        max_size=5,
    )
)
def test_what_is_quoted_comes_back(parameters: dict[str, str]) -> None:
    pairs = []
    for name, value in parameters.items():
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        pairs.append(f'{name}="{escaped}"')
    (challenge,) = parse("Bearer " + ",".join(pairs))
    assert challenge.parameters == parameters


@pytest.mark.parametrize("piece", ["a", "a=", 'a="', "a,", "a ", 'a="b",', "\\"])
def test_a_long_header_takes_no_time(piece: str) -> None:
    begin = time.process_time()
    with contextlib.suppress(InvalidArgument):
        parse("Bearer " + piece * ((MAX_HEADER - 7) // len(piece)))
    assert time.process_time() - begin < 1.0


@pytest.mark.parametrize(
    "realm, registry, insecure",
    [
        ("https://auth.example/t", "https://registry.example", False),
        ("https://auth.example/t", "http://registry.lan:5000", False),
        ("http://registry.lan:81/t", "http://registry.lan:5000", False),
        ("http://auth.lan/t", "http://registry.lan:5000", True),
        ("http://127.0.0.1:1/t", "http://127.0.0.1:2", False),
        ("http://localhost:1/t", "http://127.0.0.1:2", True),
    ],
)
def test_realm_is_allowed(realm: str, registry: str, insecure: bool) -> None:
    assert str(token_realm(bearer(realm), origin(registry), insecure).url) == realm


@pytest.mark.parametrize(
    "realm, registry, insecure",
    [
        ("http://auth.example/t", "https://registry.example", False),
        ("http://registry.example/t", "https://registry.example", True),  # a downgrade
        ("http://auth.lan/t", "http://registry.lan:5000", False),
        ("http://127.0.0.1/t", "http://registry.lan:5000", True),
        ("https://127.0.0.1/t", "https://registry.example", False),
        ("https://[::1]/t", "https://registry.example", False),
        ("file:///etc/passwd", "https://registry.example", False),
        ("ftp://auth.example/t", "https://registry.example", False),
        ("//auth.example/t", "https://registry.example", False),
        ("/token", "https://registry.example", False),
        ("https://user:pw@auth.example/t", "https://registry.example", False),
        ("https://auth.example\\@evil.example/t", "https://registry.example", False),
        ("https://auth.example/t\r\nX: y", "https://registry.example", False),
        ("https://" + "a" * 9000 + "/t", "https://registry.example", False),
        ("", "https://registry.example", False),
    ],
)
def test_realm_is_refused(realm: str, registry: str, insecure: bool) -> None:
    with pytest.raises(InvalidArgument):
        token_realm(bearer(realm), origin(registry), insecure)
