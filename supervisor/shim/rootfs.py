"""The shim's half of a container's filesystem: mounts prepared detached, before clone3.

The overlay and every bind source are opened in the host's mount namespace as detached
mounts (fds only: no path of the host ever has them), so that init only moves them into
its own namespace. A container in a user namespace gets its layers and binds idmapped
here, where the privilege for it is.
"""

import errno
import os
from dataclasses import dataclass

from supervisor.errors import InitError, InvalidArgument, KernelError
from supervisor.kernel import capabilities, mounts, paths, process
from supervisor.shim import device_nodes
from supervisor.spec.mounts import parse_options
from supervisor.spec.types import Overlay, Spec


@dataclass(slots=True)
class Prepared:
    """Detached mounts owned by the shim: the root, and each bind by its index in the spec.

    In a user namespace `dev` is the container's /dev with its nodes, and `nodes` has those of
    other places, named by their index; -1 for none.
    """

    root: int
    binds: dict[int, int]
    dev: int = -1
    nodes: int = -1

    def close_binds(self) -> None:
        """Drop the bind sources once init has its own; the root stays for the shim's life."""
        for fd in (self.dev, self.nodes, *self.binds.values()):
            if fd >= 0:
                os.close(fd)
        self.dev = self.nodes = -1
        self.binds.clear()


def prepare(spec: Spec, userns_fd: int = -1) -> Prepared:
    """Open the root and all bind sources; `userns_fd` ≥ 0 maps them into that namespace."""
    owner = spec.uid_mappings[0].host_id if userns_fd >= 0 else 0
    prepared = Prepared(root=open_root(spec.root, userns_fd, owner), binds={})
    for index, mount in enumerate(spec.mounts):
        if mount.type == "bind":
            recursive = parse_options(mount.options).recursive
            prepared.binds[index] = clone(mount.source, recursive, userns_fd, mount.subpath)
    if userns_fd >= 0:
        prepared.dev = device_nodes.make_dev(spec, userns_fd)
        prepared.nodes = device_nodes.make_others(spec, userns_fd)
    return prepared


def open_root(root: Overlay, userns_fd: int, owner: int = 0) -> int:
    """A detached mount of the root filesystem; `owner` is the host id of the container's root."""
    if not root.upper:
        return clone(root.lower[0], recursive=True, userns_fd=userns_fd)
    context = mounts.fsopen("overlay")
    layers: list[int] = []
    try:
        mounts.fsconfig_string(context, "source", "overlay")
        if userns_fd >= 0:
            _mapped_layers(context, root, userns_fd, layers)
        else:
            for lower in root.lower:
                mounts.fsconfig_string(context, "lowerdir+", lower)
            mounts.fsconfig_string(context, "upperdir", root.upper)
            mounts.fsconfig_string(context, "workdir", root.work)
        # The kernel's build-time defaults differ; diff and export rely on plain uppers.
        for option in ("redirect_dir", "metacopy", "index"):
            mounts.fsconfig_string(context, option, "off")
        if root.volatile:
            mounts.fsconfig_flag(context, "volatile")
        if userns_fd >= 0:
            _create_as(owner, context)
        else:
            mounts.fsconfig_create(context)
        return mounts.fsmount(context)
    finally:
        for fd in (context, *layers):
            os.close(fd)


def _create_as(owner: int, context: int) -> None:
    """Make the overlay with the mounter's ids those of the container's root.

    overlayfs makes its work folders as the mounter; an id that the layers' mapping does not
    know would leave the mount silently read-only (EOVERFLOW).
    """
    effective, permitted, inheritable = capabilities.get_capabilities()
    process.set_filesystem_ids(owner, owner)
    try:
        # setfsuid(2) to a non-zero id takes the file capabilities away.
        capabilities.set_capabilities(effective, permitted, inheritable)
        mounts.fsconfig_create(context)
    finally:
        process.set_filesystem_ids(0, 0)


def _mapped_layers(context: int, root: Overlay, userns_fd: int, layers: list[int]) -> None:
    """Name idmapped clones of the layers to `context`.

    Their fds go to `layers`, to be closed after the overlay is made: a detached mount is
    dissolved with its last fd.
    """
    # upper and work must be one mount, so they are given as folders below one mapped clone.
    parent = os.path.dirname(root.upper)
    if parent != os.path.dirname(root.work):
        raise InvalidArgument("upper and work of an idmapped overlay must be siblings")
    for lower in root.lower:
        layers.append(clone(lower, recursive=False, userns_fd=userns_fd))
        mounts.fsconfig_fd(context, "lowerdir+", layers[-1])
    base = clone(parent, recursive=False, userns_fd=userns_fd)
    layers.append(base)
    for key, path in (("upperdir", root.upper), ("workdir", root.work)):
        layers.append(os.open(os.path.basename(path), os.O_PATH | os.O_CLOEXEC, dir_fd=base))
        mounts.fsconfig_fd(context, key, layers[-1])


def clone(source: str, recursive: bool, userns_fd: int = -1, subpath: str = "") -> int:
    """A detached bind of `source`, or of what is at `subpath` below it.

    KernelError names what does not exist. The subpath is found, checked and cloned by one
    descriptor: other containers may be renaming below `source` meanwhile.
    """
    flags = mounts.OPEN_TREE_CLONE | (mounts.AT_RECURSIVE if recursive else 0)
    if subpath:
        below = _open_beneath(source, subpath)
        fd = mounts.open_tree(below, "", flags)
        os.close(below)
    else:
        fd = mounts.open_tree(mounts.AT_FDCWD, source, flags)
    if userns_fd >= 0:
        try:
            mounts.mount_setattr(
                fd, "", set=mounts.MOUNT_ATTR_IDMAP, userns_fd=userns_fd, recursive=recursive
            )
        except KernelError as error:
            os.close(fd)
            if error.errno == errno.EINVAL:
                raise InitError(
                    step="mount",
                    path=source,
                    errno=errno.EINVAL,
                    message=f"{source}: its file system, or one mounted below it, cannot show its "
                    "owners to a user namespace (idmapped mounts): leave it out, or give "
                    "--userns host",
                ) from None
            raise KernelError("mount_setattr(idmap)", source, error.errno or 0) from None
    return fd


def _open_beneath(source: str, subpath: str) -> int:
    folder = os.open(source, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return paths.open_beneath(folder, subpath, os.O_PATH)
    except KernelError as error:
        raise KernelError("open", f"{source}/{subpath}", error.errno or 0) from None
    finally:
        os.close(folder)
