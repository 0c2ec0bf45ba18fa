"""Keys of a service about its process: what runs, with which variables, how it is checked."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from supervisor.cli import values
from supervisor.cli.apply.draft import CONDITIONS, STARTED, Draft, Key, body, each, host, parsed
from supervisor.cli.apply.marks import PREFIX
from supervisor.cli.apply.nodes import Items, Keys, Node, Scalar, Wrong
from supervisor.cli.apply.reader import Read, Reader
from supervisor.cli.apply.variable_files import variables_of
from supervisor.oci.reference import is_full_id, parse
from supervisor.spec.units import parse_duration

_SECOND = 1_000_000_000


def _image(draft: Draft, node: Node) -> None:
    draft.body["Image"] = draft.reader.value(node, _reference)


def _reference(text: str) -> str:
    if not is_full_id(text) and not text.startswith("sha256:"):
        parse(text)
    return text


def _words(reader: Reader, node: Node) -> list[str]:
    if isinstance(node, Scalar):
        return reader.value(node, shlex.split)
    return list(reader.each(node, reader.text))


def _command(draft: Draft, node: Node) -> None:
    if isinstance(node, Scalar) and node.is_null:
        return
    words = _words(draft.reader, node)
    if not words:
        raise Wrong(node.place, "no word is given: leave command out for the image's own")
    draft.body["Cmd"] = words


def _entrypoint(draft: Draft, node: Node) -> None:
    if isinstance(node, Scalar) and node.is_null:
        return
    # [""] and not [] is how docker's API takes the image's entrypoint away.
    draft.body["Entrypoint"] = _words(draft.reader, node) or [""]


def _environment(draft: Draft, node: Node) -> None:
    for name, value, at in draft.reader.pairs(node):
        if not name or "=" in name:
            raise Wrong(at.place, f"'{name}' is no name of a variable")
        draft.environment[name] = value


def _env_file(draft: Draft, node: Node) -> None:
    for one in node.values if isinstance(node, Items) else (node,):
        with draft.reader.noting():
            path, required = _one_env_file(draft.reader, one)
            if required or Path(path).exists():
                draft.env_files |= _read(path, draft.scope.variables, one)


def _one_env_file(reader: Reader, node: Node) -> tuple[str, bool]:
    if not isinstance(node, Keys):
        return reader.path(reader.text(node), node), True
    found: dict[str, object] = {}

    def keep(name: str, value: object) -> None:
        found[name] = value

    reader.fields(
        node,
        {
            "path": lambda value: keep("path", reader.text(value)),
            "required": lambda value: keep("required", reader.truth(value)),
        },
        "env_file",
    )
    if "path" not in found:
        raise Wrong(node.place, "path is missing")
    return reader.path(str(found["path"]), node), bool(found.get("required", True))


def _read(path: str, variables: Mapping[str, str], node: Node) -> dict[str, str]:
    try:
        return variables_of(Path(path), variables)
    except ValueError as error:
        raise Wrong(node.place, str(error)) from None


def _labels(draft: Draft, node: Node) -> None:
    for name, value, at in draft.reader.pairs(node):
        if name.startswith(PREFIX):
            raise Wrong(at.place, f"labels that begin with {PREFIX} are for orlop apply itself")
        draft.body.setdefault("Labels", {})[name] = value or ""


def _healthcheck(draft: Draft, node: Node) -> None:
    reader, made = draft.reader, dict[str, object]()
    disabled: list[bool] = []

    def time(field: str, value: Node) -> None:
        made[field] = reader.value(value, _time)

    reads: dict[str, Read] = {
        "test": lambda value: made.update(Test=_test(reader, value)),
        "retries": lambda value: made.update(Retries=reader.number(value, 1)),
        "disable": lambda value: disabled.append(reader.truth(value)),
        **{word: partial(time, field) for word, field in _TIMES.items()},
    }
    reader.fields(reader.map(node), reads, "healthcheck")
    if disabled == [True]:
        if made:
            raise Wrong(node.place, "disable: true goes with no other key of healthcheck")
        made["Test"] = ["NONE"]
    if made:
        draft.body["Healthcheck"] = made


_TIMES = {
    "interval": "Interval",
    "timeout": "Timeout",
    "start_period": "StartPeriod",
    "start_interval": "StartInterval",
}


def _time(text: str) -> int:
    nanoseconds = parse_duration(text)
    if nanoseconds < 0:
        raise ValueError("a time cannot be negative")
    return nanoseconds


def _test(reader: Reader, node: Node) -> list[str]:
    if isinstance(node, Scalar):
        return ["CMD-SHELL", reader.text(node)]
    words = list(reader.each(node, reader.text))
    if not words or words[0] not in ("NONE", "CMD", "CMD-SHELL"):
        raise Wrong(node.place, "a list begins with CMD, CMD-SHELL or NONE, as [CMD, test, -e, /a]")
    if words[0] == "NONE" and len(words) > 1:
        raise Wrong(node.place, "NONE goes with no other word")
    if words[0] != "NONE" and len(words) < 2:
        raise Wrong(node.place, f"{words[0]} without a command: [{words[0]}, COMMAND] is expected")
    return words


def _grace(text: str) -> int:
    return -(-_time(text) // _SECOND)


def _depends_on(draft: Draft, node: Node) -> None:
    reader = draft.reader
    if isinstance(node, Items):
        list(reader.each(node, lambda item: draft.depend(reader.text(item), item)))
        return
    for service, value in reader.map(node).entries.items():
        with reader.noting():
            found = [STARTED]

            def condition(at: Node, found: list[str] = found) -> None:
                found[0] = reader.word(at, *CONDITIONS)

            keys = {"condition": condition}
            reader.fields(reader.optional_map(value), keys, f"depends_on of {service}", _WAITING)
            draft.depend(service, value, found[0])


_WAITING = {
    "restart": "what shares a namespace is made anew with its service, nothing else is",
    "required": "a service that is waited for has to be in the file",
}


def _logging(draft: Draft, node: Node) -> None:
    reader = draft.reader
    made: dict[str, object] = {"Type": "", "Config": {}}

    def options(value: Node) -> None:
        made["Config"] = {name: text or "" for name, text, _ in reader.pairs(reader.map(value))}

    reader.fields(
        reader.map(node),
        {
            "driver": lambda value: made.update(Type=reader.word(value, "json-file", "local")),
            "options": options,
        },
        "logging",
    )
    draft.host["LogConfig"] = made


def _sysctls(draft: Draft, node: Node) -> None:
    for name, value, at in draft.reader.pairs(node):
        if not value:
            raise Wrong(at.place, f"{name} has no value")
        draft.host.setdefault("Sysctls", {})[name] = value


def _security(draft: Draft, node: Node) -> None:
    def option(text: str) -> str:
        for profile in ("seccomp=", "seccomp:"):
            path = text.removeprefix(profile)
            if path != text and path not in ("unconfined", "builtin"):
                text = profile + draft.reader.path(path, node)
        return values.security_option(text)

    found = each(option)(draft.reader, node)
    left = [text for text in found if text != "systempaths=unconfined"]
    if left != found:
        draft.host |= {"MaskedPaths": [], "ReadonlyPaths": []}
    draft.host["SecurityOpt"] = left


def _pull_policy(draft: Draft, node: Node) -> None:
    word = draft.reader.word(node, "always", "missing", "if_not_present", "never")
    draft.pull = "missing" if word == "if_not_present" else word


KEYS: Mapping[str, Key] = {
    "cap_add": host("CapAdd", Reader.texts),
    "cap_drop": host("CapDrop", Reader.texts),
    "cgroup": host("CgroupnsMode", lambda reader, node: reader.word(node, "host", "private")),
    "command": _command,
    "depends_on": _depends_on,
    "domainname": body("Domainname", Reader.text),
    "entrypoint": _entrypoint,
    "env_file": _env_file,
    "environment": _environment,
    "group_add": host("GroupAdd", Reader.texts),
    "healthcheck": _healthcheck,
    "hostname": body("Hostname", Reader.text),
    "image": _image,
    "init": host("Init", Reader.truth),
    "labels": _labels,
    "logging": _logging,
    "privileged": host("Privileged", Reader.truth),
    "pull_policy": _pull_policy,
    "restart": host("RestartPolicy", parsed(values.restart_policy)),
    "security_opt": _security,
    "stdin_open": body("OpenStdin", Reader.truth),
    "stop_grace_period": body("StopTimeout", parsed(_grace)),
    "stop_signal": body("StopSignal", Reader.text),
    "sysctls": _sysctls,
    "tty": body("Tty", Reader.truth),
    "user": body("User", Reader.text),
    "userns_mode": host("UsernsMode", Reader.text),
    "working_dir": body("WorkingDir", Reader.text),
}
