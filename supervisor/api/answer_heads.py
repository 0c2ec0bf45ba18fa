"""The heads of whole answers: most are alike, and made once."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import h11

from supervisor.api.messages import BASE_HEADERS, Answer, Header, date, reason


def response(answer: Answer) -> h11.Response:
    """For h11, which looks at each header of each."""
    return _response(answer.status, answer.headers, len(answer.body), date())


def plain(answer: Answer) -> bytes:
    """What h11 makes of `response`."""
    start = _plain_start(answer.status, answer.headers, date())
    if answer.status in (204, 304):
        return start + b"\r\n"
    return b"%sContent-Length: %d\r\n\r\n" % (start, len(answer.body))


def chunked(status: int, headers: Iterable[Header]) -> bytes:
    """As h11 begins the answer to a plain request whose body has no length yet."""
    return _plain_start(status, tuple(headers), date()) + b"Transfer-Encoding: chunked\r\n\r\n"


@lru_cache(maxsize=64)
def _response(status: int, extra: tuple[Header, ...], length: int, date: bytes) -> h11.Response:
    headers = [*BASE_HEADERS, (b"Date", date), *extra]
    if status not in (204, 304):
        headers.append((b"Content-Length", b"%d" % length))
    return h11.Response(status_code=status, headers=headers, reason=reason(status))


@lru_cache(maxsize=64)
def _plain_start(status: int, extra: tuple[Header, ...], date: bytes) -> bytes:
    headers = (*BASE_HEADERS, (b"Date", date), *extra)
    lines = [b"HTTP/1.1 %d %s" % (status, reason(status)), *(b"%s: %s" % one for one in headers)]
    return b"\r\n".join(lines) + b"\r\n"
