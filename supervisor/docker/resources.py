"""Docker's resource fields, of a create or an update, as `spec.types.Resources`."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from supervisor.docker.host_config import ResourceFields, ThrottleDevice
from supervisor.docker.unsupported import refuse_resources
from supervisor.errors import InvalidArgument
from supervisor.spec.types import BlockLimit, BlockWeight, Device, Resources

DeviceLookup = Callable[[str], tuple[Device, ...]]
"""A host path to the device nodes there: one for a node, any number for a folder.

Raises InvalidArgument or KernelError for a path that has none.
"""


def resources(fields: ResourceFields, look_up: DeviceLookup) -> Resources:
    """The limits that `fields` ask for; 0, "" and null ask for none.

    Values are judged by `supervisor.spec.cgroup`; options that Orlop has not are refused.
    """
    refuse_resources(fields)
    return Resources(
        memory=fields.memory or None,
        memory_swap=fields.memory_swap or None,
        memory_reservation=fields.memory_reservation or None,
        oom_kill_disable=bool(fields.oom_kill_disable),
        nano_cpus=fields.nano_cpus or None,
        cpu_quota=fields.cpu_quota or None,
        cpu_period=fields.cpu_period or None,
        cpu_shares=fields.cpu_shares or None,
        cpuset_cpus=fields.cpuset_cpus,
        cpuset_mems=fields.cpuset_mems,
        pids_limit=fields.pids_limit or None,
        blkio_weight=fields.blkio_weight or None,
        blkio_weight_device=tuple(
            BlockWeight(major=node.major, minor=node.minor, weight=entry.weight)
            for entry in fields.blkio_weight_device
            for node in (_block(entry.path, look_up),)
        ),
        blkio_read_bps=_limits(fields.blkio_device_read_bps, look_up),
        blkio_write_bps=_limits(fields.blkio_device_write_bps, look_up),
        blkio_read_iops=_limits(fields.blkio_device_read_iops, look_up),
        blkio_write_iops=_limits(fields.blkio_device_write_iops, look_up),
    )


def _limits(entries: Iterable[ThrottleDevice], look_up: DeviceLookup) -> tuple[BlockLimit, ...]:
    return tuple(
        BlockLimit(major=node.major, minor=node.minor, rate=entry.rate)
        for entry in entries
        for node in (_block(entry.path, look_up),)
    )


def _block(path: str, look_up: DeviceLookup) -> Device:
    found = look_up(path)
    if len(found) != 1 or found[0].type != "b":
        raise InvalidArgument(f"{path!r:.200} is not a block device: I/O limits need one")
    return found[0]
