import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.errors import InvalidArgument
from supervisor.spec.units import (
    format_duration,
    format_size,
    human_duration,
    parse_cpus,
    parse_duration,
    parse_size,
)

SECOND = 1_000_000_000
MINUTE, HOUR, DAY = 60 * SECOND, 3600 * SECOND, 24 * 3600 * SECOND


# The accepted and refused words of docker/go-units' own tests, and more.
@pytest.mark.parametrize(
    "text, size",
    [
        ("0", 0),
        ("32", 32),
        ("32b", 32),
        ("32B", 32),
        ("32k", 32 << 10),
        ("32Kb", 32 << 10),
        ("32KIB", 32 << 10),
        ("50m", 50 << 20),
        ("32Gb", 32 << 30),
        ("32 tb", 32 << 40),
        ("32P", 32 << 50),
        ("32.3", 32),
        ("32.3 mb", int(32.3 * (1 << 20))),
        ("0.3MB", int(0.3 * (1 << 20))),
        ("1.5g", 3 << 29),
        ("9223372036854775807", (1 << 63) - 1),
    ],
)
def test_sizes_that_docker_accepts(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "-32",
        " 32",
        "32m b",
        "32bm",
        "32bb",
        ".3k",
        "3.",
        "1.2.3",
        "+1",
        "1_0",
        "1e3",
        "\u0663",
        "32\u017fb",
        "1" * 65,
        "0x10",
        "5\n",
        "-1",
        "9223372036854775808",
        "8192p",
        "5kk",
    ],
)
def test_sizes_that_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid size"):
        parse_size(text)


def test_size_error_says_what_is_accepted() -> None:
    with pytest.raises(InvalidArgument) as refused:
        parse_size("5x")
    assert refused.value.message == (
        "invalid size: '5x': give a number with an optional unit b, k, m, g, t "
        "(examples: 512m, 1.5g)"
    )


def test_unlimited_size_only_where_allowed() -> None:
    assert parse_size("-1", allow_unlimited=True) == -1
    assert parse_size("1k", allow_unlimited=True) == 1024
    with pytest.raises(InvalidArgument, match="or -1 for no limit"):
        parse_size("-2", allow_unlimited=True)


@pytest.mark.parametrize(
    "text, nano",
    [
        ("1.5", 1_500_000_000),
        ("2", 2_000_000_000),
        ("0.000000001", 1),
        (".5", 500_000_000),
        ("1.", 1_000_000_000),
        ("0.10000000000", 100_000_000),
    ],
)
def test_cpus(text: str, nano: int) -> None:
    assert parse_cpus(text) == nano


@pytest.mark.parametrize(
    "text", ["", ".", "-1", "1e3", "1/2", " 1", "0.0000000001", "9" * 30, "\u0663", "nan", "1,5"]
)
def test_cpus_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid number of CPUs"):
        parse_cpus(text)


@pytest.mark.parametrize(
    "text, nanoseconds",
    [
        ("0", 0),
        ("1m30s", 90 * SECOND),
        ("1.5h", 90 * MINUTE),
        ("-2s", -2 * SECOND),
        ("+5ms", 5_000_000),
        ("1h1m1s1ms1us1ns", HOUR + MINUTE + SECOND + 1_001_001),
        ("3µs", 3_000),
        ("3μs", 3_000),
        (".5s", SECOND // 2),
        ("1.0000000009s", SECOND),
    ],
)
def test_durations(text: str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize(
    "nanoseconds, text",
    [
        (0, "0s"),
        (1, "1ns"),
        (1_500, "1.5µs"),
        (1_000_000, "1ms"),
        (400_000_001, "400.000001ms"),
        (999_999_999, "999.999999ms"),
        (SECOND, "1s"),
        (SECOND + 1, "1.000000001s"),
        (30 * SECOND, "30s"),
        (90 * SECOND, "1m30s"),
        (HOUR, "1h0m0s"),
        (HOUR + MINUTE + SECOND + 500_000_000, "1h1m1.5s"),
    ],
)
def test_durations_as_go_prints_them(nanoseconds: int, text: str) -> None:
    assert format_duration(nanoseconds) == text


@given(st.integers(0, (1 << 63) - 1))
def test_durations_that_are_printed_are_read(nanoseconds: int) -> None:
    assert parse_duration(format_duration(nanoseconds)) == nanoseconds


@pytest.mark.parametrize(
    "text", ["", "-", "5", "5x", "s", ".s", "1m 30s", "1m30", "--1s", "1d", "9999999h", "1s" * 40]
)
def test_durations_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid duration"):
        parse_duration(text)


@given(st.text(max_size=80))
def test_parsers_raise_nothing_but_invalid_argument(text: str) -> None:
    for parse in (parse_size, parse_cpus, parse_duration):
        try:
            value = parse(text)
        except InvalidArgument:
            continue
        assert abs(value) < 1 << 63


@given(st.integers(0, 1 << 40), st.integers(0, 999_999_999))
def test_durations_are_exact(seconds: int, rest: int) -> None:
    if seconds * SECOND + rest < 1 << 63:
        assert parse_duration(f"{seconds}.{rest:09}s") == seconds * SECOND + rest


@pytest.mark.parametrize(
    "size, text",
    [
        (0, "0B"),
        (999, "999B"),
        (1000, "1kB"),
        (1024, "1.024kB"),
        (1048576, "1.049MB"),
        (3_420_000_000, "3.42GB"),
        (1e28, "1e+04YB"),
    ],
)
def test_decimal_sizes(size: float, text: str) -> None:
    assert format_size(size) == text


@pytest.mark.parametrize(
    "size, text",
    [(0, "0B"), (1024, "1KiB"), (1 << 20, "1MiB"), (3.42 * (1 << 30), "3.42GiB")],
)
def test_binary_sizes(size: float, text: str) -> None:
    assert format_size(size, binary=True) == text


def test_precision_of_sizes() -> None:
    assert format_size(7_834_567, precision=3) == "7.83MB"


# docker/go-units' own table.
@pytest.mark.parametrize(
    "nanoseconds, text",
    [
        (-SECOND, "Less than a second"),
        (SECOND * 45 // 100, "Less than a second"),
        (SECOND, "1 second"),
        (59 * SECOND, "59 seconds"),
        (MINUTE, "About a minute"),
        (MINUTE * 2 - 1, "About a minute"),
        (35 * MINUTE + 40 * SECOND, "35 minutes"),
        (HOUR - 1, "59 minutes"),
        (HOUR, "About an hour"),
        (HOUR + 29 * MINUTE, "About an hour"),
        (HOUR + 31 * MINUTE, "2 hours"),
        (3 * HOUR + 29 * MINUTE, "3 hours"),
        (3 * HOUR + 31 * MINUTE, "4 hours"),
        (36 * HOUR, "36 hours"),
        (2 * DAY, "2 days"),
        (13 * DAY + 5 * HOUR, "13 days"),
        (14 * DAY, "2 weeks"),
        (44 * DAY, "6 weeks"),
        (60 * DAY, "2 months"),
        (720 * DAY, "24 months"),
        (734 * DAY, "2 years"),
        (3 * 365 * DAY + 60 * DAY, "3 years"),
    ],
)
def test_human_durations(nanoseconds: int, text: str) -> None:
    assert human_duration(nanoseconds) == text
