"""From a template's text to tokens: what stands between actions, and the words in them.

Go's rules (text/template/parse/lex.go): a trim marker is a minus with a blank beside it on
the action's side, a comment is an action of its own, numbers and strings are Go's.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from typing import NamedTuple

from supervisor.cli.template.errors import TemplateError

_LEFT, _RIGHT = "{{", "}}"
_SPACE = " \t\r\n"
_COMMENT, _COMMENT_END = "/*", "*/"
_CLOSING = re.compile(r"(?P<trim>[ \t\r\n]-)?\}\}")
_TOKEN = re.compile(
    r"""
    (?P<close>   [ \t\r\n]+-\}\} | \}\} )
  | (?P<space>   [ \t\r\n]+ )
  | (?P<number>  [+-]? \.? [0-9] (?: [eEpP][+-] | [0-9A-Za-z_.] )* )
  | (?P<field>   \.[^\W\d]\w* )
  | (?P<dot>     \. )
  | (?P<variable>\$\w* )
  | (?P<name>    [^\W\d]\w* )
  | (?P<string>  " (?: [^"\\\n] | \\[^\n] )* " )
  | (?P<raw>     ` [^`]* ` )
  | (?P<char>    ' (?: [^'\\\n] | \\[^\n] )* ' )
  | (?P<declare> := )
  | (?P<sign>    [|(),=] )
    """,
    re.VERBOSE,
)
_UNTERMINATED = {
    '"': "unterminated quoted string",
    "`": "unterminated raw quoted string",
    "'": "unterminated character constant",
}


class Token(NamedTuple):
    """`kind`: text, open, close, end, or the word's as named in the pattern (no spaces).

    `spaced` tells whether a blank stood before it.
    """

    kind: str
    text: str
    at: int
    spaced: bool = False


def lex(text: str) -> Iterator[Token]:
    """The tokens of a whole template, the last of kind "end"; raises TemplateError."""
    at = 0
    trimming = False  # the action before asked for it
    while True:
        start = text.find(_LEFT, at)
        plain = text[at:start] if start >= 0 else text[at:]
        if trimming:
            plain = plain.lstrip(_SPACE)
        if start < 0:
            break
        inner = start + len(_LEFT)
        if text[inner : inner + 1] == "-" and text[inner + 1 : inner + 2] in {*_SPACE}:
            plain = plain.rstrip(_SPACE)
            inner += 2
        if plain:
            yield Token("text", plain, at)
        if text.startswith(_COMMENT, inner):
            at, trimming = _skip_comment(text, inner)
        else:
            yield Token("open", _LEFT, start)
            at = yield from _action(text, inner, start)
            trimming = text[at - 3] == "-"
    if plain:
        yield Token("text", plain, at)
    yield Token("end", "", len(text))


def _action(text: str, at: int, start: int) -> Generator[Token, None, int]:
    """The words of one action and its closing; returns where the text goes on."""
    spaced = False
    while True:
        match = _TOKEN.match(text, at)
        if match is None:
            raise TemplateError(_complaint(text, at), text, at if at < len(text) else start)
        kind = match.lastgroup
        assert kind is not None
        if kind == "space":
            spaced = True
        else:
            yield Token(kind, match[0], at, spaced)
            spaced = False
        at = match.end()
        if kind == "close":
            return at


def _complaint(text: str, at: int) -> str:
    if at >= len(text):
        return "unclosed action"
    return _UNTERMINATED.get(text[at], f"unrecognized character in action: {text[at]!r}")


def _skip_comment(text: str, at: int) -> tuple[int, bool]:
    end = text.find(_COMMENT_END, at)
    if end < 0:
        raise TemplateError("unclosed comment", text, at)
    closing = _CLOSING.match(text, end + len(_COMMENT_END))
    if closing is None:
        raise TemplateError("comment ends before closing delimiter", text, at)
    return closing.end(), bool(closing["trim"])
