"""Which server is asked for a reference, and how."""

from __future__ import annotations

import pytest

from supervisor.errors import InvalidArgument
from supervisor.oci.endpoint import Rules, checked, login_domain
from supervisor.oci.web_url import parse


def asked(rules: Rules, domain: str) -> list[str]:
    return [
        " ".join(map(str, endpoint.origins))
        + ("" if endpoint.verify else " unverified")
        + (" mirror" if endpoint.mirror else "")
        for endpoint in rules.endpoints(domain)
    ]


@pytest.mark.parametrize(
    "domain, expected",
    [
        ("docker.io", ["https://registry-1.docker.io"]),
        ("registry.example", ["https://registry.example"]),
        ("registry.example:5000", ["https://registry.example:5000"]),
        ("127.0.0.1:5000", ["https://127.0.0.1:5000 http://127.0.0.1:5000 unverified"]),
        ("localhost", ["https://localhost http://localhost unverified"]),
        ("[::1]:5000", ["https://[::1]:5000 http://[::1]:5000 unverified"]),
        ("localhost.example", ["https://localhost.example"]),
    ],
)
def test_defaults(domain: str, expected: list[str]) -> None:
    assert asked(Rules(), domain) == expected


def test_mirrors_and_insecure_registries() -> None:
    rules = checked(
        ["registry.lan:5000", "10.1.2.3/8", "fd00::/8"],
        {
            "docker.io": ["https://mirror.example/", "http://registry.lan:5000"],
            "quay.io": ["https://q.example"],
        },
    )
    assert asked(rules, "docker.io") == [
        "https://mirror.example mirror",
        "http://registry.lan:5000 unverified mirror",
        "https://registry-1.docker.io",
    ]
    assert asked(rules, "quay.io") == ["https://q.example mirror", "https://quay.io"]
    lan = "https://registry.lan:5000 http://registry.lan:5000 unverified"
    assert asked(rules, "registry.lan:5000") == [lan]
    assert asked(rules, "Registry.LAN:5000") == [lan]
    assert asked(rules, "registry.lan") == ["https://registry.lan"]
    assert asked(rules, "registry.lan:5001") == ["https://registry.lan:5001"]
    assert asked(rules, "10.200.0.1:5000")[0].endswith("unverified")
    assert asked(rules, "11.0.0.1:5000") == ["https://11.0.0.1:5000"]
    assert asked(rules, "[fd12::1]:80")[0].endswith("unverified")


@pytest.mark.parametrize(
    "insecure", ["http://registry.lan", "10.0.0.0/33", "a/b", "", "reg istry", "registry:port"]
)
def test_bad_insecure_registry(insecure: str) -> None:
    with pytest.raises(InvalidArgument, match="give host"):
        checked([insecure], {})


@pytest.mark.parametrize(
    "domain, url",
    [
        ("docker.io", "mirror.example"),
        ("docker.io", "ftp://mirror.example"),
        ("docker.io", "https://user:pw@mirror.example"),
        ("docker.io", "https://mirror.example/path"),
        ("docker.io", "https://mirror.example?x"),
        ("docker.io/library", "https://mirror.example"),
        ("https://docker.io", "https://mirror.example"),
    ],
)
def test_bad_mirror(domain: str, url: str) -> None:
    with pytest.raises(InvalidArgument):
        checked([], {domain: [url]})


@pytest.mark.parametrize(
    "origin, registry, lenient",
    [
        ("http://registry.lan:5000", "http://other.lan", True),
        ("https://registry.lan:5000", "http://other.lan", True),
        ("https://cdn.example", "http://registry.lan:5000", False),
        ("https://127.0.0.1", "http://127.0.0.1:5000", True),
        ("https://127.0.0.1", "https://registry.example", False),
    ],
)
def test_lenient(origin: str, registry: str, lenient: bool) -> None:
    rules = checked(["registry.lan:5000"], {})
    assert rules.lenient(parse(origin).origin, parse(registry).origin) is lenient


@pytest.mark.parametrize(
    "server, domain",
    [
        ("", "docker.io"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("docker.io", "docker.io"),
        ("registry-1.docker.io", "docker.io"),
        ("https://Registry.example:5000/v2/", "registry.example:5000"),
        ("127.0.0.1:5000", "127.0.0.1:5000"),
    ],
)
def test_login_domain(server: str, domain: str) -> None:
    assert login_domain(server) == domain


@pytest.mark.parametrize("server", ["a b", "ftp://x", "user@host", "host:port", "hôte"])
def test_no_login_domain(server: str) -> None:
    with pytest.raises(InvalidArgument):
        login_domain(server)
