"""What `orlop why` says of ends, restarts and waiting, as sentences. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from supervisor.cli.kernel_log import Victim
from supervisor.cli.listing import printable
from supervisor.spec.signals import signal_name
from supervisor.spec.units import format_size

Fields = Mapping[str, Any]

_SIGNALLED = 128
_LAST_SIGNAL = 64
_KILL = 9
_FULL = 0.9
_CODES = {
    125: "as of a program that could not be set up",
    126: "as of a program that is not executable",
    127: "as of a program that is not there",
}
_MEANINGS = {
    4: "illegal instruction",
    6: "abort",
    7: "bus error",
    8: "arithmetic error",
    11: "segmentation fault",
    31: "bad system call",
}
_RESOURCES = (("cpu", "CPU"), ("memory", "memory"), ("io", "disks"))


def size(number: int) -> str:
    """Bytes as "16MiB"."""
    return format_size(number, binary=True)


def ending(run: Fields, victims: list[Victim]) -> str:
    """Why a run ended; `run` is an entry of OrlopHistory."""
    reason, error = run["Reason"], printable(run["Error"])
    if reason == "start_failed":
        return f"it could not start: {error} (exit code {run['ExitCode']})"
    if reason == "lost":
        return f"how it ended is not known: {error}"
    if reason == "oom_killed":
        return f"killed by the kernel, out of memory{_memory(run, victims)}"
    if reason == "health":
        text = f"ended as its health check failed: {_status(run)}"
    elif reason == "stopped":
        text = f"stopped by request: {_status(run)}"
    elif reason == "signal":
        text = f"killed by {_signal(run['Signal'])}{_not_ours(run)}"
    elif reason == "completed":
        text = "it was done: exit code 0"
    else:
        text = f"it failed: {_status(run)}"
    if run["OOMKills"]:
        count = run["OOMKills"]
        processes = "a process" if count == 1 else f"{count} processes"
        text += f"; the kernel had killed {processes} of it, out of memory{_memory(run, victims)}"
    return text


def following(run: Fields) -> str:
    """Why another run followed, or why none did."""
    policy, count = run["RestartPolicy"], run["RestartCount"]
    name, most = policy["Name"], policy["MaximumRetryCount"]
    if run["FollowedBy"] == "policy":
        of = f" of at most {most}" if most else ""
        delay = f"{run['RestartDelay']:g} s"
        return f"the policy {name} starts it again after {delay}: restart {count + 1}{of}"
    if run["FollowedBy"] == "request":
        return "started again by request"
    if name in ("no", ""):
        return "not started again: it has no restart policy"
    if run["Reason"] == "stopped":
        return f"not started again by the policy {name}: it was stopped by request"
    if run["Reason"] == "start_failed" and not count:
        return f"not started again: the policy {name} repeats no first start that fails"
    if name == "on-failure":
        if run["ExitCode"] == 0:
            return "not started again: the policy on-failure restarts only failures"
        return f"not started again: its restarts ({most}) are used up"
    return "not started again"


def happening(action: str, attributes: Mapping[str, str]) -> str:
    """An event in words; "" for what a time line shows otherwise, or not at all."""
    if action == "kill":
        return f"{_signal(int(attributes.get('signal') or 0))} is sent to it by request"
    if action == "oom":
        limit, peak = (int(attributes.get(f"memory{what}", "0")) for what in ("Limit", "Peak"))
        return f"the kernel kills a process of it: out of memory{_figures(limit, peak, [])}"
    if action.startswith("health_status: "):
        return f"its health check says {printable(action.partition(': ')[2])}"
    return {"pause": "paused", "unpause": "goes on", "update": "its limits are changed"}.get(
        action, ""
    )


def slowness(before: Fields, after: Fields, view: Fields) -> Iterator[tuple[str, str, bool]]:
    """What, in words, and whether it holds the container up: of two stats some time apart."""
    seconds = max(1e-3, (after["taken_ns"] - before["taken_ns"]) / 1e9)
    yield _cpu(before["cpu_stats"], after["cpu_stats"], seconds, view)
    if memory := after.get("memory_stats"):
        yield _memory_use(memory)
    tasks = after.get("pids_stats") or {}
    # Without a limit there is a number beyond what a kernel can have.
    if 0 < (most := tasks.get("limit") or 0) < 1 << 32:
        current = tasks["current"]
        yield "processes", f"{current} of at most {most}", current >= most * _FULL
    waits = after.get("orlop_pressure")
    if waits is None:
        yield "waiting", "not known: this host's kernel does not tell (PSI)", False
        return
    earlier = before.get("orlop_pressure") or waits
    for key, word in _RESOURCES:
        if (total := waits.get(f"{key}_some")) is not None:
            share = min(1.0, (total - earlier.get(f"{key}_some", total)) / 1e9 / seconds)
            spent = f"{total / 1e9:.1f} s since its start"
            yield "waiting", f"for {word} {share:.0%} of the time now, {spent}", share >= 0.1


def _cpu(before: Fields, after: Fields, seconds: float, view: Fields) -> tuple[str, str, bool]:
    used = (after["cpu_usage"]["total_usage"] - before["cpu_usage"]["total_usage"]) / 1e9 / seconds
    text = f"{used:.2f} CPUs now"
    host = view["HostConfig"]
    limit = host["NanoCpus"] / 1e9
    if not limit and host["CpuQuota"] > 0:
        limit = host["CpuQuota"] / (host["CpuPeriod"] or 100_000)
    if not limit:
        return "CPU", f"{text}, no limit", False
    text += f" of at most {limit:g}"
    was, now = before["throttling_data"], after["throttling_data"]
    periods = now["periods"] - was["periods"]
    share = (now["throttled_periods"] - was["throttled_periods"]) / periods if periods else 0.0
    spent = f"{now['throttled_time'] / 1e9:.1f} s since its start"
    return "CPU", f"{text}, throttled in {share:.0%} of its periods now, {spent}", share >= 0.1


def _memory_use(memory: Fields) -> tuple[str, str, bool]:
    usage, limit = memory.get("usage", 0), memory.get("limit", 0)
    hits = memory.get("failcnt", 0)
    text = f"{size(usage)} of at most {size(limit)}"
    if hits:
        text += f", the limit was reached {hits} times"
    return "memory", text, bool(limit) and usage >= limit * _FULL


def _status(run: Fields) -> str:
    code, signal = run["ExitCode"], run["Signal"]
    if signal:
        killed = ", which it did not outlive" if signal != _KILL else ""
        return f"{_signal(signal)}{killed}"
    if code in _CODES:
        return f"exit code {code}, {_CODES[code]}"
    if _SIGNALLED < code <= _SIGNALLED + _LAST_SIGNAL:
        return f"exit code {code}, as of a process that {_signal(code - _SIGNALLED)} killed"
    return f"exit code {code}"


def _signal(number: int) -> str:
    meaning = _MEANINGS.get(number)
    return signal_name(number) + (f" ({meaning})" if meaning else "")


def _not_ours(run: Fields) -> str:
    if run["Signal"] != _KILL or run["Killed"]:
        return ""
    return ", which Orlop did not send: somebody on the host, or the host is out of memory"


def _memory(run: Fields, victims: list[Victim]) -> str:
    return _figures(run["MemoryLimit"], run["MemoryPeak"], victims)


def _figures(limit: int, peak: int, victims: list[Victim]) -> str:
    facts = [f"limit {size(limit)}, peak {size(peak)}"] if limit else []
    if victims:
        biggest = max(victims, key=lambda one: one.memory)
        facts.append(f"it took {printable(biggest.command)} with {size(biggest.memory)}")
    return f": {'; '.join(facts)}" if facts else ""
