"""Trying the features of this very kernel: it tells the truth, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from supervisor.kernel import mounts, namespaces, paths
from supervisor.kernel.cgroups import detect
from supervisor.kernel.probe import Feature, helper, netlink, probe, trials
from tests.support import leaks

# Every kernel that tests run on has these.
EVERYWHERE = {
    *(
        "bridge",
        "cgroup-freeze",
        "cgroup-kill",
        "cgroup-memory",
        "cgroup-pids",
        "clone-into-cgroup",
    ),
    *("clone3", "device-bpf", "idmapped-mounts", "kernel", "mount-api", "openat2", "overlay"),
    *("overlay-volatile", "pidfd", "privileges", "seccomp", "user-namespaces", "veth"),
}


@pytest.fixture(scope="module")
def features() -> dict[str, Feature]:
    return {feature.name: feature for feature in probe()}


def test_what_must_work_works(features: dict[str, Feature]) -> None:
    broken = {name: features[name].found for name in EVERYWHERE if features[name].status != "ok"}
    assert broken == {}


def test_the_layout_is_that_of_the_cgroups(features: dict[str, Feature]) -> None:
    assert features["cgroup"].found.startswith(detect().kind)


def host_network() -> dict[str, object]:
    """What a trial of a network could have changed in this namespace."""
    settings = ("ipv4/ip_forward", "ipv4/conf/all/route_localnet", "ipv6/conf/all/forwarding")
    roots = {name: Path("/proc/sys/net", name) for name in settings}
    rules = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True)
    queues = subprocess.run(["tc", "qdisc", "show", "dev", "lo"], capture_output=True, text=True)
    return {
        "settings": {name: path.read_text() for name, path in roots.items() if path.exists()},
        "links": [link for link in socket.if_nameindex() if link[1].startswith("orlop")],
        "rules": rules.stdout,
        "queues": queues.stdout,
    }


def test_nothing_is_left() -> None:
    before = leaks.Snapshot.take()
    network_before = host_network()
    namespaces_before = os.listdir("/proc/self/ns")
    probe()
    assert leaks.settle(before, (), seconds=5) == []
    assert os.listdir("/proc/self/ns") == namespaces_before
    assert host_network() == network_before
    assert not [m for m in mounts.mountinfo() if m.mount_point == "/mnt" and m.fstype == "tmpfs"]
    ours = [path for path in leaks.cgroups("orlop-probe-") if _helper_is_gone(path)]
    assert ours == []


def _helper_is_gone(path: str) -> bool:
    """Another run of the tests may be probing at this moment."""
    pid = os.path.basename(path).removeprefix("orlop-probe-")
    return not os.path.exists(f"/proc/{pid}")


def test_a_helper_killed_in_the_middle_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    hang = (
        "import sys, time; sys.path.insert(0, sys.argv[1])\n"
        "from supervisor.kernel.probe import trials\n"
        "def hang(group):\n"
        "    with trials.member(group, trials.signal.pause):\n"
        "        time.sleep(60)\n"
        "trials.TRIALS.clear()\n"
        "trials.CGROUP_TRIALS = {'hang': hang}\n"
        "trials.main()\n"
    )
    seen: list[str] = []

    def wait_and_give_up(fd: int, deadline: float) -> bytes:
        end = time.monotonic() + 20
        while time.monotonic() < end:
            seen[:] = [p for p in leaks.cgroups("orlop-probe-") if _members(p)]
            if seen:
                break
            time.sleep(0.01)
        return b""

    monkeypatch.setattr(helper, "_COMMAND", ("-I", "-S", "-c", hang, helper._COMMAND[-1]))
    monkeypatch.setattr(helper, "_read_all", wait_and_give_up)
    assert helper.run_trials() == {}
    assert seen
    assert not any(os.path.exists(path) for path in seen)


def _members(path: str) -> bool:
    try:
        with open(f"{path}/cgroup.procs") as file:
            return bool(file.read())
    except OSError:
        return False


# --- a trial's outcome ----------------------------------------------------------------------


def test_a_trial_that_works() -> None:
    assert trials.in_child(lambda: None) == (True, "works")


def test_a_trial_that_the_kernel_refuses() -> None:
    assert trials.in_child(lambda: os.rmdir("/proc")) == (
        False,
        "[Errno 16] Device or resource busy: '/proc'",
    )


def test_a_trial_that_breaks() -> None:
    assert trials.in_child(lambda: int("x")) == (False, "the trial ended with status 1")
    assert trials.in_child(lambda: os.kill(os.getpid(), signal.SIGKILL)) == (
        False,
        "the trial ended with status -9",
    )


def test_without_privileges_the_trials_fail_and_say_so() -> None:
    """Each in a child that has become nobody."""

    def as_nobody(trial: Callable[[], object]) -> None:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        trial()

    for name in ("overlay", "mount-api", "idmapped-mounts", "veth", "sys-resource"):
        works, found = trials.in_child(lambda: as_nobody(trials.TRIALS[name]))  # noqa: B023
        assert not works
        assert "not permitted" in found.lower()


def test_no_user_namespaces_where_proc_is_covered() -> None:
    """The kernel shows a container with ids of its own no more than the host's own proc does."""

    def covered() -> None:
        namespaces.unshare(namespaces.CLONE_NEWNS)
        mounts.mount("", "/", "", mounts.MS_REC | mounts.MS_PRIVATE, "")
        mounts.mount("tmpfs", "/proc/tty", "tmpfs")
        trials.try_user_namespaces()

    assert trials.in_child(trials.try_user_namespaces) == (True, trials.WORKS)
    works, found = trials.in_child(covered)
    assert not works
    assert found == "in a user namespace: fsmount proc: Operation not permitted"


def test_a_feature_that_is_missing_is_told_from_one_that_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Trials are no constants: what the kernel has not does not work."""
    monkeypatch.setattr(netlink, "_IFLA_INFO_KIND", 99)
    assert trials.in_child(trials.try_veth)[0] is False
    monkeypatch.setattr(netlink, "_TCA_KIND", 99)
    assert trials.in_child(trials.try_tbf)[0] is False
    assert trials.in_child(trials.try_netem)[0] is False
    monkeypatch.setattr(netlink, "_NFPROTO_BRIDGE", 99)
    assert trials.in_child(trials.try_nftables_bridge)[0] is False
    monkeypatch.setattr(paths, "RESOLVE_IN_ROOT", 1 << 60)
    assert trials.in_child(trials.try_openat2)[0] is False
    monkeypatch.setattr(trials, "assemble", lambda _rules: b"\xb7\0\0\0\x01\0\0\0\x95" + bytes(7))
    assert trials.try_cgroups()["device-bpf"] == (
        False,
        "bpf the device program has no effect: Invalid argument",
    )
