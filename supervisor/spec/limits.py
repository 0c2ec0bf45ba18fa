"""Whether limits make sense, and which of them this host cannot keep.

The rules and texts are Docker's (moby, daemon/daemon_unix.go, verifyPlatformContainerResources),
with one exception: asking for more CPUs or memory than the host has is allowed.
"""

from __future__ import annotations

from collections.abc import Iterable

from supervisor.errors import InvalidArgument
from supervisor.spec.types import Resources

MINIMUM_MEMORY = 6 << 20
_MINIMUM_PERIOD, _MAXIMUM_PERIOD = 1_000, 1_000_000
_MINIMUM_QUOTA = 1_000
_MINIMUM_NANO_CPUS = 10_000_000
_MAXIMUM = (1 << 63) - 1
# A list naming more CPUs than any kernel has is an attempt to use up memory (CVE-2018-20699).
_MAXIMUM_CPU = 8191


def validate(r: Resources, *, cpus: str = "", mems: str = "") -> None:
    """Raise InvalidArgument, in docker's words, for limits that cannot be.

    `cpus` and `mems` are lists of what the host has ("0-7"); "" = unknown, not checked.
    """
    _validate_memory(r)
    _validate_cpu(r)
    _validate_list(r.cpuset_cpus, cpus, "cpus", "CPUs")
    _validate_list(r.cpuset_mems, mems, "mems", "memory nodes")
    _validate_block_io(r)


def missing(r: Resources, available: frozenset[str], *, unified: bool) -> tuple[str, ...]:
    """Docker's warnings for the limits that no controller of `available` can keep.

    `unified` says that they are v2's; v1 calls block I/O "blkio" and can disable the OOM
    killer. What depends on single files is said by the write itself (Write.if_missing).
    """
    io = "io" if unified else "blkio"
    asked = (
        ("memory", r.memory, _MEMORY, "Limitation"),
        ("memory", r.memory_reservation, "memory soft limit capabilities", "Limitation"),
        ("pids", r.pids_limit is not None and r.pids_limit > 0, "PIDs limit capabilities", _PIDS),
        ("cpu", r.cpu_shares, "CPU shares", "Shares"),
        ("cpu", r.nano_cpus or r.cpu_period or r.cpu_quota, _CPU, "CPU period/quota"),
        ("cpuset", r.cpuset_cpus or r.cpuset_mems, "cpuset", "CPUset"),
        (io, r.blkio_weight, "Block I/O weight", "Weight"),
        (io, r.blkio_weight_device, "Block I/O weight_device", "Weight-device"),
        (io, r.blkio_read_bps, "BPS Block I/O read limit", "Block I/O BPS read limit"),
        (io, r.blkio_write_bps, "BPS Block I/O write limit", "Block I/O BPS write limit"),
        (io, r.blkio_read_iops, "IOPS Block read limit", "Block I/O IOPS read limit"),
        (io, r.blkio_write_iops, "IOPS Block write limit", "Block I/O IOPS write limit"),
    )
    found = [
        discarded(what, lost)
        for controller, value, what, lost in asked
        if value and controller not in available
    ]
    return (*found, *_oom_warnings(r, unified=unified, memory="memory" in available))


def discarded(what: str, lost: str) -> str:
    """Docker's sentence for a limit that the host cannot keep."""
    return f"Your kernel does not support {what} or the cgroup is not mounted. {lost} discarded."


_MEMORY = "memory limit capabilities"
_CPU = "CPU CFS scheduler"
_PIDS = "PIDs limit"


def _oom_warnings(r: Resources, *, unified: bool, memory: bool) -> Iterable[str]:
    if r.oom_group and (not unified or not memory):
        yield (
            "Your kernel does not support killing a cgroup as a whole when it is out of memory. "
            "OOM group discarded."
        )
    if r.oom_kill_disable and (unified or not memory):
        yield "Your kernel does not support OomKillDisable. OomKillDisable discarded."
    elif r.oom_kill_disable and r.memory is None:
        yield (
            "OOM killer is disabled for the container, but no memory limit is set, this can "
            "result in the system running out of resources."
        )


def _validate_memory(r: Resources) -> None:
    memory, reservation = r.memory, r.memory_reservation
    if memory is not None and memory < MINIMUM_MEMORY:
        raise InvalidArgument("Minimum memory limit allowed is 6MB")
    if r.memory_swap is not None and r.memory_swap != -1:
        if memory is None:
            raise InvalidArgument(
                "You should always set the Memory limit when using Memoryswap limit, see usage"
            )
        if r.memory_swap < memory:
            raise InvalidArgument(
                "Minimum memoryswap limit should be larger than memory limit, see usage"
            )
    if reservation is not None and reservation < MINIMUM_MEMORY:
        raise InvalidArgument("Minimum memory reservation allowed is 6MB")
    if memory is not None and reservation is not None and memory < reservation:
        raise InvalidArgument(
            "Minimum memory limit can not be less than memory reservation limit, see usage"
        )
    for value in (memory, r.memory_swap, reservation):
        if value is not None and value > _MAXIMUM // 2:
            raise InvalidArgument(f"a memory limit of {value} bytes is more than there can be")


def _validate_cpu(r: Resources) -> None:
    if r.nano_cpus is not None:
        if r.cpu_period is not None:
            raise InvalidArgument(
                "Conflicting options: Nano CPUs and CPU Period cannot both be set"
            )
        if r.cpu_quota is not None:
            raise InvalidArgument("Conflicting options: Nano CPUs and CPU Quota cannot both be set")
        # The quota is counted in a period of 100 ms and may not be under 1 ms.
        if not _MINIMUM_NANO_CPUS <= r.nano_cpus <= _MAXIMUM_CPU * 1_000_000_000:
            raise InvalidArgument(f"range of CPUs is from 0.01 to {_MAXIMUM_CPU}.00")
    if r.cpu_period is not None and not _MINIMUM_PERIOD <= r.cpu_period <= _MAXIMUM_PERIOD:
        raise InvalidArgument(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"
        )
    if r.cpu_quota is not None and 0 <= r.cpu_quota < _MINIMUM_QUOTA:
        raise InvalidArgument("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    if r.cpu_shares is not None and r.cpu_shares < 0:
        raise InvalidArgument(
            f"invalid CPU shares ({r.cpu_shares}): value must be a positive integer"
        )


def _validate_list(asked: str, have: str, kind: str, words: str) -> None:
    numbers = _parse_list(asked)
    if numbers is None:
        raise InvalidArgument(f"Invalid value {asked:.200} for cpuset {kind}")
    if have and not numbers <= (_parse_list(have) or set()):
        raise InvalidArgument(
            f"Requested {words} are not available - requested {asked:.200}, available: {have}"
        )


def _parse_list(text: str) -> set[int] | None:
    """The numbers of a list such as "0-2,5" (cpuset(7), List format); None unless it is one."""
    numbers: set[int] = set()
    for part in text.split(",") if text else ():
        first, dash, last = part.partition("-")
        ends = (first, last if dash else first)
        # isdigit alone accepts other scripts' digits, which the kernel does not.
        if not all(end.isascii() and end.isdigit() and len(end) <= 4 for end in ends):
            return None
        low, high = map(int, ends)
        if low > high or high > _MAXIMUM_CPU:
            return None
        numbers.update(range(low, high + 1))
    return numbers


def _validate_block_io(r: Resources) -> None:
    if r.blkio_weight is not None and not 10 <= r.blkio_weight <= 1000:
        raise InvalidArgument("Range of blkio weight is from 10 to 1000")
    for device in r.blkio_weight_device:
        if not 10 <= device.weight <= 1000:
            raise InvalidArgument(
                f"Range of blkio weight is from 10 to 1000: {device.major}:{device.minor}"
            )
    for limit in (*r.blkio_read_bps, *r.blkio_write_bps, *r.blkio_read_iops, *r.blkio_write_iops):
        if not 0 <= limit.rate <= _MAXIMUM:
            raise InvalidArgument(
                f"invalid rate {limit.rate} for device {limit.major}:{limit.minor}"
            )
