"""Header fields of registries' answers, and their errors."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.oci.http_fields import length, next_link, range_start, retry_after
from supervisor.oci.registry_errors import MAX_TEXT, RemoteError, decode

NOW = 1_795_000_000.0


@pytest.mark.parametrize(
    "value, start",
    [
        ("bytes 100-199/200", 100),
        (" bytes 0-0/*", 0),
        ("bytes 1-2", None),
        ("bytes */200", None),
        ("items 1-2/3", None),
        ("bytes -1-2/3", None),
        ("bytes \u0661-2/3", None),
        ("bytes 1-2/3, bytes 4-5/6", None),
        ("", None),
    ],
)
def test_content_range(value: str, start: int | None) -> None:
    assert range_start(value) == start


@pytest.mark.parametrize(
    "value, seconds",
    [
        ("0", 0.0),
        ("120", 120.0),
        (formatdate(NOW + 30, usegmt=True), 30.0),
        ("Wed, 18 Nov 2020 00:00:00 GMT", 0.0),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("9" * 30, None),
        ("Wed, 99 Nov 2026 11:07:10 GMT", None),
        ("", None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    assert retry_after(value, NOW) == seconds


@given(st.text(max_size=60))
def test_any_field_is_read_or_nothing(text: str) -> None:
    range_start(text)
    found = retry_after(text, NOW)
    assert found is None or found >= 0
    next_link(text)
    length({"content-length": text})


@pytest.mark.parametrize(
    "value, target",
    [
        ('</v2/_catalog?last=b&n=2>; rel="next"', "/v2/_catalog?last=b&n=2"),
        ("<https://r/x>; rel=next", "https://r/x"),
        ('</a>; rel="prev", </b>; title="x"; rel="next"', "/b"),
        ('</a>; rel="nextly"', None),
        ("/a; rel=next", None),
        ("", None),
    ],
)
def test_link(value: str, target: str | None) -> None:
    assert next_link(value) == target


@pytest.mark.parametrize(
    "data, errors",
    [
        (
            b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{}}]}',
            ["manifest unknown: manifest unknown"],
        ),
        (b'{"errors":[{"code":"DENIED"},{"code":"X_Y","message":"z"}]}', ["denied", "x y: z"]),
        (b'{"details":"incorrect username or password"}', [": incorrect username or password"]),
        (b'{"error":"x","error_description":"y"}', [": y"]),
        (b"{}", []),
        (b"<html>", []),
        (b'{"errors":1}', []),
        (b"[" * 100_000, []),
        (b"", []),
    ],
)
def test_errors(data: bytes, errors: list[str]) -> None:
    assert [str(error) for error in decode(data)] == errors


def test_errors_are_fit_to_be_shown() -> None:
    hostile = b'{"errors":[{"code":"A\\u001b[2J","message":"x\\n\\u0007\\u202ey' + b"z" * 5000
    hostile += b'"}]}'
    (error,) = decode(hostile)
    assert str(error).isprintable()
    assert len(error.message) <= MAX_TEXT


@given(st.binary(max_size=200))
def test_any_error_body_is_read(data: bytes) -> None:
    assert all(isinstance(error, RemoteError) for error in decode(data))
