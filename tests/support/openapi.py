"""Requests made from an OpenAPI document: as it says, nearly so, and not at all."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from hypothesis import strategies as st

Json = dict[str, Any]
MOST_MEMBERS = 4
MOST_DEPTH = 4
_ODD_WORDS = (
    *("", "-", ".", "..", "0", "-1", "99999999999999999999", "1e3", "true", "null", "none", "host"),
    *("é", "a\0b", "a b", "a\nb", "%", "{}", "[]", '{"a":', "a" * 300, "container:", "sha256:abc"),
    *("/nowhere", "a:b:c", "a=b", "=", ":", "80/tcp", "80-70/tcp", "10.0.0.0/8", "::1", "10m"),
)
_ODD_NUMBERS = (0, 1, -1, 2**31, 2**63 - 1, -(2**63), 2**63, 2**70)
_ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(_ODD_NUMBERS),
    st.just(1.5),
    st.sampled_from(_ODD_WORDS),
    st.sampled_from(([], {}, [[]], [None], {"": None}, [{}], {"a": {"b": {"c": []}}})),
)
_TAILS = ("", "", "", "&", "&&=", "&%ff=1", "&a=%", "&a=%ff", "&filters=", "&all=1;b", "&=&=")
_BODIES = (b"", b"{", b"[]", b"null", b"3", b'"x"', b"\xff", b'{"a":' * 50, b"{}x", b"\0" * 1024)
_TYPES = ("application/json", "application/json", "text/plain", "application/x-tar", "x")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What goes to the daemon."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class Requests:
    """Strategies for the requests of a document.

    `known` are words that mean something to the daemon, such as a container's name;
    `defaults` members of bodies, by the schema's name, that most requests have; `fixed`
    values of query parameters that no others are tried for.
    """

    def __init__(
        self,
        document: Json,
        *,
        known: Sequence[str],
        defaults: Mapping[str, Json],
        fixed: Mapping[str, Sequence[str]],
    ) -> None:
        self._document = document
        self._known = tuple(known)
        self._defaults = defaults
        self._fixed = fixed

    def of(self, method: str, path: str) -> st.SearchStrategy[Request]:
        """Requests for one operation."""
        operation = self._document["paths"][path][method]

        @st.composite
        def request(draw: st.DrawFn) -> Request:
            target, pairs = path, []
            for parameter in operation["parameters"]:
                if parameter["in"] == "path":
                    word = draw(st.one_of(st.sampled_from(self._known), self._words()).filter(bool))
                    target = target.replace(f"{{{parameter['name']}}}", quote(word, safe=""))
                elif parameter["required"] or draw(st.booleans()):
                    pairs.append((parameter["name"], draw(self._query_value(parameter))))
            query = urlencode(pairs) + draw(st.sampled_from(_TAILS))
            headers, body = draw(self._body(operation.get("requestBody", {}).get("content", {})))
            return Request(
                method=method.upper(),
                target=f"{target}?{query}" if query else target,
                headers=headers,
                body=body,
            )

        return request()

    def _words(self) -> st.SearchStrategy[str]:
        return st.one_of(
            st.sampled_from(self._known),
            st.sampled_from(_ODD_WORDS),
            st.text(max_size=8).filter(_is_utf8),
        ).filter(_no_place_on_this_host)

    def _query_value(self, parameter: Json) -> st.SearchStrategy[str]:
        if parameter["name"] in self._fixed:
            return st.sampled_from(self._fixed[parameter["name"]])
        if "content" in parameter:  # filters
            names = st.sampled_from(("label", "name", "status", "until", "dangling", "before", "x"))
            good = st.dictionaries(names, st.lists(self._words(), max_size=2), max_size=2)
            return st.one_of(st.one_of(good, _ODD).map(json.dumps), self._words())
        kinds: dict[str, st.SearchStrategy[str]] = {
            "boolean": st.sampled_from(("1", "0", "true", "")),
            "integer": st.integers(-2, 100).map(str),
        }
        right = kinds.get(parameter["schema"]["type"], self._words())
        return st.one_of(right, right, self._words())

    def _body(self, content: Json) -> st.SearchStrategy[tuple[dict[str, str], bytes]]:
        odd = st.tuples(
            st.sampled_from(_TYPES).map(lambda kind: {"Content-Type": kind}),
            st.one_of(st.sampled_from(_BODIES), st.binary(max_size=64)),
        )
        if not content:
            return st.one_of(st.just(({}, b"")), st.just(({}, b"")), odd)
        shapes = [odd]
        for media, described in content.items():
            if "$ref" in described["schema"]:
                value = self._value(described["schema"], 0).map(lambda v: json.dumps(v).encode())
                shapes += [st.tuples(st.just({"Content-Type": media}), value)] * 4
        return st.one_of(shapes)

    def _value(self, schema: Json, depth: int) -> st.SearchStrategy[Any]:
        right = self._right(schema, depth)
        return st.one_of(right, right, right, right, right, _ODD)

    def _right(self, schema: Json, depth: int) -> st.SearchStrategy[Any]:
        """Values of a schema."""
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            return self._object(self._document["components"]["schemas"][name], depth, name)
        if "anyOf" in schema:
            return st.one_of([self._right(one, depth) for one in schema["anyOf"]])
        match schema.get("type"):
            case "string":
                return self._words()
            case "integer":
                return st.one_of(st.integers(-2, 1000), st.sampled_from(_ODD_NUMBERS[:6]))
            case "number":
                return st.floats(-10, 1000)
            case "boolean":
                return st.booleans()
            case "array":
                items = schema.get("items") or (schema.get("prefixItems") or [{}])[0]
                return st.lists(self._value(items or {}, depth + 1), max_size=2)
            case "object":
                return self._object(schema, depth, "")
        return _ODD

    def _object(self, schema: Json, depth: int, name: str) -> st.SearchStrategy[Json]:
        properties: Json = schema.get("properties", {})
        if depth >= MOST_DEPTH:
            return st.just({})
        if not properties:
            members = schema.get("additionalProperties")
            one = self._value(members, depth + 1) if isinstance(members, dict) else _ODD
            return st.dictionaries(self._words(), one, max_size=2)

        @st.composite
        def members_of(draw: st.DrawFn) -> Json:
            chosen = draw(
                st.lists(st.sampled_from(list(properties)), max_size=MOST_MEMBERS, unique=True)
            )
            made = {key: draw(self._value(properties[key], depth + 1)) for key in chosen}
            usual = self._defaults.get(name, {}) if draw(st.integers(0, 4)) else {}
            return {**made, **usual}

        return members_of()


def _is_utf8(text: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def _no_place_on_this_host(text: str) -> bool:
    """Nothing that is tried may be a file or folder of this host."""
    if "\0" in text or not text.startswith("/"):
        return True
    return not Path(posixpath.normpath(text)).exists()
