"""The HTTP side: framing, limits, keep-alive, what is refused and how."""

from __future__ import annotations

import json
import os

import pytest
import trio
import trio.testing

from supervisor.api import limits
from tests.unit.api.conftest import Api

ME = f"uid={os.getuid()} gid={os.getgid()} pid={os.getpid()}"
PING = b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n"


async def test_every_answer_carries_docker_headers(api: Api) -> None:
    for target, status in (("/_ping", 200), ("/nope", 404), ("/v1.51/info", 200)):
        reply = await api.call("GET", target)
        assert reply.status == status
        assert reply.headers["api-version"] == "1.51"
        assert reply.headers["server"].startswith("Orlop/")
        assert reply.headers["ostype"] == "linux"
        assert reply.headers["docker-experimental"] == "false"
        assert reply.headers["date"].endswith("GMT")


async def test_head_ping_has_headers_and_no_body(api: Api) -> None:
    client = await api.client()
    reply = await client.call("HEAD", "/_ping")
    assert (reply.status, reply.headers["content-length"]) == (200, "0")
    assert reply.headers["swarm"] == "inactive"
    # Not even a body that the headers announce: the next answer begins right behind.
    assert (await client.call("HEAD", "/nope")).status == 404
    assert (await client.call("GET", "/_ping")).body == b"OK"


async def test_one_connection_takes_many_requests_also_after_errors(api: Api) -> None:
    client = await api.client()
    for _ in range(3):
        assert (await client.call("GET", "/_ping")).body == b"OK"
        assert (await client.call("GET", "/nope")).status == 404
        assert (await client.call("POST", "/containers/create", b"{")).status == 400
        assert (await client.call("POST", "/containers/x/start")).status == 404


async def test_requests_cut_at_every_byte(api: Api) -> None:
    body = json.dumps({"Image": "tools", "Cmd": ["echo"]}).encode()
    request = (
        b"POST /v1.50/containers/create?name=cut HTTP/1.1\r\nHost: x\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    )
    client = await api.client()
    for cut in range(1, len(request), 7):
        await client.send(request[:cut])
        await trio.testing.wait_all_tasks_blocked()
        await client.send(request[cut:])
        reply = await client.reply()
        assert reply.status == 201, (cut, reply.body)
        await api.engine.remove(reply.json()["Id"], False, False, False)


async def test_pipelined_requests_are_answered_in_order(api: Api) -> None:
    client = await api.client()
    await client.send(PING + b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n" + PING * 3)
    assert (await client.reply()).body == b"OK"
    assert (await client.reply()).json()["ApiVersion"] == "1.51"
    for _ in range(3):
        assert (await client.reply()).body == b"OK"


async def test_a_chunked_body(api: Api) -> None:
    body = json.dumps({"Image": "tools", "Cmd": ["echo"]}).encode()
    client = await api.client()
    await client.send(
        b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
    )
    for piece in (body[:5], body[5:]):
        await client.send(b"%x\r\n%b\r\n" % (len(piece), piece))
    await client.send(b"0\r\n\r\n")
    assert (await client.reply()).status == 201
    assert (await client.call("GET", "/_ping")).status == 200


async def test_expect_100_continue(api: Api) -> None:
    body = json.dumps({"Image": "tools", "Cmd": ["echo"]}).encode()
    client = await api.client()
    await client.send(
        b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body)
    )
    assert (await client.head()).status == 100
    await client.send(body)
    assert (await client.reply()).status == 201


async def test_a_refused_request_with_expect_is_not_asked_to_continue(api: Api) -> None:
    client = await api.client()
    await client.send(
        b"POST /build HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
        b"Content-Length: 100000000\r\n\r\n"
    )
    reply = await client.reply()
    assert reply.status == 501
    assert "orlop image scratch" in reply.json()["message"]
    assert reply.headers["connection"] == "close"


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTPS/1.1\r\n\r\n",
        b"GET /_ping HTTP/1.1\r\n\r\n",  # without Host
        b"GET /_ping HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n",
        b"GET /_ping HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: 1_0\r\n\r\n",
        b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /exec/x/start HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_malformed_requests_get_400_as_json_and_are_closed(
    api: Api, request_bytes: bytes
) -> None:
    client = await api.client()
    await client.send(request_bytes)
    reply = await client.reply()
    assert reply.status == 400
    assert reply.json()["message"].startswith("bad request")
    assert reply.headers["connection"] == "close"
    assert await client.closed()
    assert (await api.call("GET", "/_ping")).status == 200


async def test_a_head_that_is_too_large(api: Api) -> None:
    client = await api.client()
    await client.send(
        b"GET /containers/" + b"x" * (limits.MAX_HEAD + limits.RECEIVE_SIZE) + b"/json HTTP/1.1\r\n"
    )
    reply = await client.reply()
    assert reply.status == 431
    assert "message" in reply.json()


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_is_too_large(api: Api, chunked: bool) -> None:
    size = limits.MAX_BODY + 1
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % size
    client = await api.client()
    await client.send(
        b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        + framing
        + b"\r\n\r\n"
    )
    await client.send((b"%x\r\n" % size if chunked else b"") + b" " * size)
    reply = await client.reply()
    assert reply.status == 413
    assert str(limits.MAX_BODY) in reply.json()["message"]


async def test_a_body_that_is_cut_off(api: Api) -> None:
    client = await api.client()
    await client.send(
        b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"
    )
    await client.stream.send_eof()
    assert (await client.reply()).status == 400
    assert not api.engine.containers


async def test_http_1_0_is_answered_and_closed(api: Api) -> None:
    client = await api.client()
    await client.send(b"GET /_ping HTTP/1.0\r\n\r\n")
    assert (await client.rest()).endswith(b"\r\n\r\nOK")


async def test_a_client_that_half_closes_after_its_request(api: Api) -> None:
    client = await api.client()
    await client.send(PING)
    await client.stream.send_eof()
    assert (await client.reply()).body == b"OK"
    assert await client.closed()


@pytest.mark.parametrize("sent", [b"", b"GET /_pi", PING + b"POST /x HT"])
async def test_a_client_that_goes_in_the_middle(api: Api, sent: bytes) -> None:
    client = await api.client()
    if sent:
        await client.send(sent)
    await client.stream.aclose()
    assert (await api.call("GET", "/_ping")).status == 200


async def test_a_broken_body_of_a_refused_request(api: Api) -> None:
    client = await api.client()
    await client.send(b"POST /info HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
    reply = await client.reply()
    assert (reply.status, reply.headers["connection"]) == (404, "close")
    assert await client.closed()


async def test_slow_heads_and_bodies_time_out(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HEAD_SECONDS", 0.05)
    monkeypatch.setattr(limits, "BODY_SECONDS", 0.05)
    for sent in (
        b"GET /_ping HT",
        b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{",
    ):
        client = await api.client()
        await client.send(sent)
        reply = await client.reply()
        assert reply.status == 408, sent
        assert "in time" in reply.json()["message"]


async def test_idle_connections_are_closed_at_last(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "IDLE_SECONDS", 0.05)
    fresh, used = await api.client(), await api.client()
    assert (await used.call("GET", "/_ping")).status == 200
    assert await fresh.closed()
    assert await used.closed()


async def test_slow_clients_do_not_slow_others(api: Api) -> None:
    for _ in range(100):
        client = await api.client()
        await client.send(b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Le")
    with trio.fail_after(1):
        for _ in range(20):
            assert (await api.call("GET", "/_ping")).status == 200


async def test_a_target_with_scheme_and_host(api: Api) -> None:
    for target in ("http://localhost/v1.51/version", "HTTP://x:1/version", "http://x/_ping?a=b"):
        assert (await api.call("GET", target)).status == 200
    assert (await api.call("GET", "http://x")).status == 404
    assert (await api.call("GET", "https://x/version")).status == 400


@pytest.mark.parametrize(
    "method, path, operation, changes",
    [
        ("POST", "/containers/x/start", "a change", True),
        ("DELETE", "/v1.51/containers/x", "a change", True),
        ("POST", "/auth?x=secret", "a change", True),
        ("GET", "/containers/x/attach/ws?stdin=1", "it types", True),
        ("GET", "/containers/json", "only looks", False),
        ("HEAD", "/_ping", "only looks", False),
        ("POST", "/containers/x/wait", "only waits", False),
        ("POST", "/containers/x/resize?h=1&w=1", "a window's size", False),
    ],
)
async def test_who_changes_what_is_logged(
    api: Api,
    caplog: pytest.LogCaptureFixture,
    method: str,
    path: str,
    operation: str,
    changes: bool,
) -> None:
    with caplog.at_level("INFO", "orlop.api"):
        reply = await api.call(method, path)
    line = f"{method} {path.partition('?')[0]} by {ME}: {reply.status}"
    assert (line in caplog.messages) is changes, operation
    assert "secret" not in caplog.text


async def test_a_change_is_logged_once_also_without_an_answer(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    ref = await api.create("sh", OpenStdin=True)
    caplog.clear()
    with caplog.at_level("INFO", "orlop.api"):
        client = await api.client()
        upgrade = {"Connection": "Upgrade", "Upgrade": "tcp"}
        await client.request("POST", f"/containers/{ref}/attach?stream=1", headers=upgrade)
        assert (await client.reply()).status == 101
        client = await api.client()
        head = b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n"
        await client.send(head + b"Expect: 100-continue\r\n\r\n")
        await client.stream.aclose()
        with trio.fail_after(5):
            while len(caplog.messages) < 2:
                await trio.sleep(0.001)
    assert caplog.messages == [
        f"POST /containers/{ref}/attach by {ME}: 101",
        f"POST /containers/create by {ME}: no answer",
    ]


@pytest.mark.parametrize("prefix", ["", "/v1.24", "/v1.51"])
async def test_versioned_and_plain_paths(api: Api, prefix: str) -> None:
    assert (await api.call("GET", f"{prefix}/version")).status == 200


@pytest.mark.parametrize(
    "target,text",
    [
        ("/v1.23/version", "too old"),
        ("/v1.52/version", "too new"),
        ("/v1/version", "invalid API version"),
        ("/v1.5x/version", "invalid API version"),
        ("/containers/%ff/json", "not UTF-8"),
        ("/containers/json?all=%ff", "invalid query string"),
        ("/containers/json?" + "a=1&" * 2000, "invalid query string"),
        ("*", "must begin with a slash"),
    ],
)
async def test_targets_that_cannot_be(api: Api, target: str, text: str) -> None:
    reply = await api.call("GET", target)
    assert reply.status == 400
    assert text in reply.json()["message"]


async def test_a_handler_that_fails_is_a_500_and_nothing_more(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise RuntimeError("oh no")

    monkeypatch.setattr(api.engine, "info", broken)
    client = await api.client()
    reply = await client.call("GET", "/info")
    assert (reply.status, reply.json()) == (500, {"message": "RuntimeError: oh no"})
    assert "GET /info failed" in caplog.text
    assert (await client.call("GET", "/_ping")).status == 200


async def test_stop_ends_idle_connections_and_lets_answers_finish(api: Api) -> None:
    container = await api.create("sleep")
    idle, waiting = await api.client(), await api.client()
    assert (await idle.call("GET", "/_ping")).status == 200
    assert (await api.call("POST", f"/containers/{container}/start")).status == 204
    await waiting.request("POST", f"/containers/{container}/wait")
    assert (await waiting.head()).status == 200
    api.server.stop()
    assert await idle.closed()
    with pytest.raises(ConnectionRefusedError):
        await api.client()
    await api.engine.stop(container, 0, None)
    assert await waiting.chunk() == b'{"StatusCode":137}\n'
    assert await waiting.chunk() == b""
    assert await waiting.closed()
