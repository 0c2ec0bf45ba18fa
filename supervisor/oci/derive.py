"""The config of a new image, made from that of the image below it.

What the parent's config says and we do not know stays as it is (OnBuild, Shell, os.version).
"""

from __future__ import annotations

from typing import Any

import msgspec

from supervisor.oci import document
from supervisor.oci.config import ImageConfig, section
from supervisor.oci.digest import Digest
from supervisor.oci.platform import Platform

# Of the build that made the parent; nothing reads them, and they would be untrue.
_OF_THE_PARENT = ("id", "parent", "container", "container_config", "docker_version")


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What adds a layer: its diff id (None: only the config changes) and its history entry.

    `created` is RFC 3339 text.
    """

    diff_id: Digest | None
    created: str
    created_by: str = ""
    author: str = ""
    comment: str = ""


def derive(parent: bytes | None, config: ImageConfig, step: Step, platform: Platform) -> bytes:
    """The new image's config; `parent` None for one that begins with this layer.

    `config` takes the place of the parent's, `platform` is that of an image without parent.
    Raises InvalidArgument for a parent that is no config.
    """
    plain = document.decode_object(parent, "image config") if parent else _without_parent(platform)
    for name in _OF_THE_PARENT:
        plain.pop(name, None)
    plain["created"] = step.created
    plain["comment"] = step.comment
    plain["author"] = step.author or plain.get("author") or ""
    plain["config"] = section(config)
    diff_ids = list((plain.get("rootfs") or {}).get("diff_ids") or ())
    if step.diff_id is not None:
        diff_ids.append(str(step.diff_id))
    plain["rootfs"] = {"type": "layers", "diff_ids": diff_ids}
    plain["history"] = [*(plain.get("history") or ()), _entry(step)]
    return msgspec.json.encode(
        {name: value for name, value in plain.items() if value or name not in ("author", "comment")}
    )


def _without_parent(platform: Platform) -> dict[str, Any]:
    plain: dict[str, Any] = {"architecture": platform.architecture, "os": platform.os}
    if platform.variant:
        plain["variant"] = platform.variant
    return plain


def _entry(step: Step) -> dict[str, Any]:
    members: dict[str, Any] = {
        "created": step.created,
        "created_by": step.created_by,
        "author": step.author,
        "comment": step.comment,
        "empty_layer": step.diff_id is None,
    }
    return {name: value for name, value in members.items() if value}
