"""The grammar of command lines, and what is said of wrong ones."""

from __future__ import annotations

from argparse import Namespace

import pytest

from supervisor.cli.failures import Misuse
from supervisor.cli.flags import HelpWanted, Parser, integer


def make(*, interspersed: bool = False, count: tuple[int, int | None] = (0, None)) -> Parser:
    parser = Parser("cmd", "IMAGE", "Do it", interspersed=interspersed, count=count)
    parser.switch("-i", "--interactive", help="in")
    parser.switch("-t", "--tty", help="tty")
    parser.switch("--proxy", default=True, help="proxy")
    parser.flag("-e", "--env", many=True, kind="list", help="env")
    parser.flag("-n", "--last", kind="int", parse=integer, default=-1, help="last")
    return parser


def parse(*words: str, interspersed: bool = False) -> Namespace:
    return make(interspersed=interspersed).parse(words)


def test_short_flags_cluster_and_a_value_may_stick() -> None:
    options = parse("-itn5", "-e=A=1", "-eB", "-e", "-C", "image")
    assert (options.interactive, options.tty, options.last) == (True, True, 5)
    assert options.env == ["A=1", "B", "-C"]
    assert options.operands == ["image"]


def test_long_flags_with_and_without_equals() -> None:
    options = parse("--env=A=1", "--env", "--env", "--last", "-7", "--proxy=false")
    assert (options.env, options.last, options.proxy) == (["A=1", "--env"], -7, False)


def test_a_value_may_be_empty_or_have_lines_and_blanks() -> None:
    assert parse("--env=", "--env", "a b\nc=d").env == ["", "a b\nc=d"]


def test_flags_after_the_first_operand_belong_to_the_command() -> None:
    options = parse("-i", "image", "ls", "-t", "--", "--unknown")
    assert options.operands == ["image", "ls", "-t", "--", "--unknown"]
    assert options.tty is False


def test_interspersed_commands_take_flags_anywhere() -> None:
    options = parse("a", "-t", "b", "--", "-i", interspersed=True)
    assert (options.operands, options.tty, options.interactive) == (["a", "b", "-i"], True, False)


def test_a_lone_dash_is_an_operand() -> None:
    assert parse("-").operands == ["-"]


def test_defaults_are_not_shared_between_uses() -> None:
    assert parse("-e", "A").env == ["A"]
    assert parse().env == []


@pytest.mark.parametrize(
    "words, message",
    [
        (["--nope"], "unknown flag: --nope"),
        (["--las", "3"], "unknown flag: --las"),
        (["-itx"], "unknown shorthand flag: 'x' in -itx"),
        (["--env"], "flag needs an argument: --env"),
        (["-ie"], "flag needs an argument: 'e' in -ie"),
        (["-n", "x"], 'invalid argument "x" for "-n, --last" flag: a whole number is expected'),
        (
            ["--tty=maybe"],
            'invalid argument "maybe" for "-t, --tty" flag: true or false is expected',
        ),
    ],
)
def test_misuse_is_told_in_one_line_with_status_125(words: list[str], message: str) -> None:
    with pytest.raises(Misuse) as caught:
        parse(*words)
    assert caught.value.message == f"{message}; see 'orlop cmd --help'"
    assert caught.value.status == 125


@pytest.mark.parametrize(
    "count, words, message",
    [
        ((1, None), [], "'orlop cmd' requires at least 1 argument"),
        ((2, None), ["a"], "'orlop cmd' requires at least 2 arguments"),
        ((2, 2), ["a"], "'orlop cmd' requires 2 arguments"),
        ((0, 1), ["a", "b"], "'orlop cmd' requires at most 1 argument"),
        ((0, 0), ["a"], "'orlop cmd' accepts no arguments"),
    ],
)
def test_wrong_number_of_operands_is_status_1(
    count: tuple[int, int | None], words: list[str], message: str
) -> None:
    with pytest.raises(Misuse, match=message) as caught:
        make(count=count).parse(words)
    assert caught.value.status == 1


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["-i", "--help", "--nope"]])
def test_help_wins(words: list[str]) -> None:
    with pytest.raises(HelpWanted) as caught:
        parse(*words)
    text = caught.value.text
    assert text.startswith("Usage:  orlop cmd [OPTIONS] IMAGE\n\nDo it\n\nOptions:\n")
    assert "  -n, --last int      last\n" in text
    assert "      --proxy         proxy\n" in text


def test_help_after_the_operand_is_the_commands() -> None:
    assert parse("image", "--help").operands == ["image", "--help"]
