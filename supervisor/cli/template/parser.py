"""From tokens to a tree, by Go's grammar (text/template/parse/parse.go).

Names of functions and variables are checked here, so that a template that cannot work says
so before there is a value. Nesting is bounded: the parser and the evaluator recurse by it.
"""

from __future__ import annotations

from typing import NoReturn

from supervisor.cli.template import tree
from supervisor.cli.template.errors import TemplateError, excerpt
from supervisor.cli.template.functions import FUNCTIONS, SHORT_CIRCUITS
from supervisor.cli.template.lexer import Token, lex
from supervisor.cli.template.literals import character, number, unquote

MAX_DEPTH = 60
MAX_LENGTH = 64 * 1024

_ABSENT = frozenset({"define", "template", "block"})
_WORDS = frozenset({"field", "dot", "variable", "name", "number", "string", "raw", "char"})
_CONSTANTS = {"true": True, "false": False}


def parse(text: str) -> tuple[tree.Node, ...]:
    """The tree of a template; raises TemplateError."""
    if len(text) > MAX_LENGTH:
        raise TemplateError(f"it is longer than {MAX_LENGTH} characters")
    parser = _Parser(text)
    nodes, _ = parser.nodes(ends=())
    return nodes


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(lex(text))
        self._next = 0
        self._depth = 0
        self._ranges = 0
        self._variables = ["$"]

    # --- tokens

    def _peek(self) -> Token:
        return self._tokens[self._next]

    def _take(self) -> Token:
        token = self._tokens[self._next]
        if token.kind != "end":
            self._next += 1
        return token

    def _fail(self, message: str, token: Token) -> NoReturn:
        raise TemplateError(message, self._text, token.at)

    def _unexpected(self, token: Token, where: str) -> NoReturn:
        if token.kind == "end":
            self._fail(f"unexpected end of the template in {where}", token)
        self._fail(f"unexpected {excerpt(token.text.strip())!r} in {where}", token)

    def _close(self, where: str) -> None:
        token = self._take()
        if token.kind != "close":
            self._unexpected(token, where)

    def _deeper(self, token: Token) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._fail(f"more than {MAX_DEPTH} levels of nesting", token)

    # --- blocks

    def nodes(self, ends: tuple[str, ...]) -> tuple[tuple[tree.Node, ...], Token]:
        """Everything up to one of the words `ends`, which is taken; () is the template's end."""
        found: list[tree.Node] = []
        while True:
            token = self._take()
            if token.kind == "text":
                found.append(tree.Text(token.text))
                continue
            if token.kind == "end":
                if ends:
                    self._fail(f"missing {{{{end}}}} of {{{{{ends[0]}}}}}", token)
                return tuple(found), token
            word = self._peek()
            if word.kind == "name" and word.text in ("else", "end"):
                self._take()
                if not ends:
                    self._fail(f"unexpected {{{{{word.text}}}}}", word)
                return tuple(found), word
            found.append(self._action())

    def _action(self) -> tree.Node:
        word = self._peek()
        if word.kind == "name":
            if word.text in ("if", "with", "range"):
                return self._block(self._take())
            if word.text in ("break", "continue"):
                self._take()
                if not self._ranges:
                    self._fail(f"{{{{{word.text}}}}} outside {{{{range}}}}", word)
                self._close(word.text)
                return tree.Jump(word.text)
            if word.text in _ABSENT:
                self._fail(f"{{{{{word.text}}}}} is not supported", word)
        pipe = self._pipe("command")
        self._close("command")
        return tree.Show(pipe)

    def _block(self, word: Token) -> tree.Branch | tree.Range:
        """From behind `if`, `with` or `range` through its `end`."""
        self._deeper(word)
        known = len(self._variables)
        kind = word.text
        pipe = self._pipe(kind)
        self._close(kind)
        self._ranges += kind == "range"
        body, stop = self.nodes((kind,))
        self._ranges -= kind == "range"
        otherwise: tuple[tree.Node, ...] = ()
        if stop.text == "else":
            otherwise = self._else(kind)
        else:
            self._close("end")
        del self._variables[known:]
        self._depth -= 1
        if kind == "range":
            return tree.Range(pipe, body, otherwise)
        return tree.Branch(kind, pipe, body, otherwise)

    def _else(self, kind: str) -> tuple[tree.Node, ...]:
        word = self._peek()
        if kind != "range" and word.kind == "name" and word.text == kind:
            # {{else if}}: one block in the other, with one {{end}} for both.
            return (self._block(self._take()),)
        self._close("else")
        nodes, stop = self.nodes((kind,))
        if stop.text == "else":
            self._fail("expected {{end}}; found {{else}}", stop)
        self._close("end")
        return nodes

    # --- pipelines

    def _pipe(self, where: str) -> tree.Pipe:
        start = self._peek()
        variables, new = self._declared(where)
        commands: list[tree.Command] = []
        while True:
            commands.append(self._command(where))
            if self._peek().kind != "sign" or self._peek().text != "|":
                break
            self._take()
        for command in commands[1:]:
            first = command.words[0]
            if isinstance(first, tree.Literal | tree.Nil) or (
                isinstance(first, tree.Field) and not first.names
            ):
                raise TemplateError(
                    "what stands behind a | must be a function", self._text, first.at
                )
        if new:
            self._variables += variables
        return tree.Pipe(start.at, tuple(commands), tuple(variables), new)

    def _declared(self, where: str) -> tuple[list[str], bool]:
        """`$x :=`, `$x =`, and of a range `$i, $e :=`."""
        names: list[str] = []
        at = self._next
        while self._tokens[at].kind == "variable" and len(self._tokens[at].text) > 1:
            names.append(self._tokens[at].text)
            sign = self._tokens[at + 1]
            if sign.text in (":=", "="):
                if len(names) > (2 if where == "range" else 1):
                    self._fail(f"too many declarations in {where}", sign)
                self._next = at + 2
                new = sign.text == ":="
                for name in () if new else names:
                    self._check_variable(name, sign)
                return names, new
            if sign.text != "," or where != "range":
                break
            at += 2
        return [], True

    def _check_variable(self, name: str, token: Token) -> None:
        if name not in self._variables:
            self._fail(f"undefined variable {name!r}", token)

    def _command(self, where: str) -> tree.Command:
        start = self._peek()
        words: list[tree.Word] = []
        while True:
            token = self._peek()
            if token.kind not in _WORDS and token.text != "(":
                break
            if words and not token.spaced:
                self._unexpected(token, where)
            words.append(self._word())
        end = self._peek()
        if end.kind != "close" and end.text not in (")", "|"):
            self._unexpected(end, where)
        if not words:
            self._fail(f"missing value for {where}", start)
        self._check_arguments(words)
        return tree.Command(start.at, tuple(words))

    def _check_arguments(self, words: list[tree.Word]) -> None:
        first = words[0]
        if len(words) == 1 and isinstance(first, tree.Nil):
            raise TemplateError("nil is not a command", self._text, first.at)
        if len(words) > 1 and isinstance(first, tree.Literal | tree.Nil):
            raise TemplateError("can't give arguments to a non-function", self._text, first.at)

    def _word(self) -> tree.Word:
        token = self._take()
        match token.kind:
            case "sign":
                return self._nested(token)
            case "field":
                return tree.Field(token.at, (token.text[1:], *self._names()))
            case "dot":
                return tree.Field(token.at, ())
            case "variable":
                self._check_variable(token.text, token)
                return tree.Variable(token.at, token.text, self._names())
            case "name":
                return self._name(token)
        try:
            value: str | int | float
            if token.kind == "number":
                value = number(token.text)
            elif token.kind == "char":
                value = character(token.text)
            else:
                value = unquote(token.text)
        except ValueError as error:
            self._fail(f"{error}: {excerpt(token.text)}", token)
        return tree.Literal(token.at, value)

    def _name(self, token: Token) -> tree.Word:
        if token.text in _CONSTANTS:
            return tree.Literal(token.at, _CONSTANTS[token.text])
        if token.text == "nil":
            return tree.Nil(token.at)
        if token.text not in FUNCTIONS and token.text not in SHORT_CIRCUITS:
            known = ", ".join(sorted((*FUNCTIONS, *SHORT_CIRCUITS)))
            self._fail(f"function {excerpt(token.text)!r} not defined; there are {known}", token)
        return tree.Function(token.at, token.text)

    def _nested(self, token: Token) -> tree.Nested:
        self._deeper(token)
        pipe = self._pipe("parenthesized pipeline")
        close = self._take()
        if close.text != ")":
            self._fail("unclosed left paren", token)
        self._depth -= 1
        return tree.Nested(token.at, pipe, self._names())

    def _names(self) -> tuple[str, ...]:
        """The fields that follow without a blank between."""
        names = []
        while self._peek().kind == "field" and not self._peek().spaced:
            names.append(self._take().text[1:])
        return tuple(names)
