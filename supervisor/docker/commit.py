"""POST /commit: what is asked for, and the config of the image that comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from supervisor.docker.create import CreateBody, merge_env
from supervisor.docker.decode import convert, decode_object
from supervisor.docker.health import Healthcheck
from supervisor.docker.query import Query, boolean
from supervisor.errors import InvalidArgument
from supervisor.oci.config import ImageConfig


class CommitOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`tag` is name[:tag], None without one; `config` what the body asks to be different."""

    tag: str | None = None
    comment: str = ""
    author: str = ""
    pause: bool = True
    changes: tuple[str, ...] = ()
    config: CreateBody = msgspec.field(default_factory=CreateBody)


def commit_options(
    query: Query, changes: Sequence[str], tag: str | None, raw: bytes
) -> CommitOptions:
    """What a request asks for; InvalidArgument for a body that is no config."""
    return CommitOptions(
        tag=tag,
        comment=query.get("comment", ""),
        author=query.get("author", ""),
        pause="pause" not in query or boolean(query, "pause"),
        changes=tuple(changes),
        config=_config(raw),
    )


def _config(raw: bytes) -> CreateBody:
    if raw.strip(b" \t\r\n") in (b"", b"null", b"{}"):
        return CreateBody()
    return convert(decode_object(raw), CreateBody)


def repository_tag(query: Query) -> str | None:
    """`repo` and `tag` as one name; None where there is no repo.

    As in docker, a tag of its own takes the place of one in the repo.
    """
    repo, tag = query.get("repo", ""), query.get("tag", "")
    if not repo:
        if tag:
            raise InvalidArgument("a tag without a repository: give repo as well")
        return None
    if not tag:
        return repo
    head, colon, last = repo.rpartition(":")
    name = head if colon and "/" not in last else repo
    return f"{name}:{tag}"


def config_of(container: CreateBody, options: CommitOptions) -> ImageConfig:
    """A container's config as an image's, with what the request wants different."""
    asked = options.config
    return ImageConfig(
        entrypoint=asked.entrypoint or container.entrypoint or (),
        cmd=asked.cmd or (() if asked.entrypoint else container.cmd) or (),
        env=merge_env(container.env, asked.env),
        cwd=asked.working_dir or container.working_dir,
        user=asked.user or container.user,
        labels={**container.labels, **asked.labels},
        stop_signal=asked.stop_signal or container.stop_signal,
        volumes=tuple(sorted({*container.volumes, *asked.volumes})),
        exposed_ports=tuple(sorted({*container.exposed_ports, *asked.exposed_ports})),
        healthcheck=_healthcheck(asked.healthcheck or container.healthcheck),
        on_build=asked.on_build,
        shell=asked.shell or container.shell,
    )


def _healthcheck(check: Healthcheck | None) -> dict[str, Any] | None:
    if check is None:
        return None
    value: dict[str, Any] = msgspec.to_builtins(check)
    return value or None
