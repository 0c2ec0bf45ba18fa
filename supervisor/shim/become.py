"""The last steps before execve, shared by a container's init and an exec session.

All run inside the container's namespaces, as root of it, in a process that is about to
become the container's: nothing here imports, opens by path outside `root_fd`, or keeps
what the image should not see.
"""

import errno
import fcntl
import os
import resource
import signal
import stat
from dataclasses import dataclass, field

from supervisor.errors import InitError, KernelError, NotFound
from supervisor.kernel import capabilities, paths, process, seccomp, tty
from supervisor.shim.failure import run_steps
from supervisor.spec import users
from supervisor.spec.capabilities import mask
from supervisor.spec.types import Process

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ACCOUNT_FILE_LIMIT = 1 << 20
CAP_SYS_ADMIN = mask(("CAP_SYS_ADMIN",))
RLIMITS = {name: getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")}


@dataclass(slots=True)
class Becoming:
    """A process on its way to execve.

    `root_fd` is an O_PATH fd of the container's root; `stdio` the three fds to become
    0–2, or (slave, slave, slave) of a terminal; `make_cwd` creates a missing WORKDIR.
    """

    process: Process
    root_fd: int
    stdio: tuple[int, int, int]
    make_cwd: bool
    ids: users.UserIds | None = None
    env: dict[str, str] = field(default_factory=dict)


def read_account_file(root_fd: int, path: str) -> bytes:
    """passwd or group of the container, b"" where missing or no regular file.

    Never followed out of the root, never blocking on a FIFO, at most 1 MiB (an image may
    hold anything under this name).
    """
    try:
        fd = paths.open_in_root(root_fd, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return b""
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            return b""
        return os.read(fd, min(status.st_size, ACCOUNT_FILE_LIMIT))
    except OSError:
        return b""
    finally:
        os.close(fd)


def look_up_user(b: Becoming) -> None:
    """Resolve the USER string against the container's own files; fill in HOME."""
    passwd = read_account_file(b.root_fd, "/etc/passwd")
    group = read_account_file(b.root_fd, "/etc/group")
    b.ids = users.lookup(b.process.user, b.process.additional_groups, passwd, group)
    b.env = dict(item.partition("=")[::2] for item in b.process.env if "=" in item)
    b.env.setdefault("PATH", DEFAULT_PATH)
    b.env.setdefault("HOME", b.ids.home or "/")


def set_oom_score(wanted: Process, proc: int | None = None) -> None:
    """The container's own score, never the shim's protected one.

    Only lowering needs CAP_SYS_RESOURCE, which the host may withhold: then a container that
    asks for less than the daemon has keeps the daemon's.
    """
    score = wanted.oom_score_adj or 0
    try:
        process.set_oom_score_adj(score, proc)
    except KernelError:
        if score > 0:
            raise


def set_rlimits(b: Becoming) -> None:
    """Set the asked limits; one that may not be raised is set as high as allowed."""
    for limit in b.process.rlimits:
        kind = RLIMITS.get(limit.type)
        if kind is None:
            raise NotFound(f"{limit.type} is not a resource limit of this host")
        try:
            resource.setrlimit(kind, (limit.soft, limit.hard))
        except (ValueError, PermissionError):
            # Raising a hard limit needs CAP_SYS_RESOURCE, which the host may withhold.
            hard = resource.getrlimit(kind)[1]
            soft = hard if limit.soft == resource.RLIM_INFINITY else min(limit.soft, hard)
            resource.setrlimit(kind, (soft, hard))


def take_mapped_root() -> None:
    """Take the ids of root in the user namespace that we are in, whose files we are to make.

    Until then they are those of the host's root, which it does not know.
    """
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    # Changing credentials clears the death signal, and makes the image what fs.suid_dumpable says.
    process.set_dumpable(False)
    process.set_parent_death_signal(signal.SIGKILL)


def raise_limits(wanted: Process) -> None:
    """Hard limits above ours, where the host's root may raise them: a container's may not.

    The others are for `set_rlimits`: a low one could be in the way until then.
    """
    for limit in wanted.rlimits:
        kind = RLIMITS.get(limit.type)
        if kind is None:
            continue
        soft, hard = resource.getrlimit(kind)
        if hard != resource.RLIM_INFINITY and (
            limit.hard == resource.RLIM_INFINITY or limit.hard > hard
        ):
            try:
                resource.setrlimit(kind, (soft, limit.hard))
            except (ValueError, PermissionError):
                pass  # the host withholds CAP_SYS_RESOURCE, or has a ceiling (fs.nr_open)


def connect_stdio(b: Becoming) -> None:
    """Make the three streams 0–2 and, with a terminal, make it the controlling one."""
    lead_session(b, b.stdio[0])
    take_streams(b)


def lead_session(b: Becoming, terminal: int) -> None:
    """A session of its own, with the terminal, if there is one. Needs no capability."""
    os.setsid()
    if b.process.terminal:
        tty.make_controlling(terminal)


def take_streams(b: Becoming) -> None:
    """Make the three streams 0–2, the user's own where they may be."""
    assert b.ids is not None
    for fd in set(b.stdio):
        mode = os.fstat(fd).st_mode
        if stat.S_ISFIFO(mode) or (stat.S_ISCHR(mode) and b.process.terminal):
            os.fchown(fd, b.ids.uid, -1)  # so that a non-root user may reopen /dev/stdout
    # Copies above 2 first: a source may itself be one of the targets.
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3) for fd in b.stdio]
    for target, fd in enumerate(high):
        os.dup2(fd, target, inheritable=True)


def enter_cwd(b: Becoming) -> None:
    """Change to the working directory, as root, refusing one outside the root (CVE-2024-21626)."""
    cwd = b.process.cwd or "/"
    if not cwd.startswith("/"):
        raise InitError(
            step="cwd", path=cwd, errno=errno.EINVAL, message=f"cwd: {cwd}: not an absolute path"
        )
    try:
        if b.make_cwd:
            os.close(paths.make_dirs_in_root(b.root_fd, cwd))
        os.chdir(cwd)
    except OSError as error:
        raise InitError(
            step="cwd",
            path=cwd,
            errno=error.errno or 0,
            message=f'chdir to cwd ("{cwd}"): {(error.strerror or "").lower()}',
        ) from None
    if not os.getcwd().startswith("/"):
        raise InitError(
            step="cwd", path=cwd, errno=errno.EPERM, message="cwd: outside of the container"
        )


def drop_privileges(b: Becoming) -> None:
    """Bounding set, groups, ids, capability sets, in the order that keeps each permitted.

    One capability may be left over, see `capability_to_confine`.
    """
    assert b.ids is not None
    caps = b.process.capabilities
    capabilities.limit_bounding_set(mask(caps.bounding))  # needs CAP_SETPCAP: before the ids
    process.set_keep_capabilities(True)
    os.setgroups(b.ids.groups)
    os.setresgid(b.ids.gid, b.ids.gid, b.ids.gid)
    os.setresuid(b.ids.uid, b.ids.uid, b.ids.uid)
    process.set_dumpable(False)  # with fs.suid_dumpable=1 the ids' change has undone it
    process.set_keep_capabilities(False)
    set_capabilities(b, capability_to_confine(b.process))
    capabilities.clear_ambient()
    if caps.ambient:
        capabilities.raise_ambient(mask(caps.ambient))
    if b.process.no_new_privileges:
        process.set_no_new_privileges()
    os.umask(b.process.umask)


def set_capabilities(b: Becoming, more: int = 0) -> None:
    """The three sets as the container's program will have them, and `more` beside them."""
    assert b.ids is not None
    caps = b.process.capabilities
    if b.ids.uid == 0:
        effective, permitted = mask(caps.effective), mask(caps.permitted)
    else:  # docker's: the bounding set only, which execve would leave anyway
        effective = permitted = mask(caps.ambient)
    capabilities.set_capabilities(effective | more, permitted | more, mask(caps.inheritable))


def capability_to_confine(wanted: Process) -> int:
    """The mask of what `confine` needs beyond the container's own capabilities.

    seccomp(2) takes a filter from who has CAP_SYS_ADMIN, or can gain no privileges any more.
    It is in no bounding set that does not have it: execve takes it away (capabilities(7),
    "Transformation of capabilities during execve": the permitted set counts for nothing).
    """
    return 0 if wanted.seccomp is None or wanted.no_new_privileges else CAP_SYS_ADMIN


def confine(b: Becoming) -> None:
    """Load the filter of system calls: the last of all, since whatever follows is filtered.

    Not one of STEPS, after which there is still a conversation with the shim: a profile needs
    to allow what the container's program does, not what we do.
    """
    run_steps((("seccomp", install_filter),), b)


def install_filter(b: Becoming) -> None:
    """Install the filter, if there is one."""
    wanted = b.process.seccomp
    if wanted is not None:
        seccomp.install(bytes.fromhex(wanted.program), wanted.flags)


def let_go(b: Becoming) -> None:
    """Drop what only `confine` needed, in a process that no execve will take it from."""
    if capability_to_confine(b.process):
        run_steps((("privileges", set_capabilities),), b)


STEPS = (
    ("user", look_up_user),
    ("rlimits", set_rlimits),
    ("stdio", connect_stdio),
    # As root: the folder may be readable to it alone.
    ("cwd", enter_cwd),
    ("privileges", drop_privileges),
)


def execute(b: Becoming) -> None:
    """execve the command, searched in the container's PATH; returns only by InitError."""
    name = b.process.args[0]
    candidates = [name] if "/" in name else [f"{d}/{name}" for d in b.env["PATH"].split(":") if d]
    denied = 0
    for path in candidates:
        try:
            os.execve(path, b.process.args, b.env)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                continue
            if error.errno != errno.EACCES:
                raise _exec_error(name, error.errno or 0, str(error.strerror).lower()) from None
            denied = errno.EACCES
        except ValueError:  # an embedded NUL
            raise _exec_error(name, errno.EINVAL, "invalid argument") from None
    if denied:
        raise _exec_error(name, denied, "permission denied")
    if "/" not in name:
        raise _exec_error(name, errno.ENOENT, "executable file not found in $PATH")
    text = "no such file or directory"
    if os.path.lexists(name):
        text += " (the file is there; its interpreter or dynamic loader is not)"
    raise _exec_error(name, errno.ENOENT, text)


def _exec_error(name: str, number: int, text: str) -> InitError:
    return InitError(step="execve", path=name, errno=number, message=f'exec: "{name}": {text}')
