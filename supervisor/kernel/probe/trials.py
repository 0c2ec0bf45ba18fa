"""The trials themselves; this module is the helper process's main program.

Each runs in a forked child with namespaces of its own, so whatever it makes ends with it.
Those about cgroups have a group each, which the helper removes.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import resource
import signal
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from supervisor.errors import KernelError
from supervisor.kernel import bpf, capabilities, mounts, namespaces, paths, process
from supervisor.kernel._call import SYS, check, syscall
from supervisor.kernel.cgroups import Group, detect, files
from supervisor.kernel.probe import netlink
from supervisor.kernel.probe.helper import Outcome, group_name, remove_group
from supervisor.spec.devices import assemble
from supervisor.spec.types import CgroupPaths

WORKS = "works"
_SECONDS = 5.0
_MAPPED = 100_000


def main() -> None:
    """Try what the arguments name, or everything, and print {name: [works, found]} as JSON."""
    only = sys.argv[2:]  # behind the folder that we were loaded from
    outcomes = {n: in_child(trial) for n, trial in TRIALS.items() if not only or n in only}
    if not only:
        outcomes |= try_cgroups()
    os.write(1, json.dumps(outcomes).encode())


def in_child(trial: Callable[[], object]) -> Outcome:
    """Run a trial in a forked child: it works unless an OSError says what does not."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        _answer(trial, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        answer = file.read().decode()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if not answer:
        return False, f"the trial ended with status {status}"
    return answer == WORKS, answer


def _answer(trial: Callable[[], object], writer: int) -> None:
    """In the child: run the trial, write the answer, end. Any other error is status 1."""
    answer = ""
    try:
        process.set_parent_death_signal(signal.SIGKILL)
        trial()
        answer = WORKS
    except OSError as error:
        answer = str(error)
    finally:
        os.write(writer, answer.encode())
        os._exit(0 if answer else 1)


# --- processes ----------------------------------------------------------------------------


def try_clone3() -> None:
    """A fork by clone3."""
    pid, _ = namespaces.clone3(0)
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def try_pidfd() -> None:
    """A child ended and awaited through its pidfd."""
    pid = os.fork()
    if pid == 0:
        signal.pause()
    fd = process.pidfd_open(pid)
    process.pidfd_send_signal(fd, signal.SIGKILL)
    os.waitid(os.P_PIDFD, fd, os.WEXITED)


def try_seccomp() -> None:
    """A filter that makes one system call fail with an error of ours."""
    load_number, jump_equal, answer = 0x20, 0x15, 0x06  # BPF_LD|W|ABS, JMP|JEQ|K, RET|K
    fail, allow = 0x00050000 | errno.ENOTTY, 0x7FFF0000  # SECCOMP_RET_*
    instructions = (
        (load_number, 0, 0, 0),
        (jump_equal, 0, 1, SYS["pidfd_open"]),
        (answer, 0, 0, fail),
        (answer, 0, 0, allow),
    )
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("@HP", len(instructions), ctypes.addressof(buffer))
    process.set_no_new_privileges()
    set_mode_filter = 1
    check(syscall("seccomp", set_mode_filter, 0, ctypes.c_char_p(program)), "seccomp")
    if syscall("pidfd_open", -1, 0) != -1 or ctypes.get_errno() != errno.ENOTTY:
        raise KernelError("seccomp", "the filter has no effect", errno.ENOSYS)


def try_sys_resource() -> None:
    """A hard limit raised after it was lowered, and the OOM score lowered."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (1, 1))
    except ValueError:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        raise KernelError("setrlimit", f"RLIMIT_NOFILE stays at most {hard}", errno.EPERM) from None
    process.set_oom_score_adj(-1000)


# --- files and mounts -----------------------------------------------------------------------


def try_openat2() -> None:
    """A path that leaves its root by "..", kept inside."""
    root = paths.openat2(mounts.AT_FDCWD, "/", os.O_PATH)
    inside = paths.openat2(root, "../..", os.O_PATH, resolve=paths.RESOLVE_IN_ROOT)
    if not os.path.sameopenfile(root, inside):
        raise KernelError("openat2", "RESOLVE_IN_ROOT", errno.EXDEV)


def try_mount_api() -> None:
    """A filesystem and a clone of a folder, made detached, changed, then attached."""
    target = own_tmpfs()
    context = mounts.fsopen("tmpfs")
    mounts.fsconfig_create(context)
    mounts.move_mount(mounts.fsmount(context), mounts.AT_FDCWD, target)
    clone = mounts.open_tree(mounts.AT_FDCWD, "/", mounts.OPEN_TREE_CLONE)
    mounts.mount_setattr(clone, "", set=mounts.MOUNT_ATTR_RDONLY)
    mounts.move_mount(clone, mounts.AT_FDCWD, target)


def try_overlay() -> None:
    """A root made the way containers' roots are, and a file written to it."""
    base = own_tmpfs()
    _write_to(_overlay(base))


def try_overlay_volatile() -> None:
    """The same without syncs."""
    base = own_tmpfs()
    _write_to(_overlay(base, volatile=True))


def try_idmapped_mounts() -> None:
    """The same of idmapped layers, as the root of a user namespace."""
    base = own_tmpfs()
    mapped = mapped_namespace()
    clone = mounts.open_tree(mounts.AT_FDCWD, base, mounts.OPEN_TREE_CLONE)
    mounts.mount_setattr(clone, "", userns_fd=mapped)
    _write_to(_overlay(base, layers=clone))
    if os.stat(f"{base}/upper/file").st_uid != 0:
        raise KernelError("mount_setattr", "MOUNT_ATTR_IDMAP has no effect", errno.EINVAL)


def try_user_namespaces() -> None:
    """A user namespace with a map written from outside, and what its root has to mount.

    It may not where something of the host's own lies under other mounts, as in most containers:
    mount_too_revealing() in the kernel's fs/namespace.c.
    """
    namespaces.setns(mapped_namespace(), namespaces.CLONE_NEWUSER)
    namespaces.unshare(namespaces.CLONE_NEWNS | namespaces.CLONE_NEWNET | namespaces.CLONE_NEWPID)
    works, found = in_child(_mount_proc_and_sysfs)
    if not works:
        raise OSError(f"in a user namespace: {found}")


def _mount_proc_and_sysfs() -> None:
    for fstype in ("proc", "sysfs"):
        context = mounts.fsopen(fstype)
        mounts.fsconfig_create(context)
        try:
            os.close(mounts.fsmount(context))
        except OSError as error:
            raise KernelError("fsmount", fstype, error.errno or 0) from None


def own_tmpfs() -> str:
    """A new mount namespace with an empty tmpfs somewhere; its path."""
    namespaces.unshare(namespaces.CLONE_NEWNS)
    mounts.mount("", "/", "", mounts.MS_REC | mounts.MS_PRIVATE, "")
    target = next(path for path in ("/mnt", "/tmp", "/run", "/dev", "/") if os.path.isdir(path))  # noqa: S108
    mounts.mount("tmpfs", target, "tmpfs")
    return target


def mapped_namespace() -> int:
    """An fd of a user namespace whose ids are _MAPPED… in this one."""
    pid, pidfd = namespaces.clone3(namespaces.CLONE_NEWUSER)
    if pid == 0:
        process.set_parent_death_signal(signal.SIGKILL)
        signal.pause()
    try:
        for name in ("uid_map", "gid_map"):
            files.write(f"/proc/{pid}/{name}", f"0 {_MAPPED} 65536")
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        process.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.waitpid(pid, 0)


def _overlay(base: str, *, volatile: bool = False, layers: int = -1) -> int:
    """A detached overlay of new folders in `base`, given by path or below the fd `layers`."""
    context = mounts.fsopen("overlay")
    for key, name in (("lowerdir+", "lower"), ("upperdir", "upper"), ("workdir", "work")):
        os.mkdir(f"{base}/{name}")
        if layers < 0:
            mounts.fsconfig_string(context, key, f"{base}/{name}")
        else:
            mounts.fsconfig_fd(context, key, os.open(name, os.O_PATH, dir_fd=layers))
    if volatile:
        mounts.fsconfig_flag(context, "volatile")
    if layers >= 0:
        _become_mapped_root()
    mounts.fsconfig_create(context)
    return mounts.fsmount(context)


def _become_mapped_root() -> None:
    """The host's root has no id in idmapped layers, so it could make no file in them."""
    able = capabilities.get_capabilities()
    process.set_filesystem_ids(_MAPPED, _MAPPED)
    capabilities.set_capabilities(*able)  # those for files went with the ids


def _write_to(root: int) -> None:
    os.close(os.open("file", os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=root))


# --- network --------------------------------------------------------------------------------


def try_bridge() -> None:
    """A bridge in a new network namespace."""
    namespaces.unshare(namespaces.CLONE_NEWNET)
    netlink.make_link("bridge")


def try_veth() -> None:
    """A pair of links in a new network namespace."""
    namespaces.unshare(namespaces.CLONE_NEWNET)
    netlink.make_link("veth")


def try_nftables() -> None:
    """A table with a NAT chain in a new network namespace."""
    namespaces.unshare(namespaces.CLONE_NEWNET)
    netlink.make_nat_chain()


def try_nftables_bridge() -> None:
    """A table of what passes bridges in a new network namespace."""
    namespaces.unshare(namespaces.CLONE_NEWNET)
    netlink.make_bridge_chain()


def try_tbf() -> None:
    """A limited rate on the loopback of a new network namespace."""
    namespaces.unshare(namespaces.CLONE_NEWNET)
    netlink.limit_rate()


def try_netem() -> None:
    """A delay on the loopback of a new network namespace."""
    namespaces.unshare(namespaces.CLONE_NEWNET)
    netlink.delay()


# --- cgroups --------------------------------------------------------------------------------


def try_cgroups() -> dict[str, Outcome]:
    """The trials of the v2 hierarchy, each in a group made for it."""
    try:
        unified = detect().unified
        if not unified:
            raise KernelError("mkdir", "no cgroup v2 hierarchy is mounted", errno.ENOENT)
        name = group_name(os.getpid())
        group = Group(name, CgroupPaths(unified=f"{unified}/{name}"))
        return {name: _in_new_group(trial, group) for name, trial in CGROUP_TRIALS.items()}
    except KernelError as error:
        return {name: (False, str(error)) for name in CGROUP_TRIALS}


def _in_new_group(trial: Callable[[Group], None], group: Group) -> Outcome:
    files.make_folder(group.paths.unified)
    try:
        return in_child(lambda: trial(group))
    finally:
        remove_group(group.paths.unified)


def try_clone_into_cgroup(group: Group) -> None:
    """A child born in the group."""
    with member(group, signal.pause) as pid:
        _expect_member(group, pid)


def try_cgroup_kill(group: Group) -> None:
    """A child ended by cgroup.kill."""
    with member(group, signal.pause) as pid:
        group.kill()
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def try_cgroup_freeze(group: Group) -> None:
    """A child that stops, and goes on."""
    deadline = time.monotonic() + _SECONDS
    with member(group, signal.pause) as pid:
        _expect_member(group, pid)
        group.freeze()
        while not group.frozen():
            if time.monotonic() > deadline:
                raise KernelError("write", "cgroup.freeze has no effect", errno.ETIMEDOUT)
            time.sleep(0.001)
        group.thaw()


def try_device_bpf(group: Group) -> None:
    """A program that refuses every device, and a child that is refused /dev/null."""
    program = bpf.load_device_program(assemble(()))
    folder = group.fd()
    bpf.attach_device_program(folder, program)
    with member(group, lambda: os.open("/dev/null", os.O_RDONLY)) as pid:
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        if ended is None or ended.si_status != errno.EPERM:
            raise KernelError("bpf", "the device program has no effect", errno.EINVAL)


def _expect_member(group: Group, pid: int) -> None:
    if group.procs() == [pid]:
        return
    # Linux 6.18 (not 7.3) kills it at birth where the parent's cgroup was ever killed by
    # cgroup.kill and the new one was not, or the other way round.
    ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
    killed = ended is not None and ended.si_status == signal.SIGKILL
    what = "killed the child: was this cgroup.kill-ed before?" if killed else "has no effect"
    raise KernelError("clone3", f"CLONE_INTO_CGROUP {what}", errno.EINVAL)


@contextmanager
def member(group: Group, act: Callable[[], object]) -> Iterator[int]:
    """A child in the group that acts and ends with the errno; killed and reaped at the end."""
    pid, pidfd = namespaces.clone3(0, cgroup_fd=group.fd())
    if pid == 0:
        try:
            process.set_parent_death_signal(signal.SIGKILL)
            act()
        except OSError as error:
            os._exit(error.errno or 1)
        finally:
            os._exit(0)
    try:
        yield pid
    finally:
        process.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.waitpid(pid, 0)


TRIALS: dict[str, Callable[[], None]] = {
    "clone3": try_clone3,
    "pidfd": try_pidfd,
    "openat2": try_openat2,
    "mount-api": try_mount_api,
    "overlay": try_overlay,
    "overlay-volatile": try_overlay_volatile,
    "user-namespaces": try_user_namespaces,
    "idmapped-mounts": try_idmapped_mounts,
    "seccomp": try_seccomp,
    "bridge": try_bridge,
    "veth": try_veth,
    "nftables": try_nftables,
    "nftables-bridge": try_nftables_bridge,
    "tbf": try_tbf,
    "netem": try_netem,
    "sys-resource": try_sys_resource,
}
CGROUP_TRIALS: dict[str, Callable[[Group], None]] = {
    "clone-into-cgroup": try_clone_into_cgroup,
    "cgroup-kill": try_cgroup_kill,
    "cgroup-freeze": try_cgroup_freeze,
    "device-bpf": try_device_bpf,
}
