"""The HTTP server, over loopback: what scrapers ask, and what bad ones cost."""

from __future__ import annotations

import contextlib
import gzip
import socket as stdlib_socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import bcrypt
import httpx
import pytest
import trio

from metrics.errors import AddressError, ConfigError
from metrics.serve import address, limits, server
from metrics.serve.server import Peer, Scrape, Server
from metrics.serve.web import Web
from tests.unit.metrics import certificates

PAGES = (b"# HELP a b\n", b"# TYPE a gauge\n", b"a 1\n")
DEADLINE = 20.0


class Scraped:
    """A scrape's figures that say who asked."""

    def __init__(self, pages: Callable[[], Iterator[bytes]] = lambda: iter(PAGES)) -> None:
        self.pages = pages
        self.calls: list[tuple[str, bool]] = []

    async def __call__(self, scraper: str, openmetrics: bool) -> Iterator[bytes]:
        self.calls.append((scraper, openmetrics))
        return self.pages()


@asynccontextmanager
async def serving(
    scrape: Scrape | None = None, web: Web | None = None, **options: Any
) -> AsyncIterator[int]:
    """A server; its port."""
    listeners = await address.listen(address.parse("127.0.0.1:0"))
    made = Server(scrape or Scraped(), web or Web(clock=trio.current_time), **options)
    with trio.fail_after(DEADLINE):
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(made.serve, listeners))
            yield listeners[0].socket.getsockname()[1]
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def asking(port: int, **options: object) -> AsyncIterator[httpx.AsyncClient]:
    client = httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}",
        trust_env=False,
        **options,  # type: ignore[arg-type]
    )
    async with client:
        yield client


async def raw(port: int, data: bytes, *, end: bool = True) -> bytes:
    """Everything that the server answers to these bytes."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        await stream.send_all(data)
        if end:
            with contextlib.suppress(trio.BrokenResourceError):
                await stream.send_eof()
        answer = b""
        async for piece in stream:
            answer += piece
        return answer


# --- what is asked ------------------------------------------------------------------------------


async def test_the_paths() -> None:
    async with serving() as port, asking(port) as client:
        metrics = await client.get("/metrics?x=1")
        assert (metrics.status_code, metrics.content) == (200, b"".join(PAGES))
        healthy = await client.get("/-/healthy")
        assert (healthy.status_code, healthy.text) == (200, "OK\n")
        page = await client.get("/")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert page.headers["x-content-type-options"] == "nosniff"
        assert (await client.get("/metrics/")).status_code == 404
        posted = await client.post("/metrics", content=b"x" * 100)
        assert (posted.status_code, posted.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", ["/", "/metrics", "/-/healthy", "/nothing"])
async def test_head_has_no_body_and_the_connection_goes_on(path: str) -> None:
    async with serving() as port:
        request = b"%s " + path.encode() + b" HTTP/1.1\r\nHost: x\r\n\r\n"
        answers = await raw(port, request % b"HEAD" + request % b"GET")
        head, _, rest = answers.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 404" if path == "/nothing" else b"HTTP/1.1 200")
        assert rest.startswith(b"HTTP/1.1 ")
        assert not rest.endswith(b"\r\n\r\n\r\n\r\n")


async def test_the_page_links_to_the_metrics() -> None:
    async with serving() as port, asking(port) as client:
        assert 'href="metrics"' in (await client.get("/")).text


async def test_the_format_follows_the_accept_header() -> None:
    scraped = Scraped()
    async with serving(scraped) as port, asking(port) as client:
        client.headers["User-Agent"] = "Prometheus/3"
        text = await client.get("/metrics", headers={"Accept": "text/plain"})
        openmetrics = await client.get(
            "/metrics", headers={"Accept": "application/openmetrics-text;version=1.0.0"}
        )
    assert text.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert openmetrics.headers["content-type"] == (
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    )
    assert scraped.calls == [
        ("127.0.0.1 Prometheus/3", False),
        ("127.0.0.1 Prometheus/3", True),
    ]


async def test_gzip_only_over_a_wire(monkeypatch: pytest.MonkeyPatch) -> None:
    ask = b"GET /metrics HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n"
    async with serving() as port:
        assert b"Content-Encoding" not in await raw(port, ask)
        monkeypatch.setattr(server, "_peer", lambda _: Peer("192.0.2.1", is_loopback=False))
        head, _, body = (await raw(port, ask)).partition(b"\r\n\r\n")
        assert b"Content-Encoding: gzip" in head
        assert gzip.decompress(body) == b"".join(PAGES)
        plain = b"GET /metrics HTTP/1.0\r\nAccept-Encoding: gzip;q=0\r\n\r\n"
        assert b"Content-Encoding" not in await raw(port, plain)


@pytest.mark.parametrize(
    "host, loopback",
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("192.0.2.1", False),
        ("fe80::1%eth0", False),
        ("::ffff:192.0.2.1", False),
    ],
)
def test_who_is_on_this_host(host: str, loopback: bool) -> None:
    class Socket:
        def getpeername(self) -> tuple[str, int]:
            return (host, 1)

    class Stream:
        socket = Socket()

    assert server._peer(Stream()) == Peer(host, loopback)  # type: ignore[arg-type]


async def test_an_http_1_0_client_gets_all_until_the_close() -> None:
    async with serving() as port:
        answer = await raw(port, b"GET /metrics HTTP/1.0\r\n\r\n", end=False)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"chunked" not in head
    assert body == b"".join(PAGES)


async def test_a_large_answer_comes_whole() -> None:
    def pages() -> Iterator[bytes]:
        for number in range(4000):
            yield b"line %06d " % number + b"x" * 1000 + b"\n"

    async with serving(Scraped(pages)) as port, asking(port) as client:
        for _ in range(2):
            assert (await client.get("/metrics")).content == b"".join(pages())


# --- what bad ones cost -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data, status",
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 1000, 431),  # and so on
        (b"GET / HTTP/1.1\r\nHost: x\r\nA\0: b\r\n\r\n", 400),
    ],
)
async def test_what_is_no_http(data: bytes, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_HEAD", 500)
    async with serving() as port, asking(port) as client:
        assert (await raw(port, data)).startswith(b"HTTP/1.1 %d " % status)
        assert (await client.get("/-/healthy")).status_code == 200


async def test_who_hangs_up_in_the_middle(caplog: pytest.LogCaptureFixture) -> None:
    def pages() -> Iterator[bytes]:
        while True:
            yield b"x" * 100_000

    async with serving(Scraped(pages)) as port:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        await stream.send_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        await stream.receive_some(10)
        # Closed with unread bytes: a reset.
        await stream.aclose()
        async with asking(port) as client:
            assert (await client.get("/-/healthy")).status_code == 200
    assert "Traceback" not in caplog.text


async def test_a_scraper_that_does_not_read_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ANSWER_SECONDS", 0.2)
    made = 0

    def pages() -> Iterator[bytes]:
        nonlocal made
        while True:
            made += 100_000
            yield b"x" * 100_000

    async with serving(Scraped(pages)) as port:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        stream.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_RCVBUF, 4096)
        await stream.send_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        await trio.sleep(0.5)
        produced = made
        await trio.sleep(0.1)
        assert made == produced
        # What the sockets' buffers hold, and no more, was ever in memory.
        assert made < 20_000_000
        with contextlib.suppress(trio.BrokenResourceError):
            async for _ in stream:
                pass
        await stream.aclose()


async def test_figures_that_do_not_come_are_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ANSWER_SECONDS", 0.2)

    async def never(scraper: str, openmetrics: bool) -> Iterator[bytes]:
        await trio.sleep_forever()
        raise AssertionError

    async with serving(never) as port, asking(port) as client:
        assert (await client.get("/metrics")).status_code == 503


async def test_a_slow_head_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HEAD_SECONDS", 0.1)
    async with serving() as port:
        assert await raw(port, b"GET /metrics HTTP/1.1\r\n", end=False) == b""


async def test_scrapes_at_once_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_SCRAPES", 2)
    running, most = 0, 0

    async def slow(scraper: str, openmetrics: bool) -> Iterator[bytes]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await trio.sleep(0.02)
        running -= 1
        return iter(PAGES)

    async with serving(slow) as port, asking(port) as client, trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(client.get, "/metrics")
    assert most == 2


async def test_one_more_connection_ends_the_longest_idle_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "MAX_CONNECTIONS", 3)
    ask = b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n"
    async with serving() as port:
        streams = []
        for _ in range(3):
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            await stream.send_all(ask)
            assert await stream.receive_some(1000)
            streams.append(stream)
        await streams[0].send_all(ask)  # the first is now the one that was served last
        assert await streams[0].receive_some(1000)
        assert b"OK" in await raw(port, ask)
        assert await streams[1].receive_some(1000) == b""
        for stream in streams:
            await stream.aclose()


async def test_busy_connections_are_not_ended_for_others(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(limits, "MAX_CONNECTIONS", 1)
    release = trio.Event()

    async def waits(scraper: str, openmetrics: bool) -> Iterator[bytes]:
        await release.wait()
        return iter(PAGES)

    async with serving(waits) as port, asking(port, timeout=DEADLINE) as client:
        async with trio.open_nursery() as nursery:
            answers: list[bytes] = []

            async def scrape() -> None:
                answers.append((await client.get("/metrics")).content)

            nursery.start_soon(scrape)
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert await raw(port, b"GET / HTTP/1.0\r\n\r\n") == b""
            release.set()
        assert answers == [b"".join(PAGES)]
    assert "scrapers are connected" in caplog.text


# --- who may ------------------------------------------------------------------------------------


_PATHS = ("/", "/page.js", "/metrics", "/-/healthy", "/containers", "/events")


async def nothing_runs(history: bool) -> Iterator[bytes]:
    return iter([b"{}"])


async def nothing_happens(since: int | None) -> AsyncGenerator[dict[str, Any], None]:
    nothing: tuple[dict[str, Any], ...] = ()
    for event in nothing:
        yield event


def users(folder: Path) -> Web:
    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    path = folder / "web.yml"
    path.write_text(
        f"basic_auth_users: {{alice: {hashed}}}\n"
        "http_server_config: {headers: {X-Frame-Options: deny, X-Content-Type-Options: nosniff}}\n"
    )
    return Web(str(path), clock=trio.current_time)


@pytest.mark.parametrize("path", [*_PATHS, "/nothing"])
async def test_nobody_without_a_password(tmp_path: Path, path: str) -> None:
    scraped = Scraped()
    page = {"live": nothing_runs, "events": nothing_happens}
    async with serving(scraped, users(tmp_path), **page) as port, asking(port) as client:
        refused = await client.get(path)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"].startswith("Basic ")
        assert refused.headers["x-frame-options"] == "deny"
        assert refused.headers.get_list("x-content-type-options") == ["nosniff"]
        assert (await client.get(path, auth=("alice", "wrong"))).status_code == 401
        assert scraped.calls == []
        let_in = await client.get(path, auth=("alice", "secret"))
        assert let_in.status_code == (404 if path == "/nothing" else 200)


async def test_two_authorizations_are_none(tmp_path: Path) -> None:
    async with serving(web=users(tmp_path)) as port:
        header = b"Authorization: Basic YWxpY2U6c2VjcmV0\r\n"
        ask = b"GET / HTTP/1.0\r\n%s\r\n"
        assert b" 200 " in await raw(port, ask % header)
        assert b" 401 " in await raw(port, ask % (header * 2))


def with_tls(folder: Path, more: str = "") -> Web:
    (folder / "server.pem").write_text(certificates.SERVER)
    (folder / "server.key").write_text(certificates.SERVER_KEY)
    (folder / "ca.pem").write_text(certificates.AUTHORITY)
    path = folder / "web.yml"
    path.write_text("tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n" + more)
    return Web(str(path), clock=trio.current_time)


def trusting() -> ssl.SSLContext:
    return ssl.create_default_context(cadata=certificates.AUTHORITY)


async def test_tls(tmp_path: Path) -> None:
    async with serving(web=with_tls(tmp_path)) as port:
        async with httpx.AsyncClient(verify=trusting(), trust_env=False) as client:
            for _ in range(2):
                answer = await client.get(f"https://localhost:{port}/metrics")
                assert answer.content == b"".join(PAGES)
        # Plain HTTP is turned away without an answer, and harms nobody.
        with contextlib.suppress(trio.BrokenResourceError):
            assert b"200" not in await raw(port, b"GET / HTTP/1.0\r\n\r\n")
        async with httpx.AsyncClient(verify=trusting(), trust_env=False) as client:
            assert (await client.get(f"https://localhost:{port}/")).status_code == 200


async def test_tls_with_certificates_of_clients(tmp_path: Path) -> None:
    web = with_tls(
        tmp_path, "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n"
    )
    (tmp_path / "client.pem").write_text(certificates.CLIENT + certificates.CLIENT_KEY)
    known = trusting()
    known.load_cert_chain(tmp_path / "client.pem")
    async with serving(web=web) as port:
        url = f"https://localhost:{port}/-/healthy"
        async with httpx.AsyncClient(verify=known, trust_env=False) as client:
            assert (await client.get(url)).status_code == 200
        async with httpx.AsyncClient(verify=trusting(), trust_env=False) as client:
            with pytest.raises(httpx.TransportError):
                await client.get(url)


async def test_a_handshake_that_does_not_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "HANDSHAKE_SECONDS", 0.1)
    async with serving(web=with_tls(tmp_path)) as port:
        assert await raw(port, b"", end=False) == b""


# --- where --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, host, port",
    [
        ("127.0.0.1:9323", "127.0.0.1", 9323),
        ("localhost:0", "localhost", 0),
        ("[::1]:9323", "::1", 9323),
        (":9323", None, 9323),
    ],
)
def test_addresses(text: str, host: str | None, port: int) -> None:
    found = address.parse(text)
    assert (found.host, found.port) == (host, port)
    assert str(found) == text


@pytest.mark.parametrize(
    "text",
    ["", "9323", "127.0.0.1", "127.0.0.1:", "::1:9323", "h:65536", "h:-1", "h:\u0661", "h:1_0"],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is not HOST:PORT, such as 127.0.0.1:9323"):
        address.parse(text)


async def test_a_port_in_use_is_one_clear_error() -> None:
    async with serving() as port:
        with pytest.raises(AddressError, match=rf"127.0.0.1:{port}: another program listens there"):
            await address.listen(address.parse(f"127.0.0.1:{port}"))


async def test_an_address_of_somebody_else() -> None:
    with pytest.raises(AddressError, match="this host does not have that address"):
        await address.listen(address.parse("192.0.2.1:0"))
