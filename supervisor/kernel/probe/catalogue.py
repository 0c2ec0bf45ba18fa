"""The features that are tried: what each is for, and what to do when it does not work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from supervisor.kernel.probe.feature import Feature

if TYPE_CHECKING:
    from supervisor.kernel.probe.helper import Outcome


@dataclass(frozen=True, slots=True)
class Tried:
    """A feature with a trial of the same name; `without` is its status where that fails."""

    name: str
    without: str
    why: str
    fix: str

    def judge(self, outcome: Outcome | None) -> Feature:
        """The feature, by what the trial gave (None = there was no answer)."""
        works, found = outcome or (False, "not tried: the helper process gave no answer")
        return Feature(
            name=self.name,
            status="ok" if works else self.without,
            found=found,
            why=self.why,
            fix=self.fix,
        )


TRIED = (
    Tried(
        "clone3",
        "fail",
        "every container's first process is made with it",
        "Linux 5.3 or newer; inside a container, a seccomp profile that allows clone3",
    ),
    Tried(
        "clone-into-cgroup",
        "fail",
        "containers are born in their cgroup",
        "Linux 5.7 or newer, and a writable cgroup v2 hierarchy",
    ),
    Tried(
        "cgroup-kill",
        "fail",
        "stop and rm -f end all processes of a container at once",
        "Linux 5.14 or newer, and a writable cgroup v2 hierarchy",
    ),
    Tried(
        "cgroup-freeze",
        "warn",
        "docker pause and unpause",
        "Linux 5.2 or newer, and a writable cgroup v2 hierarchy",
    ),
    Tried(
        "device-bpf",
        "fail",
        "which devices a container may use is decided by a BPF program",
        "a kernel with CONFIG_CGROUP_BPF and CONFIG_BPF_SYSCALL",
    ),
    Tried(
        "pidfd",
        "fail",
        "processes are watched and signalled without races",
        "Linux 5.3 or newer",
    ),
    Tried(
        "openat2",
        "fail",
        "paths inside containers are opened without leaving their root",
        "Linux 5.6 or newer",
    ),
    Tried(
        "mount-api",
        "fail",
        "mounts are prepared detached: none appears in the host's mount table",
        "Linux 5.12 or newer",
    ),
    Tried(
        "overlay",
        "fail",
        "a container's root is an overlay of its image's layers",
        "Linux 6.7 or newer with the overlay module: modprobe overlay",
    ),
    Tried(
        "overlay-volatile",
        "warn",
        "containers that are removed when they end (--rm) skip syncing to disk",
        "Linux 5.10 or newer",
    ),
    Tried(
        "user-namespaces",
        "warn",
        "root in a container is an ordinary user of the host by default (--userns auto)",
        "a kernel with CONFIG_USER_NS; sysctl user.max_user_namespaces=65536; nothing mounted over "
        "parts of /proc and /sys",
    ),
    Tried(
        "idmapped-mounts",
        "warn",
        "containers with user namespaces (--userns) share image layers without copies; without it "
        "the default is the host's user namespace, and --userns auto is refused",
        "Linux 6.13 or newer",
    ),
    Tried(
        "seccomp",
        "warn",
        "system calls can be filtered",
        "a kernel with CONFIG_SECCOMP_FILTER",
    ),
    Tried(
        "bridge",
        "warn",
        "container networks; without it only --network none, host and container:…",
        "a kernel with CONFIG_BRIDGE: modprobe bridge",
    ),
    Tried(
        "veth",
        "warn",
        "a container is connected to a network; without it only --network none, host and "
        "container:…",
        "a kernel with CONFIG_VETH: modprobe veth",
    ),
    Tried(
        "nftables",
        "warn",
        "container networks: what may pass between them, the way out, published ports",
        "a kernel with CONFIG_NF_TABLES_INET, _NFT_CT, _NFT_NAT, _NFT_MASQ and _NFT_FIB_INET: "
        "modprobe -a nf_tables nft_chain_nat nft_ct nft_masq nft_fib_inet",
    ),
    Tried(
        "nftables-bridge",
        "warn",
        "a container cannot pretend to be a neighbour; without it it can",
        "a kernel with CONFIG_NF_TABLES_BRIDGE: modprobe nf_tables",
    ),
    Tried(
        "tbf",
        "warn",
        "bandwidth limits of containers; without it they are refused",
        "a kernel with CONFIG_NET_SCH_TBF: modprobe sch_tbf",
    ),
    Tried(
        "netem",
        "warn",
        "delays and losses of packets for tests; without it they are refused",
        "a kernel with CONFIG_NET_SCH_NETEM: modprobe sch_netem",
    ),
    Tried(
        "sys-resource",
        "warn",
        "raising limits (--ulimit) and protecting the daemon from the OOM killer",
        "run the daemon with CAP_SYS_RESOURCE",
    ),
)
