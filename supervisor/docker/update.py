"""The body of POST /containers/{id}/update: new limits and restart policy, live."""

from __future__ import annotations

from typing import Any

import msgspec

from supervisor.docker.decode import convert, decode_object
from supervisor.docker.host_config import HostConfig, ResourceFields, RestartPolicyBody
from supervisor.docker.unsupported import refuse_resources
from supervisor.errors import InvalidArgument


class UpdateBody(ResourceFields, rename="pascal", frozen=True, kw_only=True):
    """Only what is set changes; a restart policy without a name stays as it was."""

    restart_policy: RestartPolicyBody = RestartPolicyBody()


def decode_update(raw: bytes) -> UpdateBody:
    """The request body; InvalidArgument names the field that does not fit."""
    body = convert(decode_object(raw), UpdateBody)
    for name, label in _FIXED.items():
        if getattr(body, name):
            raise InvalidArgument(f"{label} cannot be updated: make a new container")
    refuse_resources(body)
    return body


def apply_update(host: HostConfig, update: UpdateBody) -> HostConfig:
    """`host` with the fields that `update` sets (unset: 0, "", null, [])."""
    changes: dict[str, Any] = {
        name: value
        for name in ResourceFields.__struct_fields__
        if (value := getattr(update, name)) not in _UNSET
    }
    if update.restart_policy.name:
        changes["restart_policy"] = update.restart_policy
    return msgspec.structs.replace(host, **changes)


_FIXED = {"devices": "Devices", "device_cgroup_rules": "DeviceCgroupRules", "ulimits": "Ulimits"}
_UNSET: tuple[object, ...] = (None, 0, "", ())
