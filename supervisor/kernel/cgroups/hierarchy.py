"""A daemon's own parent group in every hierarchy, and the groups below it."""

from __future__ import annotations

import errno

from supervisor.errors import KernelError
from supervisor.kernel.cgroups import files
from supervisor.kernel.cgroups.group import Group
from supervisor.kernel.cgroups.layout import Layout
from supervisor.spec.types import CgroupPaths


class Hierarchy:
    """The groups below `parent`, a name ("orlop") or several ("machine/orlop").

    `controllers` are those that limits can be written to: the layout's until `prepare`,
    then those that the kernel let us enable. `warnings` says what it refused.
    """

    def __init__(self, layout: Layout, parent: str = "orlop") -> None:
        names = parent.split("/")
        if not all(names) or {".", ".."}.intersection(names):
            raise KernelError("mkdir", parent, errno.EINVAL)
        self.layout = layout
        self.parent = parent
        self.controllers = layout.controllers
        self.warnings: tuple[str, ...] = ()
        self._unified = f"{layout.unified}/{parent}" if layout.unified else ""
        self._v1 = {name: f"{mount}/{parent}" for name, mount in layout.v1.items()}
        # Each hierarchy once, v2 first: a group exists from then on as far as names() knows.
        self._folders = tuple(dict.fromkeys(f for f in (self._unified, *self._v1.values()) if f))

    @property
    def folder(self) -> str:
        """The parent group's folder in the first hierarchy, "" on a host without any."""
        return self._folders[0] if self._folders else ""

    def prepare(self) -> None:
        """Make the parent groups and let limits work below them; idempotent.

        KernelError where a folder cannot be made (a read-only mount, no privilege).
        """
        for folder in self._folders:
            for level in self._levels(folder):
                _make_missing(level)
        if "cpuset" in self._v1:
            self._inherit_cpuset()
        if "memory" in self._v1:
            self._count_below()
        if self.layout.kind == "unified":
            self._enable_controllers()

    def create(self, name: str) -> Group:
        """A new group in every hierarchy; nothing stays if one of them fails.

        KernelError (EEXIST) names the folder that is already there.
        """
        made: list[str] = []
        try:
            for folder in self._folders:
                path = f"{folder}/{name}"
                files.make_folder(path)
                made.append(path)
        except KernelError:
            for path in made:
                files.remove_folder(path)
            raise
        return self.open(name)

    def open(self, name: str) -> Group:
        """The group of that name, which may not exist: every folder's path is known."""
        return Group(
            name,
            CgroupPaths(
                unified=f"{self._unified}/{name}" if self._unified else "",
                v1={controller: f"{folder}/{name}" for controller, folder in self._v1.items()},
            ),
        )

    def names(self) -> list[str]:
        """The groups that exist in any of the hierarchies, sorted."""
        found: set[str] = set()
        for folder in self._folders:
            try:
                found.update(files.subfolders(folder, folder))
            except KernelError as error:
                if not files.is_gone(error):
                    raise
        return sorted(found)

    def remove(self) -> None:
        """rmdir the parent groups as far as they are empty; the rest stays."""
        for folder in self._folders:
            for level in reversed(self._levels(folder)):
                if not files.remove_if_empty(level):
                    break

    def _levels(self, folder: str) -> list[str]:
        """The parent's folders in one hierarchy, top-most first."""
        mount = folder.removesuffix(f"/{self.parent}")
        names = self.parent.split("/")
        return ["/".join((mount, *names[: count + 1])) for count in range(len(names))]

    # --- v2 -----------------------------------------------------------------------------------

    def _enable_controllers(self) -> None:
        """Hand the controllers down from the root to the children of the parent group.

        One at a time, since the kernel takes all or none of a list. It refuses (EBUSY) in a
        group that has processes, which the root alone may have.
        """
        usable, warnings = set(self.layout.controllers), []
        for folder in (self.layout.unified, *self._levels(self._unified)):
            path = f"{folder}/cgroup.subtree_control"
            enabled = set(files.read(path).split())
            for controller in sorted(usable - enabled):
                try:
                    files.write(path, f"+{controller}")
                except KernelError as error:
                    usable.discard(controller)
                    warnings.append(f"no {controller} limits: {error}")
        self.controllers, self.warnings = frozenset(usable), tuple(warnings)

    # --- v1 -----------------------------------------------------------------------------------

    def _inherit_cpuset(self) -> None:
        """A new cpuset has no CPU and nothing can join it (ENOSPC) until it is given some.

        cgroup.clone_children makes the kernel copy the parent's, for each new group.
        """
        above = self.layout.v1["cpuset"]
        for level in self._levels(self._v1["cpuset"]):
            for file in ("cpuset.cpus", "cpuset.mems"):
                if not files.read(f"{level}/{file}").strip():
                    files.write(f"{level}/{file}", files.read(f"{above}/{file}"))
            files.write(f"{level}/cgroup.clone_children", "1")
            above = level

    def _count_below(self) -> None:
        """Charge groups below to those above, which before Linux 5.11 had to be asked for."""
        for level in self._levels(self._v1["memory"]):
            path = f"{level}/memory.use_hierarchy"
            try:
                if files.read(path) != "1":
                    files.write(path, "1")
            except KernelError as error:
                if not files.is_gone(error):  # a kernel that no longer asks
                    raise


def _make_missing(folder: str) -> None:
    try:
        files.make_folder(folder)
    except KernelError as error:
        if error.errno != errno.EEXIST:
            raise
