"""The container's init: from a clone of the shim to the container's PID 1, step by step.

    shim                                   init
     │ clone3(namespaces, into cgroup) ───► │ STEPS … (into a user namespace: see `userns`)
     │ ◄──────── {"pty": true} + fd ─────── │ (terminal only)
     │ ◄──────────── {"ready": true} ────── │ all is set up; waits: the container is *created*
     │ ──────────────── "go" ─────────────► │ execve (at once, if the start came before init)
     │ ◄─── end of file (close-on-exec) ─── │ the container is *started*
     │ ◄────── {"step": …, "errno": …} ──── │ instead of any of these: one typed error

Each entry of STEPS says why it stands where it does.
"""

import errno
import os
import signal
import socket
import stat

from supervisor import failpoints
from supervisor.errors import InitError
from supervisor.kernel import mounts, namespaces, netdev, paths, process
from supervisor.shim import become, given, pid1, unseen
from supervisor.shim.device_nodes import DEV
from supervisor.shim.failure import run_steps
from supervisor.shim.filesystem import new_filesystem
from supervisor.shim.handshake import GO, send, send_error
from supervisor.shim.init_devices import is_null, make_devices, open_console
from supervisor.shim.init_mounts import make_mounts
from supervisor.shim.init_state import Init
from supervisor.spec.mounts import MountOptions

PROPAGATION = {
    "private": mounts.MS_PRIVATE,
    "slave": mounts.MS_SLAVE,
    "shared": mounts.MS_SHARED,
    "unbindable": mounts.MS_UNBINDABLE,
}
EMPTY = MountOptions(attr_set=mounts.MOUNT_ATTR_RDONLY, data=(("size", "0"),))


def main(init: Init) -> None:
    """Run in the child of clone3; never returns."""
    try:
        run_steps(STEPS, init)
        send(init.sync, {"ready": True})
        if not init.start_at_once and init.sync.recv(16) != GO:
            os._exit(0)  # the shim gave up (or died): no container without a shim
        assert init.becoming is not None
        failpoints.hit("init.execve")
        if init.unseen:
            unseen.have_process(init.becoming, init.sync)
        become.confine(init.becoming)
        if init.spec.init:
            pid1.run(init.becoming, init.sync.fileno())
        else:
            become.execute(init.becoming)
    except InitError as error:
        send_error(init.sync, error)
    except BaseException as error:  # the last frame: nothing may escape into the shim's code
        send_error(init.sync, InitError(step="init", path="", errno=0, message=f"init: {error!r}"))
    os._exit(127)


def tie_to_shim(init: Init) -> None:
    """Die with the shim; start from default signals and an unreadable memory image."""
    process.set_parent_death_signal(signal.SIGKILL)
    if shim_is_gone(init.sync):
        os._exit(0)  # it died before that, and nothing else would tell
    process.set_dumpable(False)
    process.reset_signals()
    os.umask(0o022)  # the shim's own would make mount points that only root can enter


def close_the_shims(init: Init) -> None:
    """Keep no fd of the shim's but init's own.

    They are close-on-exec, but until then a command, a `#!` line or a link of the image's may
    name one, as /proc/self/fd/N: from the bundle's folder `..` leads to the host (CVE-2024-21626).
    """
    process.close_all_but(
        init.sync.fileno(),
        init.prepared.root,
        init.prepared.dev,
        init.prepared.nodes,
        *init.prepared.binds.values(),
        *init.cgroup_tasks,
        *init.stdio,
        *init.given.values(),
        *init.joined_mounts.values(),
        *init.cgroup_folders.values(),
    )


def shim_is_gone(sync: socket.socket) -> bool:
    """The other end of init's socket is closed: the shim alone had it."""
    try:
        return not sync.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True


def become_mapped_root(init: Init) -> None:
    """Be root of the user namespace that we were born in."""
    if init.mapped:
        become.take_mapped_root()


def stay_outside(init: Init) -> None:
    """Have the container's process, our child, born in the pid namespace that was given."""
    if init.unseen:
        init.pid_namespace = init.given.pop("pid")
        namespaces.setns(init.pid_namespace, namespaces.CLONE_NEWPID)


def join_namespaces(init: Init) -> None:
    """Enter the namespaces that came with the start (--network, --pid, --ipc container:…)."""
    given.join(init.given)
    for fd in init.given.values():
        os.close(fd)
    init.given.clear()


def join_cgroups(init: Init) -> None:
    """Move into the v1 cgroups and take a cgroup namespace rooted there.

    Writing 0 moves the calling thread alone and skips the kernel's thread-group lock, which
    a pid written from outside would wait for. v2 was joined by clone3; but CLONE_NEWCGROUP
    there would root the namespace at the shim's cgroup, so it is made here.
    """
    for fd in init.cgroup_tasks:
        os.write(fd, b"0")
        os.close(fd)
    if init.spec.makes("cgroup"):
        namespaces.unshare(namespaces.CLONE_NEWCGROUP)


def new_session(init: Init) -> None:
    """Leave the shim's session keyring: keys of the host must not be reachable."""
    process.join_new_session_keyring()


def open_host_devices(init: Init) -> None:
    """In a user namespace mknod is refused: keep nodes that the shim has made, to bind them.

    Mounts are cloned where they are mounted only: over /dev, in our own copy of the host's tree.
    """
    if init.prepared.nodes < 0:
        return
    mounts.move_mount(init.prepared.nodes, mounts.AT_FDCWD, DEV)
    for name in os.listdir(DEV):
        device = init.spec.devices[int(name)]
        init.host_devices[device.path] = mounts.open_tree(
            mounts.AT_FDCWD, f"{DEV}/{name}", mounts.OPEN_TREE_CLONE
        )


def make_private(init: Init) -> None:
    """No mount made in a copy of the host's tree may propagate to the host."""
    if init.mapped:
        mounts.mount("", "/", "", mounts.MS_REC | mounts.MS_PRIVATE, "")


def attach_root(init: Init) -> None:
    """Put the prepared root on top of everything in this namespace and stand in it.

    On the empty folder of `hollow` that is all there is to do to make it this process's root.
    """
    init.root = init.prepared.root
    mounts.move_mount(init.root, mounts.AT_FDCWD, "/")
    os.fchdir(init.root)
    if not init.mapped:
        os.chroot(".")


def pivot(init: Init) -> None:
    """In a copy of the host's tree: swap the root and drop all of that.

    Root of a user namespace has it since it may mount proc and sysfs only where both are
    already, and nothing of them hidden. With both arguments "." (pivot_root(2), NOTES) the old
    root lies under the new one and needs no folder in the image.
    """
    if init.mapped:
        mounts.pivot_root(".", ".")
        mounts.umount(".", mounts.MNT_DETACH)
        os.chdir("/")


def make_proc(init: Init) -> None:
    """A proc of the new pid namespace, detached at first: ours whatever is mounted where."""
    init.proc = new_filesystem("proc", MountOptions(), init.pid_namespace)


def apply_sysctls(init: Init) -> None:
    """Write sysctls through our own proc, before /proc/sys becomes read-only."""
    for key, value in init.spec.sysctl.items():
        path = "sys/" + key.replace(".", "/")
        try:
            write_file(init.proc, path, value.encode())
        except OSError as error:
            raise InitError(
                step="sysctl",
                path=key,
                errno=error.errno or 0,
                message=f"sysctl {key}={value}: {(error.strerror or '').lower()}",
            ) from None


def write_file(dir_fd: int, path: str, data: bytes) -> None:
    """One write(2) to a file below `dir_fd`."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=dir_fd)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


def hide_paths(init: Init) -> None:
    """Masked paths get an empty read-only cover, read-only ones a read-only bind of themselves.

    Through fds: no name is resolved twice. A path that does not exist here has nothing to hide.
    """
    cover = null = -1
    for path in init.spec.masked_paths:
        target = _existing(init.root, path)
        if target < 0:
            continue
        if not stat.S_ISDIR(os.fstat(target).st_mode):
            null = null if null >= 0 else _container_null(init)
            copy = mounts.open_tree(null, "", mounts.OPEN_TREE_CLONE)
        elif cover >= 0:
            copy = mounts.open_tree(cover, "", mounts.OPEN_TREE_CLONE)
        else:
            cover = copy = new_filesystem("tmpfs", EMPTY)
        mounts.move_mount(copy, target)
        if copy != cover:
            os.close(copy)
        os.close(target)
    for path in init.spec.readonly_paths:
        target = _existing(init.root, path)
        if target < 0:
            continue
        copy = mounts.open_tree(target, "", mounts.OPEN_TREE_CLONE | mounts.AT_RECURSIVE)
        mounts.mount_setattr(copy, "", set=mounts.MOUNT_ATTR_RDONLY, recursive=True)
        mounts.move_mount(copy, target)
        os.close(copy)
        os.close(target)


def _container_null(init: Init) -> int:
    """/dev/null of the container, checked to be the real one (CVE-2025-31133)."""
    fd = paths.open_in_root(init.root, "/dev/null", os.O_PATH | os.O_NOFOLLOW)
    if not is_null(os.fstat(fd)):
        raise InitError(
            step="masked paths",
            path="/dev/null",
            errno=0,
            message="/dev/null is not the null device",
        )
    return fd


def _existing(root: int, path: str) -> int:
    try:
        return paths.open_in_root(root, path, os.O_PATH)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return -1
        raise


def finish_root(init: Init) -> None:
    """Propagation as asked; read-only last: mount points and links had to be made before."""
    wanted = PROPAGATION[init.spec.root_propagation]
    readonly = mounts.MOUNT_ATTR_RDONLY if init.spec.root_readonly else 0
    if readonly or wanted != mounts.MS_PRIVATE:
        mounts.mount_setattr(init.root, "", set=readonly, propagation=wanted)
    init.root = os.open("/", paths.DIRECTORY)


def name_host(init: Init) -> None:
    """Host and domain name of the new uts namespace."""
    if init.spec.makes("uts"):
        if init.spec.hostname:
            namespaces.sethostname(init.spec.hostname)
        if init.spec.domainname:
            namespaces.setdomainname(init.spec.domainname)


def loopback_up(init: Init) -> None:
    """A new network namespace has lo down; everything expects 127.0.0.1 to work."""
    if init.spec.makes("network"):
        netdev.link_up("lo")


def prepare_process(init: Init) -> None:
    """The steps that exec sessions share, ending with nothing left to do but execve."""
    init.becoming = become.Becoming(
        process=init.spec.process, root_fd=init.root, stdio=init.stdio, make_cwd=True
    )
    process.close_all_but(init.sync.fileno(), init.root, *init.stdio)
    run_steps(unseen.STEPS if init.unseen else become.STEPS, init.becoming)
    if init.unseen:
        process.close_all_but(init.sync.fileno())
    # Changing ids cleared the death signal (prctl(2)).
    process.set_parent_death_signal(signal.SIGKILL)


STEPS = (
    # While /proc/self still belongs to root of the host and is writable to it.
    ("oom_score_adj", lambda init: become.set_oom_score(init.spec.process, init.host_proc)),
    # As early as can be: from here on a dead shim takes init with it, and none of its signal
    # handlers runs.
    ("tie to shim", tie_to_shim),
    # Before there is anything of the container's that could lead to one of them.
    ("descriptors", close_the_shims),
    # Before the user namespace, which has no rights to it.
    ("pid namespace", stay_outside),
    # Before any mount: in a user namespace only its root may mount.
    ("user namespace", become_mapped_root),
    ("join namespaces", join_namespaces),
    # Before the mounts, so that what they cost is accounted to the container.
    ("cgroup", join_cgroups),
    ("session keyring", new_session),
    ("host devices", open_host_devices),
    ("private propagation", make_private),
    ("root filesystem", attach_root),
    ("proc", make_proc),
    # Before /proc is mounted read-only for the container.
    ("sysctl", apply_sysctls),
    ("mounts", make_mounts),
    ("devices", make_devices),
    ("console", open_console),
    # After all mounts: a mask must be on top.
    ("masked paths", hide_paths),
    ("pivot_root", pivot),
    ("read-only root", finish_root),
    ("hostname", name_host),
    ("loopback", loopback_up),
    # Last: user, rlimits, capabilities are what the steps above could not work with.
    ("process", prepare_process),
)
