"""What this host's kernel offers, each feature tried for real.

Trials make namespaces, mounts, links and cgroups, so they run in a helper process of their
own (the supervisor never forks), each in a child of it, and end with those. What can only
be read comes from `proc`, `sys` and `cgroup`, which tests replace by trees of files.
"""

from __future__ import annotations

from collections.abc import Callable

from supervisor.kernel.probe import reading
from supervisor.kernel.probe.catalogue import TRIED
from supervisor.kernel.probe.feature import Feature
from supervisor.kernel.probe.helper import Outcome, run_trials

__all__ = ["Feature", "Outcome", "probe", "run_trials"]


def probe(
    proc: str = "/proc",
    sys: str = "/sys",
    cgroup: str = "/sys/fs/cgroup",
    trials: Callable[[], dict[str, Outcome]] = run_trials,
) -> tuple[Feature, ...]:
    """All features, in a fixed order; takes about a tenth of a second. Never raises.

    `trials` gives what was found by trying, by the features' names.
    """
    outcomes = trials()
    return (
        reading.kernel(proc),
        reading.privileges(proc),
        *reading.cgroups(cgroup, proc),
        reading.pressure(proc),
        reading.same_page_merging(sys),
        *(entry.judge(outcomes.get(entry.name)) for entry in TRIED),
        reading.ip_forward(proc),
        reading.bridge_netfilter(proc),
        reading.ipv6(proc),
        reading.apparmor(sys),
        reading.selinux(sys),
    )
