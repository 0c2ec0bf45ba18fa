"""One container's cgroup, in every hierarchy."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from supervisor.errors import KernelError
from supervisor.kernel.cgroups import files
from supervisor.kernel.cgroups.memory import MemoryUsage, read_memory
from supervisor.kernel.cgroups.watches import EventsWatch, OomWatch, UnifiedOomWatch, V1OomWatch

if TYPE_CHECKING:
    from supervisor.spec.cgroup import Write
    from supervisor.spec.types import CgroupPaths


class Group:
    """The folders of one group. Nothing is kept open and nothing cached: it may be copied.

    What needs cgroup v2 (freeze, kill, watching events, `fd`) raises KernelError (ENOTSUP)
    on a host that has none. Every method raises KernelError naming the file.
    """

    __slots__ = ("name", "paths")

    def __init__(self, name: str, paths: CgroupPaths) -> None:
        self.name = name
        self.paths = paths

    # --- limits and figures -----------------------------------------------------------------

    def write(self, writes: Sequence[Write]) -> list[str]:
        """Write the values in their order; stops at the first error.

        Returns a sentence for each write that was left out because its file, which not
        every kernel has, is missing here.
        """
        left_out = []
        for write in writes:
            sentence = self._write(write)
            if sentence:
                left_out.append(sentence)
        return left_out

    def read(self, controller: str, file: str) -> str:
        """The text of a controller's file, without the last newline."""
        return files.read(f"{self._folder(controller)}/{file}")

    def memory(self) -> MemoryUsage:
        """The memory figures; zeros where there is no memory controller."""
        return read_memory(self.paths)

    def oom_watch(self) -> OomWatch:
        """Watch for OOM kills; a watch that never wakes up where nothing counts them."""
        if "memory" in self.paths.v1:
            return V1OomWatch(self.paths.v1["memory"])
        if self.paths.unified:
            try:
                return UnifiedOomWatch(self.paths.unified)
            except KernelError as error:
                if error.errno != errno.ENOENT or not os.path.isdir(self.paths.unified):
                    raise
        return OomWatch()

    def _write(self, write: Write) -> str:
        try:
            files.write(f"{self._folder(write.controller)}/{write.file}", write.value)
        except KernelError as error:
            if error.errno != errno.ENOENT:
                raise
            if write.otherwise is not None:
                return self._write(write.otherwise)
            if not write.if_missing:
                raise
            return write.if_missing
        return ""

    def _folder(self, controller: str) -> str:
        return self.paths.v1.get(controller) or self._unified()

    # --- life and death: always the v2 hierarchy ----------------------------------------------

    def freeze(self) -> None:
        """Ask every process to stop; `events_watch` tells when all have (frozen)."""
        files.write(f"{self._unified()}/cgroup.freeze", "1")

    def thaw(self) -> None:
        """Let the processes go on; signals sent meanwhile, but SIGKILL, arrive only now."""
        files.write(f"{self._unified()}/cgroup.freeze", "0")

    def frozen(self) -> bool:
        """Every process has stopped; false while some still are about to."""
        return files.field(files.read(f"{self._unified()}/cgroup.events"), "frozen") == 1

    def kill(self) -> None:
        """SIGKILL all processes here and below, forks under way included (Linux 5.14).

        It is final: Linux 6.18 (not 7.3) kills at birth whatever is cloned into the group
        afterwards, because the kernel compares its count of kills with that of the cgroup
        which the cloning process is in.
        """
        files.write(f"{self._unified()}/cgroup.kill", "1")

    def populated(self) -> bool:
        """A process is here or below; zombies do not count."""
        return files.field(files.read(f"{self._unified()}/cgroup.events"), "populated") == 1

    def procs(self) -> list[int]:
        """The pids here and below, in no order; those of other pid namespaces too."""
        pids: list[int] = []
        folders = [self._unified()]
        for folder in folders:  # grows as it goes
            try:
                names = files.subfolders(folder, folder)
                pids += map(int, files.read(f"{folder}/cgroup.procs").split())
            except KernelError as error:
                # A threaded group's processes are listed by the group above (EOPNOTSUPP).
                if folder is folders[0] or not (
                    files.is_gone(error) or error.errno == errno.EOPNOTSUPP
                ):
                    raise
                continue
            folders += [f"{folder}/{name}" for name in names]
        return pids

    def events_watch(self) -> EventsWatch:
        """Watch for the last process's end and for freezing."""
        return EventsWatch(self._unified())

    def fd(self) -> int:
        """An O_PATH fd of the v2 folder, the caller's: for CLONE_INTO_CGROUP and BPF."""
        return files.open_file(self._unified(), os.O_PATH | os.O_DIRECTORY)

    # --- groups of ours in this one, in the v2 hierarchy alone -------------------------------

    def make_child(self, name: str) -> Group:
        """A new group below this one, for processes that are to be killed apart.

        What this one is limited to holds for both: v1's controllers do not know the child.
        """
        child = self._child(name)
        files.make_folder(child._unified())
        return child

    def children(self, prefix: str) -> list[Group]:
        """The groups just below this one whose names begin with `prefix`."""
        folder = self._unified()
        return [self._child(n) for n in files.subfolders(folder, folder) if n.startswith(prefix)]

    def take_over(self, child: Group) -> None:
        """Move a child's processes here. KernelError (EBUSY) where groups below have limits."""
        for pid in child.procs():
            try:
                files.write(f"{self._unified()}/cgroup.procs", str(pid))
            except KernelError as error:
                if error.errno != errno.ESRCH:  # it has ended meanwhile
                    raise

    def _child(self, name: str) -> Group:
        return Group(name, replace(self.paths, unified=f"{self._unified()}/{name}", v1={}))

    def remove(self) -> None:
        """rmdir the group in every hierarchy, with the groups below it; missing is fine.

        KernelError (EBUSY) while processes are left, zombies not counted; all folders that
        can go are gone then, and the call may be repeated.
        """
        failure: KernelError | None = None
        # v2 last: while it is there, Hierarchy.names() still knows the group.
        for folder in (*dict.fromkeys(self.paths.v1.values()), self.paths.unified):
            if folder:
                try:
                    files.remove_folder(folder)
                except KernelError as error:
                    failure = failure or error
        if failure is not None:
            raise failure

    def _unified(self) -> str:
        if not self.paths.unified:
            raise KernelError("open", "cgroup v2 is not mounted", errno.ENOTSUP)
        return self.paths.unified
