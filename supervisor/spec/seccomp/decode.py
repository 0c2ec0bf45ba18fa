"""Docker's JSON form of a seccomp profile.

The format is moby's (profiles/seccomp, `Seccomp`); podman's names of errors are read, too.
Absent and null are the same. What is unknown is an error rather than ignored: a rule whose
`args` were misspelt would allow every call that it was to restrict.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Collection
from typing import Any, TypeVar

from supervisor.errors import InvalidArgument
from supervisor.spec.seccomp import words
from supervisor.spec.seccomp.profile import Condition, Profile, Rule, Where
from supervisor.spec.seccomp.words import Op

T = TypeVar("T")

MAX_TEXT = 256 << 10  # bytes; Docker's own profile has 17 KiB
MAX_RULES = 4096
MAX_NAMES = 1024
MAX_ITEMS = 64
_MAX_ERRNO = 4095  # linux/err.h; what is above it the kernel would cut
_MAX_DATA = 0xFFFF  # SECCOMP_RET_DATA
_MAX_VALUE = (1 << 64) - 1
_ARGUMENTS = 6

_TOP = frozenset(
    (
        *("defaultAction", "defaultErrnoRet", "defaultErrno", "architectures", "archMap"),
        *("syscalls", "flags", "listenerPath", "listenerMetadata", "comment", "$schema"),
    )
)
_RULE = frozenset(
    (
        *("names", "name", "action", "errnoRet", "errno", "args", "comment"),
        *("includes", "excludes"),
    )
)
_FILTER = frozenset(("caps", "arches", "minKernel"))
_CONDITION = frozenset(("index", "value", "valueTwo", "op"))
_ARCHITECTURE = frozenset(("architecture", "subArchitectures"))


def decode(text: str) -> Profile:
    """The profile in Docker's JSON; InvalidArgument says what of it is wrong, and where."""
    if len(text) > MAX_TEXT:
        raise InvalidArgument(f"seccomp profile: more than {MAX_TEXT >> 10} KiB of JSON")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"seccomp profile: not JSON: {error}") from None
    try:
        return _profile(value)
    except _Wrong as wrong:
        raise InvalidArgument(f"seccomp profile: {wrong}") from None


class _Wrong(ValueError):
    pass


def _profile(value: Any) -> Profile:
    top = _object(value, _TOP, "the profile")
    if top.get("listenerPath") or top.get("listenerMetadata"):
        raise _Wrong("listenerPath: there is no seccomp agent that could listen")
    named, mapped = top.get("architectures") or (), top.get("archMap") or ()
    if named and mapped:
        raise _Wrong("both 'architectures' and 'archMap' are given: use one of them")
    if not top.get("defaultAction"):
        raise _Wrong(f"defaultAction is missing: give one of {', '.join(words.ACTIONS)}")
    rules = _list(top.get("syscalls"), "syscalls", MAX_RULES)
    return Profile(
        default=_action(top, "defaultAction", "defaultErrnoRet", "defaultErrno"),
        rules=tuple(_rule(item, index) for index, item in enumerate(rules, 1)),
        architectures=_architectures(named, "architectures"),
        arch_map=tuple(_entry(item) for item in _list(mapped, "archMap", MAX_ITEMS)),
        flags=_flags(top.get("flags")),
    )


def _rule(value: Any, index: int) -> Rule:
    where = f"syscalls: rule {index}"
    try:
        rule = _object(value, _RULE, "it")
        names = _texts(rule.get("names"), "names", MAX_NAMES)
        if rule.get("name"):
            if names:
                raise _Wrong("both 'name' and 'names' are given: use 'names'")
            names = (_text(rule["name"], "name"),)
        where = f"{where} ({names[0]:.40})" if names else where
        if not names or not all(names):
            raise _Wrong("names: name at least one system call, none by an empty name")
        return Rule(
            names=names,
            action=_action(rule, "action", "errnoRet", "errno"),
            conditions=tuple(_condition(item) for item in _list(rule.get("args"), "args")),
            includes=_where(rule.get("includes"), "includes"),
            excludes=_where(rule.get("excludes"), "excludes"),
        )
    except _Wrong as wrong:
        raise _Wrong(f"{where}: {wrong}") from None


def _action(holder: dict[str, Any], key: str, number_key: str, name_key: str) -> int:
    word = _text(holder.get(key) or "", key)
    if word == words.NOTIFY:
        raise _Wrong(f"{key}: {word} needs a seccomp agent, which there is none of")
    if word not in words.ACTIONS:
        raise _Wrong(f"{key}: unknown action '{word:.80}': give one of {', '.join(words.ACTIONS)}")
    action = words.ACTIONS[word]
    if action not in (words.ERRNO, words.TRACE):
        return action
    highest = _MAX_ERRNO if action == words.ERRNO else _MAX_DATA
    number = holder.get(number_key)
    if number is None and holder.get(name_key):  # podman's second form
        name = _text(holder[name_key], name_key)
        number = getattr(errno, name, None) if name.isidentifier() else None
        if not isinstance(number, int):
            raise _Wrong(f"{name_key}: unknown error '{name:.40}' (example: EPERM)")
    return action | (errno.EPERM if number is None else _number(number, number_key, highest))


def _condition(value: Any) -> Condition:
    item = _object(value, _CONDITION, "args")
    word = item.get("op")
    if not isinstance(word, str) or word not in set(Op):
        raise _Wrong(f"args: unknown op {word!r:.80}: give one of {', '.join(Op)}")
    return Condition(
        index=_number(item.get("index"), "args: index", _ARGUMENTS - 1),
        op=Op(word),
        value=_number(item.get("value"), "args: value", _MAX_VALUE),
        value_two=_number(item.get("valueTwo"), "args: valueTwo", _MAX_VALUE),
    )


def _where(value: Any, what: str) -> Where:
    if value is None:
        return Where()
    item = _object(value, _FILTER, what)
    return Where(
        capabilities=_texts(item.get("caps"), f"{what}.caps"),
        machines=_texts(item.get("arches"), f"{what}.arches"),
        min_kernel=_version(_text(item.get("minKernel") or "", f"{what}.minKernel")),
    )


def _version(text: str) -> tuple[int, int]:
    if not text:
        return (0, 0)
    major, dot, minor = text.partition(".")
    if not dot or not all(_is_short_number(part) for part in (major, minor)):
        raise _Wrong(f"minKernel: '{text:.40}' is not MAJOR.MINOR (example: 4.8)")
    version = (int(major), int(minor))
    if version == (0, 0):
        raise _Wrong("minKernel: there is no Linux 0.0")
    return version


def _is_short_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 3


def _architectures(value: Any, what: str) -> tuple[str, ...]:
    """Names of ABIs; those that no machine of ours runs are left out."""
    given = _texts(value, what)
    for word in given:
        if word not in words.ARCHITECTURES and word not in words.OTHER_ARCHITECTURES:
            known = ", ".join(words.ARCHITECTURES)
            raise _Wrong(f"{what}: unknown architecture '{word:.80}': give some of {known}")
    return tuple(words.ARCHITECTURES[word] for word in given if word in words.ARCHITECTURES)


def _entry(value: Any) -> tuple[str, tuple[str, ...]]:
    item = _object(value, _ARCHITECTURE, "archMap")
    main = _architectures([item.get("architecture")], "archMap: architecture")
    below = _architectures(item.get("subArchitectures"), "archMap: subArchitectures")
    return (main[0] if main else "", below)


def _flags(value: Any) -> int:
    flags = 0
    for word in _texts(value, "flags"):
        if word not in words.FLAGS:
            raise _Wrong(f"flags: '{word:.80}' is not supported: give {', '.join(words.FLAGS)}")
        flags |= words.FLAGS[word]
    return flags


# --- JSON values, whose absence may be written as null ------------------------------------------


def _object(value: Any, known: Collection[str], what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _Wrong(f"{what}: an object is expected, not {value!r:.40}")
    for key in value:
        if key not in known:
            raise _Wrong(f"{what}: unknown key '{key:.80}'; known are {', '.join(sorted(known))}")
    return value


def _list(value: Any, what: str, limit: int = MAX_ITEMS) -> list[Any]:
    return list(_each(value, what, limit, lambda item: item))


def _texts(value: Any, what: str, limit: int = MAX_ITEMS) -> tuple[str, ...]:
    return _each(value, what, limit, lambda item: _text(item, what))


def _each(value: Any, what: str, limit: int, decode: Callable[[Any], T]) -> tuple[T, ...]:
    if value is None or value == ():
        return ()
    if not isinstance(value, list):
        raise _Wrong(f"{what}: a list is expected, not {value!r:.40}")
    if len(value) > limit:
        raise _Wrong(f"{what}: {len(value)} of them; at most {limit} are read")
    return tuple(decode(item) for item in value)


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise _Wrong(f"{what}: a text is expected, not {value!r:.40}")
    return value


def _number(value: Any, what: str, highest: int) -> int:
    value = 0 if value is None else value
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= highest:
        raise _Wrong(f"{what}: a whole number from 0 to {highest} is expected, not {value!r:.40}")
    return value
