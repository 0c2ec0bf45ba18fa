import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.errors import InvalidArgument
from supervisor.spec.signals import parse_signal, signal_name


@pytest.mark.parametrize(
    "text, number",
    [
        ("SIGTERM", 15),
        ("TERM", 15),
        ("sigterm", 15),
        ("15", 15),
        ("9", 9),
        ("WINCH", 28),
        ("CLD", 17),
        ("IOT", 6),
        ("POLL", 29),
        ("RTMIN", 34),
        ("RTMIN+3", 37),
        ("SIGRTMIN+30", 64),
        ("RTMAX", 64),
        ("SIGRTMAX-14", 50),
        ("64", 64),
        ("34", 34),
    ],
)
def test_signals_that_docker_accepts(text: str, number: int) -> None:
    assert parse_signal(text) == number


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "-1",
        "+9",
        "65",
        "32",
        "33",
        "1000",
        "\u0669",
        "9 ",
        "SIG",
        "SIGSIGTERM",
        "NOPE",
        "RTMIN-1",
        "RTMAX+1",
        "RTMIN+31",
        "RTMIN+",
        "RTMIN+\u0663",
        "RTMIN3",
        "15.0",
        "_DFL",
        "1_5",
    ],
)
def test_signals_that_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r"invalid signal: .*: give a name"):
        parse_signal(text)


def test_names_agree_with_the_platform() -> None:
    for known in signal.Signals:
        if known < 32:
            assert parse_signal(known.name) == known


@pytest.mark.parametrize(
    "number, name",
    [
        (15, "SIGTERM"),
        (9, "SIGKILL"),
        (34, "SIGRTMIN"),
        (36, "SIGRTMIN+2"),
        (49, "SIGRTMIN+15"),
        (50, "SIGRTMAX-14"),
        (64, "SIGRTMAX"),
        (0, "0"),
        (32, "32"),
        (99, "99"),
    ],
)
def test_signal_names(number: int, name: str) -> None:
    assert signal_name(number) == name


@given(st.integers(1, 64).filter(lambda n: n not in (32, 33)))
def test_names_round_trip(number: int) -> None:
    assert parse_signal(signal_name(number)) == number
