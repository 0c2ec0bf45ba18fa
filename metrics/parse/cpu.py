"""CPU time and throttling."""

from __future__ import annotations

from metrics.errors import Malformed
from metrics.parse.figures import Cpu
from metrics.parse.text import Flat, integer

_USER_HZ = 100
"""What the kernel calls a second in cpuacct.stat and /proc/stat: fixed on every architecture
of today but alpha (asm-generic/param.h)."""

_stat = Flat()
_throttle = Flat()
_times = Flat()


def unified(data: bytes, throttling: bytes | None = None) -> Cpu:
    """cgroup v2's cpu.stat; `throttling` is v1's where the cpu controller is v1's."""
    stat = _stat(data)
    try:
        usage, user, system = stat["usage_usec"], stat["user_usec"], stat["system_usec"]
    except KeyError as error:
        raise Malformed(f"cpu.stat without {error}") from None
    if throttling is not None:
        return Cpu(usage, user, system, *_throttling_v1(throttling))
    return Cpu(
        usage,
        user,
        system,
        stat.get("nr_periods"),
        stat.get("nr_throttled"),
        stat.get("throttled_usec"),
        stat.get("nr_bursts"),
        stat.get("burst_usec"),
    )


def v1(usage: bytes, times: bytes | None, throttling: bytes | None) -> Cpu:
    """v1's cpuacct.usage, cpuacct.stat and cpu.stat, for a host without cgroup v2."""
    total = integer(usage)
    if total is None:
        raise Malformed("cpuacct.usage has no number")
    ticks = _times(times) if times is not None else {}
    user, system = (
        ticks[name] * 1_000_000 // _USER_HZ if name in ticks else None
        for name in ("user", "system")
    )
    return Cpu(total // 1000, user, system, *_throttling_v1(throttling or b""))


def _throttling_v1(data: bytes) -> tuple[int | None, ...]:
    stat = _throttle(data)
    throttled, burst = stat.get("throttled_time"), stat.get("burst_time")
    return (
        stat.get("nr_periods"),
        stat.get("nr_throttled"),
        None if throttled is None else throttled // 1000,
        stat.get("nr_bursts"),
        None if burst is None else burst // 1000,
    )


def limit(data: bytes) -> tuple[int, int]:
    """cpu.max of v2: quota and period in µs, quota 0 = none."""
    try:
        quota, period = data.split()
        return (0 if quota == b"max" else int(quota)), int(period)
    except ValueError:
        raise Malformed(f"cpu.max: {data[:80]!r}") from None
