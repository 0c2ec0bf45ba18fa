"""What the probe makes of files in place of /proc and /sys, and of the helper's answers."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from supervisor.kernel.probe import Feature, Outcome, helper, probe
from supervisor.kernel.probe.catalogue import TRIED
from supervisor.kernel.probe.trials import CGROUP_TRIALS, TRIALS

MODERN = {
    "proc/sys/kernel/osrelease": "6.18.44-generic\n",
    "proc/self/status": "Name:\tx\nCapEff:\t000001ffffffffff\nSeccomp:\t0\n",
    "proc/self/mountinfo": "30 22 0:30 / {root}/cg rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
    "proc/pressure/memory": "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
    "proc/sys/net/ipv4/ip_forward": "0\n",
    "proc/sys/net/ipv6/conf/all/disable_ipv6": "0\n",
    "sys/kernel/mm/ksm/run": "1\n",
    "cg/cgroup.controllers": "cpuset cpu io memory pids\n",
}
HYBRID = (
    "30 22 0:30 / {root}/cg/unified rw - cgroup2 c rw\n"
    "31 22 0:31 / {root}/cg/memory rw - cgroup c rw,memory\n"
    "32 22 0:32 / {root}/cg/blkio rw - cgroup c rw,blkio\n"
)


class Host:
    """A tree of files that stands for a host, and its features."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for path, text in MODERN.items():
            self.write(path, text)

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.replace("{root}", str(self.root)))

    def features(self, **outcomes: Outcome) -> dict[str, Feature]:
        tried = {entry.name: (True, "works") for entry in TRIED}
        tried |= {name.replace("_", "-"): outcome for name, outcome in outcomes.items()}
        return {feature.name: feature for feature in probe_at(self.root, tried)}


def probe_at(root: Path, tried: dict[str, Outcome]) -> tuple[Feature, ...]:
    return probe(f"{root}/proc", f"{root}/sys", f"{root}/cg", lambda: tried)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_a_modern_host_is_ok_in_everything(host: Host) -> None:
    features = host.features()
    assert [f.name for f in features.values() if f.status != "ok"] == []
    assert features["kernel"].found == "Linux 6.18.44-generic"
    assert features["cgroup"].found == f"unified: {host.root}/cg"
    assert features["cgroup-memory"].found == "v2"
    assert features["overlay"].found == "works"


def test_every_feature_says_why_and_how_to_fix(host: Host) -> None:
    features = host.features()
    assert all(feature.why for feature in features.values())
    assert {name for name, feature in features.items() if not feature.fix} == {"apparmor"}


def test_there_is_a_trial_for_each_feature_that_is_tried() -> None:
    assert {entry.name for entry in TRIED} == {*TRIALS, *CGROUP_TRIALS}


@pytest.mark.parametrize(
    "release, status",
    [
        ("5.14.0-70.el9.x86_64", "ok"),
        ("6.1", "ok"),
        ("10.0.0", "ok"),
        ("5.13.19", "fail"),
        ("4.18.0", "fail"),
        ("", "fail"),
        ("nonsense", "fail"),
    ],
)
def test_the_kernels_version(host: Host, release: str, status: str) -> None:
    host.write("proc/sys/kernel/osrelease", f"{release}\n")
    assert host.features()["kernel"].status == status


def test_without_privileges(host: Host) -> None:
    host.write("proc/self/status", "CapEff:\t0000000000000000\n")
    feature = host.features()["privileges"]
    assert (feature.status, feature.found) == ("fail", "no CAP_SYS_ADMIN")


def test_a_hybrid_host(host: Host) -> None:
    host.write("proc/self/mountinfo", HYBRID)
    features = host.features()
    assert features["cgroup"].status == "warn"
    assert features["cgroup"].found.startswith("hybrid: ")
    assert features["cgroup-memory"].found == f"v1: {host.root}/cg/memory"
    assert features["cgroup-io"].found == f"v1: {host.root}/cg/blkio"
    assert features["cgroup-pids"].status == "warn"


@pytest.mark.parametrize("mountinfo", ["", HYBRID.partition("\n")[2]])
def test_without_cgroup_v2(host: Host, mountinfo: str) -> None:
    host.write("proc/self/mountinfo", mountinfo)
    assert host.features()["cgroup"].status == "fail"


def test_without_the_memory_controller(host: Host) -> None:
    host.write("cg/cgroup.controllers", "cpu pids\n")
    features = host.features()
    assert features["cgroup-memory"].status == "warn"
    assert "cgroup_enable=memory" in features["cgroup-memory"].fix
    assert features["cgroup-cpu"].status == "ok"


def test_without_proc(tmp_path: Path) -> None:
    by_name = {feature.name: feature for feature in probe_at(tmp_path, {})}
    assert by_name["cgroup"].status == by_name["kernel"].status == "fail"
    assert "mountinfo" in by_name["cgroup"].found


def test_what_is_switched_off_is_a_warning(host: Host) -> None:
    os.unlink(host.root / "proc/pressure/memory")
    host.write("proc/sys/net/ipv6/conf/all/disable_ipv6", "1\n")
    host.write("sys/fs/selinux/enforce", "1")
    host.write("sys/module/apparmor/parameters/enabled", "Y\n")
    features = host.features()
    assert features["psi"].status == "warn"
    assert (features["ipv6"].status, features["ipv6"].found) == ("warn", "disabled")
    assert (features["selinux"].status, features["selinux"].found) == ("warn", "enforcing")
    assert (features["apparmor"].status, features["apparmor"].found) == ("ok", "active")


@pytest.mark.parametrize(
    "state, writable, status, found",
    [
        ("1", True, "ok", "on"),
        ("1", False, "ok", "on"),
        ("0", True, "ok", "off: switched on when the first network that leads out is made"),
        ("0", False, "warn", "off, and {path} cannot be written"),
    ],
)
def test_ip_forwarding(
    host: Host,
    monkeypatch: pytest.MonkeyPatch,
    state: str,
    writable: bool,
    status: str,
    found: str,
) -> None:
    host.write("proc/sys/net/ipv4/ip_forward", f"{state}\n")
    monkeypatch.setattr(os, "access", lambda _path, _mode: writable)
    feature = host.features()["ip-forward"]
    path = host.root / "proc/sys/net/ipv4/ip_forward"
    assert (feature.status, feature.found) == (status, found.format(path=path))
    assert path.read_text() == f"{state}\n"


@pytest.mark.parametrize(
    "state, status, found", [("1", "ok", "on"), ("0", "warn", "off"), ("2", "warn", "off")]
)
def test_same_page_merging(host: Host, state: str, status: str, found: str) -> None:
    host.write("sys/kernel/mm/ksm/run", f"{state}\n")
    feature = host.features()["ksm"]
    assert (feature.status, feature.found) == (status, found)


def test_a_kernel_that_merges_no_pages(host: Host) -> None:
    (host.root / "sys/kernel/mm/ksm/run").unlink()
    feature = host.features()["ksm"]
    assert (feature.status, feature.found) == ("warn", "not in this kernel")


def test_packets_of_bridges_that_pass_the_hosts_firewall(host: Host) -> None:
    feature = host.features()["br-netfilter"]
    assert (feature.status, feature.found) == ("ok", "not loaded")
    for name in ("iptables", "ip6tables"):
        host.write(f"proc/sys/net/bridge/bridge-nf-call-{name}", "0\n")
    assert host.features()["br-netfilter"].found == "off"
    host.write("proc/sys/net/bridge/bridge-nf-call-ip6tables", "1\n")
    feature = host.features()["br-netfilter"]
    assert (feature.status, feature.found) == ("warn", "on for ip6tables")
    assert feature.fix == "sysctl net.bridge.bridge-nf-call-ip6tables=0"


def test_a_failed_trial_is_as_bad_as_the_feature_is_needed(host: Host) -> None:
    features = host.features(
        overlay=(False, "fsopen overlay: No such device"), nftables=(False, "EPERM")
    )
    assert (features["overlay"].status, features["nftables"].status) == ("fail", "warn")
    assert features["overlay"].found == "fsopen overlay: No such device"


def test_no_answer_is_no_feature(host: Host) -> None:
    tried = {entry.name for entry in TRIED}
    assert {f.name for f in probe_at(host.root, {}) if f.found.startswith("not tried")} == tried


# --- the helper process -------------------------------------------------------------------


Run = Callable[..., dict[str, Outcome]]


@pytest.fixture
def answer_of(monkeypatch: pytest.MonkeyPatch) -> Run:
    def run(program: str, seconds: float = 10.0) -> dict[str, Outcome]:
        monkeypatch.setattr(helper, "_COMMAND", ("-I", "-S", "-c", program))
        monkeypatch.setattr(helper, "SECONDS", seconds)
        return helper.run_trials()

    return run


@pytest.mark.parametrize(
    "program, expected",
    [
        ("""print('{"a": [true, "works"]}')""", {"a": (True, "works")}),
        ("print('nonsense')", {}),
        ("print('[1]')", {}),
        ("""print('{"a": 1}')""", {}),
        ("raise SystemExit(3)", {}),
        ("import os; os.kill(os.getpid(), 9)", {}),
    ],
)
def test_the_helpers_answer(answer_of: Run, program: str, expected: dict[str, Outcome]) -> None:
    assert answer_of(program) == expected


def test_a_helper_that_hangs_is_killed(answer_of: Run) -> None:
    assert answer_of("import time; print('{}', flush=True); time.sleep(60)", 0.3) == {}


def test_without_an_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    assert helper.run_trials() == {}
