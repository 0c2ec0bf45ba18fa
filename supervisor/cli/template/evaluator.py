"""From a tree and a value to text (text/template/exec.go).

One Evaluation is one run: it counts its steps and the length of what it made, so that a
template ends whatever it says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from supervisor.cli.template import tree
from supervisor.cli.template.arguments import check_size
from supervisor.cli.template.errors import TemplateError, Unfit, excerpt
from supervisor.cli.template.functions import FUNCTIONS, SHORT_CIRCUITS
from supervisor.cli.template.printing import text_of
from supervisor.cli.template.values import GoMap, field, truth, type_name

MAX_STEPS = 1_000_000

_NOTHING: Any = object()


class Evaluation:
    """One value shown by one template of the source text `text`."""

    def __init__(self, text: str, value: Any, *, heading: bool) -> None:
        self._text = text
        self._heading = heading
        self._dot = value
        self._variables: list[tuple[str, Any]] = [("$", value)]
        self._parts: list[str] = []
        self._length = 0
        self._steps = 0

    def run(self, nodes: tuple[tree.Node, ...]) -> str:
        """All nodes in order; raises TemplateError."""
        self._body(nodes)
        return "".join(self._parts)

    # --- nodes

    def _body(self, nodes: tuple[tree.Node, ...]) -> str:
        """Carry out the nodes; "break" or "continue" where one of them says so, else ""."""
        known = len(self._variables)
        try:
            for node in nodes:
                jump = self._node(node)
                if jump:
                    return jump
        finally:
            del self._variables[known:]
        return ""

    def _node(self, node: tree.Node) -> str:
        match node:
            case tree.Text(text):
                self._write(text, 0)
            case tree.Show(pipe):
                shown = self._pipe(pipe)
                self._keep(pipe, shown)
                if not pipe.variables:
                    self._write(text_of(shown), pipe.at)
            case tree.Branch():
                return self._branch(node)
            case tree.Range():
                return self._range(node)
            case tree.Jump(kind):
                return kind
        return ""

    def _write(self, text: str, at: int) -> None:
        self._length += len(text)
        self._guard(self._length, at)
        self._parts.append(text)

    def _guard(self, length: int, at: int) -> None:
        try:
            check_size(length)
        except Unfit as error:
            raise self._error(str(error), at) from None

    def _branch(self, node: tree.Branch) -> str:
        known = len(self._variables)
        value = self._pipe(node.pipe)
        self._keep(node.pipe, value)
        before = self._dot
        try:
            if not truth(value):
                return self._body(node.otherwise)
            if node.kind == "with":
                self._dot = value
            return self._body(node.body)
        finally:
            self._dot = before
            del self._variables[known:]

    def _range(self, node: tree.Range) -> str:
        known = len(self._variables)
        value = self._pipe(node.pipe)
        before = self._dot
        empty = True
        try:
            for index, item in self._items(value, node.pipe.at):
                empty = False
                self._set_items(node.pipe, index, item)
                self._dot = item
                jump = self._body(node.body)
                if node.pipe.new:
                    del self._variables[known:]
                if jump == "break":
                    break
            self._dot = before
            return self._body(node.otherwise) if empty else ""
        finally:
            self._dot = before
            del self._variables[known:]

    def _items(self, value: Any, at: int) -> Iterator[tuple[Any, Any]]:
        if isinstance(value, Mapping):
            for name in sorted(value):
                self._step(at)
                yield name, value[name]
        elif isinstance(value, list):
            for index, item in enumerate(value):
                self._step(at)
                yield index, item
        elif isinstance(value, int) and not isinstance(value, bool):
            for number in range(value):
                self._step(at)
                yield number, number
        elif value is not None:
            raise self._error(f"range can't iterate over a value of type {type_name(value)}", at)

    def _set_items(self, pipe: tree.Pipe, index: Any, item: Any) -> None:
        values = (index, item) if len(pipe.variables) == 2 else (item,)
        for name, value in zip(pipe.variables, values, strict=False):
            self._set(name, value, new=pipe.new)

    # --- variables

    def _keep(self, pipe: tree.Pipe, value: Any) -> None:
        for name in pipe.variables:
            self._set(name, value, new=pipe.new)

    def _set(self, name: str, value: Any, *, new: bool) -> None:
        if new:
            self._variables.append((name, value))
            return
        for at in range(len(self._variables) - 1, -1, -1):
            if self._variables[at][0] == name:
                self._variables[at] = (name, value)
                return

    # --- pipelines

    def _pipe(self, pipe: tree.Pipe) -> Any:
        value = _NOTHING
        for command in pipe.commands:
            value = self._command(command, value)
        return value

    def _command(self, command: tree.Command, last: Any) -> Any:
        self._step(command.at)
        first, *rest = command.words
        if isinstance(first, tree.Function):
            if first.name in SHORT_CIRCUITS:
                return self._short_circuit(first, rest, last)
            return self._call(first, self._arguments(rest, last))
        if not rest and last is _NOTHING:
            return self._word(first)
        return self._method(first, self._arguments(rest, last))

    def _arguments(self, words: list[tree.Word], last: Any) -> list[Any]:
        values = [self._word(word) for word in words]
        return values if last is _NOTHING else [*values, last]

    def _call(self, word: tree.Function, arguments: list[Any]) -> Any:
        function = FUNCTIONS[word.name]
        if len(arguments) < function.least or (
            function.most is not None and len(arguments) > function.most
        ):
            wanted = (
                f"{function.least}"
                if function.least == function.most
                else (
                    f"at least {function.least}"
                    if len(arguments) < function.least
                    else f"at most {function.most}"
                )
            )
            raise self._error(
                f"wrong number of arguments for {word.name}: want {wanted}, got {len(arguments)}",
                word.at,
            )
        if self._heading and function.keeps_headings:
            return arguments[0]
        try:
            result = function.call(*arguments)
            if isinstance(result, str):
                check_size(len(result))
        except Unfit as error:
            raise self._error(f"error calling {word.name}: {error}", word.at) from None
        return result

    def _short_circuit(self, word: tree.Function, words: list[tree.Word], last: Any) -> Any:
        if not words and last is _NOTHING:
            raise self._error(
                f"wrong number of arguments for {word.name}: want at least 1, got 0", word.at
            )
        value: Any = None
        for item in words:
            value = self._word(item)
            if truth(value) == (word.name == "or"):
                return value
        return value if last is _NOTHING else last

    def _method(self, word: tree.Word, arguments: list[Any]) -> Any:
        """`.Label "x"`: what some rows of lists can be asked, beside their fields."""
        if isinstance(word, tree.Field) and word.names:
            *path, name = word.names
            holder = self._chain(self._dot, tuple(path), word.at)
            method = getattr(holder, "methods", {}).get(name)
            if method is not None:
                if len(arguments) != 1 or not isinstance(arguments[0], str):
                    raise self._error(f"{name} takes one text", word.at)
                return method(arguments[0])
            self._field(holder, name, word.at)  # says if there is none
            raise self._error(f"{name} has arguments but cannot be invoked as function", word.at)
        raise self._error("can't give arguments to a non-function", word.at)

    # --- words

    def _word(self, word: tree.Word) -> Any:
        self._step(word.at)
        match word:
            case tree.Literal(_, value):
                return value
            case tree.Nil():
                return None
            case tree.Field(at, names):
                return self._chain(self._dot, names, at)
            case tree.Variable(at, name, names):
                value = next(v for known, v in reversed(self._variables) if known == name)
                return self._chain(value, names, at)
            case tree.Nested(at, pipe, names):
                known = len(self._variables)
                value = self._pipe(pipe)
                del self._variables[known:]
                return self._chain(value, names, at)
            case tree.Function():
                return self._command(tree.Command(word.at, (word,)), _NOTHING)

    def _chain(self, value: Any, names: tuple[str, ...], at: int) -> Any:
        for name in names:
            value = self._field(value, name, at)
        return value

    def _field(self, holder: Any, name: str, at: int) -> Any:
        if isinstance(holder, Mapping):
            if name in holder:
                return field(holder, name)
            if isinstance(holder, GoMap):
                return None
        if name in getattr(holder, "methods", {}):
            raise self._error(f"{name} takes one text", at)
        raise self._error(f"there is no field {excerpt(name)!r}{_known(holder)}", at)

    # --- limits and errors

    def _step(self, at: int) -> None:
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise self._error(f"it takes more than {MAX_STEPS} steps", at)

    def _error(self, message: str, at: int) -> TemplateError:
        return TemplateError(message, self._text, at)


def _known(holder: Any) -> str:
    if not isinstance(holder, Mapping):
        return f" in {'nothing' if holder is None else f'a value of type {type_name(holder)}'}"
    return f"; there are {', '.join(sorted(map(str, holder)))}" if holder else ""
