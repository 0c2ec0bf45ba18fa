"""Control groups behind one interface, whether limits are cgroup v2's or, on a hybrid host, v1's.

Life and death (kill, freeze, "is anybody left") always use the v2 hierarchy; limits and
accounting use v2's controllers where it has them, else one v1 hierarchy each. Joining is the
business of the process that joins: CLONE_INTO_CGROUP on v2, "0" into v1's `tasks`, neither
of which waits for other CPUs as a pid written into `cgroup.procs` does.

Kernel facts: Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/*.rst, cgroups(7).
"""

from supervisor.kernel.cgroups.group import Group
from supervisor.kernel.cgroups.hierarchy import Hierarchy
from supervisor.kernel.cgroups.layout import Layout, detect
from supervisor.kernel.cgroups.memory import MemoryUsage, read_memory
from supervisor.kernel.cgroups.watches import EventsWatch, OomWatch

__all__ = [
    "EventsWatch",
    "Group",
    "Hierarchy",
    "Layout",
    "MemoryUsage",
    "OomWatch",
    "detect",
    "read_memory",
]
