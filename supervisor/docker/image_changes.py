"""`changes` of commit and import: Dockerfile instructions that change an image's config.

Those that docker allows there: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD,
STOPSIGNAL, USER, VOLUME, WORKDIR. Syntax: Dockerfile reference; list forms are JSON, and what is
no JSON list is a shell's.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Sequence

from msgspec.structs import replace

from supervisor.docker.dockerfile_words import json_list, split_words, unquote
from supervisor.docker.health import healthcheck_json
from supervisor.docker.healthcheck_line import parse_healthcheck
from supervisor.errors import InvalidArgument
from supervisor.oci.config import ImageConfig
from supervisor.spec.signals import parse_signal

SHELL = ("/bin/sh", "-c")
MAX_CHANGES = 256
MAX_LINE = 64 * 1024

_PORT = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?(?:/(tcp|udp|sctp))?", re.IGNORECASE)
_KEY = re.compile(r"[^=\s]+")


def apply_changes(config: ImageConfig, changes: Sequence[str]) -> ImageConfig:
    """`config` after the instructions; InvalidArgument names the one that cannot be."""
    if len(changes) > MAX_CHANGES:
        raise InvalidArgument(f"{len(changes)} changes, at most {MAX_CHANGES}")
    cmd_set = False
    for line in (line for change in changes for line in change.splitlines()):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        word, _, rest = line.strip().partition(" ")
        name, rest = word.upper(), rest.strip()
        if len(line) > MAX_LINE:
            raise InvalidArgument(f"the change {name:.20} is longer than {MAX_LINE} characters")
        instruction = _INSTRUCTIONS.get(name)
        if instruction is None:
            raise InvalidArgument(f"{word:.40} is not a valid change command")
        if not rest:
            raise InvalidArgument(f"{name} requires at least one argument")
        before = config
        config = instruction(config, rest)
        cmd_set = cmd_set or name == "CMD"
        if name == "ENTRYPOINT" and not cmd_set and before.entrypoint != config.entrypoint:
            # As in a Dockerfile: a new entrypoint makes the base's arguments meaningless.
            config = replace(config, cmd=())
    return config


def _cmd(config: ImageConfig, rest: str) -> ImageConfig:
    return replace(config, cmd=_command(config, rest))


def _entrypoint(config: ImageConfig, rest: str) -> ImageConfig:
    return replace(config, entrypoint=_command(config, rest))


def _command(config: ImageConfig, rest: str) -> tuple[str, ...]:
    words = json_list(rest)
    return (*(config.shell or SHELL), rest) if words is None else words


def _env(config: ImageConfig, rest: str) -> ImageConfig:
    env = dict(entry.partition("=")[::2] for entry in config.env)
    env.update(_pairs("ENV", rest))
    return replace(config, env=tuple(f"{name}={value}" for name, value in env.items()))


def _label(config: ImageConfig, rest: str) -> ImageConfig:
    return replace(config, labels={**config.labels, **dict(_pairs("LABEL", rest))})


def _expose(config: ImageConfig, rest: str) -> ImageConfig:
    ports = set(config.exposed_ports)
    for word in split_words(rest):
        match = _PORT.fullmatch(word)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if match is None or not 0 < first <= last <= 65535:
            raise InvalidArgument(f"invalid containerPort: {word:.40}")
        protocol = (match[3] or "tcp").lower()
        ports.update(f"{port}/{protocol}" for port in range(first, last + 1))
    return replace(config, exposed_ports=tuple(sorted(ports)))


def _healthcheck(config: ImageConfig, rest: str) -> ImageConfig:
    return replace(config, healthcheck=healthcheck_json(parse_healthcheck(rest)))


def _volume(config: ImageConfig, rest: str) -> ImageConfig:
    paths = json_list(rest) or split_words(rest)
    if not all(path.strip() for path in paths):
        raise InvalidArgument("VOLUME specified can not be an empty string")
    return replace(config, volumes=tuple(sorted({*config.volumes, *paths})))


def _user(config: ImageConfig, rest: str) -> ImageConfig:
    return replace(config, user=_one("USER", rest))


def _workdir(config: ImageConfig, rest: str) -> ImageConfig:
    path = posixpath.normpath(posixpath.join("/", config.cwd, *_unquoted(rest)[:1]))
    return replace(config, cwd=f"/{path.lstrip('/')}")


def _stop_signal(config: ImageConfig, rest: str) -> ImageConfig:
    signal = _one("STOPSIGNAL", rest)
    parse_signal(signal)
    return replace(config, stop_signal=signal)


def _on_build(config: ImageConfig, rest: str) -> ImageConfig:
    trigger = rest.split(None, 1)[0].upper()
    if trigger in ("ONBUILD", "FROM", "MAINTAINER"):
        raise InvalidArgument(
            "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"
            if trigger == "ONBUILD"
            else f"{trigger} isn't allowed as an ONBUILD trigger"
        )
    return replace(config, on_build=(*config.on_build, rest))


_INSTRUCTIONS: dict[str, Callable[[ImageConfig, str], ImageConfig]] = {
    "CMD": _cmd,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "ONBUILD": _on_build,
    "STOPSIGNAL": _stop_signal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}


def _one(name: str, rest: str) -> str:
    words = _unquoted(rest)
    if len(words) != 1:
        raise InvalidArgument(f"{name} requires exactly one argument")
    return words[0]


def _pairs(name: str, rest: str) -> Iterator[tuple[str, str]]:
    """`A=b "C d"=e`, or the old `A rest of the line`."""
    words = split_words(rest)
    if "=" not in words[0]:
        key, _, value = rest.partition(" ")
        if not value.strip():
            raise InvalidArgument(f"{name} must have two arguments")
        yield key, value.strip()
        return
    for word in words:
        key, equals, value = word.partition("=")
        key = unquote(key)
        if not equals:
            raise InvalidArgument(
                f"Syntax error - can't find = in {word!r:.80}. Must be of the form: name=value"
            )
        if not _KEY.fullmatch(key) and name == "ENV":
            raise InvalidArgument(f"{name} names can not be blank or have spaces: {word!r:.80}")
        yield key, unquote(value)


def _unquoted(rest: str) -> list[str]:
    return [unquote(word) for word in split_words(rest)]
