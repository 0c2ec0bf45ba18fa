"""Requests whose headers are known are answered byte for byte as others, and h11 is not asked."""

from __future__ import annotations

import re
from collections.abc import Callable

import h11
import pytest

from supervisor.api import plain_heads
from tests.unit.api.conftest import Api, Client

HEADERS = b"Host: x\r\nUser-Agent: Docker-Client/28.2.2 (linux)\r\n\r\n"
DATE = re.compile(rb"Date: [^\r]+")


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_heads, "_known", {})


@pytest.fixture
def by_h11(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Bytes that h11 gets from now on."""
    got: list[bytes] = []
    receive: Callable[[h11.Connection, bytes], None] = h11.Connection.receive_data

    def counted(self: h11.Connection, data: bytes) -> None:
        got.append(data)
        receive(self, data)

    monkeypatch.setattr(h11.Connection, "receive_data", counted)
    return got


def read(data: bytes) -> h11.Request:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    event = connection.next_event()
    assert isinstance(event, h11.Request)
    return event


async def raw(client: Client, data: bytes, *, ends: bytes = b"") -> bytes:
    """A request and its answer as bytes, the date left out."""
    await client.send(data)
    head = await client.until(b"\r\n\r\n")
    length = re.search(rb"Content-Length: (\d+)", head)
    body = b""
    if length and not data.startswith(b"HEAD"):
        body = await client.exactly(int(length[1]))
    elif ends:
        body = await client.until(ends)
    return DATE.sub(b"", head) + b"|" + body


@pytest.mark.parametrize(
    "line",
    [
        *("GET /_ping", "HEAD /_ping", "HEAD /nope", "GET /images/json", "GET /nope?a=%25"),
        *("POST /containers/web/start", "GET /containers/json?filters=%7B%7D", "GET /100%d"),
        *("POST /containers/web/start", "POST /containers/create", "DELETE /containers/none"),
    ],
)
async def test_the_answers_are_the_same(api: Api, line: str, by_h11: list[bytes]) -> None:
    await api.create("sleep", name="web")
    request = line.encode() + b" HTTP/1.1\r\n" + HEADERS
    other = await api.client()
    await other.call("POST", "/containers/web/start")
    first = await raw(await api.client(), request)
    del by_h11[:]
    client = await api.client()
    for _ in range(3):
        assert await raw(client, request) == first
    assert by_h11 == []


async def test_another_target_and_method_need_only_the_same_headers(
    api: Api, by_h11: list[bytes]
) -> None:
    client = await api.client()
    await raw(client, b"GET /_ping HTTP/1.1\r\n" + HEADERS)
    del by_h11[:]
    assert (await raw(client, b"GET /nope HTTP/1.1\r\n" + HEADERS)).startswith(b"HTTP/1.1 404 ")
    assert (await raw(client, b"HEAD /_ping HTTP/1.1\r\n" + HEADERS)).endswith(b"|")
    assert by_h11 == []


WITH_BODY = b"Host: x\r\nContent-Type: application/json\r\n"


def posted(body: bytes, target: bytes = b"/containers/create") -> bytes:
    return b"POST %b HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n%b" % (
        *(target, WITH_BODY, len(body), body),
    )


async def test_bodies_of_any_length_behind_known_headers(api: Api, by_h11: list[bytes]) -> None:
    client = await api.client()
    await raw(client, posted(b"{}"))
    del by_h11[:]
    for body in (b"{", b'{"Image": "tools", "Cmd": ["true"]}', b""):
        other = await raw(await api.client(), posted(body).replace(b"Host", b"hOST"))
        assert other.startswith(b"HTTP/1.1 201 " if b"Cmd" in body else b"HTTP/1.1 4")
        known = await raw(client, posted(body))
        assert known.partition(b"|")[0] == other.partition(b"|")[0]
    assert all(b"hOST" in data for data in by_h11)


async def test_a_known_head_whose_body_comes_later(api: Api, by_h11: list[bytes]) -> None:
    client = await api.client()
    request = posted(b'{"Image": "tools", "Cmd": ["true"]}')
    assert (await raw(client, request)).startswith(b"HTTP/1.1 201 ")
    for cut in (request.index(b"{"), request.index(b"{") - 2, -1):
        await client.send(request[:cut])
        assert (await raw(client, request[cut:])).startswith(b"HTTP/1.1 201 ")


async def test_a_known_request_and_body_with_another_behind_it(api: Api) -> None:
    client = await api.client()
    request = posted(b'{"Image": "tools", "Cmd": ["true"]}')
    await raw(client, request)
    await client.send(request + request)
    for _ in range(2):
        assert (await client.reply()).status == 201


async def test_a_streamed_answer_is_byte_for_byte_that_of_h11(
    api: Api, by_h11: list[bytes]
) -> None:
    await api.create("echo", name="web")
    request = b"GET /containers/web/logs?stdout=1 HTTP/1.1\r\n" + HEADERS
    client = await api.client()
    first = await raw(client, request, ends=b"0\r\n\r\n")
    del by_h11[:]
    assert await raw(client, request, ends=b"0\r\n\r\n") == first
    assert await raw(client, request, ends=b"0\r\n\r\n") == first
    assert by_h11 == []


async def test_streamed_answers_and_those_that_take_over_the_connection(api: Api) -> None:
    await api.create("echo", name="web")
    client = await api.client()
    for _ in range(2):  # the second time the headers are known
        await raw(client, b"GET /_ping HTTP/1.1\r\n" + HEADERS)
        logs = await raw(
            client,
            b"GET /containers/web/logs?stdout=1 HTTP/1.1\r\n" + HEADERS,
            ends=b"0\r\n\r\n",
        )
        assert b"Transfer-Encoding: chunked" in logs
    await raw(client, b"GET /_ping HTTP/1.1\r\n" + HEADERS)
    await client.send(b"POST /containers/web/attach?stream=1&stdout=1 HTTP/1.1\r\n" + HEADERS)
    assert (await client.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")


async def test_a_request_behind_a_known_one(api: Api) -> None:
    client = await api.client()
    request = b"GET /_ping HTTP/1.1\r\n" + HEADERS
    await raw(client, request)
    await client.send(request + request)
    for _ in range(2):
        assert (await client.reply()).body == b"OK"
    assert (await raw(client, request)).endswith(b"|OK")


@pytest.mark.parametrize("cut", [1, 10, 24, 40, -1])
async def test_a_known_request_in_two_pieces(api: Api, cut: int) -> None:
    client = await api.client()
    request = b"GET /_ping HTTP/1.1\r\n" + HEADERS
    first = await raw(client, request)
    await client.send(request[:cut])
    assert await raw(client, request[cut:]) == first


@pytest.mark.parametrize(
    "headers",
    [
        *(b"Host: x\r\nConnection: close\r\n\r\n", b"Host: x\r\nUpgrade: tcp\r\n\r\n"),
        *(b"Host: x\r\nContent-Length:2\r\n\r\n", b"Host: x\r\nExpect: 100-continue\r\n\r\n"),
        *(b"Host: x\r\nContent-Length: 02\r\n\r\n", b"Host: x\r\nX: a\r\n b\r\n\r\n"),
        b"Host: x\r\nContent-Length: 0\r\nContent-Length:0\r\n\r\n",
        b"Host: x\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
        b"Host: x\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"Host: x\r\nX: " + b"y" * plain_heads.LONGEST + b"\r\n\r\n",
    ],
)
def test_what_is_not_plain_is_not_learned(headers: bytes) -> None:
    data = b"POST / HTTP/1.1\r\n" + headers
    plain_heads.learn(data, read(data))
    assert plain_heads.find(data) is None


@pytest.mark.parametrize(
    "lengths",
    [
        *(b"Content-Length: 1\r\nContent-Length: 2\r\n", b"Content-Length: 3\r\n"),
        *(b"Content-Length:2\r\n", b"content-length : 2\r\n", b"Content-Length: 2 \r\n"),
        *(b"Content-Length: +2\r\n", b"Content-Length: 02\r\n", b"", b"Content-Length: \r\n"),
        b"Content-Length: 2\r\n 2\r\n",
    ],
)
def test_a_length_beyond_doubt_or_none(lengths: bytes) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\n"
    known = head + b"Content-Length: 5\r\n\r\nabcde"
    plain_heads.learn(known, read(known))
    found = plain_heads.find(head + b"Content-Length: 2\r\n\r\nab")
    assert found is not None
    assert found.body == b"ab"
    assert found.headers == [(b"host", b"x")]
    assert plain_heads.find(head + lengths + b"\r\nab") is None
    assert plain_heads.find(head + lengths) is None


@pytest.mark.parametrize(
    "line",
    [
        *(b"GET / HTTP/1.0", b"GET  / HTTP/1.1", b"GET / HTTP/1.1 ", b"get / HTTP/1.1"),
        *(
            b"GET /\x00 HTTP/1.1",
            b"GET /a b HTTP/1.1",
            b"GET / HTTP/1.1\nA: b",
            b"",
            b"PATCH / HTTP/1.1",
        ),
        *(b"GET /\x80 HTTP/1.1", b" GET / HTTP/1.1", b"CONNECT a:1 HTTP/1.1"),
    ],
)
def test_a_first_line_that_is_not_plain_is_not_found(line: bytes) -> None:
    data = b"GET / HTTP/1.1\r\n" + HEADERS
    plain_heads.learn(data, read(data))
    assert plain_heads.find(data) is not None
    assert plain_heads.find(line + b"\r\n" + HEADERS) is None


def test_only_so_many_are_remembered() -> None:
    requests = [
        b"GET / HTTP/1.1\r\nHost: x\r\nX: %d\r\n\r\n" % number
        for number in range(plain_heads.MOST + 2)
    ]
    for data in requests:
        plain_heads.learn(data, read(data))
    found = [data for data in requests if plain_heads.find(data) is not None]
    assert found == requests[2:]
