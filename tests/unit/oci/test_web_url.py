"""URLs that registries name: read in one way only, and not followed everywhere."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.errors import InvalidArgument
from supervisor.oci.web_url import Origin, check_redirect, is_loopback, parse


@pytest.mark.parametrize(
    "text, origin, target",
    [
        ("https://Example.COM", Origin("https", "example.com", 443), "/"),
        ("http://a:80/x?y=z#part", Origin("http", "a", 80), "/x?y=z"),
        ("https://[2001:DB8::1]:5000/v2/", Origin("https", "[2001:db8::1]", 5000), "/v2/"),
    ],
)
def test_parse(text: str, origin: Origin, target: str) -> None:
    url = parse(text)
    assert (url.origin, url.target) == (origin, target)


def test_join() -> None:
    url = parse("https://registry.example:5000/v2/a/blobs/uploads/")
    assert str(url.join("/v2/x?_state=1")) == "https://registry.example:5000/v2/x?_state=1"
    assert str(url.join("next")) == "https://registry.example:5000/v2/a/blobs/uploads/next"
    assert str(url.join("//cdn.example/x")) == "https://cdn.example/x"
    assert str(url.join("http://cdn.example/x")) == "http://cdn.example/x"


@pytest.mark.parametrize(
    "text",
    [
        *("", "/", "//", "http:", "http://", "https:///x", "x", "file:///etc/passwd", "ftp://a/"),
        *(
            "javascript:1",
            "http://a b/",
            "http://a\t/",
            "http://a\n/",
            "http://a/\x00",
            "http://ä/",
        ),
        *("http://u@h/", "http://u:p@h/", "http://h\\@e/", "http://h:0/", "http://h:65536/"),
        *("http://h:x/", "http://[::1/", "http://-h/", "http://.h/", "http://h/" + "x" * 9000),
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse(text)


@given(
    st.one_of(
        st.text(max_size=60),
        st.text("abc01.:/@\\?#[]%-_", max_size=40).map(lambda rest: f"http://{rest}"),
    )
)
def test_the_http_library_goes_to_the_origin_that_was_compared(text: str) -> None:
    try:
        url = parse(text)
    except InvalidArgument:
        return
    theirs = httpx.URL(str(url))
    assert theirs.scheme == url.origin.scheme
    assert (theirs.port or {"http": 80, "https": 443}[theirs.scheme]) == url.origin.port
    assert theirs.host == url.origin.host.strip("[]")
    assert not theirs.userinfo


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "127.0.0.1", "127.9.9.9", "[::1]"])
def test_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["localhost.evil.example", "127.0.0.1.evil.example", "128.0.0.1", "[::2]", "0", "x"]
)
def test_no_loopback(host: str) -> None:
    assert not is_loopback(host)


def redirected(registry: str, at: str, to: str) -> None:
    check_redirect(parse(registry).origin, parse(at).origin, parse(to).origin)


@pytest.mark.parametrize(
    "registry, at, to",
    [
        ("https://r.example", "https://r.example", "https://cdn.example"),
        ("http://r.lan", "http://r.lan", "https://cdn.example"),
        ("http://r.lan", "http://r.lan", "http://cdn.lan"),
        ("http://127.0.0.1:1", "http://127.0.0.1:1", "http://127.0.0.1:2"),
    ],
)
def test_redirects(registry: str, at: str, to: str) -> None:
    redirected(registry, at, to)


@pytest.mark.parametrize(
    "registry, at, to",
    [
        ("https://r.example", "https://r.example", "http://r.example"),
        ("http://r.lan", "https://cdn.example", "http://cdn.example"),
        ("https://r.example", "https://r.example", "https://127.0.0.1"),
        ("https://r.example", "https://r.example", "https://localhost:8443"),
        ("http://r.lan", "http://r.lan", "http://169.254.169.254"),
        ("http://r.lan", "http://r.lan", "http://[fe80::1]"),
        ("http://r.lan", "http://r.lan", "http://[::ffff:169.254.169.254]"),
        ("http://r.lan", "http://r.lan", "http://0.0.0.0"),
    ],
)
def test_redirects_that_are_refused(registry: str, at: str, to: str) -> None:
    with pytest.raises(InvalidArgument, match="refused"):
        redirected(registry, at, to)
