"""The profile of containers that ask for none: `builtin`.

A list of what is allowed, taken from Docker's (moby, profiles/seccomp/default_linux.go) and
nowhere wider. Narrower than Docker's:

- only the machine's own ABI (docs/decisions/0007-one-abi.md);
- sockets of few families: the others are old or rare kernel code, loaded on demand, where
  most of the local root holes of the last years were; `socketpair` is held to the same;
- no `modify_ldt`; no TIOCSTI and TIOCLINUX, which write into a terminal's input.

Refused with EPERM is every other call of the tables, so among them kexec_load, swapon, keyctl,
io_uring_setup, userfaultfd, move_pages, pivot_root; calls newer than all that is named here fail
with ENOSYS (see `rules`), which programs take as "not there" and have a second way for.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator

from supervisor.spec.seccomp import words
from supervisor.spec.seccomp.profile import Condition, Profile, Rule, Where
from supervisor.spec.seccomp.words import Op

_REFUSED = words.ERRNO | errno.EPERM
_ABSENT = words.ERRNO | errno.ENOSYS

# By what they are about; the machines differ in which of the names they have.
ALLOWED = (
    # files
    *("access", "cachestat", "chdir", "chmod", "chown", "close", "close_range"),
    *("copy_file_range", "creat", "dup", "dup2", "dup3", "faccessat", "faccessat2"),
    *("fadvise64", "fallocate", "fchdir", "fchmod", "fchmodat", "fchmodat2", "fchown"),
    *("fchownat", "fcntl", "fdatasync", "fgetxattr", "flistxattr", "flock", "fremovexattr"),
    *("fsetxattr", "fstat", "fstatfs", "fsync", "ftruncate", "futimesat", "getcwd"),
    *("getdents", "getdents64", "getxattr", "getxattrat", "ioctl", "lchown", "lgetxattr"),
    *("link", "linkat", "listmount", "listxattr", "listxattrat", "llistxattr"),
    *("lremovexattr", "lseek", "lsetxattr", "lstat", "mkdir", "mkdirat", "mknod", "mknodat"),
    *("name_to_handle_at", "newfstatat", "open", "openat", "openat2", "pread64", "preadv"),
    *("preadv2", "pwrite64", "pwritev", "pwritev2", "read", "readahead", "readlink"),
    *("readlinkat", "readv", "removexattr", "removexattrat", "rename", "renameat"),
    *("renameat2", "rmdir", "sendfile", "setxattr", "setxattrat", "splice", "stat"),
    *("statfs", "statmount", "statx", "symlink", "symlinkat", "sync", "sync_file_range"),
    *("syncfs", "tee", "truncate", "umask", "unlink", "unlinkat", "utime", "utimensat"),
    *("utimes", "vmsplice", "write", "writev"),
    # waiting for them
    *("epoll_create", "epoll_create1", "epoll_ctl", "epoll_pwait", "epoll_pwait2"),
    *("epoll_wait", "eventfd", "eventfd2", "fanotify_mark", "inotify_add_watch"),
    *("inotify_init", "inotify_init1", "inotify_rm_watch", "io_cancel", "io_destroy"),
    *("io_getevents", "io_pgetevents", "io_setup", "io_submit", "pipe", "pipe2", "poll"),
    *("ppoll", "pselect6", "select"),
    # memory
    *("brk", "madvise", "map_shadow_stack", "membarrier", "memfd_create", "memfd_secret"),
    *("mincore", "mlock", "mlock2", "mlockall", "mmap", "mprotect", "mremap", "mseal"),
    *("msync", "munlock", "munlockall", "munmap", "pkey_alloc", "pkey_free"),
    *("pkey_mprotect", "remap_file_pages"),
    # processes, threads and their attributes
    *("arch_prctl", "capget", "capset", "execve", "execveat", "exit", "exit_group", "fork"),
    *("futex", "futex_requeue", "futex_wait", "futex_waitv", "futex_wake"),
    *("get_robust_list", "get_thread_area", "getcpu", "getegid", "geteuid", "getgid"),
    *("getgroups", "getpgid", "getpgrp", "getpid", "getppid", "getpriority", "getresgid"),
    *("getresuid", "getrlimit", "getrusage", "getsid", "gettid", "getuid", "ioprio_get"),
    *("ioprio_set", "kill", "pause", "pidfd_open", "pidfd_send_signal", "prctl"),
    *("prlimit64", "process_mrelease", "process_vm_readv", "process_vm_writev", "ptrace"),
    *("restart_syscall", "rseq", "rt_sigaction", "rt_sigpending", "rt_sigprocmask"),
    *("rt_sigqueueinfo", "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait"),
    *("rt_tgsigqueueinfo", "sched_get_priority_max", "sched_get_priority_min"),
    *("sched_getaffinity", "sched_getattr", "sched_getparam", "sched_getscheduler"),
    *("sched_rr_get_interval", "sched_setaffinity", "sched_setattr", "sched_setparam"),
    *("sched_setscheduler", "sched_yield", "set_robust_list", "set_thread_area"),
    *("set_tid_address", "setfsgid", "setfsuid", "setgid", "setgroups", "setpgid"),
    *("setpriority", "setregid", "setresgid", "setresuid", "setreuid", "setrlimit"),
    *("setsid", "setuid", "sigaltstack", "signalfd", "signalfd4", "tgkill", "tkill"),
    *("uretprobe", "vfork", "wait4", "waitid"),
    # their own confinement
    *("landlock_add_rule", "landlock_create_ruleset", "landlock_restrict_self", "seccomp"),
    # sockets, once made, and System V's and POSIX' messages
    *("accept", "accept4", "bind", "connect", "getpeername", "getsockname", "getsockopt"),
    *("listen", "mq_getsetattr", "mq_notify", "mq_open", "mq_timedreceive", "mq_timedsend"),
    *("mq_unlink", "msgctl", "msgget", "msgrcv", "msgsnd", "recvfrom", "recvmmsg"),
    *("recvmsg", "semctl", "semget", "semop", "semtimedop", "sendmmsg", "sendmsg"),
    *("sendto", "setsockopt", "shmat", "shmctl", "shmdt", "shmget", "shutdown"),
    # clocks, and what the system is
    *("adjtimex", "alarm", "clock_adjtime", "clock_getres", "clock_gettime"),
    *("clock_nanosleep", "getitimer", "getrandom", "gettimeofday", "nanosleep"),
    *("setitimer", "sysinfo", "time", "timer_create", "timer_delete", "timer_getoverrun"),
    *("timer_gettime", "timer_settime", "timerfd_create", "timerfd_gettime"),
    *("timerfd_settime", "times", "uname"),
)

# Of no use without the capability, as the kernel asks for it, too: it is checked twice.
WITH_CAPABILITY: dict[str, tuple[str, ...]] = {
    "CAP_BPF": ("bpf",),
    "CAP_DAC_READ_SEARCH": ("open_by_handle_at",),
    "CAP_PERFMON": ("perf_event_open",),
    "CAP_SYSLOG": ("syslog",),
    "CAP_SYS_ADMIN": (
        *("bpf", "clone", "clone3", "fanotify_init", "fsconfig", "fsmount", "fsopen", "fspick"),
        *("lookup_dcookie", "lsm_get_self_attr", "lsm_list_modules", "lsm_set_self_attr"),
        *("mount", "mount_setattr", "move_mount", "open_tree", "perf_event_open", "quotactl"),
        *("quotactl_fd", "setdomainname", "sethostname", "setns", "syslog", "umount2"),
        "unshare",
    ),
    "CAP_SYS_BOOT": ("reboot",),
    "CAP_SYS_CHROOT": ("chroot",),
    "CAP_SYS_MODULE": ("delete_module", "finit_module", "init_module"),
    "CAP_SYS_NICE": ("get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node"),
    "CAP_SYS_PACCT": ("acct",),
    "CAP_SYS_PTRACE": ("kcmp", "pidfd_getfd", "process_madvise"),
    "CAP_SYS_RAWIO": ("ioperm", "iopl"),
    "CAP_SYS_TIME": ("clock_settime", "settimeofday"),
    "CAP_SYS_TTY_CONFIG": ("vhangup",),
}

# linux/socket.h
FAMILIES = {"unix": 1, "inet": 2, "inet6": 10, "netlink": 16, "packet": 17}
# Those that still have their uses, for who may administer networks.
ADMIN_FAMILIES = {
    "key": 15,
    "pppox": 24,
    "can": 29,
    "tipc": 30,
    "bluetooth": 31,
    "smc": 43,
    "xdp": 44,
}

# linux/sched.h: CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
NEW_NAMESPACES = 0x7E020000
# linux/personality.h: PER_LINUX, PER_LINUX32, each with UNAME26, and the question what it is
PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
TERMINAL_INPUT = (0x5412, 0x541C)  # asm-generic/ioctls.h: TIOCSTI, TIOCLINUX
_UNSIGNED_INT = 0xFFFFFFFF

_ANYWHERE = Where()
_ADMIN = Where(capabilities=("CAP_SYS_ADMIN",))


def _allow(*names: str, includes: Where = _ANYWHERE) -> Rule:
    return Rule(names=names, action=words.ALLOW, includes=includes)


def _first(name: str, value: int, includes: Where = _ANYWHERE) -> Rule:
    """Allow the call if its first argument is `value`."""
    condition = Condition(index=0, op=Op.EQ, value=value)
    return Rule(names=(name,), action=words.ALLOW, conditions=(condition,), includes=includes)


def _rules() -> Iterator[Rule]:
    yield _allow(*ALLOWED)
    for capability, names in WITH_CAPABILITY.items():
        having = Where(capabilities=(capability,))
        yield _allow(*names, includes=having)
    # Without: "not there", so that libc falls back to clone, whose flags a filter can see.
    yield Rule(names=("clone3",), action=_ABSENT, excludes=_ADMIN)
    no_namespaces = Condition(index=0, op=Op.MASKED_EQ, value=NEW_NAMESPACES, value_two=0)
    yield Rule(names=("clone",), action=words.ALLOW, conditions=(no_namespaces,), excludes=_ADMIN)
    for value in PERSONALITIES:
        yield _first("personality", value)
    net_admin = Where(capabilities=("CAP_NET_ADMIN",))
    for name in ("socket", "socketpair"):
        for family in FAMILIES.values():
            yield _first(name, family)
        for family in ADMIN_FAMILIES.values():
            yield _first(name, family, net_admin)
    for request in TERMINAL_INPUT:
        # The kernel reads 32 bits of it: the others must not hide it.
        whole = Condition(index=1, op=Op.MASKED_EQ, value=_UNSIGNED_INT, value_two=request)
        yield Rule(names=("ioctl",), action=_REFUSED, conditions=(whole,))


DEFAULT = Profile(default=_REFUSED, rules=tuple(_rules()))
